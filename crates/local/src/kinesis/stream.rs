//! One stream: its shards, which of them takes a record, and what is forgotten when.

use super::error::{ApiError, ErrorKind};
use super::hash::HashRange;
use super::shard::{Shard, Stored};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Retention of a new stream.
pub(super) const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// A warning about the cap at most this often.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// A record on its way in.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) hash: u128,
    pub(super) partition_key: Arc<str>,
    pub(super) data: Bytes,
}

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) created_ms: u64,
    pub(super) retention_ms: u64,
    /// By index. Closed ones stay until their retention ends.
    pub(super) shards: BTreeMap<u32, Shard>,
    pub(super) next_index: u32,
    /// First hash key and index of each open shard, in order.
    routes: Vec<(u128, u32)>,
    /// What all records count against `cap`.
    weight: u64,
    cap: u64,
    over_cap: u64,
    warned: Option<Instant>,
}

impl Stream {
    /// A stream with `shards` open shards of the same width. `cap` is in bytes.
    pub(super) fn new(name: &str, shards: u32, cap: u64, now_ms: u64) -> Self {
        let ranges = HashRange::evenly(shards).into_iter().zip(0..);
        let shards = ranges.map(|(range, index)| (index, Shard::new(index, range, &[], now_ms))).collect();
        Self::from_parts(name, shards, cap, now_ms)
    }

    /// A stream of shards that exist already.
    pub(super) fn from_parts(name: &str, shards: BTreeMap<u32, Shard>, cap: u64, now_ms: u64) -> Self {
        let next_index = shards.keys().next_back().map_or(0, |last| last + 1);
        let weight = shards.values().flat_map(Shard::records).map(Stored::weight).sum();
        let mut stream = Self {
            name: name.to_owned(),
            created_ms: now_ms,
            retention_ms: DAY_MS,
            shards,
            next_index,
            routes: Vec::new(),
            weight,
            cap,
            over_cap: 0,
            warned: None,
        };
        stream.route();
        stream
    }

    fn route(&mut self) {
        let open = self.shards.values().filter(|s| s.is_open());
        self.routes = open.map(|s| (s.range.start, s.index)).collect();
        self.routes.sort_unstable();
    }

    pub(super) fn open_shards(&self) -> u32 {
        self.routes.len() as u32
    }

    /// The index of the open shard a hash key belongs to. Open shards cover all keys.
    pub(super) fn shard_of(&self, hash: u128) -> u32 {
        let after = self.routes.partition_point(|(start, _)| *start <= hash);
        self.routes[after.saturating_sub(1)].1
    }

    /// Appends a record to the shard that is its own; `None` if that shard is throttled.
    pub(super) fn put(&mut self, record: Incoming, throttled: bool, now_ms: u64) -> Result<&Stored, u32> {
        let index = self.shard_of(record.hash);
        let shard = self.shards.get_mut(&index).ok_or(index)?;
        let bytes = record.data.len() + record.partition_key.len();
        if throttled && !shard.throughput.write(bytes, Instant::now()) {
            return Err(index);
        }
        let stored = shard.put(record.partition_key, record.data, now_ms);
        self.weight += stored.weight();
        Ok(stored)
    }

    /// Appends a record that one of its shards gave earlier; without the shard it is forgotten.
    pub(super) fn restore(&mut self, record: Stored) {
        if let Some(shard) = self.shards.get_mut(&record.sequence.shard()) {
            self.weight += record.weight();
            shard.restore(record);
        }
    }

