//! The seeds' routing tree, with the budget matrix for its bounds.

use crate::{Consistency, Demand, Lag, Purpose, Source};
use std::fmt;
use std::time::Duration;

/// What the cache has of what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cached {
    /// It cannot hold such an answer, or there is no cache.
    Bypassed,
    /// It was not asked: the demand rules it out.
    NotAsked,
    /// It has nothing.
    Missing,
    /// It has an entry of this age.
    Entry(Duration),
}

impl Cached {
    /// The entry's age, if there is one.
    pub fn age(self) -> Option<Duration> {
        match self {
            Self::Entry(age) => Some(age),
            Self::Bypassed | Self::NotAsked | Self::Missing => None,
        }
    }
}

/// Whether the primary takes a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It does.
    Up,
    /// Its breaker is open.
    Away,
    /// It takes those that are its own, and no more of those that belong to other sources.
    Busy,
}

/// What is known of the sources when a request comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// What the cache has.
    pub cache: Cached,
    /// Lag of the replica that would be read ([`pick`]); `None` if there is none or its
    /// breaker is open.
    pub replica: Option<Lag>,
    /// Whether the primary takes reads.
    pub primary: Availability,
}

/// The source chosen, and why. Its text is `route_reason` in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to read.
    pub source: Source,
    /// Why there.
    pub reason: Reason,
    /// What the cache had.
    pub cache: Cached,
    /// A read for analytics, which an OLAP store would answer if one were attached.
    analytics: bool,
    /// It was sent to the sources of analytics because of its cost.
    redirected: bool,
}

impl Route {
    /// The cache's entry is read anew by another request meanwhile.
    pub fn while_read_anew(self) -> Self {
        match self.reason {
            Reason::CacheFresh { age, bound } => Self { reason: Reason::CacheAging { age, bound }, ..self },
            _ => self,
        }
    }

    /// Read in place of the cache's entry, which is of that age and was still under the bound.
    pub fn in_place_of(self, age: Duration, bound: Duration) -> Self {
        Self { reason: Reason::ReadAnew { age, bound }, cache: Cached::Entry(age), ..self }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.redirected {
            f.write_str("redirected to analytics because of its cost; ")?;
        }
        if self.analytics {
            f.write_str("no OLAP store is attached; ")?;
        }
        self.reason.fmt(f)
    }
}

/// Why a source was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The caller asked for a strong read.
    StrongConsistency,
    /// The purpose's first source is the primary.
    PrimaryFirst(Option<Purpose>),
    /// The cache's entry is young enough.
    CacheFresh {
        /// Its age.
        age: Duration,
        /// The bound it is under.
        bound: Duration,
    },
    /// The cache's entry is young enough, and about not to be: another request reads it anew.
    CacheAging {
        /// Its age.
        age: Duration,
        /// The bound it is under.
        bound: Duration,
    },
    /// The cache's entry was about not to be young enough, and this request reads it anew for all.
    ReadAnew {
        /// The entry's age.
        age: Duration,
        /// The bound it was under.
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
    /// The primary has its share of such reads; this is the best there is beside it.
    PrimaryBusy {
        /// How old it may be.
        lag: Lag,
    },
}

