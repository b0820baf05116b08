//! How fast changes of what is hot, and of what is indexed, go on: live writes come first.

use super::{FlushStore, RangeStep};
use crate::StoreError;
use crate::admin::HotStep;
use std::time::{Duration, Instant};

/// How long what was seen of live writes holds.
const SEEN: Duration = Duration::from_millis(250);
/// Values that come in now and then are live writes all the same.
const LIVE: Duration = Duration::from_secs(2);
/// Rests for each part, in lengths of the part, while values come in: a tenth of one processor
/// is taken from them at most.
const RESTS: u32 = 9;
/// Entities of a part while values come in: writers of the same ones wait for some tens of milliseconds.
const PART: u32 = 200;
/// The same where none come in: a part costs a commit and a plan, however little is in it. Who begins to write
/// waits for one such part at most, a tenth of a second.
const IDLE_PART: u32 = 1_000;

/// What a worker on changes knows of live writes.
#[derive(Debug, Default)]
pub struct Pace {
    looked: Option<Instant>,
    staged: Option<Instant>,
    /// The rest that the last part is still owed.
    owed: Duration,
}

impl Pace {
    /// Whether it is time to look whether values come in.
    fn is_due(&self, now: Instant) -> bool {
        self.looked.is_none_or(|at| now.duration_since(at) >= SEEN)
    }

    fn seen(&mut self, now: Instant, staged_rows: u64) {
        self.looked = Some(now);
        if staged_rows > 0 {
            self.staged = Some(now);
        }
    }

    /// Whether values come in.
    fn is_live(&self, now: Instant) -> bool {
        self.staged.is_some_and(|at| now.duration_since(at) < LIVE)
    }

    /// How many entities a part has.
    fn entities(&self, now: Instant) -> u32 {
        if self.is_live(now) { PART } else { IDLE_PART }
    }

    /// How long to rest after a part that took so long.
    fn rest(&self, now: Instant, part: Duration) -> Duration {
        if self.is_live(now) { part * RESTS } else { Duration::ZERO }
    }

    /// A part took so long; `None` if nothing was due.
    fn took(&mut self, part: Option<Duration>) {
        self.owed = part.map_or(Duration::ZERO, |part| self.rest(Instant::now(), part));
    }
}

impl FlushStore {
    /// As [`FlushStore::hot_step`], after the rest that live writes need since the last one: none where none
    /// come in, and parts are larger then. The rest comes first, so that the caller can tell the cache of a part
    /// at once.
    pub async fn paced_hot_step(
        &self,
        settle: Option<Duration>,
        pace: &mut Pace,
    ) -> Result<Option<HotStep>, StoreError> {
        self.rest(pace).await?;
        let began = Instant::now();
        let step = self.hot_step(pace.entities(began), settle).await?;
        pace.took(step.is_some().then(|| began.elapsed()));
        Ok(step)
    }

    /// As [`FlushStore::range_step`], paced likewise.
    pub async fn paced_range_step(
        &self,
        settle: Option<Duration>,
        pace: &mut Pace,
    ) -> Result<Option<RangeStep>, StoreError> {
        self.rest(pace).await?;
        let began = Instant::now();
        let step = self.range_step(pace.entities(began), settle).await?;
        pace.took(step.is_some().then(|| began.elapsed()));
        Ok(step)
    }

    async fn rest(&self, pace: &mut Pace) -> Result<(), StoreError> {
        tokio::time::sleep(std::mem::take(&mut pace.owed)).await;
        if pace.is_due(Instant::now()) {
            let staged = self.backlog().await?.staged_rows;
            pace.seen(Instant::now(), staged);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_values_come_in_it_rests_and_some_time_after() {
        let (now, part) = (Instant::now(), Duration::from_millis(20));
        let mut pace = Pace::default();
        assert!(pace.is_due(now));
        pace.seen(now, 0);
        assert_eq!((pace.rest(now, part), pace.entities(now)), (Duration::ZERO, IDLE_PART));
        assert!(!pace.is_due(now + SEEN / 2) && pace.is_due(now + SEEN));
        pace.seen(now + SEEN, 7);
        assert_eq!((pace.rest(now + SEEN, part), pace.entities(now + SEEN)), (part * 9, PART));
        // A flush has just emptied the leaf.
        pace.seen(now + SEEN * 2, 0);
        assert_eq!(pace.rest(now + SEEN * 2, part), part * 9);
        assert_eq!(pace.rest(now + SEEN + LIVE, part), Duration::ZERO);
    }
}
