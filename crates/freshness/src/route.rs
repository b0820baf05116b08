//! The seeds' routing tree.

use crate::{Consistency, Demand, Lag, Source};
use std::fmt;
use std::time::Duration;

/// What is known of the sources when a request comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Age of the cache's entry for what is asked; `None` if it has none, was not asked
    /// or cannot hold the answer.
    pub cache: Option<Duration>,
    /// Lag of the replica; `None` if there is none or its breaker is open.
    pub replica: Option<Lag>,
    /// Whether the primary's breaker lets reads through.
    pub primary: bool,
}

/// The source chosen, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to read.
    pub source: Source,
    /// Why there.
    pub reason: Reason,
}

/// Why a source was chosen. Its text is `route_reason` in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The caller asked for a strong read.
    StrongConsistency,
    /// The cache's entry is young enough.
    CacheFresh {
        /// Its age.
        age: Duration,
        /// The bound it is under.
        bound: Duration,
    },
    /// The replica is close enough.
    ReplicaFresh {
        /// Its lag.
        lag: Lag,
        /// The bound it is under.
        bound: Duration,
    },
    /// The replica is too far behind.
    ReplicaBehind {
        /// Its lag.
        lag: Lag,
        /// The bound it missed.
        bound: Duration,
    },
    /// There is no replica, or it does not answer.
    NoReplica,
    /// The primary does not answer; this is the best there is.
    PrimaryAway {
        /// How old it may be.
        lag: Lag,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |b: &Duration| format!("{} s", b.as_secs_f64());
        match self {
            Self::StrongConsistency => f.write_str("strong consistency was asked for"),
            Self::CacheFresh { age, bound: b } => {
                write!(f, "cache entry is {:.1} s old, under {}", age.as_secs_f64(), bound(b))
            }
            Self::ReplicaFresh { lag, bound: b } => write!(f, "replica lag is {lag}, under {}", bound(b)),
            Self::ReplicaBehind { lag, bound: b } => {
                write!(f, "replica lag is {lag}, not under {}", bound(b))
            }
            Self::NoReplica => f.write_str("no replica can answer"),
            Self::PrimaryAway { lag } => write!(f, "primary is away; this source's lag is {lag}"),
        }
    }
}

/// No source can answer as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSource {
    /// A strong read, and the primary does not answer.
    #[error("the primary database is away and a strong read takes no other source")]
    StrongNeedsPrimary,
    /// The primary does not answer, and everything else is older than the caller takes.
    #[error("the primary database is away and the freshest other source is older than max_staleness")]
    TooOld,
    /// Nothing answers.
    #[error("no database answers")]
    AllAway,
}

