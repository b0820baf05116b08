//! Routing, resharding and trimming without the socket.

use super::*;
use crate::kinesis::hash::hash_of;
use proptest::prelude::*;

fn put(stream: &mut Stream, key: &str, bytes: usize, now_ms: u64) -> u32 {
    let record =
        Incoming { hash: hash_of(key), partition_key: key.into(), data: Bytes::from(vec![0; bytes]) };
    stream.put(record, false, now_ms).unwrap().sequence.shard()
}

#[derive(Debug, Clone)]
enum Change {
    Split(usize, u128),
    Merge(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), any::<u128>()).prop_map(|(shard, at)| Change::Split(shard, at)),
        any::<usize>().prop_map(Change::Merge),
    ]
}

/// Does the change to the n-th open shard; whether it was possible.
fn apply(stream: &mut Stream, change: &Change, now_ms: u64) -> bool {
    let open: Vec<(u32, HashRange)> =
        stream.routes.iter().map(|(_, index)| (*index, stream.shards[index].range)).collect();
    match *change {
        Change::Split(n, at) => {
            let (index, range) = open[n % open.len()];
            let width = range.end - range.start;
            let at = if width == u128::MAX { at } else { range.start + at % (width + 1) };
            stream.split(index, at, "account", now_ms).is_ok()
        }
        Change::Merge(n) => {
            let n = n % open.len();
            n + 1 < open.len() && stream.merge(open[n].0, open[n + 1].0, "account", now_ms).is_ok()
        }
    }
}

proptest! {
    #[test]
    fn open_shards_cover_every_hash_key_once(
        shards in 1u32..9,
        changes in proptest::collection::vec(change(), 0..40),
        keys in proptest::collection::vec("\\PC{1,12}", 1..20),
        hashes in proptest::collection::vec(any::<u128>(), 1..20),
    ) {
        let mut stream = Stream::new("s", shards, u64::MAX, 1_000_000);
        for (n, change) in changes.iter().enumerate() {
            apply(&mut stream, change, 1_000_000 + n as u64);
            let mut open: Vec<HashRange> =
                stream.shards.values().filter(|s| s.is_open()).map(|s| s.range).collect();
            open.sort_by_key(|r| r.start);
            prop_assert_eq!(open[0].start, 0);
            prop_assert_eq!(open[open.len() - 1].end, u128::MAX);
            prop_assert!(open.windows(2).all(|w| w[0].end + 1 == w[1].start));
            prop_assert_eq!(open.len() as u32, stream.open_shards());
        }
        for hash in keys.iter().map(|k| hash_of(k)).chain(hashes) {
            let holds = |s: &&Shard| s.is_open() && (s.range.start..=s.range.end).contains(&hash);
            let owners: Vec<u32> = stream.shards.values().filter(holds).map(|s| s.index).collect();
            prop_assert_eq!(owners, vec![stream.shard_of(hash)]);
        }
    }

    #[test]
    fn numbers_grow_along_a_key_through_splits_and_merges(
        changes in proptest::collection::vec(change(), 0..20),
    ) {
        let mut stream = Stream::new("s", 2, u64::MAX, 1_000_000);
        let mut last = None;
        for change in &changes {
            for _ in 0..2 {
                let record = Incoming { hash: hash_of("k"), partition_key: "k".into(), data: Bytes::new() };
                let number = stream.put(record, false, 1_000_000).unwrap().sequence;
                prop_assert!(Some(number) > last);
                last = Some(number);
            }
            apply(&mut stream, change, 1_000_000);
        }
    }
}

#[test]
fn retention_takes_records_and_then_the_closed_shard() {
    let mut stream = Stream::new("s", 1, u64::MAX, 0);
    put(&mut stream, "a", 10, 0);
    put(&mut stream, "a", 10, DAY_MS / 2);
    stream.split(0, 1 << 127, "account", DAY_MS / 2).unwrap();
    stream.trim(DAY_MS - 1);
    assert_eq!(stream.size().1, 2);
    stream.trim(DAY_MS);
    assert_eq!(stream.size().1, 1);
    assert_eq!(stream.shards.len(), 3);
    stream.trim(DAY_MS + DAY_MS / 2);
    assert_eq!(stream.size(), (0, 0));
    assert_eq!(stream.shards.keys().copied().collect::<Vec<_>>(), [1, 2]);
    // Its index is not given again.
    stream.merge(1, 2, "account", 2 * DAY_MS).unwrap();
    assert!(stream.shards.contains_key(&3));
}

#[test]
fn the_cap_takes_the_oldest_of_all_shards() {
    let mut stream = Stream::new("s", 2, 100_000, 0);
    for n in 0..100 {
        put(&mut stream, &format!("key-{n}"), 2_000, n);
        stream.trim(n);
    }
    let (weight, records) = stream.size();
    assert!(weight <= 100_000 && records > 40, "{weight} bytes, {records} records");
    let oldest = stream.shards.values().filter_map(Shard::oldest_ms).min().unwrap();
    assert_eq!(oldest, 100 - records as u64);
}
