//! Waiting for a database that is away.

use crate::ingest::IngestError;
use rand::RngExt as _;
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// Growing pauses with jitter, so that many instances do not come back together.
pub(crate) struct Backoff {
    pause: Duration,
    until: Instant,
}

impl Backoff {
    pub(crate) fn new(until: Instant) -> Self {
        Self { pause: FIRST, until }
    }

    /// Waits if `error` may pass and there is time; tells whether to try again.
    pub(crate) async fn again(&mut self, error: &IngestError) -> bool {
        let passing = matches!(error, IngestError::Store(e) if e.is_retryable());
        let pause = self.pause.mul_f64(rand::rng().random_range(0.5..=1.0));
        if !passing || Instant::now() + pause >= self.until {
            return false;
        }
        tracing::warn!(error = chain(error), "the database does not answer; waiting");
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
        true
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
