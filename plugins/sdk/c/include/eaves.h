/* Write a plugin for Eaves in C: a function over one value.
 *
 * Define `const eaves_plugin eaves_this` with your functions and run `eaves plugin build`.
 * The columns of the WIT package are hidden in src/eaves.c. The C standard library is there as
 * far as it needs nothing from outside: memory, strings, numbers, mathematics; no files, no
 * clock, no output, because the platform gives a plugin none. */
#ifndef EAVES_H
#define EAVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* UTF-8, not ended by a zero. */
typedef struct {
  const char *bytes;
  size_t length;
} eaves_text;

/* Types of attributes, numbered as in the WIT package. */
typedef enum {
  EAVES_STRING,
  EAVES_INTEGER,
  EAVES_FLOAT,
  EAVES_DECIMAL,
  EAVES_BOOLEAN,
  EAVES_TIMESTAMP
} eaves_type;

/* (high * 2^64 + low) / 10^scale, exactly. */
typedef struct {
  uint64_t low;
  int64_t high;
  uint8_t scale;
} eaves_decimal;

typedef struct {
  eaves_type type;
  union {
    eaves_text string;
    int64_t integer;
    double number; /* EAVES_FLOAT; never NaN or infinite, also when you answer it */
    eaves_decimal decimal;
    bool boolean;
    int64_t timestamp; /* microseconds since 1970-01-01T00:00:00Z */
  } as;
} eaves_value;

typedef struct {
  eaves_text name;
  eaves_type type;
  eaves_text unit; /* empty if none is set */
} eaves_attribute;

typedef struct eaves_batch eaves_batch;

/* One value with its surroundings. */
typedef struct {
  eaves_value value;
  eaves_attribute attribute;
  eaves_text entity;      /* the tenant's own name for it */
  eaves_text entity_type; /* empty if it is not known */
  int64_t observed_at;    /* microseconds since 1970-01-01T00:00:00Z */
  bool has_previous;      /* whether an earlier value is known; only of attributes in `previous` */
  eaves_value previous;
  int64_t previous_at;
  /* Where it stands: for eaves_sibling. */
  const eaves_batch *batch;
  size_t row, first, end;
} eaves_reading;

/* What you say of a value; it is accepted unless you say something else. */
typedef struct eaves_answer eaves_answer;
void eaves_reject(eaves_answer *answer, const char *code, const char *text_format, ...)
    __attribute__((format(printf, 3, 4)));
void eaves_replace(eaves_answer *answer, eaves_value value); /* must have the attribute's type */
void eaves_derive(eaves_answer *answer, const char *attribute, eaves_value value);
/* The whole batch could not be judged: the first call counts. */
void eaves_fail(eaves_answer *answer, const char *why);

/* Another value of the same reading; false if there is none. */
bool eaves_sibling(const eaves_reading *reading, const char *attribute, eaves_value *into);
/* The number of an integer, float or decimal as a double; false for what is no number. */
bool eaves_number(const eaves_value *value, double *into);
bool eaves_equal(eaves_text text, const char *other);
/* Change per second since the previous value; false if there is none or it is not earlier. */
bool eaves_rate(const eaves_reading *reading, double *per_second);

static inline eaves_value eaves_of_number(double number) {
  eaves_value value = {.type = EAVES_FLOAT, .as = {.number = number}};
  return value;
}
static inline eaves_value eaves_of_integer(int64_t integer) {
  eaves_value value = {.type = EAVES_INTEGER, .as = {.integer = integer}};
  return value;
}
static inline eaves_value eaves_of_boolean(bool boolean) {
  eaves_value value = {.type = EAVES_BOOLEAN, .as = {.boolean = boolean}};
  return value;
}
static inline eaves_value eaves_of_text(const char *bytes, size_t length) {
  eaves_value value = {.type = EAVES_STRING, .as = {.string = {bytes, length}}};
  return value;
}

/* Settings: a JSON object. A field that is of another type than asked for is a fault, which
 * ends `configure` by itself; a field that is not there leaves `into` as it is. */
typedef struct eaves_settings eaves_settings;
void eaves_setting_number(eaves_settings *settings, const char *field, double *into);
void eaves_setting_boolean(eaves_settings *settings, const char *field, bool *into);
/* The text is not ended by a zero and lives as long as the call. */
void eaves_setting_text(eaves_settings *settings, const char *field, eaves_text *into);
/* Says that a field is wrong; the first fault counts. */
void eaves_fault(eaves_settings *settings, const char *field, const char *message_format, ...)
    __attribute__((format(printf, 3, 4)));

/* What a plugin is. Lists end with NULL. */
typedef struct {
  const char *name;    /* lower case letters, digits and hyphens */
  const char *version; /* such as "1.0.0" */
  const char *settings_schema;        /* JSON Schema; NULL if it takes none */
  const char *const *attributes;      /* the only ones it wants to see; NULL for all */
  const char *const *entity_types;    /* likewise */
  const char *const *previous;        /* whose previous value it wants; NULL for none */
  size_t settings_size;               /* bytes of your settings; they begin as zeros */
  void (*configure)(eaves_settings *settings, void *into);
  void (*validate)(const eaves_reading *reading, const void *settings, eaves_answer *answer);
} eaves_plugin;

/* You define this. */
extern const eaves_plugin eaves_this;

/* What is known of one attribute. Rates and counts are estimates over the statistics' window. */
typedef struct {
  size_t index; /* its place in the statistics */
  eaves_text name;
  eaves_type type;
  eaves_text unit;        /* empty if none is set */
  bool hot;               /* in the projection: fast to read and filter by, dearer to write */
  double settled_seconds; /* since it became hot or ceased to be; since first seen if neither */
  double writes_per_second;
  uint64_t entities;        /* distinct entities with a value of it */
  uint64_t distinct_values;
  double change_ratio;      /* how many writes changed the value, from 0 to 1 */
  double value_bytes;       /* mean size of a value */
  double filters_per_second; /* queries that filter by it */
  double returns_per_second; /* queries that return it */
  double query_milliseconds; /* mean time of the queries that name it */
} eaves_attribute_statistics;

/* What is known of a tenant's attributes. */
typedef struct {
  double window_seconds;
  uint64_t tenant_entities;
  uint32_t byte_budget; /* of hot values of an entity, in bytes */
  size_t count;
  const eaves_attribute_statistics *attributes;
} eaves_statistics;

/* What becomes of an attribute. */
typedef enum { EAVES_KEEP, EAVES_PROMOTE, EAVES_DEMOTE } eaves_place;

/* Says so, and why: the code is for machines ("read_often"), the text for people. An attribute
 * of which nothing is said keeps its place; each may be decided once. */
typedef struct eaves_promotions eaves_promotions;
void eaves_decide(eaves_promotions *into, const eaves_attribute_statistics *attribute, eaves_place place,
                  const char *code, const char *text_format, ...) __attribute__((format(printf, 5, 6)));
/* Nothing can be decided: the first call counts. `why` must last. */
void eaves_decide_nothing(eaves_promotions *into, const char *why);

/* You define this in src/promotion.c, if your plugin is to decide which attributes are hot. A
 * project without that file leaves it to others. `settings` are those of `configure`. */
void eaves_promote(const eaves_statistics *statistics, const void *settings, eaves_promotions *into);

#ifdef __cplusplus
}
#endif
#endif
