//! One database server: read, watched, left alone while it fails.

use super::Need;
use eaves_freshness::breaker::State;
use eaves_freshness::{Breaker, Lag};
use eaves_store::read::{Allowance, ReadError, Reader, Snapshot};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a measured lag serves routing; what an answer says is measured by its own read.
const MEASURED_FOR: Duration = Duration::from_millis(200);
/// Longest that measuring may keep a read waiting.
const MEASURE_LIMIT: Duration = Duration::from_secs(1);

/// For how long a server that answered is believed to be there.
const LATELY: Duration = Duration::from_secs(5);

/// When a server said how far it is.
#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    hot_age: Duration,
    history_age: Duration,
}

/// What is known of a server, whichever connection it was learned by.
#[derive(Default)]
struct Health {
    breaker: Mutex<Breaker>,
    seen: Mutex<Option<Seen>>,
}

/// A connection to a server.
pub(crate) struct Server {
    pub(crate) reader: Reader,
    health: Arc<Health>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader, health: Arc::default() }
    }

    /// Another connection to the same server, with a statement limit of its own.
    pub(crate) fn beside(&self, limit: Duration) -> Self {
        Self { reader: self.reader.beside(limit), health: Arc::clone(&self.health) }
    }

    pub(crate) fn lets_through(&self) -> bool {
        locked(&self.health.breaker).lets_through(Instant::now())
    }

    /// Whether a read was answered a moment ago.
    pub(super) fn answered_lately(&self) -> bool {
        locked(&self.health.seen).is_some_and(|seen| seen.at.elapsed() < LATELY)
    }

    /// What its breaker does, in words.
    pub(crate) fn breaker(&self) -> &'static str {
        match locked(&self.health.breaker).state(Instant::now()) {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        }
    }

    pub(super) fn retry_in(&self) -> Duration {
        locked(&self.health.breaker).retry_in(Instant::now())
    }

    /// Whether a read goes to it now: of those that see a breaker half open, the first one only.
    #[must_use]
    pub(super) fn begin(&self) -> bool {
        locked(&self.health.breaker).begin(Instant::now())
    }

    /// Keeps what a read said of its server.
    pub(crate) fn note<T>(&self, done: &Result<Snapshot<T>, ReadError>) {
        match done {
            Ok(s) => {
                locked(&self.health.breaker).succeeded();
                let seen = Seen { at: s.began, hot_age: s.hot_age, history_age: s.history_age };
                *locked(&self.health.seen) = Some(seen);
            }
            Err(e) if e.is_away() => {
                let cause = std::error::Error::source(e).map(ToString::to_string);
                tracing::warn!(error = %e, cause, "query.source_away");
                locked(&self.health.breaker).failed(Instant::now());
            }
            // The server was not asked, or not for long enough to know.
            Err(ReadError::Busy | ReadError::NoTime) => {}
            Err(_) => locked(&self.health.breaker).succeeded(),
        }
    }

    /// Lag as a replica, from the last read of it.
    pub(super) fn lag(&self, need: Need) -> Lag {
        match *locked(&self.health.seen) {
            None => Lag::Unknown,
            Some(seen) => Lag::AtMost(seen.at.elapsed() + age(need, seen.hot_age, seen.history_age)),
        }
    }

    /// Measures the lag if that was not done just now. While another read is under way on the
    /// connection, what is known serves: it grows with time, and that read will say more.
    pub(super) async fn measure(&self) {
        let seen = locked(&self.health.seen).map(|seen| seen.at);
        let fresh = seen.is_some_and(|at| at.elapsed() < MEASURED_FOR);
        if fresh || (seen.is_some() && self.reader.is_in_use()) {
            return;
        }
        if !self.begin() {
            return;
        }
        let time = Allowance::left().map_or(MEASURE_LIMIT, |left| left.min(MEASURE_LIMIT));
        let (done, _) = Allowance::scope(time, self.reader.ages()).await;
        self.note(&done);
    }
}

/// How old what a server has may be that is no primary, or a primary that lacks something.
pub(super) fn age(need: Need, hot: Duration, history: Duration) -> Duration {
    match need {
        Need::Hot => hot,
        // The flush's own row came through the same replication, so its age covers both.
        Need::History | Need::Flushed => history,
    }
}
