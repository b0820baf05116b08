//! Calls of a plugin, and what they cost.

use eaves_model::batch::{Batch, Decision};
use eaves_model::verdict::{ByRow, Judgement};
use eaves_model::{Code, Rejection};
use eaves_plugin_host::{CallStats, Plugin, PluginError};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Most halvings of one tenant's rows in search of the reading its plugin fails on.
const MAX_SPLITS: u32 = 64;

/// What a plugin said of a batch: its decision over the rows it judged, and the readings
/// (as row ranges) on which it failed.
#[derive(Debug, Default)]
pub struct Judged {
    /// Over the rows that were judged.
    pub decision: Decision,
    /// First row, last row + 1, why.
    pub failed: Vec<(u32, u32, Rejection)>,
    /// What it cost.
    pub cost: Cost,
    /// Why nobody could be asked, where that is not the plugin's doing and may pass: the batch is
    /// to be tried again, and nothing of this counts.
    pub unavailable: Option<String>,
}

/// What calls of a plugin cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost {
    /// Calls.
    pub calls: u64,
    /// Failed ones, by [`kind`].
    pub failures: BTreeMap<&'static str, u64>,
    /// Time of all of them.
    pub took: Duration,
    /// Most memory of one, in bytes; 0 if it was not measured.
    pub memory_peak: u64,
}

impl Cost {
    /// Failed calls.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Microseconds per 1,000 of `rows` values. Fewer than 1,000 count as that many: what a
    /// call costs at all would otherwise look like a slow plugin.
    pub fn us_per_1000(&self, rows: usize) -> f64 {
        self.took.as_secs_f64() * 1e9 / rows.max(1000) as f64
    }
}

impl Judged {
    /// Row by row.
    pub fn by_row<'a>(&'a self, rows: usize, failed: &'a [(u32, u32)]) -> ByRow<'a> {
        ByRow::new(rows, Judgement { decision: &self.decision, failed })
    }

    /// The rows that it failed on, as ranges.
    pub fn failed_rows(&self) -> Vec<(u32, u32)> {
        self.failed.iter().map(|(from, to, _)| (*from, *to)).collect()
    }
}

/// A short name for how a call failed.
pub fn kind(error: &PluginError) -> &'static str {
    match error {
        PluginError::Deadline { .. } => "deadline",
        PluginError::Memory { .. } => "memory",
        PluginError::Trapped { .. } => "trapped",
        PluginError::Settings { .. } => "settings",
        PluginError::BadAnswer(_) => "bad_answer",
        PluginError::Busy => "busy",
        _ => "failed",
    }
}

/// Asks `plugin` about a batch whose readings are the given row ranges. If it fails, the
/// readings are halved until the ones it fails on are alone, so that one poisoned reading
/// does not put aside its neighbours; a plugin out of time is not asked again.
pub fn judge(
    plugin: &Plugin,
    settings: &str,
    batch: &Batch,
    readings: &[(u32, u32)],
    deadline: Duration,
) -> Judged {
    let end = Instant::now() + deadline;
    let mut judged = Judged::default();
    let mut stats = CallStats::default();
    let mut splits = 0;
    let mut out_of_time = false;
    let mut pending = vec![readings];
    while let Some(part) = pending.pop() {
        let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
        let (from, to) = (first.0, last.1);
        let left = end.saturating_duration_since(Instant::now());
        if out_of_time || left.is_zero() {
            let text = "the plugin used up its time on this batch";
            judged.failed.push((from, to, Rejection::new(Code::PLUGIN_FAILED, "plugin", text)));
            continue;
        }
        let whole = part.len() == readings.len();
        let answer = if whole {
            plugin.validate_counting(batch, settings, left, &mut stats)
        } else {
            plugin.validate_counting(&batch.slice(from as usize..to as usize), settings, left, &mut stats)
        };
        match answer {
            Ok(decision) => merge(&mut judged.decision, decision, if whole { 0 } else { from }),
            Err(error) if error.is_retryable() => {
                judged.unavailable = Some(error.to_string());
                break;
            }
            Err(error) => {
                *judged.cost.failures.entry(kind(&error)).or_default() += 1;
                out_of_time = matches!(error, PluginError::Deadline { .. });
                // Wrong settings are wrong for every reading; the others may be one reading's doing.
                let shared = out_of_time || matches!(error, PluginError::Settings { .. });
                if part.len() > 1 && splits < MAX_SPLITS && !shared {
                    splits += 1;
                    let (left, right) = part.split_at(part.len() / 2);
                    pending.push(right);
                    pending.push(left);
                } else {
                    let why = Rejection::new(Code::PLUGIN_FAILED, "plugin", error.to_string());
                    judged.failed.push((from, to, why));
                }
            }
        }
    }
    judged.cost.calls = stats.calls;
    judged.cost.took = stats.duration;
    judged.cost.memory_peak = stats.memory_peak_bytes;
    judged
}

/// Adds a decision over a slice starting at row `from` to one over the whole.
fn merge(whole: &mut Decision, mut part: Decision, from: u32) {
    let reasons = whole.reasons.len() as u32;
    whole.reasons.append(&mut part.reasons);
    whole.rejected.extend(part.rejected.into_iter().map(|(row, why)| (row + from, why + reasons)));
    whole.replaced.extend(part.replaced.into_iter().map(|(row, value)| (row + from, value)));
    whole.derived.extend(part.derived.into_iter().map(|mut d| {
        d.row += from;
        d
    }));
}
