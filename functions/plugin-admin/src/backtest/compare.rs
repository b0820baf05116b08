//! One batch, judged by both and counted.

use super::assemble::Assembled;
use super::report::{Compared, Effect, Report, Side};
use eaves_model::batch::Batch;
use eaves_model::verdict::{Difference, Verdict, change};
use eaves_model::{Code, Rejection};
use eaves_pipeline::judge::{Judged, judge};
use eaves_plugin_host::Plugin;
use eaves_telemetry::Histogram;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Most attributes that a report names, and most codes.
const MOST_NAMES: usize = 1000;
/// Most examples of all changes together: a row of DynamoDB has 400 KB.
const MOST_EXAMPLES: usize = 200;

/// A version that is ready to be asked.
pub(super) struct Judge {
    pub(super) plugin: Arc<Plugin>,
    pub(super) settings: String,
    pub(super) times: Histogram,
}

impl Judge {
    fn ask(&mut self, batch: &Batch, readings: &[(u32, u32)], time: Duration, side: &mut Side) -> Judged {
        let mut judged = judge(&self.plugin, &self.settings, batch, readings, time);
        if let Some(why) = judged.unavailable.take() {
            // Not the plugin's doing, but not judged either.
            judged.failed.push((
                0,
                batch.rows.len() as u32,
                Rejection::new(Code::PLUGIN_FAILED, "plugin", why),
            ));
        }
        let cost = &judged.cost;
        side.calls += cost.calls;
        side.took_ms += cost.took.as_secs_f64() * 1e3;
        side.memory_peak = side.memory_peak.max(cost.memory_peak);
        for (kind, n) in &cost.failures {
            *side.failures.entry((*kind).to_owned()).or_default() += n;
        }
        self.times.record(cost.us_per_1000(batch.rows.len()));
        (side.p50_us, side.p99_us) =
            (self.times.quantile(0.5).unwrap_or(0.0), self.times.quantile(0.99).unwrap_or(0.0));
        side.times = self.times.to_map();
        judged
    }
}

/// Where a batch comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    History,
    Quarantine,
}

/// Both judge a batch; what they say goes into the report, but for rows that are counted elsewhere.
pub(super) fn compare(
    report: &mut Report,
    (active, candidate): (Option<&mut Judge>, &mut Judge),
    Assembled { batch, readings, beside, .. }: &Assembled,
    hot: &HashSet<&str>,
    (from, examples): (From, usize),
) {
    let rows = batch.rows.len();
    let thousands = u32::try_from(rows.div_ceil(1000)).unwrap_or(u32::MAX).max(1);
    let time = Duration::from_millis(u64::from(report.limits.ms_per_1000)) * thousands;
    let was = match (active, &mut report.active) {
        (Some(active), Some(side)) => active.ask(batch, readings, time, side),
        _ => Judged::default(),
    };
    let is = candidate.ask(batch, readings, time, &mut report.candidate);
    let (was_failed, is_failed) = (was.failed_rows(), is.failed_rows());
    let (was_rows, is_rows) =
        (was.by_row(rows, &was_failed).without(beside), is.by_row(rows, &is_failed).without(beside));

    let name = |row: usize| -> &str {
        let attribute = batch.rows.get(row).and_then(|r| batch.attributes.get(r.attribute as usize));
        attribute.map_or("", |a| &a.name)
    };
    let shown: usize =
        [&report.history, &report.quarantine].iter().flat_map(|c| c.examples.values()).map(Vec::len).sum();
    let Report { history, quarantine, attributes, .. } = report;
    let into: &mut Compared = if from == From::History { history } else { quarantine };
    into.values += (rows - beside.len()) as u64;
    was_rows.count(&mut into.active);
    is_rows.count(&mut into.candidate);
    bound(&mut into.active);
    bound(&mut into.candidate);
    let mut room = MOST_EXAMPLES.saturating_sub(shown);
    // Of a page every row may have changed: their names are made once.
    let mut changes: BTreeMap<(Verdict, Verdict), (u64, usize)> = BTreeMap::new();
    was_rows.differences(&is_rows, |row| {
        let (a, b) = (was_rows.verdict(row), is_rows.verdict(row));
        let (count, known) = changes
            .entry((a, b))
            .or_insert_with(|| (0, into.examples.entry(change(a, b)).or_default().len()));
        *count += 1;
        if *known < examples && room > 0 {
            into.examples
                .entry(change(a, b))
                .or_default()
                .extend(Difference::of(batch, row, &was_rows, &is_rows));
            (*known, room) = (*known + 1, room - 1);
        }
        let untaken = |v| matches!(v, Verdict::Rejected | Verdict::Failed);
        let (rejected, taken) = (untaken(b) && !untaken(a), untaken(a) && !untaken(b));
        if (rejected || taken)
            && let Some(effect) = effect(attributes, name(row), hot)
        {
            effect.rejected += u64::from(rejected);
            effect.taken += u64::from(taken);
        }
    });
    for ((a, b), (count, _)) in changes {
        *into.changed.entry(change(a, b)).or_default() += count;
    }
    let counts = |row: u32| beside.binary_search(&row).is_err();
    for (row, _) in is.decision.replaced.iter().filter(|(row, _)| counts(*row)) {
        if let Some(effect) = effect(attributes, name(*row as usize), hot) {
            effect.replaced += 1;
        }
    }
    for derived in is.decision.derived.iter().filter(|d| counts(d.row)) {
        if let Some(effect) = effect(attributes, &derived.attribute, hot) {
            effect.derived += 1;
        }
    }
}

fn effect<'a>(
    attributes: &'a mut BTreeMap<String, Effect>,
    name: &str,
    hot: &HashSet<&str>,
) -> Option<&'a mut Effect> {
    if !attributes.contains_key(name) {
        if attributes.len() >= MOST_NAMES {
            return None;
        }
        attributes.insert(name.to_owned(), Effect { hot: hot.contains(name), ..Effect::default() });
    }
    attributes.get_mut(name)
}

/// Codes that a plugin makes up go together once there are too many.
fn bound(counts: &mut BTreeMap<String, u64>) {
    while counts.len() > MOST_NAMES {
        let least = counts.iter().filter(|(k, _)| *k != "rejected:*").min_by_key(|(_, n)| **n);
        let Some((key, n)) = least.map(|(k, n)| (k.clone(), *n)) else { return };
        counts.remove(&key);
        *counts.entry("rejected:*".into()).or_default() += n;
    }
}
