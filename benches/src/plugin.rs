//! What a plugin call costs per value, against the same rules written in the host.

use crate::results::{Figure, percentile};
use anyhow::{Context as _, Result};
use eaves_model::Value;
use eaves_model::batch::Batch;
use eaves_plugin_host::{Host, HostConfig, speed};
use std::hint::black_box;
use std::time::Instant;

const VALUES: usize = 10_000;
const CALLS: usize = 200;

pub(crate) const SETTINGS: &str = r#"{"attributes":{"temperature":{"min":-40,"max":150},"pressure":{"min":0,"max":16},"status":{"allowed":["online","idle","fault"]}}}"#;

/// The component of the range, enum and unit rules.
pub(crate) fn telemetry_rules() -> Result<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins/telemetry-rules.wasm");
    std::fs::read(path).with_context(|| format!("read {path}: run `make plugins`"))
}

pub(crate) fn measure() -> Result<Figure> {
    let host = Host::new(HostConfig::new(&"5a".repeat(32))?)?;
    let plugin = host.load(&host.check_and_compile(&telemetry_rules()?)?)?;
    let batch = speed::device_batch(VALUES);
    let measured = speed::measure(&plugin, &batch, SETTINGS, CALLS)?;
    let mut native: Vec<f64> = (0..CALLS).map(|_| in_the_host(&batch)).collect();
    let native = percentile(&mut native, 50.0);
    let note = format!(
        "{VALUES} values a call, columns built and read, a fresh instance per call; p95 {:.1} ns; baseline: one native range check per value",
        measured.p95_ns
    );
    Ok(Figure::new("plugin_ns_per_value", measured.median_ns, "ns", native, CALLS as u64, note))
}

/// A range check in Rust over the same rows, in nanoseconds per value.
fn in_the_host(batch: &Batch) -> f64 {
    let started = Instant::now();
    let mut outside = 0u32;
    for row in &batch.rows {
        let ok = match black_box(&row.value) {
            Value::Float(f) => (-40.0..=150.0).contains(f),
            Value::Integer(i) => (-40..=150).contains(i),
            Value::String(s) => matches!(&**s, "online" | "idle" | "fault"),
            _ => true,
        };
        outside += u32::from(!ok);
    }
    black_box(outside);
    started.elapsed().as_secs_f64() * 1e9 / batch.rows.len() as f64
}
