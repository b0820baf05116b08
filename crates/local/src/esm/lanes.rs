//! Several batches of a shard at a time: `ParallelizationFactor`.
//!
//! Lambda hands out as many batches of a shard at once as the factor says. Records of one
//! partition key stay in order; those of different keys may overtake each other (AWS Lambda
//! developer guide, "Using AWS Lambda with Amazon Kinesis"). So each key belongs to one lane,
//! each lane delivers in order, and the shard's checkpoint is where all lanes are done.

use super::Record;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

/// The lane of a partition key: the same as long as the factor is.
pub(super) fn lane(partition_key: &str, lanes: usize) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(partition_key);
    // The remainder is below `lanes`.
    (hash % lanes.max(1) as u64) as usize
}

/// Which records of a shard are under way, and up to where none is any more.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Records in stream order, and whether each is done with.
    under_way: VecDeque<(String, bool)>,
    /// The place of each in `under_way`, counted from the beginning of time.
    places: HashMap<String, u64>,
    /// Places before the front.
    gone: u64,
}

impl Progress {
    /// Records are handed to a lane. Called in stream order.
    pub(super) fn begun(&mut self, records: &[Record]) {
        for record in records {
            self.places.insert(record.sequence.clone(), self.gone + self.under_way.len() as u64);
            self.under_way.push_back((record.sequence.clone(), false));
        }
    }

    /// Records were taken or discarded. Answers with the last record up to which all are, if
    /// that has moved.
    pub(super) fn done(&mut self, records: &[Record]) -> Option<String> {
        for record in records {
            let Some(place) = self.places.remove(&record.sequence) else { continue };
            // A place that is known is in the queue.
            if let Some((_, done)) = self.under_way.get_mut((place - self.gone) as usize) {
                *done = true;
            }
        }
        let mut last = None;
        while self.under_way.front().is_some_and(|(_, done)| *done) {
            last = self.under_way.pop_front().map(|(sequence, _)| sequence);
            self.gone += 1;
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn record(n: usize) -> Record {
        Record { sequence: n.to_string(), partition_key: String::new(), data: Bytes::new(), arrived_ms: 0 }
    }

    #[test]
    fn a_key_keeps_its_lane() {
        let lanes: Vec<usize> = (0..100).map(|n| lane(&format!("key-{n}"), 4)).collect();
        assert_eq!(lanes, (0..100).map(|n| lane(&format!("key-{n}"), 4)).collect::<Vec<_>>());
        assert!((0..4).all(|l| lanes.contains(&l)), "every lane has keys: {lanes:?}");
    }

    proptest! {
        /// In whatever order lanes finish: the checkpoint never passes a record that is not
        /// done, only moves forward, and reaches the end.
        #[test]
        fn the_checkpoint_is_where_all_lanes_are_done(
            order in Just((0usize..40).collect::<Vec<_>>()).prop_shuffle(),
            pages in 1usize..10,
        ) {
            let mut progress = Progress::default();
            (0..40).map(record).collect::<Vec<_>>().chunks(pages).for_each(|page| progress.begun(page));
            let (mut done, mut at) = ([false; 40], None);
            for n in order {
                done[n] = true;
                if let Some(sequence) = progress.done(&[record(n)]) {
                    let reached: usize = sequence.parse().unwrap();
                    prop_assert!(at.is_none_or(|at| at < reached));
                    at = Some(reached);
                }
                let whole = done.iter().take_while(|done| **done).count();
                prop_assert_eq!(at.map_or(0, |at| at + 1), whole);
            }
            prop_assert_eq!(at, Some(39));
        }
    }
}
