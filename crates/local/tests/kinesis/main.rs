//! The local Kinesis through the AWS SDK and the socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod limits;
mod mapping;
mod records;
mod reshard;
mod state;
mod wire;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Record, Shard, ShardIteratorType};
use eaves_local::kinesis::{Kinesis, KinesisConfig, client};

const STREAM: &str = "readings";

/// A Kinesis with one stream, and a client that repeats nothing.
struct World {
    kinesis: Kinesis,
    client: Client,
}

impl World {
    async fn start(shards: u32) -> Self {
        Self::with(shards, KinesisConfig::default()).await
    }

    async fn with(shards: u32, config: KinesisConfig) -> Self {
        let kinesis = Kinesis::start(config).await.unwrap();
        kinesis.create_stream(STREAM, shards).unwrap();
        let client = client(&kinesis.url());
        let once = client.config().to_builder().retry_config(RetryConfig::disabled()).build();
        Self { kinesis, client: Client::from_conf(once) }
    }

    /// Puts a record; its shard and sequence number.
    async fn put(&self, key: &str, data: impl Into<Vec<u8>>) -> (String, String) {
        let request = self.client.put_record().stream_name(STREAM).partition_key(key);
        let answer = request.data(Blob::new(data)).send().await.unwrap();
        (answer.shard_id, answer.sequence_number)
    }

    async fn shards(&self) -> Vec<Shard> {
        self.client.list_shards().stream_name(STREAM).send().await.unwrap().shards.unwrap()
    }

    async fn iterator(&self, shard: &str, kind: ShardIteratorType, number: Option<&str>) -> String {
        let request = self.client.get_shard_iterator().stream_name(STREAM).shard_id(shard);
        let request = request.shard_iterator_type(kind).set_starting_sequence_number(number.map(Into::into));
        request.send().await.unwrap().shard_iterator.unwrap()
    }

    /// All records from an iterator to the tip, or to the end of a closed shard; and whether
    /// it was that end.
    async fn read(&self, iterator: String, limit: i32) -> (Vec<Record>, bool) {
        let (mut records, mut next) = (Vec::new(), Some(iterator));
        while let Some(iterator) = next {
            let answer =
                self.client.get_records().shard_iterator(iterator).limit(limit).send().await.unwrap();
            let tip = answer.millis_behind_latest == Some(0);
            records.extend(answer.records);
            if tip && answer.next_shard_iterator.is_some() {
                return (records, false);
            }
            next = answer.next_shard_iterator;
        }
        (records, true)
    }

    /// All records of a shard, and whether it ended.
    async fn read_all(&self, shard: &str) -> (Vec<Record>, bool) {
        self.read(self.iterator(shard, ShardIteratorType::TrimHorizon, None).await, 10_000).await
    }

    async fn split(&self, shard: &str, at: u128) {
        let request = self.client.split_shard().stream_name(STREAM).shard_to_split(shard);
        request.new_starting_hash_key(at.to_string()).send().await.unwrap();
    }

    async fn merge(&self, shard: &str, adjacent: &str) {
        let request = self.client.merge_shards().stream_name(STREAM).shard_to_merge(shard);
        request.adjacent_shard_to_merge(adjacent).send().await.unwrap();
    }
}

fn id(index: u32) -> String {
    format!("shardId-{index:012}")
}

fn entry(key: &str, data: impl Into<Vec<u8>>) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data)).build().unwrap()
}

/// The data of records, as text.
fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8(r.data.as_ref().to_vec()).unwrap()).collect()
}

/// Sequence numbers as numbers: 56 digits, without zeros before them, sort as text too.
fn grows(records: &[Record]) -> bool {
    let numbers: Vec<&str> = records.iter().map(|r| r.sequence_number.as_str()).collect();
    numbers.iter().all(|n| n.len() == 56 && !n.starts_with('0')) && numbers.is_sorted_by(|a, b| a < b)
}
