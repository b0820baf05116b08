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

/// Keeps the latest value of each entity and attribute that the plugin asks for.
#[derive(Debug)]
pub(crate) struct Tracker<'a> {
    /// By index of the attribute; empty if none is asked for.
    tracked: Vec<bool>,
    latest: HashMap<(u32, u32), Previous<'a>, BuildHasherDefault<PairHasher>>,
    /// The next entry of what the platform told.
    told: usize,
}

impl<'a> Tracker<'a> {
    /// Tracks the attributes that `wanted` holds for.
    pub(crate) fn new(columns: &Columns<'a>, wanted: impl Fn(&str) -> bool) -> Self {
        let tracked: Vec<bool> = columns.attributes().iter().map(|a| wanted(a.name)).collect();
        let tracked = if tracked.contains(&true) { tracked } else { Vec::new() };
        Self { tracked, latest: HashMap::default(), told: 0 }
    }

    #[inline]
    fn tracks(&self, attribute: u32) -> bool {
        !self.tracked.is_empty() && self.tracked[attribute as usize]
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
        let pair = columns.pair(row);
        if !self.tracks(pair.1) {
            return None;
        }
        while let Some((at, previous)) = columns.previous(self.told).filter(|(at, _)| *at <= row) {
            self.told += 1;
            if at == row {
                self.offer(pair, previous);
            }
        }
        self.latest.get(&pair).cloned()
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
        let pair = columns.pair(row);
        if !self.tracks(pair.1) {
            return;
        }
        let value = match verdict.map(|more| &more.outcome) {
            None | Some(Outcome::Accept) => columns.value(row),
            Some(Outcome::Replace(value)) => value.clone(),
            Some(Outcome::Reject { .. }) => return,
        };
        self.offer(pair, Previous { observed_at: columns.observed_at(row), value });
    }

    /// The later one stays; of two of one time the one that came last.
    fn offer(&mut self, pair: (u32, u32), previous: Previous<'a>) {
        let known = self.latest.get(&pair);
        if known.is_none_or(|known| known.observed_at <= previous.observed_at) {
            self.latest.insert(pair, previous);
        }
    }
}

/// For pairs of small numbers that nobody chooses: SipHash would cost more than the rule.
#[derive(Debug, Default)]
struct PairHasher(u64);

impl Hasher for PairHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32((*byte).into());
        }
    }

    fn write_u32(&mut self, number: u32) {
        // 2^64 divided by the golden ratio.
        self.0 = (self.0.rotate_left(32) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Sample;
    use crate::{Reading, Verdict};

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
