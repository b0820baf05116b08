/* Collects what the author says into the columns of a decision. */
#include "internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_REASONS_COMPARED = 64 };

void eaves_fail(eaves_answer *answer, const char *why) {
  if (!answer->failure) answer->failure = strdup(why);
}

/* The next place of a list that holds at most `rows` entries, got at once. */
#define PUSH(list, room) \
  ((list).ptr || ((list).ptr = eaves_memory(NULL, (room) * sizeof *(list).ptr)), &(list).ptr[(list).len++])

static bool first_verdict(eaves_answer *answer) {
  if (answer->decided) eaves_fail(answer, "a value was rejected or replaced twice");
  bool first = !answer->decided;
  answer->decided = true;
  return first;
}

static bool same(const plugin_string_t *a, const char *bytes, size_t length) {
  return a->len == length && memcmp(a->ptr, bytes, length) == 0;
}

static uint32_t reason(eaves_answer *answer, const char *code, const char *text, size_t length) {
  wit_decision *d = answer->decision;
  size_t code_length = strlen(code);
  for (size_t i = d->reasons.len, n = 0; i-- > 0 && n < MAX_REASONS_COMPARED; n++)
    if (same(&d->reasons.ptr[i].code, code, code_length) && same(&d->reasons.ptr[i].text, text, length))
      return (uint32_t)i;
  WIT(reason_t) *added = PUSH(d->reasons, answer->rows);
  added->code = eaves_copy(code, code_length);
  added->text = eaves_copy(text, length);
  return (uint32_t)d->reasons.len - 1;
}

size_t eaves_reason_text(char *text, const char *format, va_list arguments) {
  int wanted = vsnprintf(text, EAVES_REASON_ROOM, format, arguments);
  bool whole = wanted >= 0 && wanted < EAVES_REASON_ROOM;
  size_t length = wanted < 0 ? 0 : whole ? (size_t)wanted : EAVES_REASON_ROOM - 1;
  /* Cut between characters, and kept to one line. */
  if (!whole)
    while (length && ((unsigned char)text[length - 1] & 0xC0) == 0x80) length--;
  if (!whole && length && (unsigned char)text[length - 1] >= 0xC0) length--;
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)text[i] < ' ' || text[i] == 0x7F) text[i] = ' ';
  return length;
}

void eaves_reject(eaves_answer *answer, const char *code, const char *text_format, ...) {
  char text[EAVES_REASON_ROOM];
  va_list arguments;
  va_start(arguments, text_format);
  size_t length = eaves_reason_text(text, text_format, arguments);
  va_end(arguments);
  if (!first_verdict(answer)) return;
  *PUSH(answer->decision->rejected_row, answer->rows) = (uint32_t)answer->row;
  *PUSH(answer->decision->rejected_reason, answer->rows) = reason(answer, code, text, length);
}

static uint64_t text_bits(eaves_answer *answer, eaves_text text) {
  wit_texts *texts = &answer->decision->texts;
  if (texts->offsets.len + 2 > answer->texts_room) {
    answer->texts_room = answer->texts_room * 2 + 16;
    texts->offsets.ptr = eaves_memory(texts->offsets.ptr, answer->texts_room * sizeof(uint32_t));
  }
  if (!texts->offsets.len) texts->offsets.ptr[texts->offsets.len++] = 0;
  if (texts->blob.len + text.length > answer->blob_room) {
    answer->blob_room = (texts->blob.len + text.length) * 2;
    texts->blob.ptr = eaves_memory(texts->blob.ptr, answer->blob_room);
  }
  if (text.length) memcpy(texts->blob.ptr + texts->blob.len, text.bytes, text.length);
  texts->blob.len += text.length;
  texts->offsets.ptr[texts->offsets.len++] = (uint32_t)texts->blob.len;
  return texts->offsets.len - 2;
}

