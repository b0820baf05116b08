//! What is in quarantine, as readings that can be judged, or be put beside what was taken of them.

use eaves_model::{AttributeId, Timestamp, Value};
use eaves_store::read::{AttributeInfoRow, StoredRefusal};
use std::collections::HashMap;

/// What was refused of a reading.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    /// The row of quarantine that it begins in.
    pub(super) id: i64,
    /// The entity's own name.
    pub(super) entity: Box<str>,
    /// The entity's type, if the reading said it.
    pub(super) entity_type: Box<str>,
    pub(super) observed_at: Timestamp,
    /// Each attribute once.
    pub(super) values: Vec<(AttributeId, Value)>,
}

/// Rows of quarantine, taken apart.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// In the order of the rows. Values of one reading that were refused one by one are together again.
    pub(super) readings: Vec<Refused>,
    /// How many pieces of a row could not be made a value of, by the row's number.
    untried: Vec<(i64, u64)>,
}

impl Refusals {
    /// Takes payloads apart, as ingest would.
    pub(super) fn of(rows: &[StoredRefusal], attributes: &[AttributeInfoRow]) -> Self {
        let by_name: HashMap<&str, &AttributeInfoRow> =
            attributes.iter().map(|a| (a.name.as_str(), a)).collect();
        let mut out = Self::default();
        for stored in rows {
            let mut untried = 0;
            for item in eaves_codec::decode(&stored.payload, Timestamp::now()).items {
                let Ok(readings) = item.outcome else {
                    untried += 1;
                    continue;
                };
                for reading in readings {
                    let Ok(reading) = reading else {
                        untried += 1;
                        continue;
                    };
                    untried += reading.refused.len() as u64;
                    let mut values = Vec::with_capacity(reading.values.len());
                    for (name, wire) in reading.values {
                        let attribute = by_name.get(&*name);
                        match attribute.and_then(|a| Some((a.id, wire.resolve(a.value_type, "value").ok()?)))
                        {
                            Some(value) => values.push(value),
                            None => untried += 1,
                        }
                    }
                    out.add(Refused {
                        id: stored.id,
                        entity: reading.entity,
                        entity_type: reading.entity_type.unwrap_or_default(),
                        observed_at: reading.observed_at,
                        values,
                    });
                }
            }
            out.untried.push((stored.id, untried));
        }
        out
    }

    /// Behind the others: with the last one if it is of the same reading and has other attributes.
    fn add(&mut self, refused: Refused) {
        if refused.values.is_empty() {
            return;
        }
        match self.readings.last_mut() {
            Some(last)
                if (&last.entity, last.observed_at) == (&refused.entity, refused.observed_at)
                    && !refused.values.iter().any(|(a, _)| last.values.iter().any(|(b, _)| a == b)) =>
            {
                last.values.extend(refused.values);
            }
            _ => self.readings.push(refused),
        }
    }

    /// Leaves the last reading to the next page, because more of it may be there, and answers with the row
    /// after which that begins. None if there is nothing before it: then this is all of a page.
    pub(super) fn leave_last(&mut self) -> Option<i64> {
        let last = self.readings.last()?.id;
        // A row may have several readings: it is read again as a whole.
        let kept = self.readings.iter().take_while(|r| r.id < last).count();
        let after = self.untried.iter().map(|(id, _)| *id).take_while(|id| *id < last).last()?;
        if kept == 0 {
            return None;
        }
        self.readings.truncate(kept);
        self.untried.retain(|(id, _)| *id < last);
        Some(after)
    }

    /// How many pieces could not be made a value of.
    pub(super) fn untried(&self) -> u64 {
        self.untried.iter().map(|(_, n)| n).sum()
    }
}

/// Most rows of quarantine, and bytes of them, that are read to be put beside history.
const MOST_ROWS: usize = 100_000;
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// An entity's own name, and when it was read.
type ReadingKey = (Box<str>, Timestamp);

/// What was refused, by reading: for a rule that looks at a whole reading, history is not all of it.
#[derive(Debug, Default)]
pub(super) struct Aside {
    by_reading: HashMap<ReadingKey, Vec<(AttributeId, Value)>>,
    /// What was read for it, rubbish among it.
    rows: usize,
    bytes: usize,
}

impl Aside {
    /// Keeps what was refused of readings. Of an attribute that was refused more than once the first stays.
    pub(super) fn keep(&mut self, rows: &[StoredRefusal], attributes: &[AttributeInfoRow]) {
        self.rows += rows.len();
        self.bytes += rows.iter().map(|row| row.payload.len()).sum::<usize>();
        for Refused { entity, observed_at, values, .. } in Refusals::of(rows, attributes).readings {
            let kept = self.by_reading.entry((entity, observed_at)).or_default();
            for value in values {
                if !kept.iter().any(|(a, _)| *a == value.0) {
                    kept.push(value);
                }
            }
        }
    }

