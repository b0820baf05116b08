//! What a backtest says.

use eaves_model::verdict::Difference;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A backtest's report. It only grows while the backtest runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The candidate.
    pub candidate: Side,
    /// The version that is active; nothing if none is: every value is then accepted.
    pub active: Option<Side>,
    /// Values of history, as they are stored.
    pub history: Compared,
    /// Values that were refused or put aside in that time, as they were sent.
    pub quarantine: Compared,
    /// What of the quarantine could not be tried: bytes that are no reading, values of
    /// attributes that are not registered or of another type.
    pub untried: u64,
    /// More was refused in that time than is read to be put beside history: some readings of history were
    /// judged without the values of them that were refused.
    #[serde(default)]
    pub more_refused: bool,
    /// The attributes on whose values the candidate has an effect, by name: at most 1,000.
    pub attributes: BTreeMap<String, Effect>,
    /// The codes with which values are rejected, the most frequent first: at most 20.
    pub top_reasons: Vec<Reason>,
    /// How long the backtest has worked, in milliseconds.
    pub took_ms: u64,
    /// Values in a second, of what was worked on.
    pub values_per_s: f64,
    /// Whether the candidate would have kept the limits, and where not.
    pub limits: Limits,
}

/// A version in a backtest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// SHA-256 of the settings, in hex.
    pub settings_digest: String,
    /// Calls.
    pub calls: u64,
    /// Failed calls, by kind.
    pub failures: BTreeMap<String, u64>,
    /// Time of all calls, in milliseconds.
    pub took_ms: f64,
    /// Microseconds per 1,000 values, half of the batches.
    pub p50_us: f64,
    /// 99 % of the batches.
    pub p99_us: f64,
    /// Most memory of a call, in bytes; 0 if it was not measured.
    pub memory_peak: u64,
    /// Batches by time per 1,000 values, to go on from.
    pub times: BTreeMap<String, u64>,
}

/// Two versions' verdicts on the same values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Values.
    pub values: u64,
    /// The active version's verdicts.
    pub active: BTreeMap<String, u64>,
    /// The candidate's.
    pub candidate: BTreeMap<String, u64>,
    /// Values on which they differ, by what the one says and what the other:
    /// `accepted>rejected`. Of two equal verdicts the code, the replacement or what is
    /// derived differs.
    pub changed: BTreeMap<String, u64>,
    /// Some of them.
    pub examples: BTreeMap<String, Vec<Difference>>,
}

/// What the candidate does to the values of an attribute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Its latest value is in the hot projection: it would change there.
    pub hot: bool,
    /// Values that it would reject and the active version does not.
    pub rejected: u64,
    /// Values that it would take and the active version does not.
    pub taken: u64,
    /// Values that it would replace.
    pub replaced: u64,
    /// Values of this attribute that it would add.
    pub derived: u64,
}

/// A code with which values are rejected.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The code.
    pub code: String,
    /// Values of history that the active version rejects with it.
    pub active: u64,
    /// That the candidate does.
    pub candidate: u64,
}

/// Whether the limits were kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// They were.
    pub passed: bool,
    /// Most milliseconds that 1,000 values may take.
    pub ms_per_1000: u32,
    /// Most bytes of memory that a call may take; 0 in reports of earlier releases.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Where they were not.
    pub problems: Vec<String>,
}

impl Report {
    /// Works out what follows from the rest.
    pub(crate) fn conclude(&mut self) {
        let mut reasons: BTreeMap<&str, Reason> = BTreeMap::new();
        let codes = |map: &BTreeMap<String, u64>| -> Vec<(String, u64)> {
            let code = |(key, n): (&String, &u64)| Some((key.strip_prefix("rejected:")?.to_owned(), *n));
            map.iter().filter_map(code).collect()
        };
        let (active, candidate) = (codes(&self.history.active), codes(&self.history.candidate));
        for (code, n) in &active {
            reasons.entry(code).or_default().active += n;
        }
        for (code, n) in &candidate {
            reasons.entry(code).or_default().candidate += n;
        }
        let named = |(code, reason): (&str, Reason)| Reason { code: code.into(), ..reason };
        let mut top: Vec<Reason> = reasons.into_iter().map(named).collect();
        top.sort_by_key(|r| std::cmp::Reverse(r.active.max(r.candidate)));
        top.truncate(20);
        self.top_reasons = top;
        let done = (self.history.values + self.quarantine.values) as f64;
        self.values_per_s = (done * 1000.0 / self.took_ms.max(1) as f64).round();
        let mut problems: Vec<String> = Vec::new();
        for (kind, n) in &self.candidate.failures {
            problems.push(format!("{n} calls failed: {kind}"));
        }
        let limit = f64::from(self.limits.ms_per_1000) * 1000.0;
        if self.candidate.p99_us > limit {
            let p99 = self.candidate.p99_us;
            problems.push(format!("1,000 values took {p99:.0} µs in 1 % of the batches, over {limit:.0} µs"));
        }
        self.limits.passed = problems.is_empty();
        self.limits.problems = problems;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_and_limits_follow_from_the_counts() {
        let counts = |pairs: &[(&str, u64)]| pairs.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect();
        let mut report = Report::default();
        report.history.active = counts(&[("accepted", 90), ("rejected:above_range", 10)]);
        report.history.candidate = counts(&[("rejected:above_range", 5), ("rejected:stuck", 40)]);
        report.limits.ms_per_1000 = 100;
        report.conclude();
        let top: Vec<(&str, u64, u64)> =
            report.top_reasons.iter().map(|r| (r.code.as_str(), r.active, r.candidate)).collect();
        assert_eq!(top, [("stuck", 0, 40), ("above_range", 10, 5)]);
        assert!(report.limits.passed);
        report.candidate.p99_us = 100_001.0;
        report.candidate.failures = counts(&[("trapped", 2)]);
        report.conclude();
        assert_eq!(report.limits.problems.len(), 2, "{:?}", report.limits);
    }
}
