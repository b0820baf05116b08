//! The result: a line for each case, and `target/drill.json`.

use crate::cases::Case;
use anyhow::{Context as _, Result};
use serde_json::json;

/// What became of a case.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) number: &'static str,
    pub(crate) name: &'static str,
    pub(crate) injected: u32,
    /// Records, as the sender counted them.
    pub(crate) sent: u64,
    /// Values, as the ledger counts them.
    pub(crate) accepted: i64,
    pub(crate) rejected: i64,
    /// Records nobody can read, as the ledger counts them.
    pub(crate) quarantined: i64,
    /// Points that were sent and are not in history, or with another value.
    pub(crate) lost: u64,
    /// Values counted more often than they were sent.
    pub(crate) duplicated: i64,
    /// Longest time from the database being back to the last shard's end of replay.
    pub(crate) recovered_ms: Option<u64>,
    pub(crate) passed: bool,
    pub(crate) problems: Vec<String>,
}

impl Outcome {
    /// A case that could not be carried out.
    pub(crate) fn broken(case: &Case, why: String) -> Self {
        Self {
            number: case.number,
            name: case.name,
            injected: 0,
            sent: 0,
            accepted: 0,
            rejected: 0,
            quarantined: 0,
            lost: 0,
            duplicated: 0,
            recovered_ms: None,
            passed: false,
            problems: vec![why],
        }
    }

    pub(crate) fn print(&self) {
        let recovered =
            self.recovered_ms.map_or_else(|| "-".into(), |ms| format!("{:.1} s", ms as f64 / 1e3));
        println!(
            "{:>4}  {:<34} {:>6} {:>8} {:>9} {:>8} {:>11} {:>5} {:>10} {:>9}  {}",
            self.number,
            self.name,
            self.injected,
            self.sent,
            self.accepted,
            self.rejected,
            self.quarantined,
            self.lost,
            self.duplicated,
            recovered,
            if self.passed { "passed" } else { "FAILED" }
        );
        for problem in &self.problems {
            println!("      {problem}");
        }
    }
}

pub(crate) fn heading() {
    println!(
        "{:>4}  {:<34} {:>6} {:>8} {:>9} {:>8} {:>11} {:>5} {:>10} {:>9}",
        "#",
        "case",
        "times",
        "records",
        "accepted",
        "rejected",
        "quarantined",
        "lost",
        "duplicated",
        "recovery"
    );
}

/// Writes `target/drill.json`: one object for each case.
pub(crate) fn write(seed: u64, outcomes: &[Outcome]) -> Result<()> {
    let list: Vec<_> = outcomes
        .iter()
        .map(|o| {
            json!({
                "case": o.number, "name": o.name, "seed": seed, "injected": o.injected, "sent": o.sent,
                "accepted": o.accepted, "rejected": o.rejected, "quarantined": o.quarantined,
                "lost": o.lost, "duplicated": o.duplicated, "recovered_ms": o.recovered_ms,
                "passed": o.passed, "problems": o.problems,
            })
        })
        .collect();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/drill.json");
    std::fs::write(file, serde_json::to_vec_pretty(&list)?).context("write target/drill.json")
}
