/* Which attributes are hot: from the exported function to the author's and back. Part of the
 * plugin only if the project has src/promotion.c. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PROMOTION(name) exports_eaves_rules_promotion_##name

struct eaves_promotions {
  PROMOTION(decision_t) *decision;
  size_t room;
  const char *failure; /* NULL while all is well */
};

static void *grown(void *list, size_t room, size_t item) { return eaves_memory(list, room * item); }

void eaves_decide(eaves_promotions *into, const eaves_attribute_statistics *attribute, eaves_place place,
                  const char *code, const char *text_format, ...) {
  PROMOTION(decision_t) *d = into->decision;
  if (d->row.len == into->room) {
    size_t room = into->room = into->room * 2 + 16;
    d->row.ptr = grown(d->row.ptr, room, sizeof *d->row.ptr);
    d->verdict.ptr = grown(d->verdict.ptr, room, sizeof *d->verdict.ptr);
    d->reason.ptr = grown(d->reason.ptr, room, sizeof *d->reason.ptr);
    d->reasons.ptr = grown(d->reasons.ptr, room, sizeof *d->reasons.ptr);
  }
  char text[EAVES_REASON_ROOM];
  va_list arguments;
  va_start(arguments, text_format);
  size_t length = eaves_reason_text(text, text_format, arguments);
  va_end(arguments);
  size_t at = d->row.len;
  d->row.ptr[at] = (uint32_t)attribute->index;
  d->verdict.ptr[at] = (uint8_t)place;
  d->reason.ptr[at] = (uint32_t)at;
  d->reasons.ptr[at].code = eaves_copy(code, strlen(code));
  d->reasons.ptr[at].text = eaves_copy(text, length);
  d->row.len = d->verdict.len = d->reason.len = d->reasons.len = at + 1;
}

void eaves_decide_nothing(eaves_promotions *into, const char *why) {
  if (!into->failure) into->failure = why;
}

static eaves_attribute_statistics *lifted(const PROMOTION(statistics_t) *raw) {
  size_t count = raw->types.len;
  eaves_attribute_statistics *all = eaves_memory(NULL, count * sizeof *all);
  const wit_texts names = {raw->names.blob, raw->names.offsets}, units = {raw->units.blob, raw->units.offsets};
  for (size_t i = 0; i < count; i++)
    all[i] = (eaves_attribute_statistics){
        .index = i,
        .name = eaves_text_at(&names, i),
        .type = (eaves_type)raw->types.ptr[i],
        .unit = eaves_text_at(&units, i),
        .hot = raw->hot.ptr[i] != 0,
        .settled_seconds = raw->settled_seconds.ptr[i],
        .writes_per_second = raw->writes_per_second.ptr[i],
        .entities = raw->entities.ptr[i],
        .distinct_values = raw->distinct_values.ptr[i],
        .change_ratio = raw->change_ratio.ptr[i],
        .value_bytes = raw->value_bytes.ptr[i],
        .filters_per_second = raw->filters_per_second.ptr[i],
        .returns_per_second = raw->returns_per_second.ptr[i],
        .query_milliseconds = raw->query_milliseconds.ptr[i],
    };
  return all;
}

static bool failed(plugin_string_t *err, const char *why) {
  *err = eaves_copy(why, strlen(why));
  return false;
}

bool PROMOTION(promote)(PROMOTION(statistics_t) * raw, plugin_string_t *json, PROMOTION(decision_t) * ret,
                        plugin_string_t *err) {
  memset(ret, 0, sizeof *ret);
  wit_fault fault;
  void *settings = eaves_configured(json, &fault);
  if (!settings) {
    char why[EAVES_REASON_ROOM];
    snprintf(why, sizeof why, "settings: %.*s: %.*s", (int)fault.path.len, (const char *)fault.path.ptr,
             (int)fault.message.len, (const char *)fault.message.ptr);
    return failed(err, why);
  }
  eaves_statistics statistics = {
      .window_seconds = raw->window_seconds,
      .tenant_entities = raw->tenant_entities,
      .byte_budget = raw->byte_budget,
      .count = raw->types.len,
      .attributes = lifted(raw),
  };
  eaves_promotions promotions = {.decision = ret};
  eaves_promote(&statistics, settings, &promotions);
  return promotions.failure ? failed(err, promotions.failure) : true;
}
