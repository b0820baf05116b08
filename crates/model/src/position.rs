//! Where in a Kinesis shard a record stands.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

/// Most digits of a sequence number (Kinesis API reference, `SequenceNumber`).
const MAX_DIGITS: usize = 129;

/// A Kinesis sequence number (up to 129 decimal digits) and, inside an
/// aggregated record, the index of the sub-record.
///
/// Ordered as the shard is: by number, not by text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    sequence: Box<str>,
    sub: u32,
}

/// A text that is not a Kinesis sequence number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a Kinesis sequence number (1 to 129 decimal digits)")]
pub struct BadSequence(pub String);

impl Position {
    /// The whole record with this sequence number, all its sub-records included.
    pub fn whole(sequence: &str) -> Result<Self, BadSequence> {
        Self::within(sequence, u32::MAX)
    }

    /// The record's sub-record `sub` and all before it.
    pub fn within(sequence: &str, sub: u32) -> Result<Self, BadSequence> {
        let digits = sequence.len() <= MAX_DIGITS && sequence.bytes().all(|b| b.is_ascii_digit());
        if sequence.is_empty() || !digits {
            return Err(BadSequence(sequence.chars().take(64).collect()));
        }
        let trimmed = sequence.trim_start_matches('0');
        let sequence = if trimmed.is_empty() { "0" } else { trimmed };
        Ok(Self { sequence: sequence.into(), sub })
    }

    /// Behind every record that a shard can hold: "to its end".
    pub fn end() -> Self {
        Self { sequence: "9".repeat(MAX_DIGITS).into(), sub: u32::MAX }
    }

    /// The last position before the record this one is in: everything older, nothing of it.
    /// `None` for number 0.
    pub fn before(&self) -> Option<Self> {
        let mut digits: Vec<u8> = self.sequence.bytes().collect();
        let last = digits.iter().rposition(|d| *d != b'0')?;
        digits[last] -= 1;
        digits[last + 1..].fill(b'9');
        Self::whole(std::str::from_utf8(&digits).ok()?).ok()
    }

    /// The sequence number, without leading zeros.
    pub fn sequence(&self) -> &str {
        &self.sequence
    }

    /// The sub-record's index; `u32::MAX` for the whole record.
    pub fn sub(&self) -> u32 {
        self.sub
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.sequence.len().cmp(&other.sequence.len()))
            .then_with(|| self.sequence.cmp(&other.sequence))
            .then(self.sub.cmp(&other.sub))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sub {
            u32::MAX => f.write_str(&self.sequence),
            sub => write!(f, "{}/{sub}", self.sequence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_order_as_numbers() {
        let p = |s| Position::whole(s).unwrap();
        assert!(p("9") < p("10"));
        assert!(p("0010") == p("10"));
        assert!(Position::within("10", 3).unwrap() < p("10"));
        assert!(p("10") < Position::within("11", 0).unwrap());
        assert!(p("10") < Position::end());
        assert!(Position::whole("12a").is_err());
        assert!(Position::whole("").is_err());
    }

    #[test]
    fn before_a_record_is_everything_older() {
        let p = |s| Position::whole(s).unwrap();
        assert_eq!(p("11").before(), Some(p("10")));
        assert_eq!(Position::within("11", 4).unwrap().before(), Some(p("10")));
        assert_eq!(p("1000").before(), Some(p("999")));
        assert_eq!(p("1").before(), Some(p("0")));
        assert_eq!(p("0").before(), None);
    }
}
