//! Versions that look on: they see what live ones have decided about, after it is written,
//! with a time of their own, and nothing of what they say has an effect.
//!
//! They look on before the batch is answered: between two invocations a Lambda instance is frozen, and
//! may never be woken again. What is kept for later would be lost, or taken from the next batch's time.
//! What a shadow counts is counted once at most: a batch that comes again is a duplicate, which no
//! shadow sees.

use crate::breaker::{Breaker, Pass, Turn};
use crate::consult::{count, is_broken, tell};
use crate::judge::{Judged, judge};
use crate::meter::{Meter, Role};
use crate::rules::{Loaded, Rules};
use eaves_model::batch::{Batch, Decision};
use eaves_model::verdict::{ByRow, Difference, Judgement, change};
use eaves_model::{TenantId, Timestamp};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Most time that all shadows of a transaction may take together.
const TIME: Duration = Duration::from_millis(250);
/// Least time of one: with less even a good plugin would look like a slow one. Where more look on than
/// that allows, those that waited longest go first.
const LEAST: Duration = Duration::from_millis(10);
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
    /// What so many values may take, by the tenant's limit.
    pub(crate) limit: Duration,
    /// What was decided.
    pub(crate) decision: Decision,
    pub(crate) failed: Vec<(u32, u32)>,
}

/// How a tenant's shadow has fared in this instance.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    breaker: Breaker,
    /// When it last looked on.
    looked: Option<Instant>,
}

impl Watch {
    /// Whether it is shown batches: one that kept failing is not, for a while.
    pub(crate) fn is_asked(&self, now: Instant) -> bool {
        self.breaker.pass(now) != Pass::Open
    }
}

/// The time of all shadows of a transaction, shared out. Each gets an equal part of what is left, so what
/// one does not use is the others', and one that takes longer than its share takes nothing of theirs.
struct Pool {
    left: Duration,
    waiting: u32,
}

impl Pool {
    fn of(shadows: usize) -> Self {
        Self { left: TIME, waiting: u32::try_from(shadows).unwrap_or(u32::MAX) }
    }

    /// The next one's share; none if there is not enough left for one.
    fn share(&mut self) -> Option<Duration> {
        let share = (self.left / self.waiting.max(1)).max(LEAST);
        self.waiting = self.waiting.saturating_sub(1);
        (share <= self.left).then_some(share)
    }

    /// It took so long, of this share.
    fn used(&mut self, share: Duration, took: Duration) {
        self.left = self.left.saturating_sub(took.min(share));
    }
}

/// Whether there is time for shadows: the instance has some, and the stream does not wait.
pub(crate) fn has_time(end: Instant, arrived: Option<Timestamp>) -> bool {
    end.saturating_duration_since(Instant::now()) > SPARE
        && arrived.is_none_or(|at| Timestamp::now().seconds_since(at) < BEHIND_SECONDS)
}

/// Lets shadows see what was written, each within its share of the time.
pub(crate) fn look_on(rules: &mut Rules, mut seen: Vec<Seen>) {
    // None, for one that has not looked on yet, comes first.
    seen.sort_by_key(|s| rules.watch(s.tenant).and_then(|watch| watch.looked));
    let meter = rules.meter.clone();
    let mut pool = Pool::of(seen.len());
    for s in seen {
        let (tenant, activation) = (s.tenant, &s.shadow.activation);
        let (Ok(plugin), Some(share)) = (&s.shadow.plugin, pool.share()) else {
            meter.skipped(tenant, activation);
            continue;
        };
        let time = share.min(s.limit);
        let asked = Instant::now();
        let judged = judge(plugin, &activation.settings, &s.batch, &s.readings, time);
        let took = asked.elapsed();
        pool.used(share, took);
        if judged.unavailable.is_some() {
            meter.skipped(tenant, activation);
            continue;
        }
        compare(&meter, &s, &judged);
        let Some(watch) = rules.watch(tenant) else { continue };
        watch.looked = Some(asked);
        let good = !is_bad(&judged, s.batch.rows.len(), (took, time));
        if let Some(turn) = watch.breaker.record(good, Instant::now()) {
            let then = match turn {
                Turn::Opened => "as a shadow it is not asked meanwhile, and nothing else changes",
                Turn::Closed => "looks on",
            };
            tell(&meter, tenant, activation, turn, &judged, then);
        }
    }
}

