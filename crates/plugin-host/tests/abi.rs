//! What the ABI promises: interest, previous values, promotion, and what calls cost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use eaves_model::batch::{Batch, Previous, Row};
use eaves_model::promotion::{AttributeStatistics, Statistics, Verdict};
use eaves_model::{Decimal, Value, ValueType};
use eaves_plugin_host::limits::MAX_ROWS_PER_CALL;
use eaves_plugin_host::{CallStats, CompileError, Interest, LoadError, PluginError};
use sha2::{Digest as _, Sha256};
use support::{DEADLINE, built, component, floats, host, load, module, reading};

/// Plugins that tenants have built are called by these items. What changes is another version beside this one;
/// only comments may be made clearer.
#[test]
fn the_interface_is_frozen() {
    let text = include_str!("../../../plugins/wit/eaves-rules/1.0.0/rules.wit");
    let lines = text.lines().map(str::trim);
    let items: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("//")).collect();
    let digest = hex::encode(Sha256::digest(items.join("\n")));
    assert_eq!(digest, "3f54885a87cc1b55ca856c9c4eddab0db672eb38243e46b3189137f1818c92b1");
}

#[test]
fn a_plugin_is_not_called_for_what_it_does_not_want() {
    let host = host();
    let plugin = load(&host, &built("dew-point"));
    let wanted = plugin.configure("{}", DEADLINE).unwrap();
    assert_eq!(wanted.attributes.as_deref(), Some(&["temperature".into(), "relative_humidity".into()][..]));
    let mut stats = CallStats::default();
    let batch = reading(&[("status", "", Value::Boolean(true))]);
    let decision = plugin.validate_counting(&batch, "{}", DEADLINE, &mut stats).unwrap();
    assert_eq!((decision, stats), Default::default());

    let batch = reading(&[("status", "", Value::Boolean(true)), ("temperature", "", Value::Float(1.0))]);
    plugin.validate_counting(&batch, "{}", DEADLINE, &mut stats).unwrap();
    assert_eq!((stats.calls, stats.values), (1, 1));
    assert!(stats.memory_peak_bytes >= 1 << 16 && !stats.duration.is_zero(), "{stats:?}");
}

#[test]
fn settings_are_asked_about_once_and_failures_cost_too() {
    let host = host();
    let plugin = load(&host, &component(&module("", "unreachable")));
    let mut stats = CallStats::default();
    for calls in [2, 3, 4] {
        plugin.validate_counting(&floats(), "{}", DEADLINE, &mut stats).unwrap_err();
        assert_eq!(stats.calls, calls);
    }
    assert_eq!(stats.values, 9);
}

