//! One shard: its records in memory, in order, and how they are found.

use super::hash::HashRange;
use super::sequence::Sequence;
use super::throttle::Throughput;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Most bytes GetRecords gives in one answer, data and partition keys together.
const ANSWER_BYTES: usize = 10 * 1024 * 1024;
/// What a record takes in memory besides its data and its key, about.
const RECORD_OVERHEAD: usize = 128;

/// A record as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) sequence: Sequence,
    /// Milliseconds since 1970; never falls within a shard.
    pub(super) arrived_ms: u64,
    pub(super) partition_key: Arc<str>,
    pub(super) data: Bytes,
}

impl Stored {
    /// What counts against the limits of the API: data and partition key.
    fn payload(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }

    /// What it counts against the stream's cap.
    pub(super) fn weight(&self) -> u64 {
        (self.payload() + RECORD_OVERHEAD) as u64
    }
}

/// The end of a shard that was split or merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) at_ms: u64,
    pub(super) sequence: Sequence,
}

/// What GetRecords gives.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) records: Vec<Stored>,
    /// Where to go on; `None` at the end of a closed shard.
    pub(super) next: Option<Sequence>,
    pub(super) behind_ms: u64,
}

/// A shard.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) index: u32,
    /// In its sequence numbers: see [`super::sequence`].
    pub(super) opened_s: u64,
    pub(super) opened_ms: u64,
    pub(super) range: HashRange,
    /// The shard it was split from, or the first it was merged from.
    pub(super) parent: Option<u32>,
    /// The second it was merged from.
    pub(super) adjacent: Option<u32>,
    pub(super) closed: Option<Closed>,
    pub(super) throughput: Throughput,
    records: VecDeque<Stored>,
    last_place: u64,
    last_arrived_ms: u64,
}

/// The name of a shard.
pub(super) fn shard_id(index: u32) -> String {
    format!("shardId-{index:012}")
}

