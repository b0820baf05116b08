use super::*;
use eaves_plugin_sdk::testing::{Sample, read_settings};
use eaves_plugin_sdk::{Decimal, Value};

#[track_caller]
fn judge(sample: &Sample, settings: &str) -> Vec<Verdict> {
    let checked = read_settings::<Settings>(settings).and_then(|s| check(&s));
    assert_eq!(checked, Ok(()));
    sample.judge(settings, validate).unwrap()
}

#[track_caller]
fn rejected(verdict: &Verdict, code: &str, text: &str) {
    let shown = format!("{verdict:?}");
    assert!(shown.contains(&format!("{code:?}")) && shown.contains(text), "{shown}");
}

fn sample(value: Value<'_>) -> Sample {
    Sample::of("meter-1", "meter").value("x", "", value)
}

#[test]
fn range_enum_pattern_and_unit() {
    let limits = r#"{"attributes": {"x": {"min": 0, "max": "0.1"}}}"#;
    let decimal = |text: &str| Value::Decimal(text.parse::<Decimal>().unwrap());
    assert_eq!(judge(&sample(decimal("0.10")), limits), [Verdict::accept()]);
    rejected(
        &judge(&sample(decimal("0.1000000000000000000000000001")), limits)[0],
        "above_range",
        "above 0.1",
    );
    rejected(&judge(&sample(Value::Float(-0.5)), limits)[0], "below_range", "-0.5 is below 0");
    rejected(&judge(&sample("warm".into()), limits)[0], "not_a_number", "warm");
    let states = r#"{"attributes": {"x": {"enum": ["on", "off"]}}}"#;
    assert_eq!(judge(&sample("on".into()), states), [Verdict::accept()]);
    rejected(&judge(&sample("onn".into()), states)[0], "not_allowed", "on, off");
    let shape = r#"{"attributes": {"x": {"pattern": "P-####"}}}"#;
    assert_eq!(judge(&sample("P-0042".into()), shape), [Verdict::accept()]);
    rejected(&judge(&sample("P-42".into()), shape)[0], "wrong_pattern", "P-42");
    let unit = r#"{"attributes": {"x": {"unit": "degC"}}}"#;
    let kelvin = Sample::of("e", "").value("x", "K", 290.0.into());
    rejected(&judge(&kelvin, unit)[0], "wrong_unit", "K, not degC");
}

#[test]
fn conversion_comes_before_the_rules_that_compare() {
    let settings = r#"{"attributes": {"x": {"convert": {"from": "degF", "to": "degC", "entity_types": ["old"]},
        "max": 125, "max_rate": {"change": 10, "per": "1s"}}}}"#;
    let old = Sample::of("e", "old")
        .value("x", "", 212.0.into())
        .with_previous(1.0, 95.0.into())
        .after(1.0)
        .value("x", "", 248.0.into())
        .after(1.0)
        .value("x", "", 221.0.into());
    let verdicts = judge(&old, settings);
    assert_eq!(verdicts[0], Verdict::replace(100.0));
    rejected(&verdicts[1], "too_fast", "changed by 20");
    // Compared with 100 two seconds before, because 120 was rejected.
    assert_eq!(verdicts[2], Verdict::replace(105.0));
    assert_eq!(judge(&Sample::of("e", "new").value("x", "", 100.0.into()), settings), [Verdict::accept()]);
}

#[test]
fn a_reading_must_hold_what_its_entity_type_requires() {
    let settings = r#"{"required": {"pump": ["flow"], "*": ["status"]}}"#;
    let whole = Sample::of("p", "pump").value("flow", "", 1.0.into()).value("status", "", "on".into());
    assert_eq!(judge(&whole, settings), [Verdict::accept(), Verdict::accept()]);
    let lacking = Sample::of("p", "pump").value("rpm", "", 1.0.into()).value("status", "", "on".into());
    let verdicts = judge(&lacking, settings);
    verdicts.iter().for_each(|v| rejected(v, "missing_attribute", "the reading of pump has no flow"));
    let other = Sample::of("v", "valve").value("status", "", "on".into());
    assert_eq!(judge(&other, settings), [Verdict::accept()]);
}

#[test]
fn a_counter_does_not_fall_but_for_resets() {
    let counter = r#"{"attributes": {"x": {"counter": {}}}}"#;
    let falls =
        |to: i64| sample(Value::Integer(to)).with_previous(1.0, Value::Integer(9_007_199_254_740_993));
    rejected(&judge(&falls(9_007_199_254_740_992), counter)[0], "counter_fell", "does not fall");
    assert_eq!(judge(&falls(9_007_199_254_740_993), counter), [Verdict::accept()]);
    let resets = r#"{"attributes": {"x": {"counter": {"reset_to": 10}}}}"#;
    assert_eq!(judge(&falls(7), resets), [Verdict::accept()]);
    rejected(&judge(&falls(11), resets)[0], "counter_fell", "11 is below");
    // A value that comes late is not compared with what came after it.
    let late = sample(Value::Integer(5)).with_previous(-60.0, Value::Integer(9));
    assert_eq!(judge(&late, counter), [Verdict::accept()]);
}

