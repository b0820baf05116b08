//! Growing pauses with jitter, so that many waiters do not come back together.

use std::time::Duration;

/// Pauses that double up to a limit; each is cut to between half and all of itself.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    current: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, current: first }
    }

    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.current.mul_f64(rand::random_range(0.5..=1.0));
        self.current = (self.current * 2).min(self.longest);
        pause
    }

    /// Starts again with short pauses.
    pub(crate) fn reset(&mut self) {
        self.current = self.first;
    }
}
