//! The value before: from the platform, or from the same call.

use crate::columns::Columns;
use crate::verdict::{More, Outcome};
use crate::{Timestamp, Value};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The latest value that is known of an entity and attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Previous<'a> {
    /// When it was seen. Later than the reading's own time if the reading comes late.
    pub observed_at: Timestamp,
    /// The value, of the attribute's type.
    pub value: Value<'a>,
}

/// Knows where the latest value of each entity and attribute is that the plugin asks for.
#[derive(Debug)]
pub(crate) struct Tracker<'a> {
    /// The number of each attribute among those that are asked for, by index; empty if none is.
    tracked: Vec<Option<u32>>,
    /// How many are asked for.
    width: u32,
    latest: Latest,
    /// What was put in a row's place.
    replaced: HashMap<u32, Value<'a>, BuildHasherDefault<NumberHasher>>,
    /// The next entry of what the platform told.
    told: usize,
}

/// Where a value is: nowhere, in a row of the call, or among what the platform told.
type Place = u32;
const NOWHERE: Place = 0;
/// Set for what the platform told; else the number is one more than the row's.
const TOLD: Place = 1 << 31;

/// A place for each entity and attribute.
#[derive(Debug)]
enum Latest {
    /// Where most pairs that there could be are in the call.
    Dense(Vec<Place>),
    Sparse(HashMap<u64, Place, BuildHasherDefault<NumberHasher>>),
}

impl Latest {
    /// For so many pairs that there could be, and so many rows.
    fn new(pairs: usize, rows: usize) -> Self {
        if pairs <= 4 * rows + 1024 {
            Self::Dense(vec![NOWHERE; pairs])
        } else {
            Self::Sparse(HashMap::default())
        }
    }

    #[inline]
    fn place(&mut self, pair: u64) -> &mut Place {
        match self {
            Self::Dense(places) => &mut places[pair as usize],
            Self::Sparse(places) => places.entry(pair).or_insert(NOWHERE),
        }
    }
}

impl<'a> Tracker<'a> {
    /// Tracks the attributes that `wanted` holds for.
    pub(crate) fn new(columns: &Columns<'a>, wanted: impl Fn(&str) -> bool) -> Self {
        let mut width = 0;
        let mut number = |name: &str| {
            wanted(name).then(|| {
                width += 1;
                width - 1
            })
        };
        let tracked: Vec<_> = columns.attributes().iter().map(|a| number(a.name)).collect();
        let tracked = if width > 0 { tracked } else { Vec::new() };
        let latest = Latest::new(columns.entities() * width as usize, columns.len());
        Self { tracked, width, latest, replaced: HashMap::default(), told: 0 }
    }