impl Reason {
    /// Whether the primary reads what another source should have.
    pub fn is_fallback(self) -> bool {
        matches!(self, Self::ReplicaBehind { .. } | Self::NoReplica)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |b: &Duration| format!("{} s", b.as_secs_f64());
        match self {
            Self::StrongConsistency => f.write_str("strong consistency was asked for"),
            Self::PrimaryFirst(Some(purpose)) => write!(f, "{purpose} reads go to the primary"),
            Self::PrimaryFirst(None) => f.write_str("such reads go to the primary"),
            Self::CacheFresh { age, bound: b } => {
                write!(f, "cache entry is {:.1} s old, under {}", age.as_secs_f64(), bound(b))
            }
            Self::CacheAging { age, bound: b } => {
                write!(
                    f,
                    "cache entry is {:.1} s old, under {}, and is read anew meanwhile",
                    age.as_secs_f64(),
                    bound(b)
                )
            }
            Self::ReadAnew { age, bound: b } => {
                write!(
                    f,
                    "cache entry was {:.1} s old, soon not under {}: read anew",
                    age.as_secs_f64(),
                    bound(b)
                )
            }
            Self::ReplicaFresh { lag, bound: b } => write!(f, "replica lag is {lag}, under {}", bound(b)),
            Self::ReplicaBehind { lag, bound: b } => {
                write!(f, "replica lag is {lag}, not under {}", bound(b))
            }
            Self::NoReplica => f.write_str("no replica can answer"),
            Self::PrimaryAway { lag } => write!(f, "primary is away; this source's lag is {lag}"),
            Self::PrimaryBusy { lag } => {
                write!(f, "the primary's share for such reads is in use; this source's lag is {lag}")
            }
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
    /// The primary does not answer, and everything else is older than the purpose allows at all.
    #[error("the primary database is away and the freshest other source is too old for purpose={0}")]
    TooOldFor(Purpose),
    /// The primary has its share of reads that belong elsewhere, and elsewhere is nothing
    /// that is fresh enough.
    #[error("the replicas are away or behind, and the primary's share for their reads is in use")]
    PrimaryBusy,
    /// Nothing answers.
    #[error("no database answers")]
    AllAway,
}

/// Chooses the source for a read.
///
/// Strong: the primary or nothing. Otherwise the sources in the order of the purpose's row
/// (without one: cache, replica, primary; for analytics: replica, primary), each if it is
/// under the bound. With the primary away the less old of replica and cache, unless the caller
/// set a bound that it misses, or the purpose allows nothing so old.
pub fn route(demand: Demand, sources: Sources) -> Result<Route, NoSource> {
    let (analytics, redirected) = (demand.is_analytics(), demand.redirected);
    let to = |source, reason| Ok(Route { source, reason, cache: sources.cache, analytics, redirected });
    if demand.consistency == Consistency::Strong {
        return match sources.primary {
            Availability::Up | Availability::Busy => to(Source::Primary, Reason::StrongConsistency),
            Availability::Away => Err(NoSource::StrongNeedsPrimary),
        };
    }
    let (budget, bound) = (demand.budget(), demand.bound());
    for source in budget.order {
        match source {
            Source::Cache => {
                if let Some(age) = sources.cache.age().filter(|age| Lag::AtMost(*age).is_under(bound)) {
                    return to(Source::Cache, Reason::CacheFresh { age, bound });
                }
            }
            Source::ReadReplica => {
                if let Some(lag) = sources.replica.filter(|lag| lag.is_under(bound)) {
                    return to(Source::ReadReplica, Reason::ReplicaFresh { lag, bound });
                }
            }
            Source::Primary => {
                let own = budget.order.first() == Some(&Source::Primary);
                let reason = match sources.replica {
                    _ if own => Reason::PrimaryFirst(demand.purpose),
                    Some(lag) => Reason::ReplicaBehind { lag, bound },
                    None => Reason::NoReplica,
                };
                if sources.primary == Availability::Up || (own && sources.primary == Availability::Busy) {
                    return to(Source::Primary, reason);
                }
            }
        }
    }
    let busy = sources.primary == Availability::Busy;
    let (source, lag) = match (sources.cache.age(), sources.replica) {
        (None, None) if busy => return Err(NoSource::PrimaryBusy),
        (None, None) => return Err(NoSource::AllAway),
        (Some(age), replica) if replica.is_none_or(|lag| !lag.is_under(age)) => {
            (Source::Cache, Lag::AtMost(age))
        }
        (_, replica) => (Source::ReadReplica, replica.unwrap_or(Lag::Unknown)),
    };
    if demand.max_staleness.is_some_and(|most| !lag.is_under(most)) {
        return Err(if busy { NoSource::PrimaryBusy } else { NoSource::TooOld });
    }
    if let (Some(most), Some(purpose)) = (budget.at_worst, demand.purpose)
        && !lag.is_under(most)
    {
        return Err(NoSource::TooOldFor(purpose));
    }
    to(source, if busy { Reason::PrimaryBusy { lag } } else { Reason::PrimaryAway { lag } })
}

/// Whether the replica's lag makes a difference: if not, it need not be measured.
pub fn replica_matters(demand: Demand, sources: Sources) -> bool {
    let with = |replica| route(demand, Sources { replica, ..sources }).map(|r| r.source);
    with(None) != with(Some(Lag::ZERO))
}

/// Which of several replicas to read: those under the bound in `turn`, else the freshest.
/// `None` in `lags` is a replica that is not to be asked now.
pub fn pick(lags: &[Option<Lag>], bound: Duration, turn: usize) -> Option<usize> {
    let near: Vec<usize> =
        (0..lags.len()).filter(|i| lags[*i].is_some_and(|lag| lag.is_under(bound))).collect();
    if let Some(chosen) = near.get(turn % near.len().max(1)) {
        return Some(*chosen);
    }
    let known = lags.iter().enumerate().filter_map(|(i, lag)| lag.map(|lag| (i, lag)));
    known.min_by_key(|(_, lag)| *lag).map(|(i, _)| i)
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
