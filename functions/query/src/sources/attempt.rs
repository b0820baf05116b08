//! One read on its way from source to source.

use super::server::{age, locked};
use super::{Need, Server, Sources};
use crate::problem::Problem;
use crate::{request, token};
use eaves_freshness::{
    Availability, Cached, Consistency, Demand, Lag, NoSource, Route, Source, Sources as Known,
    replica_matters, route,
};
use eaves_store::read::{Allowance, Reached, ReadError, Snapshot};
use eaves_telemetry::span;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::SemaphorePermit;
use tracing::Instrument as _;
use tracing::field::Empty;

/// Tries of the primary in one request: an idle connection may have been closed meanwhile.
const TRIES: u32 = 2;

/// One read on its way from source to source.
pub(crate) struct Attempt<'a> {
    sources: &'a Sources,
    demand: Demand,
    need: Need,
    cache: Cached,
    primary_failures: u32,
    /// Replicas that failed this read, or were too far behind once it was read.
    failed: Vec<usize>,
    /// The replica that is being read.
    replica: Option<usize>,
    no_replica: bool,
    /// The least lag of those replicas that answered and were too far behind.
    behind: Option<Lag>,
    /// The primary answered, and its history is older than asked for.
    late: bool,
    /// The primary answered, and reads again what a crash took: so what it has is older than asked for.
    recovering: bool,
    /// The last one that answered lacks what the request's token names, and nobody else is left.
    lacking: bool,
    /// A part of the primary's share for reads that belong elsewhere, while this uses it.
    share: Option<SemaphorePermit<'a>>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(sources: &'a Sources, demand: Demand, need: Need, cache: Cached) -> Self {
        Self {
            sources,
            demand,
            need,
            cache,
            primary_failures: 0,
            failed: Vec::new(),
            replica: None,
            no_replica: false,
            behind: None,
            late: false,
            recovering: false,
            lacking: false,
            share: None,
        }
    }

    /// Where to read now; no server if the cache's entry is the answer.
    pub(crate) async fn next(&mut self) -> Result<(Route, Option<&'a Server>), Problem> {
        if Allowance::left().is_some_and(|left| left.is_zero()) {
            return Err(Problem::out_of_time());
        }
        if std::mem::take(&mut self.lacking) {
            token::pause().await?;
        }
        let began = Instant::now();
        let span = span!("source", source = Empty, reason = Empty);
        let chosen = loop {
            let chosen = self.choose().instrument(span.clone()).await;
            match chosen {
                // Another request tries it just now, to see whether it answers again.
                Ok((route, Some(server))) if !server.begin() => self.pass_by(route.source),
                chosen => break chosen,
            }
        };
        request::routed(began.elapsed());
        let chosen = chosen?;
        if chosen.1.is_some() {
            self.sources.reads.fetch_add(1, Ordering::Relaxed);
        }
        span.record("source", chosen.0.source.name());
        // Made to a text only for those who read it.
        span.record("reason", tracing::field::display(chosen.0));
        Ok(chosen)
    }

    async fn choose(&mut self) -> Result<(Route, Option<&'a Server>), Problem> {
        let sources = self.sources;
        let up = self.primary_failures < TRIES && sources.primary.lets_through();
        let primary = if up { Availability::Up } else { Availability::Away };
        let mut known = Known { cache: self.cache, replica: None, primary };
        self.replica = None;
        // The lag is not worth a round trip where it makes no difference.
        if !self.no_replica && !sources.replicas.is_empty() && replica_matters(self.demand, known) {
            let picked = sources.pick(self.demand, self.need, &self.failed).await;
            self.replica = picked.map(|(i, _)| i);
            // One that turned out to be too old is no answer, and a reason all the same.
            known.replica = picked.map(|(_, lag)| lag).or(self.behind);
        }
        let mut chosen = route(self.demand, known);
        // Where there is no replica at all, every read is the primary's own.
        let belongs_elsewhere = !sources.replicas.is_empty()
            && chosen.is_ok_and(|r| r.source == Source::Primary && r.reason.is_fallback());
        self.share = self.share.take().filter(|_| belongs_elsewhere);
        if belongs_elsewhere && self.share.is_none() {
            self.share = sources.share.try_acquire().ok();
            if self.share.is_none() {
                chosen = route(self.demand, Known { primary: Availability::Busy, ..known });
            }
        }
        let chosen = chosen.map_err(|why| self.refuse(why))?;
        if chosen.source != Source::Cache {
            token::ready(sources).await?;
        }
        let replica = self.replica.and_then(|i| sources.replicas.get(i));
        let server = match chosen.source {
            Source::Cache => {
                *locked(&sources.cache_seen) = self.cache.age().map(|age| (Instant::now(), age));
                None
            }
            Source::Primary if self.share.is_some() => Some(&sources.fallback),
            Source::Primary => Some(&sources.primary),
            Source::ReadReplica if self.demand.is_analytics() => replica.map(|r| &r.analytics),
            Source::ReadReplica => replica.map(|r| &r.server),
        };
        Ok((chosen, server))
    }

    /// Does without a source for the rest of this read.
    fn pass_by(&mut self, source: Source) {
        match source {
            Source::ReadReplica => self.failed.extend(self.replica),
            Source::Primary | Source::Cache => self.primary_failures = TRIES,
        }
    }

    /// Tries no replica any more: it lacks a name that the primary may know.
    pub(crate) fn skip_replica(&mut self) {
        self.no_replica = true;
    }

    /// Takes what the server answered: the value with its lag, `None` to try elsewhere.
    pub(crate) fn take<T>(
        &mut self,
        route: Route,
        server: &Server,
        done: Result<Snapshot<T>, ReadError>,
    ) -> Result<Option<(T, Lag)>, ReadError> {
        // After a failover the primary's name may lead to a replica for a while.
        let done = match done {
            Ok(snapshot) if route.source == Source::Primary && snapshot.in_recovery => {
                server.reader.reconnect();
                Err(ReadError::Away(None))
            }
            Err(e) if e.is_of_a_follower() => {
                server.reader.reconnect();
                Err(e)
            }
            done => done,
        };
        server.note(&done);
        match done {
            Ok(snapshot) if snapshot.reached.is_some_and(|it| !self.is_in(route.source, it)) => {
                // The primary may have it; else it is waited for, by who asks next.
                match route.source {
                    Source::ReadReplica if self.sources.primary.lets_through() => self.skip_replica(),
                    _ => self.lacking = true,
                }
                Ok(None)
            }
            Ok(snapshot) => {
                let aged = || {
                    let age = age(self.need, snapshot.hot_age, snapshot.history_age);
                    Lag::AtMost(snapshot.began.elapsed() + age)
                };
                let lag = match route.source {
                    Source::ReadReplica => aged(),
                    Source::Primary if snapshot.recovering || self.need == Need::Flushed => aged(),
                    Source::Primary | Source::Cache => Lag::ZERO,
                };
                // It fell behind between measuring and reading: only a bound that the
                // caller set makes that a reason to look elsewhere.
                let too_old = self.demand.max_staleness.is_some_and(|bound| !lag.is_under(bound));
                if route.source == Source::ReadReplica && too_old {
                    self.failed.extend(self.replica);
                    self.behind = self.behind.into_iter().chain([lag]).min();
                    return Ok(None);
                }
                let strong = self.demand.consistency == Consistency::Strong;
                if route.source == Source::Primary && snapshot.recovering && (too_old || strong) {
                    (self.primary_failures, self.recovering) = (TRIES, true);
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
                    Source::ReadReplica => self.failed.extend(self.replica),
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
                self.skip_replica();
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
        if self.recovering {
            let detail = "after a crash of the database, values that were acknowledged are being read again from the stream";
            return Problem::unavailable(detail, Duration::from_secs(1));
        }
        if self.late {
            let detail = "history is older than max_staleness: what came since is not flushed yet";
            return Problem::unavailable(detail, Duration::from_secs(1));
        }
        if matches!(why, NoSource::PrimaryBusy) {
            return Problem::shed(why.to_string());
        }
        Problem::unavailable(why.to_string(), self.sources.primary.retry_in())
    }
}
