//! What the spans of a batch cost where nobody traces, beside what they cost where somebody does.
//!
//! A process has one subscriber for all its life, so each is measured in a process of its own,
//! with the logging that functions have.

use crate::results::Figure;
use anyhow::{Context as _, Result, ensure};
use eaves_telemetry::span;
use eaves_telemetry::tracing::Instrument as _;
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

pub(crate) const NAMES: &[&str] = &["tracing_off_ns_per_batch"];
/// As whose first argument this program measures spans and nothing else.
const CHILD: &str = "measure-spans";
const ROUNDS: usize = 25;
const BATCHES: usize = 20_000;
/// Nobody listens here; what is recorded is thrown away in the background.
const NOBODY: &str = "http://127.0.0.1:9";

/// Nanoseconds a batch, medians.
#[derive(Serialize, Deserialize)]
struct Measured {
    with: f64,
    without: f64,
}

pub(crate) fn is_meant() -> bool {
    std::env::args().nth(1).as_deref() == Some(CHILD)
}

/// Measures in this process and prints what came of it.
#[expect(clippy::print_stdout, reason = "the process that started this one reads it")]
pub(crate) fn run() -> Result<()> {
    eaves_telemetry::init("eaves-bench");
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(runtime.block_on(timed(bare)));
        with.push(runtime.block_on(timed(|n| spanned("a-stream", n))));
    }
    let median = |figures: &mut Vec<f64>| crate::results::percentile(figures, 50.0);
    let measured = Measured { with: median(&mut with), without: median(&mut without) };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// Nanoseconds a call.
async fn timed<F: Future<Output = usize>>(batch: impl Fn(usize) -> F) -> f64 {
    let start = Instant::now();
    for n in 0..BATCHES {
        black_box(batch(black_box(n)).await);
    }
    start.elapsed().as_secs_f64() * 1e9 / BATCHES as f64
}

/// The spans of a batch of ingest, around as good as nothing.
async fn spanned(stream: &str, n: usize) -> usize {
    let decoded = span!("decode", stream, shard = stream, records = n).in_scope(|| black_box(n));
    let rules = step(decoded).instrument(span!("rules", tenants = decoded)).await;
    let ids = step(rules).instrument(span!("ids", tenant = rules)).await;
    let judged = step(ids).instrument(span!("plugin", tenant = ids)).await;
    let commit = span!("commit", points = judged, hot_rows = judged, guarded = judged);
    let written = step(judged).instrument(commit).await;
    step(written).instrument(span!("cache", entries = written)).await
}

async fn bare(n: usize) -> usize {
    let decoded = black_box(n);
    step(step(step(step(step(decoded).await).await).await).await).await
}

async fn step(n: usize) -> usize {
    black_box(n)
}

pub(crate) fn measure() -> Result<Figure> {
    let (off, on) = (child(None)?, child(Some(NOBODY))?);
    let (off_ns, on_ns) = (off.with - off.without, on.with - on.without);
    let note = format!(
        "the six spans of a batch of ingest and nothing else, no collector named: {:.0} ns with them, {:.0} \
         without; baseline: the same six recorded, with a collector named",
        off.with, off.without
    );
    Ok(Figure::new(NAMES[0], off_ns, "ns", on_ns, (ROUNDS * BATCHES) as u64, note))
}

fn child(collector: Option<&str>) -> Result<Measured> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(CHILD).env_remove("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").env_remove("OTEL_SDK_DISABLED");
    // Nor its complaints about the collector.
    command.env("EAVES_LOG", "info,opentelemetry=off,opentelemetry_sdk=off,opentelemetry_otlp=off");
    match collector {
        Some(url) => command.env("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        None => command.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT"),
    };
    let output = command.stderr(std::process::Stdio::inherit()).output().context("measure spans")?;
    ensure!(output.status.success(), "measuring spans ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("what was measured of spans")
}
