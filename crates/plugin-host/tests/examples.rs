//! The built examples through the host, as a tenant's batches would meet them.

mod support;

use eaves_model::{Code, Value};
use eaves_plugin_host::PluginError;
use support::{DEADLINE, built, host, load, reading};

#[test]
fn telemetry_rules_reject_replace_and_explain() {
    let host = host();
    let plugin = load(&host, &built("telemetry-rules"));
    assert_eq!((&*plugin.describe().name, &*plugin.describe().version), ("telemetry-rules", "0.1.0"));
    assert!(plugin.describe().settings_schema.contains("reject_others"));
    let batch = reading(&[
        ("temperature", "degC", Value::Float(212.0)),
        ("pressure", "bar", Value::Float(-1.0)),
        ("status", "", Value::String("onlien".into())),
        ("serial", "", Value::Integer(i64::MAX)),
    ]);
    let settings = r#"{"attributes": {
        "temperature": {"convert": {"from": "degF", "to": "degC"}, "max": 125},
        "pressure": {"min": 0}, "status": {"allowed": ["online", "offline"]}}}"#;
    let decision = plugin.validate(&batch, settings, DEADLINE).unwrap();
    assert_eq!(decision.replaced, [(0, Value::Float(100.0))]);
    let rejected: Vec<_> = decision
        .rejected
        .iter()
        .map(|(row, why)| (*row, decision.reasons[*why as usize].text.as_str()))
        .collect();
    assert_eq!(rejected, [(1, "-1 is below 0"), (2, "onlien is none of online, offline")]);
    assert_eq!(decision.reasons[0].code, Code("below_range".into()));
    assert!(decision.derived.is_empty());
}

#[test]
fn settings_are_refused_with_the_path() {
    let host = host();
    let plugin = load(&host, &built("telemetry-rules"));
    plugin.configure("{}", DEADLINE).unwrap();
    let wrong = r#"{"attributes": {"temperature": {"max": "hot"}}}"#;
    let error = plugin.configure(wrong, DEADLINE).unwrap_err();
    let shown = error.to_string();
    assert!(matches!(error, PluginError::Settings { .. }), "{shown}");
    assert!(shown.contains("at attributes.temperature.max") && shown.contains("not a number"), "{shown}");
    // The same in a batch: the caller learns that it is the settings' fault.
    let batch = reading(&[("temperature", "", Value::Float(1.0))]);
    let error = plugin.validate(&batch, "not json", DEADLINE).unwrap_err();
    assert!(matches!(error, PluginError::Settings { .. }), "{error}");
}

#[test]
fn dew_point_is_derived_from_the_same_reading_only() {
    let host = host();
    let plugin = load(&host, &built("dew-point"));
    let mut batch = reading(&[
        ("status", "", Value::String("online".into())),
        ("temperature", "degC", Value::Float(25.0)),
        ("relative_humidity", "%", Value::Integer(50)),
    ]);
    // A second reading, without humidity.
    let mut alone = batch.rows[1].clone();
    alone.observed_at = alone.observed_at.plus_micros(1);
    batch.rows.push(alone);
    let decision = plugin.validate(&batch, "{}", DEADLINE).unwrap();
    assert_eq!((decision.rejected.len(), decision.replaced.len()), (0, 0));
    let [derived] = decision.derived.as_slice() else { panic!("{decision:?}") };
    assert_eq!((derived.row, &*derived.attribute), (1, "dew_point"));
    assert_eq!(derived.value, Value::Float(13.85));
}

#[test]
fn threads_share_a_plugin() {
    let host = host();
    let plugin = load(&host, &built("telemetry-rules"));
    let batch = eaves_plugin_host::speed::device_batch(1_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    plugin.validate(&batch, "{}", DEADLINE).unwrap();
                }
            });
        }
    });
}