#[test]
fn what_a_plugin_wants_follows_its_settings() {
    let host = host();
    let plugin = load(&host, &built("promoter"));
    assert_eq!(plugin.describe().interest, Interest::default());
    let wanted = plugin.configure(r#"{"growing": ["cycles"]}"#, DEADLINE).unwrap();
    assert_eq!(*wanted, Interest { previous: vec!["cycles".into()], ..Interest::default() });
}

/// Values of one entity, one reading a second.
fn series(attribute: &str, values: impl IntoIterator<Item = Value>) -> Batch {
    let mut values = values.into_iter();
    let mut batch = reading(&[(attribute, "", values.next().unwrap())]);
    let first = batch.rows[0].clone();
    batch.rows.extend(values.enumerate().map(|(i, value)| Row {
        observed_at: first.observed_at.plus_micros(1_000_000 * (i as i64 + 1)),
        value,
        ..first.clone()
    }));
    batch
}

const GROWING: &str = r#"{"growing": ["cycles"]}"#;

#[test]
fn the_value_before_is_the_hot_one_and_then_that_of_the_batch() {
    let host = host();
    let plugin = load(&host, &built("promoter"));
    let mut batch = series("cycles", [10, 4, 12, 11].map(Value::Integer));
    let known = batch.rows[0].observed_at.plus_micros(-1);
    let ask = |batch: &Batch| {
        let decision = plugin.validate(batch, GROWING, DEADLINE).unwrap();
        let rejected: Vec<_> = decision.rejected.iter().map(|(row, _)| *row).collect();
        let derived: Vec<_> = decision.derived.iter().map(|d| (d.row, d.value.clone())).collect();
        (rejected, derived)
    };
    let float = |row, by| (row, Value::Float(by));
    // A rejected value is nobody's value before.
    assert_eq!(ask(&batch), (vec![1, 3], vec![float(2, 2.0)]));
    batch.previous = vec![Previous { row: 0, observed_at: known, value: Value::Integer(7) }];
    assert_eq!(ask(&batch), (vec![1, 3], vec![float(0, 3.0), float(2, 2.0)]));
    // Not asked for: not told.
    let decision = plugin.validate(&batch, "{}", DEADLINE).unwrap();
    assert_eq!(decision, Default::default());
}

#[test]
fn texts_and_decimals_come_as_previous_values_too() {
    let host = host();
    let plugin = load(&host, &built("promoter"));
    let decimal = |text: &str| Value::Decimal(text.parse::<Decimal>().unwrap());
    let mut batch = series("cycles", [decimal("1.50"), decimal("1.75")]);
    let known = batch.rows[0].observed_at.plus_micros(-1);
    batch.previous = vec![Previous { row: 0, observed_at: known, value: decimal("1.25") }];
    let decision = plugin.validate(&batch, GROWING, DEADLINE).unwrap();
    let grown: Vec<_> = decision.derived.iter().map(|d| d.value.clone()).collect();
    assert_eq!(grown, [Value::Float(0.25), Value::Float(0.25)]);
}

/// Where a batch takes several calls, each begins with what the one before let pass.
#[test]
fn what_one_call_let_pass_is_known_to_the_next() {
    let host = host();
    let plugin = load(&host, &built("promoter"));
    let rows = MAX_ROWS_PER_CALL + 3;
    let mut batch =
        series("cycles", (0..rows).map(|i| Value::Integer(if i == rows - 4 { 0 } else { i as i64 })));
    let known = batch.rows[0].observed_at.plus_micros(-1);
    batch.previous = vec![Previous { row: 0, observed_at: known, value: Value::Integer(-1) }];
    let mut stats = CallStats::default();
    let decision = plugin.validate_counting(&batch, GROWING, DEADLINE, &mut stats).unwrap();
    assert_eq!((stats.calls, stats.values), (3, rows as u64));
    assert_eq!(decision.rejected.len(), 1);
    assert_eq!(decision.rejected[0].0 as usize, MAX_ROWS_PER_CALL - 1);
    assert_eq!(decision.derived.len(), rows - 1);
    let first_of_second = &decision.derived[MAX_ROWS_PER_CALL - 1];
    assert_eq!(
        (first_of_second.row as usize, &first_of_second.value),
        (MAX_ROWS_PER_CALL, &Value::Float(2.0))
    );
}

#[test]
fn a_previous_value_that_does_not_fit_is_the_callers_fault() {
    let host = host();
    let plugin = load(&host, &built("promoter"));
    let batch = series("cycles", [1, 2].map(Value::Integer));
    let at = batch.rows[0].observed_at;
    let given = |row, value: Value| Previous { row, observed_at: at, value };
    let one = Value::Integer(1);
    for previous in [
        vec![given(2, one.clone())],
        vec![given(0, Value::Float(1.0))],
        vec![given(1, one.clone()), given(0, one.clone())],
        vec![given(0, one.clone()), given(0, one)],
    ] {
        let batch = Batch { previous, ..batch.clone() };
        let error = plugin.validate(&batch, "{}", DEADLINE).unwrap_err();
        assert!(matches!(error, PluginError::BadBatch { .. }), "{error}");
    }
}

fn statistics() -> Statistics {
    let attribute = |name: &str, hot, filters_per_second| AttributeStatistics {
        name: name.into(),
        value_type: ValueType::Float,
        unit: "".into(),
        hot,
        settled_seconds: 60.0,
        writes_per_second: 1.0,
        entities: 5,
        distinct_values: 9,
        change_ratio: 0.5,
        value_bytes: 8.0,
        filters_per_second,
        returns_per_second: 0.0,
        query_milliseconds: 2.5,
    };
    Statistics {
        window_seconds: 300.0,
        tenant_entities: 5,
        byte_budget: 2048,
        attributes: vec![
            attribute("read", false, 3.0),
            attribute("idle", true, 0.0),
            attribute("kept", true, 9.0),
        ],
    }
}

#[test]
fn a_plugin_decides_which_attributes_are_hot() {
    let host = host();
    let plugin = load(&host, &built("promoter"));
    assert!(plugin.promotes());
    let decided = plugin.promote(&statistics(), r#"{"worth": 1}"#, DEADLINE).unwrap();
    let shown: Vec<_> =
        decided.iter().map(|d| (d.attribute, d.verdict, &*d.reason.code.0, d.reason.text.as_str())).collect();
    assert_eq!(
        shown,
        [(0, Verdict::Promote, "read_often", "3/s"), (1, Verdict::Demote, "not_read", "not worth its place")]
    );
    assert!(plugin.promote(&Statistics::default(), "{}", DEADLINE).unwrap().is_empty());
    let error = plugin.promote(&statistics(), r#"{"worth": "much"}"#, DEADLINE).unwrap_err();
    assert!(matches!(error, PluginError::Settings { .. }), "{error}");
}

#[test]
fn a_plugin_without_an_opinion_on_promotion_says_so() {
    let host = host();
    let plugin = load(&host, &built("telemetry-rules"));
    assert!(!plugin.promotes());
    let error = plugin.promote(&statistics(), "{}", DEADLINE).unwrap_err();
    assert!(matches!(error, PluginError::NoPromotion), "{error}");
}

#[test]
fn a_component_exports_what_a_plugin_exports_and_nothing_else() {
    let host = host();
    let refused = |wasm: &[u8], wanted: &str| {
        let error = host.check_and_compile(wasm).unwrap_err();
        let shown = error.to_string();
        assert!(matches!(error, CompileError::NotAPlugin(LoadError::WrongWorld(_))), "{shown}");
        assert!(shown.contains(wanted), "{shown}");
    };
    refused(&wat::parse_str("(component)").unwrap(), "no exported instance");
    let text = r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
        (func (export "backdoor") (canon lift (core func $i "f"))))"#;
    refused(&wat::parse_str(text).unwrap(), "backdoor");
    let text = r#"(component (instance $i) (export "eaves:rules/validation@1.0.0" (instance $i)))"#;
    refused(&wat::parse_str(text).unwrap(), "describe");
    let text = r#"(component (instance $i) (export "eaves:rules/validation@0.1.0" (instance $i)))"#;
    refused(&wat::parse_str(text).unwrap(), "validation@0.1.0");
}
