//! The databases a read can go to: measured, watched, tried in turn.

use crate::problem::Problem;
use crate::token;
use eaves_freshness::{Breaker, Demand, Lag, NoSource, Route, Source, Sources as Known, route};
use eaves_store::read::{Reached, ReadError, Reader, Snapshot};
use eaves_telemetry::span;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::Instrument as _;
use tracing::field::Empty;

/// How long a measured lag serves routing; what an answer says is measured by its own read.
const MEASURED_FOR: Duration = Duration::from_millis(200);
/// Tries of the primary in one request: an idle connection may have been closed meanwhile.
const TRIES: u32 = 2;

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

/// When a server said how far it is.
#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    beat_age: Duration,
    history_age: Duration,
}

/// One server.
pub(crate) struct Server {
    pub(crate) reader: Reader,
    breaker: Mutex<Breaker>,
    seen: Mutex<Option<Seen>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader, breaker: Mutex::default(), seen: Mutex::new(None) }
    }

    pub(crate) fn lets_through(&self) -> bool {
        locked(&self.breaker).lets_through(Instant::now())
    }

    fn begin(&self) {
        locked(&self.breaker).begin(Instant::now());
    }

    /// Keeps what a read said of its server.
    pub(crate) fn note<T>(&self, done: &Result<Snapshot<T>, ReadError>) {
        match done {
            Ok(s) => {
                locked(&self.breaker).succeeded();
                let seen = Seen { at: s.began, beat_age: s.beat_age, history_age: s.history_age };
                *locked(&self.seen) = Some(seen);
            }
            Err(e) if e.is_away() => {
                let cause = std::error::Error::source(e).map(ToString::to_string);
                tracing::warn!(error = %e, cause, "query.source_away");
                locked(&self.breaker).failed(Instant::now());
            }
            Err(_) => locked(&self.breaker).succeeded(),
        }
    }

    /// Lag as a replica, from the last read of it.
    fn lag(&self, need: Need) -> Lag {
        match *locked(&self.seen) {
            None => Lag::Unknown,
            Some(seen) => Lag::AtMost(seen.at.elapsed() + age(need, seen.beat_age, seen.history_age)),
        }
    }

    fn is_measured(&self) -> bool {
        locked(&self.seen).is_some_and(|seen| seen.at.elapsed() < MEASURED_FOR)
    }

    async fn measure(&self) {
        self.begin();
        let done = self.reader.ages().await;
        self.note(&done);
    }
}

fn age(need: Need, beat: Duration, history: Duration) -> Duration {
    match need {
        Need::Hot => beat,
        // The flush's own row came through the same replication, so its age covers both.
        Need::History | Need::Flushed => history,
    }
}

/// All servers.
pub(crate) struct Sources {
    pub(crate) primary: Server,
    pub(crate) replica: Option<Server>,
    /// Reads that were sent to one of them.
    pub(crate) reads: AtomicU64,
}

impl Sources {
    /// Lag of the replica's hot projection as last measured; `None` without a replica.
    pub(crate) fn replication_lag(&self) -> Option<Lag> {
        self.replica.as_ref().map(|r| r.lag(Need::Hot))
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
        self.replica.iter().chain([&self.primary]).filter(|s| s.lets_through())
    }

    /// Begins a read. `cache` is the age of the cache's entry, if it has one.
    pub(crate) fn attempt(&self, demand: Demand, need: Need, cache: Option<Duration>) -> Attempt<'_> {
        Attempt {
            sources: self,
            demand,
            need,
            cache,
            primary_failures: 0,
            replica_failed: false,
            late: false,
            lacking: false,
        }
    }
}

/// One read on its way from source to source.
pub(crate) struct Attempt<'a> {
    sources: &'a Sources,
    demand: Demand,
    need: Need,
    cache: Option<Duration>,
    primary_failures: u32,
    replica_failed: bool,
    /// The primary answered, and its history is older than asked for.
    late: bool,
    /// The last one that answered lacks what the request's token names, and nobody else is left.
    lacking: bool,
}

impl<'a> Attempt<'a> {
    /// Where to read now; no server if the cache's entry is the answer.
    pub(crate) async fn next(&mut self) -> Result<(Route, Option<&'a Server>), Problem> {
        let span = span!("source", source = Empty, reason = Empty);
        if std::mem::take(&mut self.lacking) {
            token::pause().await?;
        }
        let chosen = self.choose().instrument(span.clone()).await?;
        span.record("source", chosen.0.source.name());
        // Made to a text only for those who read it.
        span.record("reason", tracing::field::display(chosen.0.reason));
        Ok(chosen)
    }

