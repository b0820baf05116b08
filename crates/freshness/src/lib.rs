//! Which source answers a read, and what the answer may claim about its age.
//!
//! Pure decisions: no I/O, no clock of its own, nothing that knows a database or a
//! cache. The caller measures ([`Sources`]), [`route`] decides, the caller reads, and
//! [`Freshness::of`] states what was got. [`breaker::Breaker`] keeps a source that
//! fails out of the choice for a while.
//!
//! What holds, whatever is measured (see the property tests): a strong read goes to the
//! primary or nowhere, and an answer never claims to be fresher than its source.

pub mod breaker;
mod route;
mod tier;

pub use breaker::Breaker;
pub use route::{NoSource, Reason, Route, Sources, route};
pub use tier::{Freshness, PAUSED_AFTER, Tier};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How old the cache or a replica may be where the caller named no bound (seeds: cache
/// fresh < 5 s, replica lag < 5 s).
pub const DEFAULT_BOUND: Duration = Duration::from_secs(5);
/// What an eventual answer is measured against (seeds: operational queries < 10 s).
pub const EVENTUAL_TARGET: Duration = Duration::from_secs(10);
/// What a strong answer is measured against (seeds: critical user actions < 1 s).
pub const STRONG_TARGET: Duration = Duration::from_secs(1);

/// What a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Everything acknowledged before the request is in the answer.
    Strong,
    /// A little old is good enough.
    Eventual,
}

impl Consistency {
    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Eventual => "eventual",
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no consistency level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a consistency level: use strong or eventual")]
pub struct UnknownConsistency(pub String);

impl FromStr for Consistency {
    type Err = UnknownConsistency;

    fn from_str(text: &str) -> Result<Self, UnknownConsistency> {
        match text {
            "strong" => Ok(Self::Strong),
            "eventual" => Ok(Self::Eventual),
            other => Err(UnknownConsistency(other.chars().take(40).collect())),
        }
    }
}

/// A caller's demand on an answer's age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The level.
    pub consistency: Consistency,
    /// Oldest answer the caller takes. Without it, an eventual read with the primary
    /// away takes what there is; with it, such a read finds no source.
    pub max_staleness: Option<Duration>,
}

impl Demand {
    /// Everything acknowledged before the request.
    pub const STRONG: Self = Self { consistency: Consistency::Strong, max_staleness: None };
    /// A little old is good enough.
    pub const EVENTUAL: Self = Self { consistency: Consistency::Eventual, max_staleness: None };

    /// The age up to which a source other than the primary will do.
    pub fn bound(&self) -> Duration {
        self.max_staleness.unwrap_or(DEFAULT_BOUND)
    }

    /// What the answer's lag is measured against.
    pub fn target(&self) -> Duration {
        match (self.consistency, self.max_staleness) {
            (Consistency::Strong, _) => STRONG_TARGET,
            (Consistency::Eventual, Some(bound)) => bound,
            (Consistency::Eventual, None) => EVENTUAL_TARGET,
        }
    }
}

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

/// How far behind the primary data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// At most this much.
    AtMost(Duration),
    /// Nobody knows: it was never measured.
    Unknown,
}

impl Lag {
    /// No lag: the primary itself.
    pub const ZERO: Self = Self::AtMost(Duration::ZERO);

    /// Whether it is surely below `bound`.
    pub fn is_under(self, bound: Duration) -> bool {
        matches!(self, Self::AtMost(lag) if lag < bound)
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
