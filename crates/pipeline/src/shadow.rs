//! Versions that look on: they see what live ones have decided about, after it is written,
//! with a time of their own, and nothing of what they say has an effect.

use crate::consult::count;
use crate::judge::judge;
use crate::meter::{Meter, Role};
use crate::rules::Loaded;
use eaves_model::batch::{Batch, Decision};
use eaves_model::verdict::{ByRow, Difference, Judgement, change};
use eaves_model::{TenantId, Timestamp};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Most time that all shadows of a transaction may take together.
const TIME: Duration = Duration::from_millis(250);
/// An instance with less time than this has none for shadows.
const SPARE: Duration = Duration::from_secs(10);
/// Records that arrived longer ago are being caught up with: live values come first.
const BEHIND_SECONDS: f64 = 5.0;
/// Most differences of a batch that are kept to be shown.
const SAMPLES: usize = 3;

/// A batch that a shadow is to see.
pub(crate) struct Seen {
    pub(crate) tenant: TenantId,
    pub(crate) shadow: Loaded,
    pub(crate) batch: Batch,
    pub(crate) readings: Vec<(u32, u32)>,
    /// What was decided.
    pub(crate) decision: Decision,
    pub(crate) failed: Vec<(u32, u32)>,
}

/// Whether there is time for shadows: the instance has some, and the stream does not wait.
pub(crate) fn has_time(end: Instant, arrived: Option<Timestamp>) -> bool {
    end.saturating_duration_since(Instant::now()) > SPARE
        && arrived.is_none_or(|at| Timestamp::now().seconds_since(at) < BEHIND_SECONDS)
}

/// Lets shadows see what was written, as long as there is time.
pub(crate) fn look_on(meter: &Meter, seen: Vec<Seen>) {
    let end = Instant::now() + TIME;
    for s in seen {
        let left = end.saturating_duration_since(Instant::now());
        match &s.shadow.plugin {
            Ok(plugin) if !left.is_zero() => {
                let settings = &s.shadow.activation.settings;
                let judged = judge(plugin, settings, &s.batch, &s.readings, left);
                if judged.unavailable.is_some() {
                    meter.skipped(s.tenant, &s.shadow.activation);
                    continue;
                }
                let rows = s.batch.rows.len();
                count(meter, s.tenant, &s.shadow.activation, Role::Shadow, &judged, rows);
                let failed = judged.failed_rows();
                let live = ByRow::new(rows, Judgement { decision: &s.decision, failed: &s.failed });
                let shadow = judged.by_row(rows, &failed);
                let (mut changes, mut samples) = (BTreeMap::new(), Vec::new());
                live.differences(&shadow, |row| {
                    let change = change(live.verdict(row), shadow.verdict(row));
                    *changes.entry(change).or_default() += 1;
                    if samples.len() < SAMPLES {
                        samples.extend(Difference::of(&s.batch, row, &live, &shadow));
                    }
                });
                if !changes.is_empty() {
                    meter.differed(s.tenant, &s.shadow.activation, changes, samples);
                }
            }
            _ => meter.skipped(s.tenant, &s.shadow.activation),
        }
    }
}
