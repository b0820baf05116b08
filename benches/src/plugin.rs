//! What a plugin call costs per value: in this process, beside Extism doing the same, and in a
//! process of its own; and what loading costs.

use crate::results::{Figure, percentile};
use anyhow::{Context as _, Result};
use eaves_model::Value;
use eaves_model::batch::Batch;
use eaves_plugin_host::{Host, HostConfig, RunnerCommand, speed};
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const VALUES: usize = 10_000;
const CALLS: usize = 200;

pub(crate) const SETTINGS: &str = r#"{"attributes":{"temperature":{"min":-40,"max":150},"pressure":{"min":0,"max":16},"status":{"allowed":["online","idle","fault"]}}}"#;

/// The component of the range, enum and unit rules.
pub(crate) fn telemetry_rules() -> Result<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins/telemetry-rules.wasm");
    std::fs::read(path).with_context(|| format!("read {path}: run `make plugins`"))
}

/// The same rules with bounds that 1 % of [`speed::device_batch`]'s values are outside of: each
/// costs a reason with its number in it.
pub(crate) const ONE_PERCENT: &str = r#"{"attributes":{"temperature":{"min":-40,"max":150},"pressure":{"min":0,"max":65},"status":{"allowed":["online","idle","fault"]}}}"#;

pub(crate) const NAMES: [&str; 3] =
    ["plugin_ns_per_value", "plugin_isolated_extra_ns_per_value", "plugin_cold_load_ms"];

pub(crate) fn measure() -> Result<Vec<Figure>> {
    let config = || HostConfig::new(&"5a".repeat(32));
    let host = Host::new(config()?)?;
    let artefact = host.check_and_compile(&telemetry_rules()?)?;
    let plugin = host.load(&artefact)?;
    let batch = speed::device_batch(VALUES);
    let rejected = plugin.validate(&batch, ONE_PERCENT, Duration::from_secs(1))?.rejected.len();
    let here = speed::measure(&plugin, &batch, ONE_PERCENT, CALLS)?;
    let mut native: Vec<f64> = (0..CALLS).map(|_| in_the_host(&batch)).collect();
    let native = percentile(&mut native, 50.0);
    let extism = extism()?;
    let note = format!(
        "{VALUES} values a call, {rejected} of them rejected with a reason, columns built and read, a fresh \
         instance per call; p95 {:.1} ns; baseline: {}; one native range check: {native:.1} ns",
        here.p95_ns, extism.what
    );
    let calls = CALLS as u64;
    let inside =
        Figure::new(NAMES[0], here.median_ns, "ns", extism.ns_per_value.unwrap_or(native), calls, note);

    let isolated = Host::isolated(config()?, RunnerCommand::this_program()?)?;
    let there = speed::measure(&isolated.load(&artefact)?, &batch, ONE_PERCENT, CALLS)?;
    let note = format!(
        "what the same call costs more in a process of its own ({:?}): {:.1} ns a value in all, p95 {:.1} ns; \
         baseline: the target",
        isolated.lock(),
        there.median_ns,
        there.p95_ns
    );
    let extra = (there.median_ns - here.median_ns).max(0.0);
    let extra = Figure::new(NAMES[1], extra, "ns", 10.0, calls, note);

    let cold = Cold::of(&isolated, &artefact)?;
    let note = format!(
        "a compiled plugin of {} KiB, from its last byte on: kept, sent to the other process, loaded there, asked \
         what it is; p95 {:.2} ms; while it arrives its signature is verified, {:.2} ms; baseline: the target",
        artefact.len() >> 10,
        cold.load_p95_ms,
        cold.arrive_ms
    );
    let load = Figure::new(NAMES[2], cold.load_ms, "ms", 5.0, Cold::LOADS as u64, note);
    Ok(vec![inside, extra, load])
}

/// What it takes until a compiled plugin can be called.
pub(crate) struct Cold {
    /// To verify and keep it, piece by piece as it comes, median.
    pub(crate) arrive_ms: f64,
    /// After the last piece, median.
    pub(crate) load_ms: f64,
    pub(crate) load_p95_ms: f64,
}

impl Cold {
    const LOADS: usize = 50;

    pub(crate) fn of(host: &Host, artefact: &[u8]) -> Result<Self> {
        let (mut arrives, mut loads) = (Vec::new(), Vec::new());
        for _ in 0..Self::LOADS {
            let start = Instant::now();
            let mut arrival = host.arrival();
            for part in artefact.chunks(16 << 10) {
                arrival.push(part)?;
            }
            arrives.push(start.elapsed().as_secs_f64() * 1e3);
            let start = Instant::now();
            let whole = arrival.finish()?;
            let plugin = black_box(host.load_arrived(&whole)?);
            loads.push(start.elapsed().as_secs_f64() * 1e3);
            // Giving 30 MB back takes as long as loading them, and nobody waits for it.
            drop((plugin, whole));
        }
        Ok(Self {
            arrive_ms: percentile(&mut arrives, 50.0),
            load_ms: percentile(&mut loads, 50.0),
            load_p95_ms: percentile(&mut loads, 95.0),
        })
    }
}

/// What the same rules cost under Extism.
struct Extism {
    ns_per_value: Option<f64>,
    what: String,
}

/// Runs the program of `benches/extism`, which `make bench` builds.
fn extism() -> Result<Extism> {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/extism/target/");
    let host = format!("{built}release/eaves-bench-extism");
    if !Path::new(&host).exists() {
        let what = "a native range check (Extism was not built: `make bench-extism`)".into();
        return Ok(Extism { ns_per_value: None, what });
    }
    let guest = format!("{built}wasm32-unknown-unknown/release/extism_rules.wasm");
    let output = Command::new(&host).args([&guest, ONE_PERCENT, &CALLS.to_string()]).output()?;
    anyhow::ensure!(output.status.success(), "{host}: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout)?;
    let (ns, rejected) = said.trim().split_once(' ').context("two numbers of Extism's program")?;
    let what = format!("Extism's host crate, the batch as MessagePack, {rejected} rejected");
    Ok(Extism { ns_per_value: Some(ns.parse()?), what })
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
