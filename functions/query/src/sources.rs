//! The databases a read can go to: measured, watched, tried in turn.
//!
//! An instance has one connection to each server, used by one read at a time, and two more
//! that are made when first needed: to the primary for reads that belong elsewhere
//! ([`FALLBACK_READS`]), and to each replica for analytics, whose statements may run long.
//! So neither ever stands in a strong or an interactive read's way.

mod attempt;
mod server;

pub(crate) use attempt::Attempt;
pub(crate) use server::Server;

use crate::problem::Problem;
use eaves_freshness::{Cached, Consistency, Demand, Lag, pick};
use eaves_store::read::{Allowance, ReadError};
use futures_util::future::join_all;
use server::locked;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Longest statement of an analytics read on a replica. API Gateway gives up after 30 s.
const ANALYTICS_LIMIT: Duration = Duration::from_secs(20);
/// Longest that a server may take to say what another one knows as well.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(1);
/// Reads that may use the primary, or wait for it, at a time although they belong to a replica
/// that is away or behind. They share one of the instance's connections to the primary.
pub(crate) const FALLBACK_READS: usize = 16;

/// What a read needs of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The hot projection and names: as old as replication.
    Hot,
    /// History: as old as the flush, on a replica.
    History,
    /// History without staging: as old as the flush, on the primary too.
    Flushed,
}

/// A replica, by its connections.
pub(crate) struct Replica {
    pub(crate) server: Server,
    analytics: Server,
}

/// All servers.
pub(crate) struct Sources {
    pub(crate) primary: Server,
    pub(crate) replicas: Vec<Replica>,
    /// The primary, for reads that belong to a replica.
    fallback: Server,
    share: Semaphore,
    has_cache: bool,
    /// Whose turn it is among replicas that are close enough.
    turn: AtomicUsize,
    /// The entry that the cache last answered with: when, and its age then.
    cache_seen: Mutex<Option<(Instant, Duration)>>,
    /// Reads that were sent to one of them.
    pub(crate) reads: AtomicU64,
}

impl Sources {
    /// With statements on the primary no longer than `limit`.
    pub(crate) fn new(primary: Server, replicas: Vec<Server>, has_cache: bool, limit: Duration) -> Self {
        let replicas = replicas
            .into_iter()
            .map(|server| Replica { analytics: server.beside(ANALYTICS_LIMIT), server })
            .collect();
        Self {
            fallback: primary.beside(limit),
            primary,
            replicas,
            share: Semaphore::new(FALLBACK_READS),
            has_cache,
            turn: AtomicUsize::new(0),
            cache_seen: Mutex::default(),
            reads: AtomicU64::new(0),
        }
    }

    /// Lag of the freshest replica's hot projection as last measured; `None` without a replica.
    pub(crate) fn replication_lag(&self) -> Option<Lag> {
        let lags: Vec<_> = self.replicas.iter().map(|r| Some(r.server.lag(Need::Hot))).collect();
        pick(&lags, Duration::ZERO, 0).and_then(|i| lags[i])
    }

    /// Age of the entry that the cache last answered with, by now.
    pub(crate) fn cache_age(&self) -> Option<Duration> {
        locked(&self.cache_seen).map(|(at, age)| age + at.elapsed())
    }

    /// The primary: what was just changed is to be seen changed, and only it can be written.
    pub(crate) fn primary(&self) -> Result<&Server, Problem> {
        if self.primary.lets_through() {
            return Ok(&self.primary);
        }
        Err(Problem::unavailable("the database does not answer", Duration::from_secs(1)))
    }

    /// Those that can be asked for something that is the same everywhere, nearest first.
    pub(crate) fn any(&self) -> impl Iterator<Item = &Server> {
        self.replicas.iter().map(|r| &r.server).chain([&self.primary]).filter(|s| s.lets_through())
    }

    /// Asks one of [`Self::any`]. One that is followed by another, and was not heard of lately, has a second for
    /// it: a server that says nothing is not to use up the time of a request that the next one could answer.
    pub(crate) async fn look_up<T>(
        &self,
        server: &Server,
        work: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        if std::ptr::eq(server, &self.primary) || server.answered_lately() {
            return work.await;
        }
        let time = Allowance::left().map_or(LOOK_UP_LIMIT, |left| left.min(LOOK_UP_LIMIT));
        match Allowance::scope(time, work).await.0 {
            Err(ReadError::NoTime) => Err(ReadError::Away(None)),
            done => done,
        }
    }

    /// Begins a read of what the cache never holds, unless `cache` is an entry's age.
    pub(crate) fn attempt(&self, demand: Demand, need: Need, cache: Option<Duration>) -> Attempt<'_> {
        Attempt::new(self, demand, need, cache.map_or(Cached::Bypassed, Cached::Entry))
    }

    /// Begins a read of what the cache may hold. `cache` is the age of its entry, if it has one.
    pub(crate) fn attempt_cached(&self, demand: Demand, need: Need, cache: Option<Duration>) -> Attempt<'_> {
        let cached = match cache {
            _ if !self.has_cache => Cached::Bypassed,
            _ if demand.consistency == Consistency::Strong => Cached::NotAsked,
            None => Cached::Missing,
            Some(age) => Cached::Entry(age),
        };
        Attempt::new(self, demand, need, cached)
    }

    /// Measures the replicas, but those that failed this read, and picks one.
    async fn pick(&self, demand: Demand, need: Need, failed: &[usize]) -> Option<(usize, Lag)> {
        let open = |i: &usize| !failed.contains(i) && self.replicas[*i].server.lets_through();
        let asked: Vec<usize> = (0..self.replicas.len()).filter(open).collect();
        join_all(asked.iter().map(|i| self.replicas[*i].server.measure())).await;
        let lag = |i: usize| (asked.contains(&i) && open(&i)).then(|| self.replicas[i].server.lag(need));
        let lags: Vec<Option<Lag>> = (0..self.replicas.len()).map(lag).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let chosen = pick(&lags, demand.bound(), turn)?;
        Some((chosen, lags.get(chosen).copied().flatten()?))
    }
}
