//! The window of time that a query of history covers, and its guard.

use crate::problem::Problem;
use eaves_model::rejection::excerpt;
use eaves_model::{Timestamp, limits};
use eaves_store::read::TenantGuards;

pub(crate) const DAY: i64 = 86_400_000_000;
/// Longest that any tenant's window can be.
const LONGEST: i64 = 366 * DAY;

/// How long a tenant's windows are, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Where the caller names none.
    pub(crate) default: i64,
    /// At most.
    pub(crate) longest: i64,
}

impl Default for Windows {
    fn default() -> Self {
        Self::of(&TenantGuards::default())
    }
}

impl Windows {
    /// Those of a tenant.
    pub(crate) fn of(guards: &TenantGuards) -> Self {
        let days = |days: u32| i64::from(days) * DAY;
        Self { default: days(guards.default_window_days), longest: days(guards.longest_window_days) }
    }

    /// How far back a value that is not hot is looked for.
    pub(crate) fn within(self, field: &str, asked: Option<i64>) -> Result<i64, Problem> {
        match asked {
            Some(span) if span > self.longest => {
                let detail =
                    format!("reaches back {} days, at most {} are looked at", span / DAY, self.longest / DAY);
                Err(Problem::window_too_long(field, detail))
            }
            asked => Ok(asked.unwrap_or(self.default)),
        }
    }
}

/// From a time on, and up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// First time taken.
    pub(crate) from: Timestamp,
    /// First time not taken any more.
    pub(crate) to: Timestamp,
}

impl Window {
    /// The window asked for. Without an end it reaches as far ahead as values may be dated:
    /// devices may be ahead of this clock, and their values are not to be missed.
    pub(crate) fn of(
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        now: Timestamp,
        windows: Windows,
    ) -> Result<Self, Problem> {
        let open_end = now.plus_micros(limits::MAX_AHEAD_MICROS);
        let from = from.unwrap_or_else(|| to.unwrap_or(now).plus_micros(-windows.default));
        Self { from, to: to.unwrap_or(open_end) }.check(to.is_some(), windows)
    }

    /// Refuses what ends before it begins, and what is too long.
    pub(crate) fn check(self, named_end: bool, windows: Windows) -> Result<Self, Problem> {
        let span = self.micros();
        if span <= 0 {
            let detail = format!("from ({}) is not before to ({})", self.from, self.to);
            return Err(Problem::bad_parameter("from", detail));
        }
        let slack = if named_end { 0 } else { limits::MAX_AHEAD_MICROS };
        if span > windows.longest + slack {
            let days = span / DAY;
            let detail = format!(
                "the window covers {days} days, at most {} are answered at once: \
                 ask for several windows, such as from={} to={}",
                windows.longest / DAY,
                self.to.plus_micros(-windows.longest),
                self.to
            );
            return Err(Problem::window_too_long("from", detail));
        }
        Ok(self)
    }

    /// How long it is, in microseconds.
    pub(crate) fn micros(self) -> i64 {
        self.to.as_micros().saturating_sub(self.from.as_micros())
    }
}

/// A duration such as `90s`, `5m`, `1h` or `7d`, in microseconds.
pub(crate) fn span(text: &str) -> Option<i64> {
    let unit = match text.bytes().last()? {
        b's' => 1_000_000,
        b'm' => 60_000_000,
        b'h' => 3_600_000_000,
        b'd' => DAY,
        _ => return None,
    };
    let digits = text.get(..text.len() - 1)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let span = digits.parse::<i64>().ok()?.checked_mul(unit)?;
    (1..=LONGEST).contains(&span).then_some(span)
}

/// What to say of a text that is no duration.
pub(crate) fn bad_span(field: &str, text: &str) -> Problem {
    let detail = format!("{} is not a duration such as 90s, 5m, 1h or 7d, from 1s to 366d", excerpt(text));
    Problem::bad_parameter(field, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span("90s"), Some(90_000_000));
        assert_eq!(span("5m"), Some(300_000_000));
        assert_eq!(span("1h"), Some(3_600_000_000));
        assert_eq!(span("30d"), Some(30 * DAY));
        for bad in ["", "s", "5", "0s", "367d", "-1s", "1.5h", "5µ", "9999999999999999999s", "1e3s"] {
            assert_eq!(span(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_window_is_seven_days_unless_it_is_named_and_thirty_at_most() {
        let t = |days: i64| Timestamp::from_micros(1_700_000_000_000_000 + days * DAY).unwrap();
        let usual = Windows::default();
        let open = Window::of(None, None, t(0), usual).unwrap();
        assert_eq!((open.from, open.to), (t(-7), t(1)));
        assert_eq!(Window::of(None, Some(t(-3)), t(0), usual).unwrap().from, t(-10));
        assert!(Window::of(Some(t(-30)), None, t(0), usual).is_ok());
        assert!(Window::of(Some(t(-31)), Some(t(0)), t(0), usual).is_err());
        assert!(Window::of(Some(t(0)), Some(t(0)), t(0), usual).is_err());
        let own = Windows { default: 2 * DAY, longest: 3 * DAY };
        assert_eq!(Window::of(None, Some(t(0)), t(0), own).unwrap().from, t(-2));
        assert!(Window::of(Some(t(-4)), Some(t(0)), t(0), own).is_err());
        assert!(own.within("cold_within", Some(4 * DAY)).is_err());
        assert_eq!(own.within("cold_within", None).unwrap(), 2 * DAY);
    }
}
