/* From the exported functions to the author's and back. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void *eaves_memory(void *old, size_t bytes) {
  void *memory = realloc(old, bytes ? bytes : 1);
  if (!memory) __builtin_trap();
  return memory;
}

plugin_string_t eaves_copy(const char *bytes, size_t length) {
  plugin_string_t copy = {NULL, length};
  if (length) copy.ptr = memcpy(eaves_memory(NULL, length), bytes, length);
  return copy;
}

static plugin_string_t copy_of(const char *text) { return eaves_copy(text ? text : "", text ? strlen(text) : 0); }

eaves_text eaves_text_at(const wit_texts *texts, size_t index) {
  eaves_text text = {"", 0};
  if (index + 1 < texts->offsets.len) {
    uint32_t from = texts->offsets.ptr[index], to = texts->offsets.ptr[index + 1];
    if (from <= to && to <= texts->blob.len) {
      text.bytes = (const char *)texts->blob.ptr + from;
      text.length = to - from;
    }
  }
  return text;
}

eaves_value eaves_value_at(const wit_batch *batch, eaves_type type, uint64_t bits) {
  eaves_value value = {.type = type};
  switch (type) {
    case EAVES_STRING: value.as.string = eaves_text_at(&batch->texts, (size_t)bits); break;
    case EAVES_INTEGER: value.as.integer = (int64_t)bits; break;
    case EAVES_FLOAT: memcpy(&value.as.number, &bits, sizeof bits); break;
    case EAVES_DECIMAL:
      if (bits < batch->decimals.low.len) {
        value.as.decimal.low = batch->decimals.low.ptr[bits];
        value.as.decimal.high = batch->decimals.high.ptr[bits];
        value.as.decimal.scale = batch->decimals.scale.ptr[bits];
      }
      break;
    case EAVES_BOOLEAN: value.as.boolean = bits != 0; break;
    case EAVES_TIMESTAMP: value.as.timestamp = (int64_t)bits; break;
  }
  return value;
}

bool eaves_equal(eaves_text text, const char *other) {
  return text.length == strlen(other) && memcmp(text.bytes, other, text.length) == 0;
}

bool eaves_number(const eaves_value *value, double *into) {
  switch (value->type) {
    case EAVES_INTEGER: *into = (double)value->as.integer; return true;
    case EAVES_FLOAT: *into = value->as.number; return true;
    case EAVES_DECIMAL: {
      const eaves_decimal *d = &value->as.decimal;
      *into = ((double)d->high * 18446744073709551616.0 + (double)d->low) / pow(10, d->scale);
      return true;
    }
    default: return false;
  }
}

bool eaves_sibling(const eaves_reading *reading, const char *attribute, eaves_value *into) {
  const wit_batch *batch = reading->batch->columns;
  for (size_t row = reading->first; row < reading->end; row++) {
    uint32_t at = batch->attribute.ptr[row];
    if (eaves_equal(eaves_text_at(&batch->attributes.names, at), attribute)) {
      *into = eaves_value_at(batch, (eaves_type)batch->attributes.types.ptr[at], batch->bits.ptr[row]);
      return true;
    }
  }
  return false;
}

bool eaves_rate(const eaves_reading *reading, double *per_second) {
  double now, before;
  if (!reading->has_previous || reading->previous_at >= reading->observed_at) return false;
  if (!eaves_number(&reading->value, &now) || !eaves_number(&reading->previous, &before)) return false;
  *per_second = (now - before) / ((double)(reading->observed_at - reading->previous_at) / 1e6);
  return true;
}

static plugin_list_string_t names(const char *const *from) {
  plugin_list_string_t list = {NULL, 0};
  while (from && from[list.len]) list.len++;
  if (list.len) list.ptr = eaves_memory(NULL, list.len * sizeof *list.ptr);
  for (size_t i = 0; i < list.len; i++) list.ptr[i] = copy_of(from[i]);
  return list;
}

static void interest(wit_interest *into) {
  memset(into, 0, sizeof *into);
  into->attributes.is_some = eaves_this.attributes != NULL;
  into->attributes.val = names(eaves_this.attributes);
  into->entity_types.is_some = eaves_this.entity_types != NULL;
  into->entity_types.val = names(eaves_this.entity_types);
  into->previous = names(eaves_this.previous);
}

void WIT(describe)(WIT(description_t) * ret) {
  ret->name = copy_of(eaves_this.name);
  ret->version = copy_of(eaves_this.version);
  ret->settings_schema = copy_of(eaves_this.settings_schema);
  interest(&ret->interest);
}

void *eaves_configured(const plugin_string_t *json, wit_fault *fault) {
  eaves_settings settings = {0};
  void *own = eaves_memory(NULL, eaves_this.settings_size);
  memset(own, 0, eaves_this.settings_size);
  if (eaves_settings_open(&settings, json) && eaves_this.configure) eaves_this.configure(&settings, own);
  if (!settings.message) return own;
  fault->path = copy_of(settings.path);
  fault->message = copy_of(settings.message);
  return NULL;
}

bool WIT(configure)(plugin_string_t *settings, wit_interest *ret, wit_fault *fault) {
  if (!eaves_configured(settings, fault)) return false;
  interest(ret);
  return true;
}

/* The latest value that a row of this call left behind. */
typedef struct {
  bool is;
  eaves_value value;
  int64_t at;
} known;

