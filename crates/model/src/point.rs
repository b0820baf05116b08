//! The rules for points: what a second value for one does, and how late or how far ahead
//! a value may be.

use crate::{Timestamp, Value};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Longest limit: a hundred years.
const LONGEST: i64 = 36_525 * DAY;

/// What becomes of a later, different value for a point that has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointPolicy {
    /// The later value takes the place of the earlier one.
    #[default]
    Replace,
    /// The earlier value holds, the later one is refused.
    Reject,
    /// The later value holds, the earlier one is kept beside it.
    Correction,
}

impl PointPolicy {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Replace, Self::Reject, Self::Correction];

    /// The name on the command line and in `tenants.point_policy`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Reject => "reject",
            Self::Correction => "correction",
        }
    }

    /// What becomes of `next` for a point that holds `held`.
    pub fn settle(self, held: Option<&Value>, next: &Value) -> Settled {
        match (held, self) {
            (None, _) => Settled::First,
            (Some(held), _) if held == next => Settled::Repeated,
            (Some(_), Self::Replace) => Settled::Replaced,
            (Some(_), Self::Reject) => Settled::Rejected,
            (Some(_), Self::Correction) => Settled::Corrected,
        }
    }
}

impl fmt::Display for PointPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PointPolicy {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let bad = || BadRule(format!("{text:?} is not a policy: use replace, reject or correction"));
        Self::ALL.into_iter().find(|p| p.name() == text).ok_or_else(bad)
    }
}

/// What became of a value for a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The point had none: this is its value.
    First,
    /// The point has this very value.
    Repeated,
    /// It takes the place of the one there was.
    Replaced,
    /// The one there is holds.
    Rejected,
    /// It holds, and the one there was is kept beside it.
    Corrected,
}

/// What is done with a value beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitAction {
    /// It is taken as any other.
    Accept,
    /// It is refused with a reason.
    Reject,
    /// It is put aside with its reading, to be looked at and sent again.
    Quarantine,
}

impl LimitAction {
    /// All actions.
    pub const ALL: [Self; 3] = [Self::Accept, Self::Reject, Self::Quarantine];

    /// The name on the command line and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Quarantine => "quarantine",
        }
    }
}

impl FromStr for LimitAction {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let bad = || BadRule(format!("{text:?} is not an action: use accept, reject or quarantine"));
        Self::ALL.into_iter().find(|a| a.name() == text).ok_or_else(bad)
    }
}

/// How far from its arrival a value's time may be, and what is done beyond that.
///
/// As text `30d:quarantine`; `accept` alone is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limit {
    /// Milliseconds. A value exactly so far is still within.
    pub ms: i64,
    /// What is done with a value that is further.
    pub action: LimitAction,
}

/// A text that is no rule for points.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRule(pub String);

impl FromStr for Limit {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        if text == LimitAction::Accept.name() {
            return Ok(Self { ms: 0, action: LimitAction::Accept });
        }
        let Some((span, action)) = text.split_once(':') else {
            return Err(BadRule(format!(
                "{text:?} is not a limit: give a time and an action, such as 30d:quarantine, or accept"
            )));
        };
        let digits = span.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &span[digits.len()..] {
            "ms" => Some(1),
            "s" => Some(SECOND),
            "m" => Some(MINUTE),
            "h" => Some(HOUR),
            "d" => Some(DAY),
            _ => None,
        };
        let ms = unit.zip(digits.parse::<i64>().ok()).and_then(|(unit, n)| n.checked_mul(unit));
        match ms {
            Some(ms) if (0..=LONGEST).contains(&ms) => Ok(Self { ms, action: action.parse()? }),
            _ => Err(BadRule(format!("{span:?} is not a time from 0s to 36525d, such as 10m, 36h or 30d"))),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            LimitAction::Accept => f.write_str("accept"),
            action => write!(f, "{}:{}", span(self.ms), action.name()),
        }
    }
}

/// A time in the largest unit that tells it exactly: `36h`.
fn span(ms: i64) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")];
    let fits = units.into_iter().find(|(unit, _)| ms % unit == 0);
    let (unit, name) = fits.unwrap_or((1, "ms"));
    if ms == 0 { "0s".into() } else { format!("{}{name}", ms / unit) }
}

/// How late and how far ahead a value may be; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimeLimits {
    /// How long before its arrival it may have been seen.
    pub late: Option<Limit>,
    /// How long after its arrival it may be dated.
    pub ahead: Option<Limit>,
}

/// A value beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The limit.
    pub limit: Limit,
    /// Late, or else ahead.
    pub late: bool,
}