/// Whether this batch speaks against the shadow: it failed on all of it, ran out of time, or failed and used up its
/// time with that. One poisoned reading among others does not.
fn is_bad(judged: &Judged, rows: usize, (took, time): (Duration, Duration)) -> bool {
    is_broken(judged, rows) || (!judged.failed.is_empty() && took >= time)
}

/// Counts what it said, and where that is something else than what was decided.
fn compare(meter: &Meter, s: &Seen, judged: &Judged) {
    let (tenant, activation, rows) = (s.tenant, &s.shadow.activation, s.batch.rows.len());
    count(meter, tenant, activation, Role::Shadow, judged, rows);
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
        meter.differed(tenant, activation, changes, samples);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eaves_model::{Code, Rejection};
    use proptest::prelude::*;

    #[test]
    fn one_that_takes_all_its_time_takes_nothing_of_the_others() {
        let mut pool = Pool::of(3);
        let greedy = pool.share().unwrap();
        assert_eq!(greedy, TIME / 3);
        // It did not stop when it should have.
        pool.used(greedy, Duration::from_secs(1));
        let second = pool.share().unwrap();
        assert!(second >= TIME / 3, "{second:?}");
        pool.used(second, Duration::ZERO);
        assert_eq!(pool.share(), Some(TIME - greedy), "what is not used is the last one's");
    }

    #[test]
    fn where_there_are_too_many_the_last_ones_wait_for_the_next_transaction() {
        let mut pool = Pool::of(1000);
        let mut asked = 0;
        while let Some(share) = pool.share() {
            assert_eq!(share, LEAST);
            pool.used(share, share);
            asked += 1;
        }
        assert_eq!(asked, TIME.as_millis() / LEAST.as_millis());
    }

    proptest! {
        #[test]
        fn shares_are_equal_and_no_more_than_there_is(took in prop::collection::vec(0..400_u64, 1..60)) {
            let mut pool = Pool::of(took.len());
            let fair = TIME / took.len() as u32;
            let mut charged = Duration::ZERO;
            for took in took.into_iter().map(Duration::from_millis) {
                match pool.share() {
                    Some(share) => {
                        prop_assert!(share >= fair.max(LEAST), "{share:?} of {fair:?}");
                        charged += took.min(share);
                        pool.used(share, took);
                    }
                    None => prop_assert!(fair < LEAST, "there was no share, and {fair:?} for each"),
                }
            }
            prop_assert!(charged <= TIME, "{charged:?}");
        }
    }

    #[test]
    fn a_shadow_that_keeps_failing_is_left_alone_for_a_while() {
        let failed = |rows: u32| {
            let why = Rejection::new(Code::PLUGIN_FAILED, "plugin", "the plugin crashed");
            Judged { failed: vec![(0, rows, why)], ..Judged::default() }
        };
        let (short, time) = (Duration::from_millis(1), Duration::from_millis(80));
        assert!(is_bad(&failed(10), 10, (short, time)), "it failed on all");
        assert!(!is_bad(&failed(1), 10, (short, time)), "one poisoned reading");
        assert!(is_bad(&failed(1), 10, (time, time)), "it spent its time on crashing");
        assert!(!is_bad(&Judged::default(), 10, (time, time)), "it is slow, and it answered");
        let mut late = failed(1);
        late.cost.failures.insert("deadline", 1);
        assert!(is_bad(&late, 10, (short, time)), "it was stopped");

        let now = Instant::now();
        let mut watch = Watch::default();
        let mut batches = 0;
        while watch.is_asked(now) {
            batches += 1;
            assert!(batches < 100, "it is never left alone");
            watch.breaker.record(!is_bad(&failed(10), 10, (short, time)), now);
        }
        assert!(batches > 1, "one failure is not enough");
        let pauses = [10, 20, 40].map(Duration::from_secs);
        for pause in pauses {
            assert!(!watch.is_asked(now + pause - short) && watch.is_asked(now + pause));
            // The probe fails at the time of the first pause's beginning, to have the pauses side by side.
            watch.breaker.record(false, now);
        }
        watch.breaker.record(true, now);
        assert!(watch.is_asked(now), "a good batch, and it looks on again");
    }
}
