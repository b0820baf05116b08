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
        if self.tracked.is_empty() {
            return;
        }
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
