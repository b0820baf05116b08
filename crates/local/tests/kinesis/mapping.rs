//! The event source mapping on the local Kinesis, while its stream is resharded.

use super::*;
use bytes::Bytes;
use eaves_local::esm::checkpoint::Checkpoints;
use eaves_local::esm::destination::Destination;
use eaves_local::esm::{Mapping, MappingConfig, Target, kinesis::Stream};
use eaves_local::lambda::FunctionError;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the function was given and took, in order: shard, partition key, count, sequence number.
type Seen = Vec<(String, String, usize, String)>;

/// A function that fails now and then, as a whole or from a record on.
#[derive(Clone, Default)]
struct Function {
    seen: Arc<Mutex<Seen>>,
    calls: Arc<AtomicUsize>,
    fails: bool,
}

impl Target for Function {
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        use base64::Engine as _;
        let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
        let mut records: Seen = Vec::new();
        for record in event["Records"].as_array().unwrap() {
            let data = record["kinesis"]["data"].as_str().unwrap();
            let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
            let number = record["kinesis"]["sequenceNumber"].as_str().unwrap().to_owned();
            let shard = record["eventID"].as_str().unwrap().split_once(':').unwrap().0.to_owned();
            let key = record["kinesis"]["partitionKey"].as_str().unwrap().to_owned();
            records.push((shard, key, String::from_utf8(data).unwrap().parse().unwrap(), number));
        }
        // Slow enough that shards are closed while records of theirs wait.
        tokio::time::sleep(Duration::from_millis(2)).await;
        match self.calls.fetch_add(1, Ordering::Relaxed) % 7 {
            3 if self.fails => Err(FunctionError::Crashed("was killed by signal 9".into())),
            5 if self.fails => {
                let failed = records.split_off(records.len() / 2);
                self.seen.lock().unwrap().extend(records);
                let failures = serde_json::json!([{ "itemIdentifier": failed[0].3 }]);
                Ok(Bytes::from(serde_json::json!({ "batchItemFailures": failures }).to_string()))
            }
            _ => {
                self.seen.lock().unwrap().extend(records);
                Ok(Bytes::from_static(b"{\"batchItemFailures\":[]}"))
            }
        }
    }

    fn arn(&self) -> String {
        "arn:aws:lambda:us-east-1:000000000000:function:test".into()
    }
}

struct Nowhere;

impl Destination for Nowhere {
    async fn keep(&self, key: String, _document: Bytes) -> anyhow::Result<()> {
        panic!("nothing may be discarded: {key}")
    }
}

fn mapping(world: &World, function: &Function, checkpoints: Checkpoints) -> Mapping {
    let mut config = MappingConfig::new(STREAM, "us-east-1");
    config.batch_size = 40;
    config.longest_retry_pause = Duration::from_millis(60);
    let source = Stream::new(client(&world.kinesis.url()), STREAM);
    Mapping::start(config, source, function.clone(), Nowhere, checkpoints)
}

/// Puts counts under each key until told to stop; how many each key has.
async fn write(world: Arc<World>, keys: Vec<String>, stop: Arc<AtomicBool>) -> BTreeMap<String, usize> {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let entries = keys.iter().map(|key| entry(key, count.to_string())).collect();
        let answer = world.client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await;
        assert_eq!(answer.unwrap().failed_record_count, Some(0));
        count += 1;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    keys.into_iter().map(|key| (key, count)).collect()
}