    /// Forgets what retention and the cap no longer allow. Cheap when there is nothing.
    pub(super) fn trim(&mut self, now_ms: u64) {
        let retention = self.retention_ms;
        let over = |ms: u64| ms.saturating_add(retention) <= now_ms;
        for shard in self.shards.values_mut() {
            while shard.oldest_ms().is_some_and(over) {
                self.weight -= shard.pop().map_or(0, |r| r.weight());
            }
        }
        self.shards.retain(|_, s| s.closed.is_none_or(|closed| !over(closed.at_ms)));
        while self.weight > self.cap {
            let filled = self.shards.values_mut().filter_map(|s| Some((s.oldest_ms()?, s)));
            let Some((_, oldest)) = filled.min_by_key(|(ms, _)| *ms) else { break };
            self.weight -= oldest.pop().map_or(0, |r| r.weight());
            self.over_cap += 1;
        }
        if self.over_cap > 0 && self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            tracing::warn!(
                stream.name = self.name,
                records = self.over_cap,
                cap_bytes = self.cap,
                "the stream is over its memory cap: its oldest records are gone, as if retention had passed"
            );
            (self.over_cap, self.warned) = (0, Some(Instant::now()));
        }
    }

    /// Bytes its records count against the cap, and how many records there are.
    pub(super) fn size(&self) -> (u64, usize) {
        (self.weight, self.shards.values().map(|s| s.records().len()).sum())
    }

    fn open(&self, index: u32, place: &str) -> Result<&Shard, ApiError> {
        let name = &self.name;
        let shard = self.shards.get(&index).ok_or_else(|| {
            let id = super::shard::shard_id(index);
            ApiError::not_found(format!("Could not find shard {id} in stream {name} under {place}."))
        })?;
        if shard.is_open() {
            return Ok(shard);
        }
        let id = shard.id();
        Err(ApiError::invalid(format!(
            "Shard {id} in stream {name} under {place} has already been merged or split, and thus is not \
             eligible for merging or splitting."
        )))
    }

    /// Closes a shard and opens two for the parts of its range below and from `at` on.
    pub(super) fn split(&mut self, index: u32, at: u128, place: &str, now_ms: u64) -> Result<(), ApiError> {
        let shard = self.open(index, place)?;
        let (low, high) = shard.range.split(at).ok_or_else(|| {
            ApiError::invalid(format!(
                "NewStartingHashKey {at} used in SplitShard() on shard {} in stream {} under {place} is not both \
                 greater than one plus the shard's StartingHashKey {} and less than the shard's EndingHashKey {}.",
                shard.id(),
                self.name,
                shard.range.start,
                shard.range.end
            ))
        })?;
        let children = [(self.next_index, low), (self.next_index + 1, high)]
            .map(|(i, r)| Shard::new(i, r, &[shard], now_ms));
        self.replace(&[index], children, now_ms);
        Ok(())
    }

    /// Closes two neighbours and opens one for both.
    pub(super) fn merge(&mut self, index: u32, other: u32, place: &str, now_ms: u64) -> Result<(), ApiError> {
        let (shard, adjacent) = (self.open(index, place)?, self.open(other, place)?);
        let range = shard.range.merge(adjacent.range).ok_or_else(|| {
            ApiError::invalid(format!(
                "Shards {} and {} in stream {} under {place} are not an adjacent pair of shards eligible for \
                 merging.",
                shard.id(),
                adjacent.id(),
                self.name
            ))
        })?;
        let child = Shard::new(self.next_index, range, &[shard, adjacent], now_ms);
        self.replace(&[index, other], [child], now_ms);
        Ok(())
    }

    fn replace(&mut self, parents: &[u32], children: impl IntoIterator<Item = Shard>, now_ms: u64) {
        for parent in parents {
            if let Some(shard) = self.shards.get_mut(parent) {
                shard.close(now_ms);
            }
        }
        for child in children {
            self.next_index = self.next_index.max(child.index + 1);
            self.shards.insert(child.index, child);
        }
        self.route();
    }

    /// The shards that were split or merged from this one.
    pub(super) fn children(&self, index: u32) -> impl Iterator<Item = &Shard> {
        self.shards.values().filter(move |s| s.parent == Some(index) || s.adjacent == Some(index))
    }

    /// Sets retention in hours as Increase- and DecreaseStreamRetentionPeriod do.
    pub(super) fn set_retention_hours(&mut self, hours: i64, increase: bool) -> Result<(), ApiError> {
        let now = self.retention_ms.div_ceil(60 * 60 * 1000) as i64;
        let name = &self.name;
        if !(24..=8760).contains(&hours) {
            return Err(ApiError::invalid(format!(
                "RetentionPeriodHours {hours} for stream {name} is out of range: it must be between 24 and 8760."
            )));
        }
        if (increase && hours < now) || (!increase && hours > now) {
            let (relation, api) = if increase { ("shorter", "Decrease") } else { ("longer", "Increase") };
            return Err(ApiError::invalid(format!(
                "Requested retention period ({hours} hours) for stream {name} can not be {relation} than existing \
                 retention period ({now} hours). Use {api}RetentionPeriod API."
            )));
        }
        self.retention_ms = hours.unsigned_abs() * 60 * 60 * 1000;
        Ok(())
    }
}

/// The error of an operation that would have more shards than the account may.
pub(super) fn too_many_shards(current: u32, limit: u32) -> ApiError {
    ApiError::new(
        ErrorKind::LimitExceeded,
        format!(
            "This request would exceed the shard limit for the account. Current shard count for the account: \
             {current}. Limit: {limit}."
        ),
    )
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
