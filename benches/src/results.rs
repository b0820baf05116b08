//! The table, `target/bench.json` and `benches/RESULTS.md`.

use anyhow::{Context as _, Result};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

/// One measured figure beside its baseline.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What the value is held against, measured in the same run (or the target).
    pub(crate) baseline: f64,
    /// value / baseline.
    pub(crate) ratio: f64,
    /// How many measurements the value stands on.
    pub(crate) n: u64,
    pub(crate) note: String,
}

impl Figure {
    pub(crate) fn new(
        name: &'static str,
        value: f64,
        unit: &'static str,
        baseline: f64,
        n: u64,
        note: String,
    ) -> Self {
        Self { name, value, unit, baseline, ratio: value / baseline, n, note }
    }
}

/// The `p`-th percentile (0–100) of measurements, by rank.
pub(crate) fn percentile(measurements: &mut [f64], p: f64) -> f64 {
    measurements.sort_by(f64::total_cmp);
    let rank = (p / 100.0 * (measurements.len().saturating_sub(1)) as f64).round() as usize;
    measurements.get(rank).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::print_stdout, reason = "the table is what the user asked for")]
pub(crate) fn publish(figures: &[Figure]) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace folder")?;
    let json = root.join("target/bench.json");
    std::fs::write(&json, serde_json::to_vec_pretty(figures)?).context("write target/bench.json")?;
    let mut table = String::from(
        "| figure | value | unit | baseline | ratio | n | note |\n|---|---:|---|---:|---:|---:|---|\n",
    );
    for f in figures {
        let Figure { name, value, unit, baseline, ratio, n, note } = f;
        writeln!(
            table,
            "| {name} | {} | {unit} | {} | {ratio:.2} | {n} | {note} |",
            show(*value),
            show(*baseline)
        )?;
    }
    println!("{table}");
    let path = root.join("benches/RESULTS.md");
    let mut all = std::fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
    write!(all, "\n## {}\n{}\n\n{table}", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"), machine())?;
    std::fs::write(&path, all).context("write benches/RESULTS.md")
}

const HEAD: &str = "# Measurements\n\nAppended by `make bench`. Trust ratios more than absolute figures: machines differ and are shared.\n";

fn show(number: f64) -> String {
    if number >= 1000.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}

/// As PostgreSQL takes it.
pub(crate) fn quarter_of_memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
    let kib: u64 = kib.unwrap_or(4 << 20);
    format!("{}kB", kib / 4)
}

/// Processor, cores and memory, from /proc where there is one.
fn machine() -> String {
    let read = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_default();
        line.split_once(':').map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kib: f64 = read("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
    format!(
        "{}, {cores} cores, {:.0} GiB, {}",
        read("/proc/cpuinfo", "model name"),
        kib / 1_048_576.0,
        std::env::consts::OS
    )
}
