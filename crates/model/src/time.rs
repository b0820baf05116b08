//! Points in time with microsecond precision, the precision PostgreSQL keeps.

use jiff::Timestamp as JiffTimestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::str::FromStr;

/// Microseconds since 1970-01-01T00:00:00Z.
///
/// In the years 1 to 9999: RFC 3339 has no others but the year 0, and PostgreSQL's text form not that. Text
/// form is RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is not an RFC 3339 time, or a time outside the years 1 to 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an RFC 3339 time with a zone in the years 1 to 9999, such as 2026-03-01T12:00:00.25Z"
)]
pub struct BadTimestamp {
    /// What was given, cut to 64 characters.
    pub text: String,
}

/// 0001-01-01T00:00:00Z.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;

impl Timestamp {
    /// The time now, from the system clock.
    pub fn now() -> Self {
        Self(JiffTimestamp::now().as_microsecond())
    }

    /// From microseconds since 1970, or `None` outside the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        let known = micros >= FIRST_MICROS && JiffTimestamp::from_microsecond(micros).is_ok();
        known.then_some(Self(micros))
    }

    /// Microseconds since 1970.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Seconds from `earlier` to this; negative if this is before it.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0) as f64 / 1e6
    }

    /// This time moved by a number of microseconds, kept within the years 1 to 9999.
    pub fn plus_micros(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros)).unwrap_or(self)
    }
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        text.parse::<JiffTimestamp>()
            .ok()
            .and_then(|t| Self::from_micros(t.as_microsecond()))
            .ok_or_else(|| BadTimestamp { text: text.chars().take(64).collect() })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match JiffTimestamp::from_microsecond(self.0) {
            Ok(t) => t.fmt(f),
            // Unreachable through the constructors; a number is still better than a panic.
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_microseconds_and_drops_what_postgres_cannot_keep() {
        let t: Timestamp = "2026-03-01T12:00:00.123456789+02:00".parse().unwrap();
        assert_eq!(t.to_string(), "2026-03-01T10:00:00.123456Z");
    }

    #[test]
    fn a_time_without_zone_is_refused() {
        let e = "2026-03-01T12:00:00".parse::<Timestamp>().unwrap_err();
        assert!(e.to_string().contains("with a zone"), "{e}");
    }

    #[test]
    fn a_time_is_in_a_year_that_every_part_can_hold() {
        for (text, is_one) in [
            ("0001-01-01T00:00:00Z", true),
            ("9999-12-30T00:00:00Z", true),
            ("0000-12-31T23:59:59.999999Z", false),
            ("0001-01-01T00:00:00+01:00", false),
            ("-000043-03-15T00:00:00Z", false),
            ("-009999-01-02T01:59:59Z", false),
        ] {
            assert_eq!(text.parse::<Timestamp>().is_ok(), is_one, "{text}");
        }
        assert!(Timestamp::from_micros(i64::MIN).is_none() && Timestamp::from_micros(i64::MAX).is_none());
        let first = Timestamp::from_micros(FIRST_MICROS).unwrap();
        assert_eq!(first.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(first.plus_micros(-1), first);
    }
}
