//! What an answer says about its own age.

use crate::{Consistency, Demand, Lag, Purpose, Route, Source, in_millis};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Beyond this lag replication counts as paused: the heartbeat comes five times a second.
pub const PAUSED_AFTER: Duration = Duration::from_secs(60);

/// How fresh data is, in the four steps that user interfaces show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Tier {
    /// Under a second.
    Realtime,
    /// One to ten seconds.
    NearRealtime,
    /// Over ten seconds.
    Delayed,
    /// Replication is paused, or the lag is unknown.
    Stale,
}

impl Tier {
    /// The tier of a lag.
    pub fn of(lag: Lag) -> Self {
        match lag {
            Lag::AtMost(lag) if lag < Duration::from_secs(1) => Self::Realtime,
            Lag::AtMost(lag) if lag <= Duration::from_secs(10) => Self::NearRealtime,
            Lag::AtMost(lag) if lag <= PAUSED_AFTER => Self::Delayed,
            Lag::AtMost(_) | Lag::Unknown => Self::Stale,
        }
    }

    /// `X-Freshness-Tier`, and `tier` in the metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Realtime => "REALTIME",
            Self::NearRealtime => "NEAR_REALTIME",
            Self::Delayed => "DELAYED",
            Self::Stale => "STALE",
        }
    }

    /// `X-Data-Freshness`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Realtime => "realtime",
            Self::NearRealtime => "near-realtime",
            Self::Delayed => "delayed",
            Self::Stale => "stale",
        }
    }

    /// What user interfaces call it (`ui_state`).
    pub fn ui_state(self) -> &'static str {
        match self {
            Self::Realtime => "Real-time",
            Self::NearRealtime => "Near real-time",
            Self::Delayed => "Delayed",
            Self::Stale => "Stale",
        }
    }

    /// The mark that user interfaces show (`indicator`).
    pub fn emoji(self) -> &'static str {
        match self {
            Self::Realtime => "🟢",
            Self::NearRealtime => "🟡",
            Self::Delayed => "🟠",
            Self::Stale => "🔴",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an answer says about its own age: `metadata.freshness` and the headers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Freshness {
    /// The tier of `lag_seconds`.
    pub tier: Tier,
    /// The answer lacks at most what was committed in the last so many seconds, rounded
    /// up to milliseconds; null if unknown.
    pub lag_seconds: Option<f64>,
    /// Where it was read.
    pub source: Source,
    /// The level asked for.
    pub consistency: Consistency,
    /// What it is for, if the caller said so.
    pub purpose: Option<Purpose>,
    /// Seconds that the lag is measured against.
    pub sla_target: f64,
    /// Whether the lag is under the target.
    pub sla_met: bool,
    /// Why it was read there.
    pub route_reason: String,
}

impl Freshness {
    /// What to say of an answer with this lag, measured when it was read.
    pub fn of(demand: Demand, route: Route, lag: Lag) -> Self {
        let target = demand.target();
        Self {
            tier: Tier::of(lag),
            // Up, so that rounding never makes an answer look fresher.
            lag_seconds: match lag {
                Lag::AtMost(lag) => Some(in_millis(lag).as_millis() as f64 / 1000.0),
                Lag::Unknown => None,
            },
            source: route.source,
            consistency: demand.consistency,
            purpose: demand.purpose,
            sla_target: target.as_secs_f64(),
            sla_met: lag.is_under(target),
            route_reason: route.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_change_at_one_and_ten_seconds() {
        let tier = |ms| Tier::of(Lag::AtMost(Duration::from_millis(ms)));
        assert_eq!(tier(999), Tier::Realtime);
        assert_eq!(tier(1000), Tier::NearRealtime);
        assert_eq!(tier(10_000), Tier::NearRealtime);
        assert_eq!(tier(10_001), Tier::Delayed);
        assert_eq!(tier(60_001), Tier::Stale);
        assert_eq!(Tier::of(Lag::Unknown), Tier::Stale);
        let shown = [Tier::Realtime, Tier::NearRealtime, Tier::Delayed, Tier::Stale]
            .map(|t| format!("{} {}", t.emoji(), t.ui_state()));
        assert_eq!(shown, ["🟢 Real-time", "🟡 Near real-time", "🟠 Delayed", "🔴 Stale"]);
    }
}