static uint64_t decimal_bits(eaves_answer *answer, eaves_decimal decimal) {
  wit_decimals *d = &answer->decision->decimals;
  if (d->low.len == answer->decimals_room) {
    answer->decimals_room = answer->decimals_room * 2 + 16;
    d->low.ptr = eaves_memory(d->low.ptr, answer->decimals_room * sizeof *d->low.ptr);
    d->high.ptr = eaves_memory(d->high.ptr, answer->decimals_room * sizeof *d->high.ptr);
    d->scale.ptr = eaves_memory(d->scale.ptr, answer->decimals_room * sizeof *d->scale.ptr);
  }
  d->low.ptr[d->low.len++] = decimal.low;
  d->high.ptr[d->high.len++] = decimal.high;
  d->scale.ptr[d->scale.len++] = decimal.scale;
  return d->low.len - 1;
}

static uint64_t bits_of(eaves_answer *answer, const eaves_value *value) {
  uint64_t bits = 0;
  switch (value->type) {
    case EAVES_STRING: return text_bits(answer, value->as.string);
    case EAVES_DECIMAL: return decimal_bits(answer, value->as.decimal);
    case EAVES_INTEGER: return (uint64_t)value->as.integer;
    case EAVES_TIMESTAMP: return (uint64_t)value->as.timestamp;
    case EAVES_BOOLEAN: return value->as.boolean;
    case EAVES_FLOAT:
      if (!isfinite(value->as.number)) eaves_fail(answer, "a number to be stored is NaN or infinite");
      memcpy(&bits, &value->as.number, sizeof bits);
  }
  return bits;
}

void eaves_replace(eaves_answer *answer, eaves_value value) {
  if (value.type != answer->type) {
    eaves_fail(answer, "a value was replaced by one of another type");
    return;
  }
  if (!first_verdict(answer)) return;
  answer->taken = value;
  *PUSH(answer->decision->replaced_row, answer->rows) = (uint32_t)answer->row;
  *PUSH(answer->decision->replaced_bits, answer->rows) = bits_of(answer, &value);
}

/* The number of a derived attribute, which is added if it is new. */
static uint32_t derived_attribute(eaves_answer *answer, const char *name, eaves_type type) {
  enum { ROOM = 1000 }; /* as many as the platform takes */
  wit_decision *d = answer->decision;
  size_t length = strlen(name);
  for (size_t i = 0; i < d->derived_attributes.len; i++)
    if (same(&d->derived_attributes.ptr[i].name, name, length)) {
      if (d->derived_attributes.ptr[i].type != type) eaves_fail(answer, "a derived attribute has two types");
      return (uint32_t)i;
    }
  if (d->derived_attributes.len == ROOM) {
    eaves_fail(answer, "over 1,000 derived attributes");
    return 0;
  }
  WIT(derived_attribute_t) *added = PUSH(d->derived_attributes, ROOM);
  added->name = eaves_copy(name, length);
  added->type = (uint8_t)type;
  return (uint32_t)d->derived_attributes.len - 1;
}

void eaves_derive(eaves_answer *answer, const char *attribute, eaves_value value) {
  wit_decision *d = answer->decision;
  uint32_t index = derived_attribute(answer, attribute, value.type);
  if (answer->failure) return;
  if (d->derived_row.len == answer->derived_room) {
    answer->derived_room = answer->derived_room * 2 + 64;
    size_t room = answer->derived_room;
    d->derived_row.ptr = eaves_memory(d->derived_row.ptr, room * sizeof *d->derived_row.ptr);
    d->derived_attribute.ptr = eaves_memory(d->derived_attribute.ptr, room * sizeof *d->derived_attribute.ptr);
    d->derived_bits.ptr = eaves_memory(d->derived_bits.ptr, room * sizeof *d->derived_bits.ptr);
  }
  d->derived_row.ptr[d->derived_row.len++] = (uint32_t)answer->row;
  d->derived_attribute.ptr[d->derived_attribute.len++] = index;
  d->derived_bits.ptr[d->derived_bits.len++] = bits_of(answer, &value);
}