/* The previous values of the batch's rows: those given, and the rows before in the call. */
typedef struct {
  const wit_batch *batch;
  size_t next;         /* the next entry of `previous` */
  known *last;         /* per entity and asked attribute */
  int32_t *asked;      /* per attribute its number among those asked, or -1 */
  size_t asked_count;
} history;

static void history_start(history *h, const wit_batch *batch) {
  memset(h, 0, sizeof *h);
  h->batch = batch;
  if (!eaves_this.previous) return;
  size_t attributes = batch->attributes.types.len, entities = batch->entities.types.offsets.len;
  h->asked = eaves_memory(NULL, attributes * sizeof *h->asked);
  for (size_t a = 0; a < attributes; a++) {
    h->asked[a] = -1;
    eaves_text name = eaves_text_at(&batch->attributes.names, a);
    for (const char *const *p = eaves_this.previous; *p; p++)
      if (eaves_equal(name, *p)) h->asked[a] = (int32_t)h->asked_count++;
  }
  h->last = eaves_memory(NULL, entities * h->asked_count * sizeof *h->last);
  memset(h->last, 0, entities * h->asked_count * sizeof *h->last);
}

/* Finds the previous value of a row, and where to remember the row itself. */
static known *history_find(history *h, eaves_reading *reading) {
  const wit_batch *batch = h->batch;
  const size_t row = reading->row;
  bool given = h->next < batch->previous.row.len && batch->previous.row.ptr[h->next] == row;
  size_t entry = h->next;
  if (given) h->next++;
  int32_t asked = h->asked ? h->asked[batch->attribute.ptr[row]] : -1;
  if (asked < 0) return NULL;
  known *last = &h->last[batch->entity.ptr[row] * h->asked_count + (size_t)asked];
  if (given && !last->is) {
    last->is = true;
    last->value = eaves_value_at(batch, reading->attribute.type, batch->previous.bits.ptr[entry]);
    last->at = batch->previous.observed_at.ptr[entry];
  }
  reading->has_previous = last->is;
  reading->previous = last->value;
  reading->previous_at = last->at;
  return last;
}

bool WIT(validate)(wit_batch *batch, plugin_string_t *json, wit_decision *ret, WIT(validate_error_t) * err) {
  memset(ret, 0, sizeof *ret);
  void *settings = eaves_configured(json, &err->val.settings);
  if (!settings) {
    err->tag = EXPORTS_EAVES_RULES_VALIDATION_VALIDATE_ERROR_SETTINGS;
    return false;
  }
  eaves_batch columns = {batch};
  eaves_answer answer = {.decision = ret, .rows = batch->bits.len};
  eaves_reading reading = {.batch = &columns};
  history history;
  history_start(&history, batch);
  for (size_t row = 0; row < batch->bits.len; row++) {
    uint32_t at = batch->attribute.ptr[row], entity = batch->entity.ptr[row];
    if (row == reading.end) {
      reading.first = row;
      reading.entity = eaves_text_at(&batch->entities.external_ids, entity);
      reading.entity_type = eaves_text_at(&batch->entities.types, entity);
      reading.observed_at = batch->observed_at.ptr[row];
      while (reading.end < batch->bits.len && batch->entity.ptr[reading.end] == entity &&
             batch->observed_at.ptr[reading.end] == reading.observed_at)
        reading.end++;
    }
    reading.row = row;
    reading.attribute.name = eaves_text_at(&batch->attributes.names, at);
    reading.attribute.type = (eaves_type)batch->attributes.types.ptr[at];
    reading.attribute.unit = eaves_text_at(&batch->attributes.units, at);
    reading.value = eaves_value_at(batch, reading.attribute.type, batch->bits.ptr[row]);
    reading.has_previous = false;
    known *last = history_find(&history, &reading);
    size_t rejected = ret->rejected_row.len;
    answer.row = row;
    answer.type = reading.attribute.type;
    answer.decided = false;
    answer.taken = reading.value;
    eaves_this.validate(&reading, settings, &answer);
    if (answer.failure) {
      err->tag = EXPORTS_EAVES_RULES_VALIDATION_VALIDATE_ERROR_FAILED;
      err->val.failed = copy_of(answer.failure);
      return false;
    }
    /* What was rejected is no value to compare with, and neither is one that comes late. */
    bool later = !reading.has_previous || reading.observed_at >= reading.previous_at;
    if (last && later && ret->rejected_row.len == rejected) {
      last->is = true;
      last->value = answer.taken;
      last->at = reading.observed_at;
    }
  }
  return true;
}
