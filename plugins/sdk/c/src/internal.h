/* What the parts of the kit share. `plugin.h` is generated from the WIT package at build. */
#ifndef EAVES_INTERNAL_H
#define EAVES_INTERNAL_H

#include "eaves.h"
#include "plugin.h"

#include <stdarg.h>

#define WIT(name) exports_eaves_rules_validation_##name

typedef WIT(texts_t) wit_texts;
typedef WIT(decimals_t) wit_decimals;
typedef WIT(batch_t) wit_batch;
typedef WIT(decision_t) wit_decision;
typedef WIT(interest_t) wit_interest;
typedef WIT(settings_fault_t) wit_fault;

struct eaves_batch {
  const wit_batch *columns;
};

struct eaves_answer {
  wit_decision *decision;
  size_t row, rows;
  eaves_type type;
  bool decided;
  eaves_value taken; /* the row's value, or what replaces it */
  char *failure; /* NULL while all is well */
  size_t reasons, texts_room, blob_room, decimals_room, derived_room;
};

struct eaves_settings {
  const char *json, *end;
  char *path, *message; /* of the first fault; NULL while there is none */
};

/* Memory, or a trap: a plugin that has no memory left cannot go on. */
void *eaves_memory(void *old, size_t bytes);
eaves_text eaves_text_at(const wit_texts *texts, size_t index);
eaves_value eaves_value_at(const wit_batch *batch, eaves_type type, uint64_t bits);
/* Whether the text is a whole JSON object; otherwise a fault is noted. */
bool eaves_settings_open(eaves_settings *settings, const plugin_string_t *json);
plugin_string_t eaves_copy(const char *bytes, size_t length);
/* The author's settings; NULL and a fault if they are wrong. */
void *eaves_configured(const plugin_string_t *json, wit_fault *fault);
enum { EAVES_REASON_ROOM = 501 }; /* what the platform takes of a reason's text, and the zero */
/* Writes a reason's text, at most EAVES_REASON_ROOM bytes; returns its length. */
size_t eaves_reason_text(char *text, const char *format, va_list arguments);

#endif
