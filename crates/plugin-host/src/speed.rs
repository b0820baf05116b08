//! How fast a plugin is: the figure `plugin_ns_per_value` of the benchmarks.

use crate::{Plugin, PluginError};
use eaves_model::batch::{AttributeInfo, Batch, EntityInfo, Row};
use eaves_model::{Timestamp, Value, ValueType};
use std::time::{Duration, Instant};

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Values a call.
    pub values: usize,
    /// Calls.
    pub calls: usize,
    /// Median nanoseconds a value, building and reading the columns included.
    pub median_ns: f64,
    /// 95th percentile of the same.
    pub p95_ns: f64,
}

/// Readings as devices send them: ten values each, nine of them numbers and one a status.
pub fn device_batch(values: usize) -> Batch {
    const NAMES: [&str; 10] = [
        "temperature",
        "relative_humidity",
        "pressure",
        "flow",
        "vibration",
        "voltage",
        "current",
        "power",
        "cycles",
        "status",
    ];
    let value_type = |i: usize| match NAMES[i] {
        "cycles" => ValueType::Integer,
        "status" => ValueType::String,
        _ => ValueType::Float,
    };
    let attribute = |i: usize| AttributeInfo {
        name: NAMES[i].into(),
        value_type: value_type(i),
        unit: if i == 0 { "degC".into() } else { "".into() },
    };
    let entity =
        |i: usize| EntityInfo { external_id: format!("pump-{i}").into(), entity_type: "pump".into() };
    let start = Timestamp::from_micros(1_767_225_600_000_000).unwrap_or_else(Timestamp::now);
    let row = |i: usize| Row {
        entity: (i / NAMES.len()) as u32,
        attribute: (i % NAMES.len()) as u32,
        observed_at: start.plus_micros((i / NAMES.len()) as i64 * 1_000),
        value: match value_type(i % NAMES.len()) {
            ValueType::Integer => Value::Integer(i as i64),
            ValueType::String => Value::String("online".into()),
            _ => Value::Float(20.0 + (i % 500) as f64 / 10.0),
        },
    };
    Batch {
        entities: (0..values.div_ceil(NAMES.len())).map(entity).collect(),
        attributes: (0..NAMES.len()).map(attribute).collect(),
        rows: (0..values).map(row).collect(),
        previous: Vec::new(),
    }
}

/// Calls the plugin again and again with the same batch.
pub fn measure(plugin: &Plugin, batch: &Batch, settings: &str, calls: usize) -> Result<Speed, PluginError> {
    let deadline = Duration::from_secs(10);
    let values = batch.rows.len().max(1);
    let mut times = Vec::with_capacity(calls);
    // The first calls touch memory that later ones find ready.
    for call in 0..calls + 5 {
        let start = Instant::now();
        let decision = plugin.validate(batch, settings, deadline)?;
        let took = start.elapsed();
        drop(std::hint::black_box(decision));
        if call >= 5 {
            times.push(took.as_nanos() as f64 / values as f64);
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    Ok(Speed { values, calls, median_ns: at(0.5), p95_ns: at(0.95) })
}
