/* Takes every value, and decides which attributes are hot: see promotion.c. */
#include "settings.h"

static void configure(eaves_settings *settings, void *into) {
  read_often *own = into;
  own->worth = 1;
  eaves_setting_number(settings, "worth", &own->worth);
  if (own->worth <= 0) eaves_fault(settings, "worth", "must be above 0");
}

static void validate(const eaves_reading *reading, const void *settings, eaves_answer *answer) {
  (void)reading, (void)settings, (void)answer;
}

/* No value is of interest: the plugin is never called for one. */
static const char *const none[] = {NULL};

const eaves_plugin eaves_this = {
    .name = "read-often",
    .version = "1.0.0",
    .settings_schema = "{\"type\": \"object\", \"properties\": {\"worth\": {\"type\": \"number\", \"exclusiveMinimum\": 0}}}",
    .attributes = none,
    .settings_size = sizeof(read_often),
    .configure = configure,
    .validate = validate,
};