impl TimeLimits {
    /// An attribute's own limits where it has them, else its tenant's.
    pub fn or(self, tenant: Self) -> Self {
        Self { late: self.late.or(tenant.late), ahead: self.ahead.or(tenant.ahead) }
    }

    /// The limit that a value breaks which was seen at one time and arrived at another, if
    /// anything is to be done about it.
    pub fn breach(self, observed_at: Timestamp, arrived: Timestamp) -> Option<Breach> {
        let age = arrived.as_micros().saturating_sub(observed_at.as_micros());
        let (limit, by, late) = if age > 0 { (self.late?, age, true) } else { (self.ahead?, -age, false) };
        let beyond = by > limit.ms.saturating_mul(1_000) && limit.action != LimitAction::Accept;
        beyond.then_some(Breach { limit, late })
    }
}

impl Breach {
    /// What a person is to know: the time, when it arrived, the limit.
    pub fn text(&self, observed_at: Timestamp, arrived: Timestamp, attribute: &str) -> String {
        let off = (arrived.as_micros() - observed_at.as_micros()).abs() / 1_000;
        let (off, most) = (rough(off), span(self.limit.ms));
        let side = if self.late { "before" } else { "after" };
        format!("{observed_at} is {off} {side} its arrival ({arrived}), the limit of {attribute:?} is {most}")
    }
}

/// A time in its largest unit, rounded down.
fn rough(ms: i64) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")];
    let (unit, name) = units.into_iter().find(|(unit, _)| ms >= 2 * unit).unwrap_or((1, "ms"));
    format!("{}{name}", ms / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Limit {
        text.parse().unwrap()
    }

    #[test]
    fn limits_are_read_and_shown_alike() {
        for text in [
            "30d:quarantine",
            "36h:reject",
            "90s:reject",
            "10m:reject",
            "0s:reject",
            "5ms:quarantine",
            "accept",
        ] {
            assert_eq!(limit(text).to_string(), text);
        }
        assert_eq!(limit("7d:accept").to_string(), "accept");
        for bad in [
            "",
            "30d",
            "30d:",
            "d:reject",
            "-1d:reject",
            "1w:reject",
            "1d:drop",
            "9999999999d:reject",
            "1:reject",
        ] {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
    }

    #[test]
    fn exactly_at_the_limit_is_within() {
        let limits = TimeLimits { late: Some(limit("1s:reject")), ahead: Some(limit("2s:quarantine")) };
        let at = |micros| Timestamp::from_micros(micros).unwrap();
        let now = at(10_000_000);
        let breach = |micros| limits.breach(at(micros), now).map(|b| (b.late, b.limit.action));
        assert_eq!(breach(10_000_000), None);
        assert_eq!(breach(9_000_000), None);
        assert_eq!(breach(8_999_999), Some((true, LimitAction::Reject)));
        assert_eq!(breach(12_000_000), None);
        assert_eq!(breach(12_000_001), Some((false, LimitAction::Quarantine)));
        assert_eq!(TimeLimits::default().breach(at(0), now), None);
    }

    #[test]
    fn an_attribute_limit_takes_the_place_of_the_tenants_and_accept_lifts_it() {
        let tenant = TimeLimits { late: Some(limit("1s:reject")), ahead: Some(limit("1s:reject")) };
        let own = TimeLimits { late: Some(limit("accept")), ahead: None };
        let at = |micros| Timestamp::from_micros(micros).unwrap();
        assert_eq!(own.or(tenant).breach(at(0), at(9_000_000)), None);
        assert!(own.or(tenant).breach(at(9_000_000), at(0)).is_some());
        let text =
            tenant.breach(at(0), at(86_400_000_000 * 3)).unwrap().text(at(0), at(86_400_000_000 * 3), "t");
        assert_eq!(
            text,
            "1970-01-01T00:00:00Z is 3d before its arrival (1970-01-04T00:00:00Z), the limit of \"t\" is 1s"
        );
    }

    #[test]
    fn equal_values_are_repetitions_under_every_policy() {
        let (a, b) = (Value::Integer(1), Value::Integer(2));
        for policy in PointPolicy::ALL {
            assert_eq!(policy.settle(None, &a), Settled::First);
            assert_eq!(policy.settle(Some(&a), &a), Settled::Repeated);
            assert_eq!(policy.name().parse(), Ok(policy));
        }
        assert_eq!(PointPolicy::Replace.settle(Some(&a), &b), Settled::Replaced);
        assert_eq!(PointPolicy::Reject.settle(Some(&a), &b), Settled::Rejected);
        assert_eq!(PointPolicy::Correction.settle(Some(&a), &b), Settled::Corrected);
    }
}
