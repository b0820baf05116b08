//! A breaker for a version in force: one that keeps failing is not asked for a while.

use std::time::{Duration, Instant};

/// Batches in a row that must fail before it opens.
const FAILURES: u32 = 5;
/// How long it stays open the first time; doubled each time that the probe fails.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Whether a version is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// It is.
    Closed,
    /// It is, to see whether it works again.
    Probe,
    /// It is not.
    Open,
}

/// What a batch changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It has opened.
    Opened,
    /// It has closed: the probe went well.
    Closed,
}

/// Counts failures of one version with one set of settings.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failed: u32,
    open: Option<(Instant, Duration)>,
}

impl Breaker {
    pub(crate) fn pass(&self, now: Instant) -> Pass {
        match self.open {
            None => Pass::Closed,
            Some((until, _)) if now < until => Pass::Open,
            Some(_) => Pass::Probe,
        }
    }

    /// A batch went well, or did not.
    pub(crate) fn record(&mut self, good: bool, now: Instant) -> Option<Turn> {
        if good {
            self.failed = 0;
            return self.open.take().map(|_| Turn::Closed);
        }
        self.failed = self.failed.saturating_add(1);
        match self.open {
            Some((_, pause)) => {
                let pause = (pause * 2).min(LONGEST_PAUSE);
                self.open = Some((now + pause, pause));
                None
            }
            None if self.failed >= FAILURES => {
                self.open = Some((now + FIRST_PAUSE, FIRST_PAUSE));
                Some(Turn::Opened)
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_with_a_good_probe() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES - 1 {
            assert_eq!(breaker.record(false, start), None);
        }
        // One good batch in between, and it counts from the beginning.
        assert_eq!(breaker.record(true, start), None);
        for _ in 0..FAILURES - 1 {
            assert_eq!(breaker.record(false, start), None);
        }
        assert_eq!(breaker.pass(start), Pass::Closed);
        assert_eq!(breaker.record(false, start), Some(Turn::Opened));
        assert_eq!(breaker.pass(start), Pass::Open);
        let later = start + FIRST_PAUSE;
        assert_eq!(breaker.pass(later), Pass::Probe);
        assert_eq!(breaker.record(false, later), None, "it was open before");
        assert_eq!(breaker.pass(later + FIRST_PAUSE), Pass::Open, "the pause has doubled");
        let later = later + FIRST_PAUSE * 2;
        assert_eq!(breaker.pass(later), Pass::Probe);
        assert_eq!(breaker.record(true, later), Some(Turn::Closed));
        assert_eq!(breaker.pass(later), Pass::Closed);
    }
}