    async fn choose(&mut self) -> Result<(Route, Option<&'a Server>), Problem> {
        let sources = self.sources;
        let replica = sources.replica.as_ref().filter(|_| !self.replica_failed);
        let mut known = Known {
            cache: self.cache,
            replica: None,
            primary: self.primary_failures < TRIES && sources.primary.lets_through(),
        };
        // Asked first without the replica's lag, which is not worth a round trip where
        // the cache or a strong read makes no use of it.
        let mut chosen = route(self.demand, known);
        let settled = self.demand.consistency == eaves_freshness::Consistency::Strong
            || matches!(
                chosen,
                Ok(Route { source: Source::Cache, reason: eaves_freshness::Reason::CacheFresh { .. } })
            );
        if let (false, Some(replica)) = (settled, replica.filter(|r| r.lets_through())) {
            if !replica.is_measured() {
                replica.measure().await;
            }
            if replica.lets_through() {
                known.replica = Some(replica.lag(self.need));
            }
            chosen = route(self.demand, known);
        }
        let chosen = chosen.map_err(|why| self.refuse(why))?;
        if chosen.source != Source::Cache {
            token::ready(sources).await?;
        }
        let server = match chosen.source {
            Source::Cache => None,
            Source::Primary => Some(&sources.primary),
            Source::ReadReplica => replica,
        };
        if let Some(server) = server {
            sources.reads.fetch_add(1, Ordering::Relaxed);
            server.begin();
        }
        Ok((chosen, server))
    }

    /// Tries no replica any more: it lacks a name that the primary may know.
    pub(crate) fn skip_replica(&mut self) {
        self.replica_failed = true;
    }

    /// Takes what the server answered: the value with its lag, `None` to try elsewhere.
    pub(crate) fn take<T>(
        &mut self,
        route: Route,
        server: &Server,
        done: Result<Snapshot<T>, ReadError>,
    ) -> Result<Option<(T, Lag)>, ReadError> {
        server.note(&done);
        match done {
            Ok(snapshot) if snapshot.reached.is_some_and(|it| !self.is_in(route.source, it)) => {
                // The primary may have it; else it is waited for, by who asks next.
                match route.source {
                    Source::ReadReplica if self.sources.primary.lets_through() => self.replica_failed = true,
                    _ => self.lacking = true,
                }
                Ok(None)
            }
            Ok(snapshot) => {
                let lag = match route.source {
                    Source::ReadReplica => {
                        let age = age(self.need, snapshot.beat_age, snapshot.history_age);
                        Lag::AtMost(snapshot.began.elapsed() + age)
                    }
                    Source::Primary if self.need == Need::Flushed => {
                        Lag::AtMost(snapshot.began.elapsed() + snapshot.history_age)
                    }
                    Source::Primary | Source::Cache => Lag::ZERO,
                };
                // It fell behind between measuring and reading: only a bound that the
                // caller set makes that a reason to look elsewhere.
                let too_old = self.demand.max_staleness.is_some_and(|bound| !lag.is_under(bound));
                if route.source == Source::ReadReplica && too_old {
                    self.replica_failed = true;
                    return Ok(None);
                }
                if route.source == Source::Primary && self.need == Need::Flushed && too_old {
                    (self.primary_failures, self.late) = (TRIES, true);
                    return Ok(None);
                }
                Ok(Some((snapshot.value, lag)))
            }
            Err(e) if e.is_away() => {
                match route.source {
                    Source::ReadReplica => self.replica_failed = true,
                    Source::Primary | Source::Cache => self.primary_failures += 1,
                }
                Ok(None)
            }
            // It names what the request's token names, and the replica does not know yet.
            Err(ReadError::Filter { .. })
                if route.source == Source::ReadReplica
                    && token::is_asked()
                    && self.sources.primary.lets_through() =>
            {
                self.replica_failed = true;
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Whether what the token names is in what this read needs of the source.
    fn is_in(&self, source: Source, reached: Reached) -> bool {
        match (self.need, source) {
            (Need::Hot, _) | (Need::History, Source::Primary) => reached.ingested,
            (Need::History | Need::Flushed, _) => reached.flushed,
        }
    }

    fn refuse(&self, why: NoSource) -> Problem {
        if self.late {
            let detail = "history is older than max_staleness: what came since is not flushed yet";
            return Problem::unavailable(detail, Duration::from_secs(1));
        }
        let now = Instant::now();
        let retry_in = locked(&self.sources.primary.breaker).retry_in(now);
        Problem::unavailable(why.to_string(), retry_in)
    }
}