    /// Whether no more is read.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= MOST_ROWS || self.bytes >= MOST_BYTES
    }

    /// What was refused of a reading.
    pub(super) fn of(&self, entity: &str, observed_at: Timestamp) -> &[(AttributeId, Value)] {
        if self.by_reading.is_empty() {
            return &[];
        }
        self.by_reading.get(&(Box::from(entity), observed_at)).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use eaves_model::ValueType;

    /// Two hot floats: 1 is `t`, 2 is `p`.
    pub(in super::super) fn attributes() -> Vec<AttributeInfoRow> {
        let attribute = |(id, name): (i32, &str)| AttributeInfoRow {
            id: AttributeId(id),
            name: name.into(),
            value_type: ValueType::Float,
            unit: String::new(),
            is_hot: true,
        };
        [(1, "t"), (2, "p")].map(attribute).into()
    }

    fn row(id: i64, entity: &str, values: &str) -> StoredRefusal {
        let text = format!(
            r#"{{"tenant":"a","entity":"{entity}","observed_at":"2026-01-01T00:00:00Z","values":{{{values}}}}}"#
        );
        StoredRefusal { id, payload: text.into_bytes() }
    }

    #[test]
    fn payloads_become_readings_and_the_rest_is_counted() {
        let rubbish = StoredRefusal { id: 3, payload: b"rubbish".to_vec() };
        let rows = [row(1, "e", r#""t":1.5,"x":1"#), row(2, "e", r#""t":"warm","x":1"#), rubbish];
        let out = Refusals::of(&rows, &attributes());
        assert_eq!(out.readings.len(), 1);
        assert_eq!(out.readings[0].values, [(AttributeId(1), Value::Float(1.5))]);
        // `x` twice, `warm`, and the rubbish.
        assert_eq!(out.untried(), 4);
    }

    #[test]
    fn values_of_a_reading_that_were_refused_one_by_one_are_together() {
        let rows = [
            row(1, "e", r#""t":1"#),
            row(2, "e", r#""p":2"#),
            row(3, "e", r#""p":3"#),
            row(4, "f", r#""p":4"#),
        ];
        let out = Refusals::of(&rows, &attributes());
        // The second `p` is the reading sent again.
        assert_eq!(
            out.readings.iter().map(|r| (r.id, r.values.len())).collect::<Vec<_>>(),
            [(1, 2), (3, 1), (4, 1)]
        );
        let mut aside = Aside::default();
        aside.keep(&rows, &attributes());
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(
            aside.of("e", at),
            [(AttributeId(1), Value::Float(1.0)), (AttributeId(2), Value::Float(2.0))]
        );
        assert_eq!((aside.of("f", at).len(), aside.of("g", at).len()), (1, 0));
    }

    #[test]
    fn what_is_read_to_be_put_beside_history_is_bounded_whatever_it_is() {
        let rubbish = |bytes: usize| StoredRefusal { id: 1, payload: vec![b'x'; bytes] };
        let pages = |page: Vec<StoredRefusal>| {
            let mut aside = Aside::default();
            (0..).find(|_| {
                aside.keep(&page, &attributes());
                aside.is_full()
            })
        };
        assert_eq!(pages((0..1000).map(|_| rubbish(9)).collect()), Some(99));
        assert_eq!(pages((0..8).map(|_| rubbish(1 << 20)).collect()), Some(3));
    }

    #[test]
    fn the_last_reading_of_a_page_is_left_to_the_next_one() {
        let rows = [row(7, "e", r#""t":1,"x":1"#), row(9, "f", r#""t":2,"x":1"#), row(10, "f", r#""p":2"#)];
        let mut out = Refusals::of(&rows, &attributes());
        assert_eq!(out.leave_last(), Some(7));
        assert_eq!((out.readings.len(), out.untried()), (1, 1));
        assert_eq!(out.leave_last(), None);
        assert_eq!((out.readings.len(), out.untried()), (1, 1));
        assert_eq!(Refusals::default().leave_last(), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_in_quarantine_panics(payload: Vec<u8>, text in "[{}\\[\\]\":,a-z0-9.]{0,80}") {
            let rows = [payload, text.into_bytes()].map(|payload| StoredRefusal { id: 1, payload });
            let mut out = Refusals::of(&rows, &[]);
            proptest::prop_assert!(out.readings.is_empty());
            proptest::prop_assert_eq!(out.leave_last(), None);
        }
    }
}
