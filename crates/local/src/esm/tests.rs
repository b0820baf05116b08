//! The mapping against a stream, a function and a destination in memory.

use super::*;
use std::collections::BTreeMap;
use std::time::Instant;

#[derive(Default)]
struct FakeShard {
    parents: Vec<String>,
    records: Vec<Record>,
    closed: bool,
}

/// A stream in memory. Iterators are `<shard>/<index>`.
#[derive(Clone, Default)]
struct FakeStream(Arc<Mutex<BTreeMap<String, FakeShard>>>);

impl FakeStream {
    fn put(&self, shard: &str, from: u64, to: u64) {
        let mut shards = self.0.lock().unwrap();
        let records = (from..to).map(|n| Record {
            sequence: n.to_string(),
            partition_key: format!("k{}", n % 10),
            data: Bytes::from(n.to_string()),
            arrived_ms: 0,
        });
        shards.entry(shard.into()).or_default().records.extend(records);
    }

    fn split(&self, parent: &str, children: &[&str]) {
        let mut shards = self.0.lock().unwrap();
        shards.get_mut(parent).unwrap().closed = true;
        for child in children {
            shards.entry((*child).into()).or_default().parents = vec![parent.into()];
        }
    }
}

impl Source for FakeStream {
    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        let shards = self.0.lock().unwrap();
        Ok(shards.iter().map(|(id, s)| Shard { id: id.clone(), parents: s.parents.clone() }).collect())
    }

    async fn iterator(&self, shard: &str, after: Option<&str>) -> Result<String, SourceError> {
        let shards = self.0.lock().unwrap();
        let records = &shards.get(shard).ok_or(SourceError::Gone)?.records;
        let after: Option<u64> = after.map(|a| a.parse().unwrap());
        let at = records.iter().position(|r| after.is_none_or(|a| r.sequence.parse::<u64>().unwrap() > a));
        Ok(format!("{shard}/{}", at.unwrap_or(records.len())))
    }

    async fn records(&self, iterator: &str, limit: usize) -> Result<Page, SourceError> {
        let (shard, at) = iterator.split_once('/').unwrap();
        let at: usize = at.parse().unwrap();
        let shards = self.0.lock().unwrap();
        let found = &shards[shard];
        let records: Vec<Record> = found.records.iter().skip(at).take(limit.min(7)).cloned().collect();
        let end = at + records.len();
        let over = found.closed && end == found.records.len();
        Ok(Page { records, next: (!over).then(|| format!("{shard}/{end}")) })
    }
}

/// A function that notes what it was given, and fails as it is told.
#[derive(Clone, Default)]
struct FakeFunction {
    seen: Arc<Mutex<Vec<u64>>>,
    poison: Option<u64>,
    failures_left: Arc<Mutex<u32>>,
}

impl Target for FakeFunction {
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
        let ids = event["Records"].as_array().unwrap().iter();
        let ids: Vec<u64> =
            ids.map(|r| r["kinesis"]["sequenceNumber"].as_str().unwrap().parse().unwrap()).collect();
        {
            let mut left = self.failures_left.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                return Err(FunctionError::Crashed("was killed by signal 9".into()));
            }
        }
        if self.poison.is_some_and(|p| ids.contains(&p)) {
            return Err(FunctionError::Reported { error_type: "E".into(), message: "poison".into() });
        }
        self.seen.lock().unwrap().extend(ids);
        Ok(Bytes::from_static(b"{\"batchItemFailures\":[]}"))
    }

    fn arn(&self) -> String {
        "arn:aws:lambda:us-east-1:000000000000:function:fake".into()
    }
}

#[derive(Clone, Default)]
struct FakeBucket(Arc<Mutex<Vec<serde_json::Value>>>);

impl Destination for FakeBucket {
    async fn keep(&self, _key: String, document: Bytes) -> anyhow::Result<()> {
        self.0.lock().unwrap().push(serde_json::from_slice(&document)?);
        Ok(())
    }
}

