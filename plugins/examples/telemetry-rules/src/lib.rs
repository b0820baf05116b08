//! Rules without code: range, allowed values and unit of each attribute, set by JSON.
//!
//! The settings are described in `docs/plugins.md` and `settings.schema.json`.

mod rule;

use eaves_plugin_sdk::{Reading, SettingsFault, Verdict, export_plugin};
use rule::Settings;

fn validate(reading: &Reading<'_>, settings: &Settings) -> Verdict {
    let attribute = reading.attribute();
    match settings.attributes.get(attribute) {
        Some(rule) => rule.judge(reading),
        None if settings.reject_others => {
            Verdict::reject("no_rule", format!("{:?} has no rule and others are rejected", attribute.name))
        }
        None => Verdict::accept(),
    }
}

fn check(settings: &Settings) -> Result<(), SettingsFault> {
    settings.attributes.iter().try_for_each(|(name, rule)| rule.check(&format!("attributes.{name}")))
}

export_plugin! {
    settings: Settings,
    validate: validate,
    check: check,
    settings_schema: include_str!("settings.schema.json"),
}

#[cfg(test)]
mod tests {
    use super::*;
    use eaves_plugin_sdk::{Decimal, Value, testing};

    const RULES: &str = r#"{"attributes": {
        "temperature": {"min": -40, "max": 125, "unit": "degC",
                        "convert": {"from": "degF", "to": "degC", "entity_types": ["legacy"]}},
        "status": {"allowed": ["online", "offline"]},
        "count": {"min": 0, "max": 9007199254740993},
        "price": {"max": "0.1"}}}"#;

    fn on(entity_type: &str, attribute: &str, unit: &str, value: Value<'_>) -> Verdict {
        let sample = testing::Sample::of("e", entity_type).value(attribute, unit, value);
        sample.judge(RULES, validate).unwrap().remove(0)
    }

    #[track_caller]
    fn rejected(verdict: &Verdict, code: &str, text: &str) {
        let shown = format!("{verdict:?}");
        assert!(shown.contains(&format!("{code:?}")) && shown.contains(text), "{shown}");
    }

    #[test]
    fn values_in_range_pass_and_others_say_the_bound() {
        assert_eq!(on("", "temperature", "degC", 125.0.into()), Verdict::accept());
        rejected(&on("", "temperature", "", 125.5.into()), "above_range", "125.5 is above 125");
        rejected(&on("", "temperature", "", Value::Integer(-41)), "below_range", "-41 is below -40");
        rejected(&on("", "temperature", "", "hot".into()), "not_a_number", "hot");
    }

    #[test]
    fn bounds_are_exact_for_integers_and_decimals() {
        assert_eq!(on("", "count", "", Value::Integer(9_007_199_254_740_993)), Verdict::accept());
        rejected(&on("", "count", "", Value::Integer(9_007_199_254_740_994)), "above_range", "above");
        let tenth: Decimal = "0.10".parse().unwrap();
        assert_eq!(on("", "price", "", tenth.into()), Verdict::accept());
        let more: Decimal = "0.1000000000000000000000000001".parse().unwrap();
        rejected(&on("", "price", "", more.into()), "above_range", "0.1");
    }

    #[test]
    fn fahrenheit_of_old_devices_becomes_celsius_before_the_range_is_checked() {
        assert_eq!(on("legacy", "temperature", "degC", 212.0.into()), Verdict::replace(100.0));
        rejected(&on("legacy", "temperature", "degC", 300.0.into()), "above_range", "148.8");
        assert_eq!(on("new", "temperature", "degC", 100.0.into()), Verdict::accept());
    }

    #[test]
    fn units_and_allowed_values_are_checked() {
        rejected(&on("", "temperature", "K", 20.0.into()), "wrong_unit", "degC");
        assert_eq!(on("", "status", "", "online".into()), Verdict::accept());
        rejected(&on("", "status", "", "onlien".into()), "not_allowed", "online, offline");
    }

    #[track_caller]
    fn bad_settings(json: &str, path: &str, message: &str) {
        let read = testing::read_settings::<Settings>(json).and_then(|s| check(&s));
        let fault = read.unwrap_err();
        assert!(fault.path == path && fault.message.contains(message), "{fault:?}");
    }

    #[test]
    fn a_bad_setting_is_named_by_its_path() {
        bad_settings(r#"{"attributes":{"t":{"min":"low"}}}"#, "attributes.t.min", "number");
        bad_settings(r#"{"attributes":{"t":{"minimum":1}}}"#, "attributes.t.minimum", "unknown field");
        bad_settings(r#"{"attributes":{"t":{"min":2,"max":1}}}"#, "attributes.t.max", "1 is below min 2");
        bad_settings(r#"{"attributes":{"t":{"allowed":[]}}}"#, "attributes.t.allowed", "no value");
        let convert = r#"{"attributes":{"t":{"convert":{"from":"degF","to":"bar"}}}}"#;
        bad_settings(convert, "attributes.t.convert", "degF cannot be converted to bar");
        bad_settings(r#"{"attributes":{"t":{},"t":{}}}"#, "attributes", "twice");
    }
}
