/* Three rules to start from: a highest temperature, how fast it may rise, and which states a
 * device may report. A temperature near the limit is marked by a value of its own. */
#include "eaves.h"

typedef struct {
  double highest;             /* degC */
  double max_rise_per_second; /* degC a second; 0 for any */
} limits;

static void configure(eaves_settings *settings, void *into) {
  limits *own = into;
  own->highest = 90;
  eaves_setting_number(settings, "highest", &own->highest);
  eaves_setting_number(settings, "max_rise_per_second", &own->max_rise_per_second);
  if (own->max_rise_per_second < 0) eaves_fault(settings, "max_rise_per_second", "must not be below 0");
}

static void temperature(const eaves_reading *reading, const limits *own, eaves_answer *answer) {
  double degrees, rate;
  if (!eaves_number(&reading->value, &degrees)) return;
  if (degrees > own->highest) {
    eaves_reject(answer, "too_hot", "%g is over %g", degrees, own->highest);
    return;
  }
  if (own->max_rise_per_second > 0 && eaves_rate(reading, &rate) && rate > own->max_rise_per_second) {
    eaves_reject(answer, "too_fast", "rose by %g a second, at most %g is plausible", rate,
                 own->max_rise_per_second);
    return;
  }
  if (degrees > own->highest - 5) eaves_derive(answer, "near_limit", eaves_of_boolean(true));
}

static void validate(const eaves_reading *reading, const void *settings, eaves_answer *answer) {
  if (eaves_equal(reading->attribute.name, "temperature")) {
    temperature(reading, settings, answer);
  } else if (reading->value.type == EAVES_STRING) {
    eaves_text state = reading->value.as.string;
    if (!eaves_equal(state, "online") && !eaves_equal(state, "offline") && !eaves_equal(state, "fault"))
      eaves_reject(answer, "unknown_state", "%.*s is none of online, offline, fault",
                   (int)(state.length < 40 ? state.length : 40), state.bytes);
  }
}

static const char *const attributes[] = {"temperature", "status", NULL};
static const char *const previous[] = {"temperature", NULL};

const eaves_plugin eaves_this = {
    .name = "{{name}}",
    .version = "0.1.0",
    .settings_schema = "{\"type\": \"object\", \"properties\": {\"highest\": {\"type\": \"number\"},"
                       " \"max_rise_per_second\": {\"type\": \"number\", \"minimum\": 0}}}",
    .attributes = attributes,
    .previous = previous,
    .settings_size = sizeof(limits),
    .configure = configure,
    .validate = validate,
};