/// Splits and merges in turn, as far as there is something to.
async fn reshard(world: &World, rounds: usize) {
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(120)).await;
        let mut open: Vec<Shard> = world.shards().await;
        open.retain(|s| s.sequence_number_range.as_ref().unwrap().ending_sequence_number.is_none());
        let range = |s: &Shard| {
            let range = s.hash_key_range.as_ref().unwrap();
            let number = |text: &str| text.parse::<u128>().unwrap();
            (number(&range.starting_hash_key), number(&range.ending_hash_key))
        };
        open.sort_by_key(range);
        let n = round * 5 % open.len();
        if round % 3 == 2 {
            let n = n.min(open.len() - 2);
            world.merge(&open[n].shard_id, &open[n + 1].shard_id).await;
        } else {
            let (start, end) = range(&open[n]);
            world.split(&open[n].shard_id, start + (end - start) / 2).await;
        }
    }
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Every record once, each key in order, no shard before its parents are done.
fn check(seen: &Seen, sent: &BTreeMap<String, usize>, shards: &[Shard]) {
    let numbers: HashSet<&str> = seen.iter().map(|(.., number)| number.as_str()).collect();
    assert_eq!(numbers.len(), seen.len(), "a record came twice");
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    for (shard, key, count, _) in seen {
        let expected = next.entry(key).or_default();
        assert_eq!(count, expected, "{key} in {shard}");
        *expected += 1;
    }
    assert_eq!(next, sent.iter().map(|(key, count)| (key.as_str(), *count)).collect());
    let place = |id: &str, last: bool| {
        let mut places = seen.iter().enumerate().filter(|(_, (shard, ..))| shard == id).map(|(n, _)| n);
        if last { places.next_back() } else { places.next() }
    };
    for child in shards {
        for parent in [&child.parent_shard_id, &child.adjacent_parent_shard_id].into_iter().flatten() {
            if let (Some(end), Some(begin)) = (place(parent, true), place(&child.shard_id, false)) {
                assert!(end < begin, "{} began before {parent} was done", child.shard_id);
            }
        }
    }
    let read: BTreeSet<&str> = seen.iter().map(|(shard, ..)| shard.as_str()).collect();
    assert!(read.len() > 4, "too little was resharded: {read:?}");
}

async fn run(fails: bool, restart: bool) {
    const ROUNDS: usize = 12;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("checkpoints.json");
    let world = Arc::new(World::start(2).await);
    let function = Function { fails, ..Function::default() };
    let mut reading = mapping(&world, &function, Checkpoints::load(&file).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let writers = (0..2).map(|writer| {
        let keys = (0..20).map(|key| format!("{writer}/{key}")).collect();
        tokio::spawn(write(world.clone(), keys, stop.clone()))
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..ROUNDS / 3 {
        reshard(&world, 3).await;
        if restart {
            // Long enough for an invocation to end: its checkpoint is kept, nothing comes twice.
            reading.stop(Duration::from_secs(10)).await;
            reading = mapping(&world, &function, Checkpoints::load(&file).unwrap());
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut sent = BTreeMap::new();
    for writer in writers {
        sent.extend(writer.await.unwrap());
    }
    let total: usize = sent.values().sum();
    until("all records are delivered", || function.seen.lock().unwrap().len() >= total).await;
    reading.stop(Duration::from_secs(10)).await;
    let shards = world.shards().await;
    check(&function.seen.lock().unwrap(), &sent, &shards);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn splits_and_merges_under_load_lose_double_and_disorder_nothing() {
    run(false, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_they_while_the_function_fails_and_the_mapping_restarts() {
    run(true, true).await;
}

#[tokio::test]
async fn a_child_waits_while_its_parents_last_record_is_retried() {
    let world = World::start(1).await;
    world.put("a", "0").await;
    world.split(&id(0), 1 << 127).await;
    world.put("a", "1").await;
    // Fails on the fourth call at the latest; the parent's record is the first call.
    let function = Function { fails: true, calls: Arc::new(AtomicUsize::new(3)), ..Function::default() };
    let reading = mapping(&world, &function, Checkpoints::in_memory());
    until("both are delivered", || function.seen.lock().unwrap().len() == 2).await;
    reading.stop(Duration::from_secs(5)).await;
    let seen = function.seen.lock().unwrap();
    assert_eq!(seen.iter().map(|(shard, ..)| shard.clone()).collect::<Vec<_>>(), [id(0), id(1)]);
}

#[tokio::test]
async fn records_whose_retention_has_passed_do_not_stop_the_mapping() {
    let world = World::start(1).await;
    world.put("a", "0").await;
    world.split(&id(0), 1 << 127).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    world.kinesis.set_retention_ms(STREAM, 20).unwrap();
    world.kinesis.set_retention_ms(STREAM, 60_000).unwrap();
    let function = Function::default();
    let reading = mapping(&world, &function, Checkpoints::in_memory());
    world.put("a", "1").await;
    until("the child is delivered", || !function.seen.lock().unwrap().is_empty()).await;
    assert_eq!(function.seen.lock().unwrap()[0].2, 1);
    reading.stop(Duration::from_secs(5)).await;
}
