//! Changes of what is hot, as operators and tenants see and ask for them
//! (`V44__hot_changes.sql`, `V47__hot_decisions.sql`).

use crate::micros::Micros;
use eaves_model::Timestamp;
use eaves_model::hot::step::Pin;
use tokio_postgres::Row;

/// A change of an attribute, and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct HotChange {
    /// The attribute.
    pub attribute: String,
    /// `promote` or `demote`.
    pub change: String,
    /// `waiting`, `running`, `done` or `cancelled`.
    pub state: String,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// By whom.
    pub requested_by: String,
    /// Why.
    pub reason: String,
    /// Entities that are through.
    pub entities: u64,
    /// Entities that there were when it began.
    pub of_entities: Option<u64>,
    /// Rows that it changed.
    pub rows: u64,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it was through, or given up.
    pub ended_at: Option<Timestamp>,
}

impl HotChange {
    /// Whether it is neither through nor given up.
    pub fn is_open(&self) -> bool {
        self.ended_at.is_none()
    }

    /// Seconds that it will go on for, by the pace since it began, pauses included. `None` while
    /// nobody can know, and when it has ended.
    pub fn seconds_left(&self, now: Timestamp) -> Option<f64> {
        let (Some(all), Some(began), None) = (self.of_entities, self.started_at, self.ended_at) else {
            return None;
        };
        let left = all.saturating_sub(self.entities);
        (self.entities > 0)
            .then(|| (now.seconds_since(began).max(0.0) * left as f64 / self.entities as f64).ceil())
    }
}

/// Columns in the order of the fields.
pub(crate) fn change(row: &Row) -> Result<HotChange, tokio_postgres::Error> {
    let count = |column: usize| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    let time = |column: usize| row.try_get::<_, Option<Micros>>(column).map(|m| m.map(|m| m.0));
    Ok(HotChange {
        attribute: row.try_get(0)?,
        change: row.try_get(1)?,
        state: row.try_get(2)?,
        requested_at: row.try_get::<_, Micros>(3)?.0,
        requested_by: row.try_get(4)?,
        reason: row.try_get(5)?,
        entities: count(6)?,
        of_entities: row.try_get::<_, Option<i64>>(7)?.map(i64::unsigned_abs),
        rows: count(8)?,
        started_at: time(9)?,
        ended_at: time(10)?,
    })
}

/// What somebody decides about an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHand {
    /// It becomes hot.
    Promote,
    /// It ceases to be hot.
    Demote,
    /// It is always, or never, hot from now on.
    Pin(Pin),
    /// It is decided about by itself again.
    Unpin,
}

impl ByHand {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::Pin(Pin::Hot) => "pin_hot",
            Self::Pin(Pin::Cold) => "pin_cold",
            Self::Unpin => "unpin",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// There is no such attribute.
    Unknown,
    /// It is hot.
    Hot,
    /// It is being filled, and hot then.
    Filling,
    /// It is not hot.
    Cold,
    /// Nothing: its pin says otherwise.
    Pinned,
}

impl Decided {
    pub(crate) fn of(state: Option<&str>) -> Option<Self> {
        Some(match state {
            None => Self::Unknown,
            Some("hot") => Self::Hot,
            Some("filling") => Self::Filling,
            Some("cold") => Self::Cold,
            Some("pinned") => Self::Pinned,
            Some(_) => return None,
        })
    }

    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Hot => "hot",
            Self::Filling => "filling",
            Self::Cold => "cold",
            Self::Pinned => "pinned",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_told_by_the_pace_so_far() {
        let now = Timestamp::now();
        let at = |seconds: i64| now.plus_micros(seconds * 1_000_000);
        let change = HotChange {
            attribute: "a".into(),
            change: "promote".into(),
            state: "running".into(),
            requested_at: at(-200),
            requested_by: "me".into(),
            reason: String::new(),
            entities: 100,
            of_entities: Some(400),
            rows: 10,
            started_at: Some(at(-10)),
            ended_at: None,
        };
        assert_eq!(change.seconds_left(at(-1)), Some(27.0));
        assert_eq!(HotChange { entities: 0, ..change.clone() }.seconds_left(at(0)), None);
        assert_eq!(HotChange { ended_at: Some(at(0)), ..change }.seconds_left(at(0)), None);
    }
}