/// The index in a shard's name.
pub(super) fn shard_index(id: &str) -> Option<u32> {
    let digits = id.strip_prefix("shardId-")?;
    (digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl Shard {
    /// An open shard without records.
    pub(super) fn new(index: u32, range: HashRange, parents: &[&Self], now_ms: u64) -> Self {
        let after_parents = parents.iter().map(|p| p.opened_s + 1).max().unwrap_or(0);
        Self {
            index,
            opened_s: after_parents.max(now_ms / 1000),
            opened_ms: now_ms,
            range,
            parent: parents.first().map(|p| p.index),
            adjacent: parents.get(1).map(|p| p.index),
            closed: None,
            throughput: Throughput::new(Instant::now()),
            records: VecDeque::new(),
            last_place: 0,
            last_arrived_ms: now_ms,
        }
    }

    pub(super) fn id(&self) -> String {
        shard_id(self.index)
    }

    /// The number before its first record.
    pub(super) fn start(&self) -> Sequence {
        Sequence::new(self.opened_s, 0, 0, self.index)
    }

    /// Whether this shard could have given the number.
    pub(super) fn gave(&self, sequence: Sequence) -> bool {
        sequence.opened_s() == self.opened_s && sequence.shard() == self.index
    }

    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    fn take_number(&mut self, now_ms: u64) -> (Sequence, u64) {
        self.last_place = (self.last_place + 1).max(now_ms.saturating_mul(1000));
        self.last_arrived_ms = self.last_arrived_ms.max(now_ms);
        let number = Sequence::new(self.opened_s, self.last_place, self.last_arrived_ms, self.index);
        (number, self.last_arrived_ms)
    }

    /// Appends a record.
    pub(super) fn put(&mut self, partition_key: Arc<str>, data: Bytes, now_ms: u64) -> &Stored {
        let (sequence, arrived_ms) = self.take_number(now_ms);
        self.records.push_back(Stored { sequence, arrived_ms, partition_key, data });
        &self.records[self.records.len() - 1]
    }

    /// Appends records that it gave earlier, in order.
    pub(super) fn restore(&mut self, record: Stored) {
        self.last_place = self.last_place.max(record.sequence.place());
        self.last_arrived_ms = self.last_arrived_ms.max(record.arrived_ms);
        self.records.push_back(record);
    }

    /// Takes no more records.
    pub(super) fn close(&mut self, now_ms: u64) {
        let (sequence, at_ms) = self.take_number(now_ms);
        self.closed = Some(Closed { at_ms, sequence });
    }

    /// A position after all records.
    pub(super) fn latest(&self) -> Sequence {
        let place = Sequence::new(self.opened_s, self.last_place + 1, 0, self.index);
        self.closed.map_or(place, |closed| closed.sequence)
    }

    /// The position of the first record that arrived at or after a time. O(log n).
    pub(super) fn since(&self, ms: u64) -> Sequence {
        let at = self.records.partition_point(|r| r.arrived_ms < ms);
        self.records.get(at).map_or_else(|| self.latest(), |r| r.sequence)
    }

    /// The records from a position on. O(log n) to find them.
    pub(super) fn page(&self, from: Sequence, limit: usize, now_ms: u64) -> Page {
        let first = self.records.partition_point(|r| r.sequence < from);
        let mut bytes = 0;
        let fits = self.records.range(first..).take(limit).take_while(|r| {
            let first = bytes == 0;
            bytes += r.payload();
            first || bytes <= ANSWER_BYTES
        });
        let records: Vec<Stored> = fits.cloned().collect();
        let at_end = first + records.len() == self.records.len();
        let next = records.last().map_or(from, |r| r.sequence.next());
        let behind_ms = match records.last() {
            Some(last) if !at_end => now_ms.saturating_sub(last.arrived_ms),
            _ => 0,
        };
        Page { next: (self.is_open() || !at_end).then_some(next), records, behind_ms }
    }

    /// When its oldest record arrived.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.records.front().map(|r| r.arrived_ms)
    }

    /// Removes the oldest record.
    pub(super) fn pop(&mut self) -> Option<Stored> {
        self.records.pop_front()
    }

    pub(super) fn records(&self) -> impl ExactSizeIterator<Item = &Stored> {
        self.records.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(records: u64) -> Shard {
        let mut shard = Shard::new(3, HashRange::ALL, &[], 1_000_000);
        for n in 0..records {
            shard.put("k".into(), Bytes::from(n.to_string()), 1_000_000 + n / 3);
        }
        shard
    }

    #[test]
    fn pages_follow_each_other_and_end_with_the_closed_shard() {
        let mut shard = shard(10);
        let first = shard.page(shard.start(), 7, 1_000_500);
        assert_eq!((first.records.len(), first.behind_ms), (7, 498));
        let second = shard.page(first.next.unwrap(), 7, 1_000_500);
        assert_eq!((second.records.len(), second.behind_ms), (3, 0));
        let tip = second.next.unwrap();
        shard.close(1_000_500);
        let end = shard.page(tip, 7, 1_000_500);
        assert_eq!((end.records.len(), end.next), (0, None));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_disturb_the_order() {
        let mut shard = shard(3);
        let before = shard.latest();
        let record = shard.put("k".into(), Bytes::new(), 5).clone();
        assert!(record.sequence >= before);
        assert_eq!(record.arrived_ms, 1_000_000);
    }

    #[test]
    fn an_answer_holds_ten_megabytes_and_at_least_a_record() {
        let mut shard = Shard::new(0, HashRange::ALL, &[], 0);
        for _ in 0..12 {
            shard.put("k".into(), Bytes::from(vec![0; 1024 * 1024 - 1]), 0);
        }
        assert_eq!(shard.page(shard.start(), 100, 0).records.len(), 10);
    }

    #[test]
    fn a_shards_name_is_read_as_it_is_written() {
        assert_eq!(shard_index(&shard_id(17)), Some(17));
        for id in ["", "shardId-1", "shardId-00000000000x", "shardid-000000000001", "shardId-999999999999"] {
            assert_eq!(shard_index(id), None, "{id}");
        }
    }
}