/// Chooses the source for a read.
///
/// Strong: the primary or nothing. Otherwise the cache if its entry is under the bound,
/// then the replica if its lag is, then the primary; with the primary away the
/// less old of replica and cache, unless the caller set a bound that it misses.
pub fn route(demand: Demand, sources: Sources) -> Result<Route, NoSource> {
    let to = |source, reason| Ok(Route { source, reason });
    if demand.consistency == Consistency::Strong {
        return if sources.primary {
            to(Source::Primary, Reason::StrongConsistency)
        } else {
            Err(NoSource::StrongNeedsPrimary)
        };
    }
    let bound = demand.bound();
    if let Some(age) = sources.cache.filter(|age| *age < bound) {
        return to(Source::Cache, Reason::CacheFresh { age, bound });
    }
    if let Some(lag) = sources.replica.filter(|lag| lag.is_under(bound)) {
        return to(Source::ReadReplica, Reason::ReplicaFresh { lag, bound });
    }
    if sources.primary {
        let reason = match sources.replica {
            Some(lag) => Reason::ReplicaBehind { lag, bound },
            None => Reason::NoReplica,
        };
        return to(Source::Primary, reason);
    }
    if demand.max_staleness.is_some() {
        let any = sources.cache.is_some() || sources.replica.is_some();
        return Err(if any { NoSource::TooOld } else { NoSource::AllAway });
    }
    match (sources.cache, sources.replica) {
        (None, None) => Err(NoSource::AllAway),
        (Some(age), replica) if replica.is_none_or(|lag| !lag.is_under(age)) => {
            to(Source::Cache, Reason::PrimaryAway { lag: Lag::AtMost(age) })
        }
        (_, replica) => to(Source::ReadReplica, Reason::PrimaryAway { lag: replica.unwrap_or(Lag::Unknown) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Freshness;
    use proptest::prelude::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn check(demand: Demand, sources: Sources, expect: Result<(Source, &str), NoSource>) {
        let got = route(demand, sources).map(|r| (r.source, r.reason.to_string()));
        assert_eq!(got, expect.map(|(source, why)| (source, why.to_owned())), "{demand:?} {sources:?}");
    }

    #[test]
    fn the_tree_of_the_seeds() {
        let all = Sources { cache: Some(s(1)), replica: Some(Lag::AtMost(s(2))), primary: true };
        let eventual = Demand::EVENTUAL;
        check(eventual, all, Ok((Source::Cache, "cache entry is 1.0 s old, under 5 s")));
        let old_cache = Sources { cache: Some(s(6)), ..all };
        check(eventual, old_cache, Ok((Source::ReadReplica, "replica lag is 2.0 s, under 5 s")));
        let lagging = Sources { replica: Some(Lag::AtMost(s(7))), ..old_cache };
        check(eventual, lagging, Ok((Source::Primary, "replica lag is 7.0 s, not under 5 s")));
        let unknown = Sources { replica: Some(Lag::Unknown), ..old_cache };
        check(eventual, unknown, Ok((Source::Primary, "replica lag is unknown, not under 5 s")));
        let alone = Sources { cache: None, replica: None, primary: true };
        check(eventual, alone, Ok((Source::Primary, "no replica can answer")));
        check(Demand::STRONG, all, Ok((Source::Primary, "strong consistency was asked for")));
    }

    #[test]
    fn with_the_primary_away_strong_reads_stop_and_eventual_ones_tell_the_truth() {
        let away = Sources { cache: Some(s(90)), replica: Some(Lag::AtMost(s(60))), primary: false };
        check(Demand::STRONG, away, Err(NoSource::StrongNeedsPrimary));
        let told = "primary is away; this source's lag is 60.0 s";
        check(Demand::EVENTUAL, away, Ok((Source::ReadReplica, told)));
        let bounded = Demand { max_staleness: Some(s(30)), ..Demand::EVENTUAL };
        check(bounded, away, Err(NoSource::TooOld));
        let cache_only = Sources { replica: None, ..away };
        let told = "primary is away; this source's lag is 90.0 s";
        check(Demand::EVENTUAL, cache_only, Ok((Source::Cache, told)));
        check(Demand::EVENTUAL, Sources { cache: None, ..cache_only }, Err(NoSource::AllAway));
    }

    #[test]
    fn a_bound_of_the_caller_replaces_the_default() {
        let sources = Sources { cache: Some(s(3)), replica: Some(Lag::AtMost(s(8))), primary: true };
        let tight = Demand { max_staleness: Some(s(2)), ..Demand::EVENTUAL };
        assert_eq!(route(tight, sources).unwrap().source, Source::Primary);
        let loose = Demand { max_staleness: Some(s(20)), ..Demand::EVENTUAL };
        let old_cache = Sources { cache: Some(s(30)), ..sources };
        assert_eq!(route(loose, old_cache).unwrap().source, Source::ReadReplica);
        let none = Demand { max_staleness: Some(Duration::ZERO), ..Demand::EVENTUAL };
        assert_eq!(route(none, Sources { cache: Some(s(0)), ..sources }).unwrap().source, Source::Primary);
    }

    fn lag() -> impl Strategy<Value = Lag> {
        prop_oneof![Just(Lag::Unknown), (0u64..100_000).prop_map(|ms| Lag::AtMost(Duration::from_millis(ms)))]
    }

    fn age() -> impl Strategy<Value = Option<Duration>> {
        proptest::option::of((0u64..100_000).prop_map(Duration::from_millis))
    }

    prop_compose! {
        fn sources()(cache in age(), replica in proptest::option::of(lag()), primary: bool) -> Sources {
            Sources { cache, replica, primary }
        }
    }

    proptest! {
        #[test]
        fn strong_goes_to_the_primary_or_nowhere(sources in sources(), bound in age()) {
            let demand = Demand { consistency: Consistency::Strong, max_staleness: bound };
            match route(demand, sources) {
                Ok(route) => prop_assert!(route.source == Source::Primary && sources.primary),
                Err(e) => prop_assert!(e == NoSource::StrongNeedsPrimary && !sources.primary),
            }
        }

        #[test]
        fn a_route_exists_and_keeps_the_bound(sources in sources(), bound in age()) {
            let demand = Demand { consistency: Consistency::Eventual, max_staleness: bound };
            let Ok(route) = route(demand, sources) else { return Ok(()) };
            let lag = match route.source {
                Source::Cache => Lag::AtMost(sources.cache.unwrap()),
                Source::ReadReplica => sources.replica.unwrap(),
                Source::Primary => { prop_assert!(sources.primary); Lag::ZERO }
            };
            if route.source != Source::Primary && sources.primary {
                prop_assert!(lag.is_under(demand.bound()));
            }
            if let (Some(bound), true) = (bound, route.source != Source::Primary) {
                prop_assert!(lag.is_under(bound));
            }
            let told = Freshness::of(demand, route, lag);
            // In whole milliseconds, as it is told: doubles of one time may differ in the last bit.
            let told_ms = told.lag_seconds.map(|s| (s * 1000.0).round() as u64);
            let as_told = told_ms.map_or(Lag::Unknown, |ms| Lag::AtMost(Duration::from_millis(ms)));
            let not_fresher = match (as_told, lag) {
                (Lag::AtMost(told), Lag::AtMost(lag)) => told >= lag,
                (told, _) => told == Lag::Unknown,
            };
            prop_assert!(not_fresher);
            prop_assert_eq!(told.sla_met, lag.is_under(demand.target()));
        }

        #[test]
        fn an_eventual_read_without_a_bound_fails_only_when_all_are_away(sources in sources()) {
            let none = sources.cache.is_none() && sources.replica.is_none() && !sources.primary;
            prop_assert_eq!(route(Demand::EVENTUAL, sources).is_err(), none);
        }
    }
}
