//! The freshness budget matrix of the seeds: what a kind of query needs.
//!
//! Source: "Freshness Budget Matrix" of the freshness guide (Part B, step 6), eight rows with
//! SLA, data source, largest lag and fallback. `docs/freshness.md` says how each column was
//! taken over, and what was decided where the seeds contradict themselves.

use crate::Consistency;
use crate::Source::{self, Cache, Primary, ReadReplica};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a query is for: a row of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Status of an asset right after it was changed.
    Critical,
    /// What a screen shows and renews.
    Dashboard,
    /// Filters over several attributes.
    Operational,
    /// Thresholds that are watched.
    Alerting,
    /// Reports of an hour or a day.
    Reporting,
    /// Business intelligence.
    Analytics,
    /// Trends, training of models.
    Historical,
    /// Audit trails.
    Compliance,
}

/// A row: what is promised and where it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What the answer's lag is measured against. Of compliance ("best effort") the largest
    /// lag of its row.
    pub sla: Duration,
    /// How far behind a source other than the primary may be to be taken although the
    /// primary answers.
    pub max_lag: Duration,
    /// Sources in the order in which they are tried.
    pub order: &'static [Source],
    /// With the primary away, the oldest that is answered; `None`: what there is, and the truth.
    pub at_worst: Option<Duration>,
    /// Consistency levels that go with it, its own first.
    pub levels: &'static [Consistency],
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Of `consistency=eventual` without a purpose: the operational row's figures, the cache first.
pub(crate) const EVENTUAL: Budget = Budget {
    sla: s(10),
    max_lag: s(5),
    order: &[Cache, ReadReplica, Primary],
    at_worst: None,
    levels: &[Consistency::Eventual],
};
const CRITICAL: Budget = Budget {
    sla: s(1),
    max_lag: Duration::from_millis(500),
    order: &[Primary],
    // The tree's "cache fresh (< 5 s)": told as missing its SLA, and never older than this.
    at_worst: Some(s(5)),
    levels: &[Consistency::Eventual, Consistency::Strong],
};
const DASHBOARD: Budget = Budget { sla: s(5), max_lag: s(3), ..EVENTUAL };
const OPERATIONAL: Budget =
    Budget { sla: s(10), max_lag: s(5), order: &[ReadReplica, Cache, Primary], ..EVENTUAL };
/// Ingest keeps the cache as the seeds' stream processor does, so the cache is its row's source.
const ALERTING: Budget = Budget { sla: s(30), max_lag: s(15), ..EVENTUAL };
const REPORTING: Budget = Budget { sla: s(300), max_lag: s(300), ..ANALYTICS };
/// Of `consistency=analytics` without a purpose, too. An OLAP store would come first.
pub(crate) const ANALYTICS: Budget = Budget {
    sla: s(1800),
    max_lag: s(1800),
    order: &[ReadReplica, Primary],
    at_worst: None,
    levels: &[Consistency::Analytics],
};
const HISTORICAL: Budget = Budget { sla: s(7200), max_lag: s(7200), ..ANALYTICS };
const COMPLIANCE: Budget = Budget { sla: s(86_400), max_lag: s(86_400), ..ANALYTICS };

impl Purpose {
    /// All, the most urgent first.
    pub const ALL: [Self; 8] = [
        Self::Critical,
        Self::Dashboard,
        Self::Operational,
        Self::Alerting,
        Self::Reporting,
        Self::Analytics,
        Self::Historical,
        Self::Compliance,
    ];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Dashboard => "dashboard",
            Self::Operational => "operational",
            Self::Alerting => "alerting",
            Self::Reporting => "reporting",
            Self::Analytics => "analytics",
            Self::Historical => "historical",
            Self::Compliance => "compliance",
        }
    }

    /// Its row.
    pub fn budget(self) -> &'static Budget {
        match self {
            Self::Critical => &CRITICAL,
            Self::Dashboard => &DASHBOARD,
            Self::Operational => &OPERATIONAL,
            Self::Alerting => &ALERTING,
            Self::Reporting => &REPORTING,
            Self::Analytics => &ANALYTICS,
            Self::Historical => &HISTORICAL,
            Self::Compliance => &COMPLIANCE,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no purpose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a purpose: use critical, dashboard, operational, alerting, reporting, analytics, historical or \
     compliance"
)]
pub struct UnknownPurpose(pub String);

impl FromStr for Purpose {
    type Err = UnknownPurpose;

    fn from_str(text: &str) -> Result<Self, UnknownPurpose> {
        let known = Self::ALL.into_iter().find(|p| p.name() == text);
        known.ok_or_else(|| UnknownPurpose(text.chars().take(40).collect()))
    }
}

/// What a purpose does not go with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// A level that reads from other sources.
    #[error(
        "purpose={purpose} and consistency={consistency} contradict each other: {purpose} goes with consistency={own}"
    )]
    Level {
        /// The purpose.
        purpose: Purpose,
        /// The level asked for with it.
        consistency: Consistency,
        /// The purpose's own.
        own: Consistency,
    },
    /// A bound beyond what the purpose promises.
    #[error(
        "purpose={purpose} and max_staleness={}s contradict each other: {purpose} means an answer under {} s; leave \
         one out, or ask for a bound under that",
        asked.as_secs_f64(),
        sla.as_secs_f64()
    )]
    Bound {
        /// The purpose.
        purpose: Purpose,
        /// The bound asked for with it.
        asked: Duration,
        /// The purpose's SLA.
        sla: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_those_of_the_seeds() {
        let rows: Vec<_> = Purpose::ALL
            .iter()
            .map(|p| {
                let b = p.budget();
                (p.name(), b.sla.as_millis(), b.max_lag.as_millis(), b.order.to_vec())
            })
            .collect();
        let replica = vec![ReadReplica, Primary];
        assert_eq!(
            rows,
            [
                ("critical", 1_000, 500, vec![Primary]),
                ("dashboard", 5_000, 3_000, vec![Cache, ReadReplica, Primary]),
                ("operational", 10_000, 5_000, vec![ReadReplica, Cache, Primary]),
                ("alerting", 30_000, 15_000, vec![Cache, ReadReplica, Primary]),
                ("reporting", 300_000, 300_000, replica.clone()),
                ("analytics", 1_800_000, 1_800_000, replica.clone()),
                ("historical", 7_200_000, 7_200_000, replica.clone()),
                ("compliance", 86_400_000, 86_400_000, replica),
            ]
        );
        for purpose in Purpose::ALL {
            let budget = purpose.budget();
            assert!(budget.max_lag <= budget.sla && budget.order.contains(&Primary), "{purpose}");
            assert_eq!(purpose.name().parse(), Ok(purpose));
        }
        assert!("Dashboard".parse::<Purpose>().unwrap_err().to_string().contains("dashboard, operational"));
    }
}
