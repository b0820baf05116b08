//! The values that were known before: those of the hot projection, and, where a batch takes
//! several calls, what earlier calls let pass.

use crate::PluginError;
use crate::columns::Call;
use eaves_model::batch::{Batch, Decision};
use eaves_model::{Timestamp, Value};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// An entity and an attribute, as indices into the batch.
type Pair = (u32, u32);

/// What is known before each call. Costs nothing for a plugin that does not ask.
pub(crate) struct Known<'a> {
    batch: &'a Batch,
    /// For each attribute whether its previous value is wanted; empty if that of none is.
    wanted: Vec<bool>,
    /// From the second call on: the latest values, after all rows before `next`.
    latest: HashMap<Pair, (Timestamp, Value)>,
    next: usize,
}

impl<'a> Known<'a> {
    /// `wanted` says for each attribute whether its previous value is asked for.
    pub(crate) fn new(batch: &'a Batch, wanted: Vec<bool>) -> Result<Self, PluginError> {
        let mut last = None;
        for previous in &batch.previous {
            let row = batch.rows.get(previous.row as usize);
            let attribute = row.and_then(|r| batch.attributes.get(r.attribute as usize));
            let fits = attribute.is_some_and(|a| a.value_type == previous.value.value_type());
            if !fits || last >= Some(previous.row) {
                return Err(PluginError::BadBatch { row: previous.row as usize });
            }
            last = Some(previous.row);
        }
        let wanted = if wanted.contains(&true) { wanted } else { Vec::new() };
        Ok(Self { batch, wanted, latest: HashMap::new(), next: 0 })
    }

    fn wants(&self, attribute: u32) -> bool {
        self.wanted.get(attribute as usize).copied().unwrap_or_default()
    }

    /// Adds what is known to the call over `rows` of the batch; `decision` is that of the calls
    /// before it.
    pub(crate) fn fill(&mut self, call: &mut Call<'a>, rows: Range<usize>, decision: &Decision) {
        if self.wanted.is_empty() {
            return;
        }
        if rows.start > 0 {
            self.catch_up(rows.start, decision);
        }
        let batch = self.batch;
        let mut given = batch.previous.iter().peekable();
        let mut seen = HashSet::new();
        for at in 0..call.rows() {
            let row = call.row_of_batch(at as u32);
            let Some(r) = batch.rows.get(row as usize).filter(|r| self.wants(r.attribute)) else { continue };
            while given.next_if(|p| p.row < row).is_some() {}
            let pair = (r.entity, r.attribute);
            if let Some(previous) = given.next_if(|p| p.row == row) {
                call.push_previous(at, previous.observed_at, &previous.value);
                seen.insert(pair);
            } else if rows.start > 0
                && seen.insert(pair)
                && let Some((observed_at, value)) = self.latest.get(&pair)
            {
                call.push_previous(at, *observed_at, value);
            }
        }
    }

    /// Takes the rows before `end` into account, as they were decided over.
    fn catch_up(&mut self, end: usize, decision: &Decision) {
        let from = std::mem::replace(&mut self.next, end);
        let rejected: HashSet<u32> = decision.rejected.iter().map(|(row, _)| *row).collect();
        let replaced: HashMap<u32, &Value> = decision.replaced.iter().map(|(row, v)| (*row, v)).collect();
        let given = self.batch.previous.partition_point(|p| (p.row as usize) < from);
        let mut given = self.batch.previous[given..].iter().peekable();
        for (i, r) in self.batch.rows[from..end].iter().enumerate() {
            let row = (from + i) as u32;
            if !self.wants(r.attribute) {
                continue;
            }
            while given.next_if(|p| p.row < row).is_some() {}
            let pair = (r.entity, r.attribute);
            if let Some(previous) = given.next_if(|p| p.row == row) {
                self.offer(pair, previous.observed_at, &previous.value);
            }
            if !rejected.contains(&row) {
                self.offer(pair, r.observed_at, replaced.get(&row).copied().unwrap_or(&r.value));
            }
        }
    }

    /// The later one stays; of two of one time the one that came last.
    fn offer(&mut self, pair: Pair, observed_at: Timestamp, value: &Value) {
        if self.latest.get(&pair).is_none_or(|(known, _)| *known <= observed_at) {
            self.latest.insert(pair, (observed_at, value.clone()));
        }
    }
}
