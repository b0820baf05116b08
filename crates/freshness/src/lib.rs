//! Which source answers a read, and what the answer may claim about its age.
//!
//! Pure decisions: no I/O, no clock of its own, nothing that knows a database or a
//! cache. The caller measures ([`Sources`]), [`route`] decides, the caller reads, and
//! [`Freshness::of`] states what was got. [`breaker::Breaker`] keeps a source that
//! fails out of the choice for a while.
//!
//! What holds, whatever is measured (see the property tests): a strong read goes to the
//! primary or nowhere, an answer never claims to be fresher than its source, and a bound is
//! never exceeded silently: one that the caller set is kept, a budget's is told as missed.
//! An OLAP store is no source yet: it becomes a variant of [`Source`] and the first of its
//! rows' order ([`Budget::order`]) when queries can read one.

pub mod breaker;
mod demand;
mod purpose;
mod route;
mod tier;

pub use breaker::Breaker;
pub use demand::{Consistency, Demand, UnknownConsistency};
pub use purpose::{Budget, Contradiction, Purpose, UnknownPurpose};
pub use route::{Availability, Cached, NoSource, Reason, Route, Sources, pick, replica_matters, route};
pub use tier::{Freshness, PAUSED_AFTER, Tier};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Where data comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The Redis cache.
    Cache,
    /// A streaming replica of the database.
    ReadReplica,
    /// The database that is written.
    Primary,
}

impl Source {
    /// The name in headers and metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::ReadReplica => "read-replica",
            Self::Primary => "primary",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far behind the primary data is; ordered, with the unknown last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lag {
    /// At most this much.
    AtMost(Duration),
    /// Nobody knows: it was never measured.
    Unknown,
}

impl Lag {
    /// No lag: the primary itself.
    pub const ZERO: Self = Self::AtMost(Duration::ZERO);

    /// Whether it is surely below `bound`, also as it is told: in whole milliseconds, rounded up.
    pub fn is_under(self, bound: Duration) -> bool {
        matches!(self, Self::AtMost(lag) if in_millis(lag) < bound)
    }

    /// Seconds, or `None` if unknown.
    pub fn seconds(self) -> Option<f64> {
        match self {
            Self::AtMost(lag) => Some(lag.as_secs_f64()),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(lag) => write!(f, "{:.1} s", lag.as_secs_f64()),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// A time in whole milliseconds, rounded up, so that what is told never looks fresher than it is.
pub(crate) fn in_millis(time: Duration) -> Duration {
    Duration::from_nanos(u64::try_from(time.as_nanos().div_ceil(1_000_000) * 1_000_000).unwrap_or(u64::MAX))
}
