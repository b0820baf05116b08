/* Settings: the fields of one JSON object, read where they stand. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 32, MAX_NUMBER = 64 };

void eaves_fault(eaves_settings *settings, const char *field, const char *message_format, ...) {
  if (settings->message) return;
  char message[400];
  va_list arguments;
  va_start(arguments, message_format);
  vsnprintf(message, sizeof message, message_format, arguments);
  va_end(arguments);
  settings->path = strdup(field);
  settings->message = strdup(message);
}

static const char *space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) at++;
  return at;
}

/* Each of these returns what comes after, or NULL if the text is not JSON. */
static const char *string_end(const char *at, const char *end) {
  if (at >= end || *at != '"') return NULL;
  for (at++; at < end && *at != '"'; at++) {
    if ((unsigned char)*at < ' ') return NULL;
    if (*at == '\\') at++;
  }
  return at < end ? at + 1 : NULL;
}

static const char *value_end(const char *at, const char *end, int depth);

static const char *list_end(const char *at, const char *end, int depth, char close, bool names) {
  at = space(at + 1, end);
  if (at < end && *at == close) return at + 1;
  while (at && at < end) {
    if (names) {
      at = string_end(space(at, end), end);
      if (!at) return NULL;
      at = space(at, end);
      if (at >= end || *at++ != ':') return NULL;
    }
    at = value_end(at, end, depth + 1);
    if (!at) return NULL;
    at = space(at, end);
    if (at >= end) return NULL;
    if (*at == close) return at + 1;
    if (*at++ != ',') return NULL;
  }
  return NULL;
}

static const char *word(const char *at, const char *end, const char *expected) {
  size_t length = strlen(expected);
  return (size_t)(end - at) >= length && memcmp(at, expected, length) == 0 ? at + length : NULL;
}

static const char *number_end(const char *at, const char *end) {
  const char *from = at;
  while (at < end && *at && strchr("+-.eE0123456789", *at)) at++;
  return at > from ? at : NULL;
}

static const char *value_end(const char *at, const char *end, int depth) {
  at = space(at, end);
  if (at >= end || depth > MAX_DEPTH) return NULL;
  switch (*at) {
    case '{': return list_end(at, end, depth, '}', true);
    case '[': return list_end(at, end, depth, ']', false);
    case '"': return string_end(at, end);
    case 't': return word(at, end, "true");
    case 'f': return word(at, end, "false");
    case 'n': return word(at, end, "null");
    default: return number_end(at, end);
  }
}

bool eaves_settings_open(eaves_settings *settings, const plugin_string_t *json) {
  settings->json = (const char *)json->ptr;
  settings->end = settings->json + json->len;
  const char *at = space(settings->json, settings->end);
  const char *after = at < settings->end && *at == '{' ? value_end(at, settings->end, 0) : NULL;
  if (!after || space(after, settings->end) != settings->end) {
    eaves_fault(settings, "", "not a JSON object");
    return false;
  }
  settings->json = at + 1;
  return true;
}

/* The value of a field; NULL if it is not there. Names with escapes are not found. */
static const char *field_at(const eaves_settings *settings, const char *field, const char **after) {
  const char *at = settings->json, *end = settings->end;
  size_t length = strlen(field);
  for (;;) {
    at = space(at, end);
    if (at >= end || *at == '}') return NULL;
    const char *name = at + 1, *name_end = string_end(at, end);
    const char *value = space(space(name_end, end) + 1, end);
    *after = value_end(value, end, 1);
    if ((size_t)(name_end - 1 - name) == length && memcmp(name, field, length) == 0) return value;
    at = space(*after, end);
    if (at >= end || *at != ',') return NULL;
    at++;
  }
}

void eaves_setting_number(eaves_settings *settings, const char *field, double *into) {
  const char *after, *at = field_at(settings, field, &after);
  if (!at) return;
  char digits[MAX_NUMBER], *last;
  size_t length = (size_t)(after - at);
  if (length < sizeof digits && (*at == '-' || (*at >= '0' && *at <= '9'))) {
    memcpy(digits, at, length);
    digits[length] = 0;
    double number = strtod(digits, &last);
    if (*last == 0) {
      *into = number;
      return;
    }
  }
  eaves_fault(settings, field, "expected a number, found %.*s", (int)(length < 40 ? length : 40), at);
}

void eaves_setting_boolean(eaves_settings *settings, const char *field, bool *into) {
  const char *after, *at = field_at(settings, field, &after);
  if (!at) return;
  if (*at == 't' || *at == 'f') {
    *into = *at == 't';
    return;
  }
  eaves_fault(settings, field, "expected true or false");
}

/* Four hex digits of an escape, or -1. */
static int32_t escape(const char *at, const char *end) {
  char digits[5] = {0}, *last;
  if (end - at < 4) return -1;
  memcpy(digits, at, 4);
  long code = strtol(digits, &last, 16);
  return last == digits + 4 ? (int32_t)code : -1;
}

static size_t utf8(char *to, int32_t c) {
  if (c < 0x80) return to[0] = (char)c, 1;
  if (c < 0x800) return to[0] = (char)(0xC0 | c >> 6), to[1] = (char)(0x80 | (c & 63)), 2;
  if (c < 0x10000)
    return to[0] = (char)(0xE0 | c >> 12), to[1] = (char)(0x80 | (c >> 6 & 63)), to[2] = (char)(0x80 | (c & 63)), 3;
  to[0] = (char)(0xF0 | c >> 18), to[1] = (char)(0x80 | (c >> 12 & 63));
  return to[2] = (char)(0x80 | (c >> 6 & 63)), to[3] = (char)(0x80 | (c & 63)), 4;
}

void eaves_setting_text(eaves_settings *settings, const char *field, eaves_text *into) {
  const char *after, *at = field_at(settings, field, &after);
  if (!at) return;
  if (*at != '"') {
    eaves_fault(settings, field, "expected a text");
    return;
  }
  const char *end = after - 1;
  char *text = eaves_memory(NULL, (size_t)(end - at)), *to = text;
  for (at++; at < end; at++) {
    if (*at != '\\') {
      *to++ = *at;
      continue;
    }
    static const char from[] = "\"\\/bfnrt", plain[] = "\"\\/\b\f\n\r\t";
    const char *known = strchr(from, *++at);
    if (known) {
      *to++ = plain[known - from];
      continue;
    }
    int32_t code = *at == 'u' ? escape(at + 1, end) : -1;
    at += 4;
    if (code >= 0xD800 && code < 0xDC00 && end - at > 6 && at[1] == '\\' && at[2] == 'u') {
      int32_t low = escape(at + 3, end);
      code = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : -1;
      at += 6;
    }
    if (code < 0 || (code >= 0xD800 && code < 0xE000)) {
      eaves_fault(settings, field, "has an escape that is none");
      return;
    }
    to += utf8(to, code);
  }
  into->bytes = text;
  into->length = (size_t)(to - text);
}
