//! The time that one request may take, shared by all its reads.

use std::cell::Cell;
use std::time::{Duration, Instant};

tokio::task_local! {
    static ALLOWANCE: Allowance;
}

/// What a request may take, and what its reads have taken.
///
/// It belongs to the task: every read made within [`Allowance::scope`] keeps its statement's
/// limit under what is left, whichever source it goes to, so that several tries together take
/// no longer than one may. A read outside any scope has its reader's limit alone.
#[derive(Debug)]
pub struct Allowance {
    until: Instant,
    spent: Cell<Duration>,
}

impl Allowance {
    /// Runs `work`, whose reads end with `time` from now. Also says how long its reads took,
    /// waiting for a connection included.
    pub async fn scope<T>(time: Duration, work: impl Future<Output = T>) -> (T, Duration) {
        let allowance = Self { until: Instant::now() + time, spent: Cell::default() };
        let work = async {
            let done = work.await;
            (done, ALLOWANCE.with(|a| a.spent.get()))
        };
        let (done, spent) = ALLOWANCE.scope(allowance, work).await;
        // Of a part of a request, the whole has spent it, too.
        Self::spend(spent);
        (done, spent)
    }

    /// What is left of the request's time; `None` outside a request.
    pub fn left() -> Option<Duration> {
        ALLOWANCE.try_with(|a| a.until.saturating_duration_since(Instant::now())).ok()
    }

    /// Since a read began so long ago.
    pub(super) fn spend(time: Duration) {
        // Outside a request nobody asks.
        let _ = ALLOWANCE.try_with(|a| a.spent.set(a.spent.get() + time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_of_one_request_share_its_time() {
        assert_eq!(Allowance::left(), None);
        let ((), spent) = Allowance::scope(Duration::from_secs(5), async {
            assert!(Allowance::left().is_some_and(|left| left <= Duration::from_secs(5)));
            Allowance::spend(Duration::from_millis(20));
            Allowance::spend(Duration::from_millis(30));
        })
        .await;
        assert_eq!(spent, Duration::from_millis(50));
        let (left, _) = Allowance::scope(Duration::ZERO, async { Allowance::left() }).await;
        assert_eq!(left, Some(Duration::ZERO));
    }
}