fn config() -> MappingConfig {
    let mut config = MappingConfig::new("readings", "us-east-1");
    config.batch_size = 10;
    config.rules.max_retries = Some(1);
    config.longest_retry_pause = Duration::from_millis(60);
    config
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_poison_record_goes_to_the_destination_and_the_shard_goes_on() {
    let (stream, bucket) = (FakeStream::default(), FakeBucket::default());
    stream.put("a", 100, 130);
    let function = FakeFunction { poison: Some(113), ..Default::default() };
    let start = Mapping::start(config(), stream, function.clone(), bucket.clone(), Checkpoints::in_memory());
    until("all others are taken", || function.seen.lock().unwrap().len() == 29).await;
    let expected: Vec<u64> = (100..130).filter(|n| *n != 113).collect();
    assert_eq!(*function.seen.lock().unwrap(), expected);
    let kept = bucket.0.lock().unwrap().clone();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(kept[0]["KinesisBatchInfo"]["startSequenceNumber"], "113");
    let payload: serde_json::Value = serde_json::from_str(kept[0]["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["Records"][0]["kinesis"]["data"], "MTEz");
    assert_eq!(start.stats().discarded, 1);
    start.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_restart_goes_on_after_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("checkpoints.json");
    let (stream, function) = (FakeStream::default(), FakeFunction::default());
    for round in 0..2u64 {
        stream.put("a", 100 + round * 20, 120 + round * 20);
        let checkpoints = Checkpoints::load(&file).unwrap();
        let mapping =
            Mapping::start(config(), stream.clone(), function.clone(), FakeBucket::default(), checkpoints);
        let wanted = 20 * (round as usize + 1);
        until("the round is taken", || function.seen.lock().unwrap().len() >= wanted).await;
        mapping.stop(Duration::from_secs(5)).await;
    }
    assert_eq!(*function.seen.lock().unwrap(), (100..140).collect::<Vec<_>>());
}

#[tokio::test]
async fn children_are_read_after_their_parent_even_when_it_is_retried() {
    let stream = FakeStream::default();
    stream.put("a", 100, 115);
    stream.split("a", &["b", "c"]);
    stream.put("b", 200, 210);
    stream.put("c", 300, 310);
    let function = FakeFunction { failures_left: Arc::new(Mutex::new(2)), ..Default::default() };
    let mut config = config();
    config.rules.max_retries = None;
    let mapping =
        Mapping::start(config, stream, function.clone(), FakeBucket::default(), Checkpoints::in_memory());
    until("all shards are read", || function.seen.lock().unwrap().len() == 35).await;
    let seen = function.seen.lock().unwrap().clone();
    assert_eq!(seen[..15], (100..115).collect::<Vec<_>>());
    let child = |from: u64| seen.iter().copied().filter(|n| n / 100 == from).collect::<Vec<_>>();
    assert_eq!(child(2), (200..210).collect::<Vec<_>>());
    assert_eq!(child(3), (300..310).collect::<Vec<_>>());
    mapping.stop(Duration::from_secs(5)).await;
}

/// A parallelisation factor of 4: a key that fails holds up its own lane only, each key keeps
/// its order, the checkpoint stays before what is not taken, and a restart brings it again.
#[tokio::test]
async fn lanes_keep_the_order_of_a_key_and_the_checkpoint_waits_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("checkpoints.json");
    let stream = FakeStream::default();
    stream.put("a", 100, 140);
    let start = |function: &FakeFunction| {
        let mut config = config();
        config.parallelization_factor = 4;
        config.rules.max_retries = None;
        config.rules.bisect = true;
        let checkpoints = Checkpoints::load(&file).unwrap();
        Mapping::start(config, stream.clone(), function.clone(), FakeBucket::default(), checkpoints)
    };
    // Key k3 is stuck on its first record.
    let stuck = FakeFunction { poison: Some(103), ..Default::default() };
    let mapping = start(&stuck);
    let lane_of = |n: u64| super::lanes::lane(&format!("k{}", n % 10), 4);
    let free: Vec<u64> = (100..140).filter(|n| lane_of(*n) != lane_of(103)).collect();
    until("the other lanes are through", || {
        let seen = stuck.seen.lock().unwrap();
        free.iter().all(|n| seen.contains(n))
    })
    .await;
    assert!(!stuck.seen.lock().unwrap().contains(&103));
    mapping.stop(Duration::from_secs(5)).await;
    let kept = Checkpoints::load(&file).unwrap();
    let at: Option<u64> = kept.sequence("a").map(|s| s.parse().unwrap());
    assert!(at.is_none_or(|at| at < 103), "the checkpoint is at {at:?}, and 103 was not taken");

    let well = FakeFunction::default();
    let mapping = start(&well);
    until("what was stuck is taken", || Checkpoints::load(&file).unwrap().sequence("a") == Some("139")).await;
    mapping.stop(Duration::from_secs(5)).await;
    let seen = well.seen.lock().unwrap().clone();
    assert!((103..140).all(|n| seen.contains(&n)), "{seen:?}");
    for key in 0..10 {
        let of_key: Vec<u64> = seen.iter().copied().filter(|n| n % 10 == key).collect();
        assert!(of_key.is_sorted(), "key {key} out of order: {of_key:?}");
    }
}