    /// What is known before `row`.
    #[inline]
    pub(crate) fn before(&mut self, columns: &Columns<'a>, row: usize) -> Option<Previous<'a>> {
        if self.tracked.is_empty() {
            return None;
        }
        self.look_up(columns, row)
    }

    #[inline(never)]
    fn look_up(&mut self, columns: &Columns<'a>, row: usize) -> Option<Previous<'a>> {
        let pair = self.pair(columns, row)?;
        while let Some(at) = columns.told_row(self.told).filter(|at| *at <= row) {
            if at == row {
                self.offer(columns, pair, TOLD | self.told as u32);
            }
            self.told += 1;
        }
        match *self.latest.place(pair) {
            NOWHERE => None,
            place => self.at(columns, place),
        }
    }

    /// Takes note of what became of `row`. A rejected value is none.
    #[inline]
    pub(crate) fn after(&mut self, columns: &Columns<'a>, row: usize, verdict: Option<&More>) {
        if !self.tracked.is_empty() {
            self.take_note(columns, row, verdict);
        }
    }

    #[inline(never)]
    fn take_note(&mut self, columns: &Columns<'a>, row: usize, verdict: Option<&More>) {
        let Some(pair) = self.pair(columns, row) else { return };
        match verdict.map(|more| &more.outcome) {
            None | Some(Outcome::Accept) => {}
            Some(Outcome::Replace(value)) => {
                self.replaced.insert(row as u32, value.clone());
            }
            Some(Outcome::Reject { .. }) => return,
        }
        self.offer(columns, pair, row as u32 + 1);
    }

    /// The row's entity and attribute as one number; nothing if the attribute is not asked for.
    #[inline]
    fn pair(&self, columns: &Columns<'a>, row: usize) -> Option<u64> {
        let (entity, attribute) = columns.pair(row);
        let number = self.tracked[attribute as usize]?;
        Some(u64::from(entity) * u64::from(self.width) + u64::from(number))
    }

    /// The later one stays; of two of one time the one that came last.
    fn offer(&mut self, columns: &Columns<'a>, pair: u64, offered: Place) {
        let place = self.latest.place(pair);
        if *place == NOWHERE || time(columns, *place) <= time(columns, offered) {
            *place = offered;
        }
    }

    fn at(&self, columns: &Columns<'a>, place: Place) -> Option<Previous<'a>> {
        if place & TOLD != 0 {
            return columns.previous((place ^ TOLD) as usize);
        }
        let row = place - 1;
        let value = match self.replaced.get(&row) {
            Some(value) => value.clone(),
            None => columns.value(row as usize),
        };
        Some(Previous { observed_at: columns.observed_at(row as usize), value })
    }
}

fn time(columns: &Columns<'_>, place: Place) -> Option<Timestamp> {
    match place {
        NOWHERE => None,
        told if told & TOLD != 0 => columns.told_at((told ^ TOLD) as usize),
        row => Some(columns.observed_at(row as usize - 1)),
    }
}

/// For numbers that nobody chooses: SipHash would cost more than the rule.
#[derive(Debug, Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio.
        self.0 = (self.0.rotate_left(32) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::{Latest, NOWHERE};
    use crate::testing::Sample;
    use crate::{Reading, Verdict};

    #[test]
    fn few_rows_of_many_pairs_take_little_memory() {
        let mut latest = Latest::new(1 << 30, 100);
        assert!(matches!(latest, Latest::Sparse(_)));
        *latest.place(1 << 29) = 7;
        assert_eq!((*latest.place(1 << 29), *latest.place(5)), (7, NOWHERE));
        assert!(matches!(Latest::new(5_000, 10_000), Latest::Dense(places) if places.len() == 5_000));
    }

    fn may_not_fall(reading: &Reading<'_>, _: &serde_json::Value) -> Verdict {
        let before = reading.previous().and_then(|p| p.value.as_f64());
        match before.zip(reading.value().as_f64()) {
            Some((before, now)) if now < before => Verdict::reject("falls", format!("{before}")),
            Some((_, 9.0)) => Verdict::replace(90.0),
            _ => Verdict::accept(),
        }
    }

    #[test]
    fn the_value_before_is_what_was_accepted_or_put_in_its_place() {
        let value = |s: Sample, v: f64| s.after(1.0).value("count", "", v.into());
        let first = value(Sample::of("pump-7", "pump"), 5.0);
        let judged = [4.0, 9.0, 50.0, 91.0].into_iter().fold(first, value).judge("{}", may_not_fall).unwrap();
        let falls = |before: &'static str| Verdict::reject("falls", before);
        let wanted = [Verdict::accept(), falls("5"), Verdict::replace(90.0), falls("90"), Verdict::accept()];
        assert_eq!(judged, wanted);
    }

    #[test]
    fn the_platforms_value_counts_until_a_later_one_was_seen() {
        let known =
            Sample::of("pump-7", "pump").value("count", "", 5.0.into()).with_previous(60.0, 6.0.into());
        // A value that comes late changes nothing for those after it.
        let late =
            known.after(-100.0).value("count", "", 7.0.into()).after(200.0).value("count", "", 6.5.into());
        let judged = late.judge("{}", may_not_fall).unwrap();
        assert_eq!(judged, [Verdict::reject("falls", "6"), Verdict::accept(), Verdict::accept()]);
    }
}