#[test]
fn the_rate_of_change_is_limited_both_ways() {
    let settings = r#"{"attributes": {"x": {"max_rate": {"change": 60, "per": "1m"}}}}"#;
    let to = |value: f64| sample(value.into()).with_previous(10.0, 20.0.into());
    assert_eq!(judge(&to(30.0), settings), [Verdict::accept()]);
    rejected(&judge(&to(31.0), settings)[0], "too_fast", "66.000000 per 1m, over 60");
    rejected(&judge(&to(9.0), settings)[0], "too_fast", "-66");
    // At the very same time there is no rate.
    let at_once = sample(500.0.into()).with_previous(0.0, 20.0.into());
    assert_eq!(judge(&at_once, settings), [Verdict::accept()]);
}

#[test]
fn a_value_that_stays_the_same_becomes_stale() {
    let settings = r#"{"attributes": {"x": {"stale": {"same_for": "30s", "older_than": "1h"}}}}"#;
    let stuck = sample(20.0.into())
        .with_previous(10.0, 20.0.into())
        .after(10.0)
        .value("x", "", 20.0.into())
        .after(10.0)
        .value("x", "", 20.0.into())
        .after(1.0)
        .value("x", "", 21.0.into());
    let verdicts = judge(&stuck, settings);
    assert_eq!(verdicts[..2], [Verdict::accept(), Verdict::accept()]);
    rejected(&verdicts[2], "stale", "has been 20 for 30 s");
    assert_eq!(verdicts[3], Verdict::accept());
    let late = sample(1.0.into()).with_previous(-3_601.0, 2.0.into());
    rejected(&judge(&late, settings)[0], "too_old", "3601 s older");
}

#[test]
fn it_sees_only_what_it_has_rules_for() {
    let of = |json: &str| interest(&read_settings::<Settings>(json).unwrap());
    let some = of(r#"{"attributes": {"a": {"min": 0}, "b": {"counter": {}}}}"#);
    assert_eq!(some.attributes, Some(vec!["a".into(), "b".into()]));
    assert_eq!(some.previous, ["b"]);
    assert_eq!(of(r#"{"reject_others": true}"#).attributes, None);
    assert_eq!(of(r#"{"required": {"*": ["a"]}}"#).attributes, None);
    rejected(&judge(&sample(1.0.into()), r#"{"reject_others": true}"#)[0], "no_rule", "x");
}

#[test]
fn a_bad_setting_is_named_by_its_path() {
    for (json, path, message) in [
        (r#"{"attributes": {"t": {"min": "low"}}}"#, "attributes.t.min", "number"),
        (r#"{"attributes": {"t": {"minimum": 1}}}"#, "attributes.t.minimum", "unknown field"),
        (r#"{"attributes": {"t": {"min": 2, "max": 1}}}"#, "attributes.t.max", "1 is below min 2"),
        (r#"{"attributes": {"t": {"enum": []}}}"#, "attributes.t.enum", "no value"),
        (r#"{"attributes": {"t": {"enum": ["a", 1]}}}"#, "attributes.t.enum[1]", "string"),
        (
            r#"{"attributes": {"t": {"max_rate": {"change": 1, "per": "soon"}}}}"#,
            "attributes.t.max_rate.per",
            "10m",
        ),
        (
            r#"{"attributes": {"t": {"max_rate": {"change": 1, "per": "0s"}}}}"#,
            "attributes.t.max_rate.per",
            "10m",
        ),
        (
            r#"{"attributes": {"t": {"max_rate": {"change": 0, "per": "1s"}}}}"#,
            "attributes.t.max_rate.change",
            "above 0",
        ),
        (r#"{"attributes": {"t": {"max_rate": {"change": 1}}}}"#, "attributes.t.max_rate", "per"),
        (
            r#"{"attributes": {"t": {"counter": {"reset_to": []}}}}"#,
            "attributes.t.counter.reset_to",
            "number",
        ),
        (r#"{"attributes": {"t": {"stale": {}}}}"#, "attributes.t.stale", "same_for"),
        (
            r#"{"attributes": {"t": {"convert": {"from": "degF", "to": "bar"}}}}"#,
            "attributes.t.convert",
            "degF",
        ),
        (r#"{"required": {"pump": []}}"#, "required.pump", "no attribute"),
        (r#"{"required": {"pump": ["a", ""]}}"#, "required.pump[1]", "not empty"),
        (r#"{"reject_others": "yes"}"#, "reject_others", "boolean"),
        ("[]", "", "object"),
    ] {
        let fault = read_settings::<Settings>(json).and_then(|s| check(&s)).unwrap_err();
        assert!(fault.path == path && fault.message.contains(message), "{json}: {fault:?}");
    }
}
