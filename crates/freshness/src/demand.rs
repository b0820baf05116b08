//! What a caller asks of an answer's age.

use crate::purpose::{ANALYTICS, EVENTUAL};
use crate::{Budget, Contradiction, Purpose};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a strong answer is measured against (seeds: critical user actions < 1 s).
const STRONG_TARGET: Duration = Duration::from_secs(1);

/// The level that a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Everything acknowledged before the request is in the answer.
    Strong,
    /// A little old is good enough.
    Eventual,
    /// Much at once, and minutes old is good enough.
    Analytics,
}

impl Consistency {
    /// All.
    pub const ALL: [Self; 3] = [Self::Strong, Self::Eventual, Self::Analytics];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Eventual => "eventual",
            Self::Analytics => "analytics",
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
#[error("{0:?} is not a consistency level: use strong, eventual or analytics")]
pub struct UnknownConsistency(pub String);

impl FromStr for Consistency {
    type Err = UnknownConsistency;

    fn from_str(text: &str) -> Result<Self, UnknownConsistency> {
        let known = Self::ALL.into_iter().find(|c| c.name() == text);
        known.ok_or_else(|| UnknownConsistency(text.chars().take(40).collect()))
    }
}

/// A caller's demand on an answer's age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Demand {
    /// The level.
    pub consistency: Consistency,
    /// Oldest answer the caller takes. Without it, a read with the primary away takes what
    /// there is and tells the truth; with it, such a read finds no source.
    pub max_staleness: Option<Duration>,
    /// What the query is for, if the caller said so.
    pub purpose: Option<Purpose>,
    /// It was sent to the sources of analytics because it costs too much for others.
    pub redirected: bool,
}

impl Demand {
    /// Everything acknowledged before the request.
    pub const STRONG: Self = Self::level(Consistency::Strong);
    /// A little old is good enough.
    pub const EVENTUAL: Self = Self::level(Consistency::Eventual);
    /// Much at once, and minutes old is good enough.
    pub const ANALYTICS: Self = Self::level(Consistency::Analytics);

    const fn level(consistency: Consistency) -> Self {
        Self { consistency, max_staleness: None, purpose: None, redirected: false }
    }

    /// From what a caller named; `eventual` where nothing was.
    pub fn new(
        consistency: Option<Consistency>,
        max_staleness: Option<Duration>,
        purpose: Option<Purpose>,
    ) -> Result<Self, Contradiction> {
        let Some(purpose) = purpose else {
            let level = Self::level(consistency.unwrap_or(Consistency::Eventual));
            return Ok(Self { max_staleness, ..level });
        };
        let budget = purpose.budget();
        let own = budget.levels.first().copied().unwrap_or(Consistency::Eventual);
        let consistency = consistency.unwrap_or(own);
        if !budget.levels.contains(&consistency) {
            return Err(Contradiction::Level { purpose, consistency, own });
        }
        if let Some(asked) = max_staleness.filter(|asked| *asked > budget.sla) {
            return Err(Contradiction::Bound { purpose, asked, sla: budget.sla });
        }
        Ok(Self { consistency, max_staleness, purpose: Some(purpose), redirected: false })
    }

    /// From which age on a cache entry is read anew although it is under the bound: so that nobody finds it
    /// over the bound, and has to wait for a database. Nine tenths of it: an entity that is asked for all the
    /// time is read from a database a ninth more often than without.
    pub fn refresh_after(self) -> Duration {
        self.bound() / 10 * 9
    }

    /// The same read from the sources of analytics, for one that costs too much for others:
    /// bounds stay as they are. `None` where the caller's demand rules them out: a strong or
    /// critical read. (One for analytics comes back as it was.)
    pub fn redirected_to_analytics(self) -> Option<Self> {
        match (self.consistency, self.purpose) {
            (Consistency::Strong, _) | (_, Some(Purpose::Critical)) => None,
            (Consistency::Analytics, _) => Some(self),
            (Consistency::Eventual, _) => {
                Some(Self { consistency: Consistency::Analytics, redirected: true, ..self })
            }
        }
    }

    /// The row of the matrix that it is measured against, or what stands for one.
    pub(crate) fn budget(&self) -> &'static Budget {
        match (self.purpose, self.consistency) {
            (Some(purpose), _) => purpose.budget(),
            (None, Consistency::Analytics) => &ANALYTICS,
            (None, Consistency::Eventual | Consistency::Strong) => &EVENTUAL,
        }
    }

    /// How far behind a source other than the primary may be to be taken although the primary
    /// answers.
    pub fn bound(&self) -> Duration {
        match (self.max_staleness, self.purpose) {
            (None, _) => self.budget().max_lag,
            (Some(bound), None) => bound,
            (Some(bound), Some(purpose)) => bound.min(purpose.budget().max_lag),
        }
    }

    /// What the answer's lag is measured against.
    pub fn target(&self) -> Duration {
        match (self.consistency, self.max_staleness) {
            (Consistency::Strong, _) => STRONG_TARGET,
            (_, Some(bound)) => bound,
            (_, None) => self.budget().sla,
        }
    }

    /// Whether it may be read with the longer statements of analytics.
    pub fn is_analytics(&self) -> bool {
        self.consistency == Consistency::Analytics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_purpose_brings_its_level_and_takes_a_tighter_bound() {
        let demand = Demand::new(None, None, Some(Purpose::Reporting)).unwrap();
        assert_eq!(
            (demand.consistency, demand.bound(), demand.target()),
            (Consistency::Analytics, s(300), s(300))
        );
        let demand = Demand::new(None, Some(s(4)), Some(Purpose::Dashboard)).unwrap();
        assert_eq!((demand.bound(), demand.target()), (s(3), s(4)));
        let demand = Demand::new(Some(Consistency::Strong), None, Some(Purpose::Critical)).unwrap();
        assert_eq!((demand.consistency, demand.target()), (Consistency::Strong, s(1)));
    }

    #[test]
    fn contradictions_name_both() {
        let told = |c: Option<Consistency>, bound, p| Demand::new(c, bound, Some(p)).unwrap_err().to_string();
        let level = told(Some(Consistency::Strong), None, Purpose::Reporting);
        assert_eq!(
            level,
            "purpose=reporting and consistency=strong contradict each other: reporting goes with consistency=analytics"
        );
        let bound = told(None, Some(s(60)), Purpose::Dashboard);
        assert!(bound.starts_with("purpose=dashboard and max_staleness=60s contradict"), "{bound}");
        assert!(bound.contains("under 5 s"), "{bound}");
    }

    #[test]
    fn what_costs_too_much_goes_to_analytics_unless_the_caller_rules_that_out() {
        let bounded = Demand { max_staleness: Some(s(2)), ..Demand::EVENTUAL };
        let sent = bounded.redirected_to_analytics().unwrap();
        assert!(sent.is_analytics() && sent.redirected);
        assert_eq!((sent.bound(), sent.target()), (s(2), s(2)));
        assert_eq!(Demand::STRONG.redirected_to_analytics(), None);
        assert_eq!(Demand::new(None, None, Some(Purpose::Critical)).unwrap().redirected_to_analytics(), None);
        assert_eq!(Demand::ANALYTICS.redirected_to_analytics(), Some(Demand::ANALYTICS));
    }
}
