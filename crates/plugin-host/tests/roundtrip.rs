//! Values go through a plugin and come back as they were.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use eaves_model::batch::{AttributeInfo, Batch, Derived, EntityInfo, Row};
use eaves_model::{Decimal, Timestamp, Value, ValueType};
use eaves_plugin_host::limits::MAX_ROWS_PER_CALL;
use eaves_plugin_host::{Host, Plugin};
use proptest::prelude::*;
use std::sync::LazyLock;
use support::{DEADLINE, built, host, load};

static ECHO: LazyLock<(Host, Plugin)> = LazyLock::new(|| {
    let host = host();
    let plugin = load(&host, &built("echo"));
    (host, plugin)
});

fn finite() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |f| f.is_finite())
}

fn decimal() -> impl Strategy<Value = Decimal> {
    let digits = -(10_i128.pow(28) - 1)..10_i128.pow(28);
    (digits, 0..=28_u32).prop_map(|(digits, scale)| Decimal::from_i128_with_scale(digits, scale))
}

fn value(value_type: ValueType) -> BoxedStrategy<Value> {
    match value_type {
        ValueType::String => any::<String>().prop_map(|s| Value::String(s.into())).boxed(),
        ValueType::Integer => any::<i64>().prop_map(Value::Integer).boxed(),
        ValueType::Float => finite().prop_map(Value::Float).boxed(),
        ValueType::Decimal => decimal().prop_map(Value::Decimal).boxed(),
        ValueType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        ValueType::Timestamp => (-62_135_596_800_000_000..253_402_207_200_000_000_i64)
            .prop_map(|us| Value::Timestamp(Timestamp::from_micros(us).unwrap()))
            .boxed(),
    }
}

fn rows() -> impl Strategy<Value = Vec<(u32, usize, i64, Value)>> {
    let row = (0..5_u32, 0..6_usize, 0..3_i64).prop_flat_map(|(entity, attribute, time)| {
        let value = value(ValueType::ALL[attribute]);
        (Just(entity), Just(attribute), Just(time), value)
    });
    prop::collection::vec(row, 1..60)
}

fn batch(rows: Vec<(u32, usize, i64, Value)>) -> Batch {
    let time = |n: i64| Timestamp::from_micros(1_767_225_600_000_000 + n).unwrap();
    Batch {
        entities: (0..5)
            .map(|i| EntityInfo { external_id: format!("é{i}").into(), entity_type: "".into() })
            .collect(),
        attributes: ValueType::ALL
            .iter()
            .map(|t| AttributeInfo { name: t.name().into(), value_type: *t, unit: "".into() })
            .collect(),
        rows: rows
            .into_iter()
            .map(|(entity, attribute, at, value)| Row {
                entity,
                attribute: attribute as u32,
                observed_at: time(at),
                value,
            })
            .collect(),
        previous: Vec::new(),
    }
}

/// Bits and digits, not just equal numbers: -0 is not 0 and 1.50 is not 1.5.
fn exactly(value: &Value) -> String {
    match value {
        Value::Float(f) => format!("{:016x}", f.to_bits()),
        other => format!("{other:?}"),
    }
}

fn check(batch: &Batch) {
    let decision = ECHO.1.validate(batch, "{}", DEADLINE).unwrap();
    assert!(decision.rejected.is_empty());
    assert_eq!(decision.replaced.len(), batch.rows.len());
    assert_eq!(decision.derived.len(), batch.rows.len());
    for (i, row) in batch.rows.iter().enumerate() {
        let (replaced, value) = &decision.replaced[i];
        assert_eq!((*replaced as usize, exactly(value)), (i, exactly(&row.value)));
        let Derived { row: from, attribute, value } = &decision.derived[i];
        let name = format!("copy.{}", batch.attributes[row.attribute as usize].name);
        assert_eq!((*from as usize, &**attribute, exactly(value)), (i, &*name, exactly(&row.value)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_value_comes_back_exactly(rows in rows()) {
        check(&batch(rows));
    }
}

#[test]
fn the_edges_come_back_exactly() {
    let edges: Vec<Value> = vec![
        Value::Float(-0.0),
        Value::Float(f64::MIN_POSITIVE / 2.0),
        Value::Float(f64::MAX),
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Decimal("9999999999999999999999999999".parse().unwrap()),
        Value::Decimal("-0.0000000000000000000000000001".parse().unwrap()),
        Value::Decimal("1.50".parse().unwrap()),
        Value::String("".into()),
        Value::String("\u{10ffff}\0é".into()),
        Value::String("x".repeat(64 * 1024).into()),
        Value::Boolean(true),
        Value::Timestamp(Timestamp::from_micros(-1).unwrap()),
    ];
    let row = |v: Value| {
        let attribute = ValueType::ALL.iter().position(|t| *t == v.value_type()).unwrap();
        (0, attribute, 0, v)
    };
    check(&batch(edges.into_iter().map(row).collect()));
}

#[test]
fn a_batch_of_several_calls_is_one_decision() {
    let rows = (0..MAX_ROWS_PER_CALL * 2 + 7).map(|i| (0, 1, (i / 3) as i64, Value::Integer(i as i64)));
    check(&batch(rows.collect()));
}
