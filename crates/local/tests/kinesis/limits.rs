//! Limits, throttling and failures that are asked for.

use super::*;
use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use aws_sdk_kinesis::operation::put_records::{PutRecordsError, PutRecordsOutput};
use eaves_local::kinesis::{ErrorKind, Operation};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

const MIB: usize = 1024 * 1024;
const THROTTLED: &str = "ProvisionedThroughputExceededException";

async fn put_many(
    world: &World,
    entries: Vec<PutRecordsRequestEntry>,
) -> Result<PutRecordsOutput, PutRecordsError> {
    let call = world.client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await;
    call.map_err(aws_sdk_kinesis::error::SdkError::into_service_error)
}

#[tokio::test]
async fn a_request_over_its_limits_is_refused_whole() {
    let world = World::start(1).await;
    let many = put_many(&world, (0..501).map(|_| entry("k", "x")).collect()).await.unwrap_err();
    assert_eq!(many.code(), Some("ValidationException"), "{many:?}");
    let none = put_many(&world, Vec::new()).await.unwrap_err();
    assert_eq!(none.code(), Some("ValidationException"), "{none:?}");
    let large = put_many(&world, vec![entry("k", "x"), entry("k", vec![0; MIB + 1])]).await.unwrap_err();
    assert_eq!(large.code(), Some("ValidationException"));
    assert!(large.message().is_some_and(|m| m.contains("records.2.member.data")), "{large:?}");
    let total = put_many(&world, (0..6).map(|_| entry("k", vec![0; MIB - 1])).collect()).await.unwrap_err();
    assert!(matches!(total, PutRecordsError::InvalidArgumentException(_)), "{total:?}");
    let key = put_many(&world, vec![entry(&"ü".repeat(257), "x")]).await.unwrap_err();
    assert!(key.message().is_some_and(|m| m.contains("records.1.member.partitionKey")), "{key:?}");
    assert_eq!(world.kinesis.size(STREAM).unwrap().records, 0);
    // What is just allowed.
    let full = (0..500).map(|_| entry(&"ü".repeat(256), "x")).collect();
    assert_eq!(put_many(&world, full).await.unwrap().failed_record_count, Some(0));
    put_many(&world, (0..5).map(|_| entry("k", vec![0; MIB - 1])).collect()).await.unwrap();
}

#[tokio::test]
async fn shards_throttle_only_when_told_to() {
    let world = World::start(1).await;
    let batch = || (0..500).map(|_| entry("k", "x")).collect::<Vec<_>>();
    let failed = async || put_many(&world, batch()).await.unwrap().failed_record_count.unwrap();
    for _ in 0..4 {
        assert_eq!(failed().await, 0);
    }
    world.kinesis.set_throttling(true);
    let started = Instant::now();
    let mut refused = 0;
    for _ in 0..4 {
        refused += failed().await;
    }
    let allowed = 1000 + (started.elapsed().as_secs_f64() * 1000.0) as i32;
    assert!((2000 - refused) <= allowed && refused > 0, "{refused} refused");
    let one =
        world.client.put_record().stream_name(STREAM).partition_key("k").data(Blob::new(vec![0; MIB - 1]));
    one.clone().send().await.ok();
    let one = one.send().await.unwrap_err().into_service_error();
    assert_eq!(one.code(), Some(THROTTLED));

    let iterator = world.iterator(&id(0), ShardIteratorType::TrimHorizon, None).await;
    let mut reads = Vec::new();
    for _ in 0..30 {
        let call = world.client.get_records().shard_iterator(&iterator).limit(1).send().await;
        reads.push(call.map_err(|e| e.into_service_error().code().unwrap_or_default().to_owned()).is_ok());
    }
    assert_eq!(reads[..5], [true; 5]);
    assert!(reads.contains(&false), "{reads:?}");
    world.kinesis.set_throttling(false);
    assert_eq!(failed().await, 0);
    world.client.get_records().shard_iterator(&iterator).send().await.unwrap();
}

#[tokio::test]
async fn failures_come_as_they_are_asked_for() {
    let world = World::start(1).await;
    let put = || world.client.put_record().stream_name(STREAM).partition_key("k").data(Blob::new("x")).send();
    for kind in
        [ErrorKind::InternalFailure, ErrorKind::LimitExceeded, ErrorKind::ProvisionedThroughputExceeded]
    {
        world.kinesis.fail_next(Operation::PutRecord, 2, kind);
        for _ in 0..2 {
            let error = put().await.unwrap_err();
            assert_eq!(error.raw_response().unwrap().status().as_u16(), kind.status());
            assert_eq!(error.code(), Some(kind.name()));
        }
        put().await.unwrap();
    }
    assert_eq!(world.kinesis.size(STREAM).unwrap().records, 3);

    world.kinesis.fail_every_put_record(NonZeroU32::new(3));
    let answer = put_many(&world, (0..10).map(|n| entry("k", n.to_string())).collect()).await.unwrap();
    assert_eq!(answer.failed_record_count, Some(3));
    let failed: Vec<usize> =
        answer.records.iter().enumerate().filter(|(_, r)| r.error_code.is_some()).map(|(n, _)| n).collect();
    assert_eq!(failed, [2, 5, 8]);
    assert_eq!(answer.records[2].error_code.as_deref(), Some(THROTTLED));
    assert!(answer.records[2].sequence_number.is_none() && answer.records[3].sequence_number.is_some());
    world.kinesis.fail_every_put_record(None);
    assert_eq!(put_many(&world, vec![entry("k", "x")]).await.unwrap().failed_record_count, Some(0));
}

#[tokio::test]
async fn a_stream_never_holds_more_than_its_cap() {
    let config = KinesisConfig { stream_bytes: 3 * MIB as u64, ..KinesisConfig::default() };
    let world = World::with(2, config).await;
    for n in 0..40 {
        world.put(&n.to_string(), vec![n; 200_000]).await;
    }
    let size = world.kinesis.size(STREAM).unwrap();
    assert!(size.bytes <= 3 * MIB as u64 && (13..=15).contains(&size.records), "{size:?}");
    let mut left = Vec::new();
    for shard in 0..2 {
        let (records, _) = world.read_all(&id(shard)).await;
        left.extend(records.iter().map(|r| r.data.as_ref()[0]));
    }
    left.sort_unstable();
    assert_eq!(left, (40 - left.len() as u8..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_at_full_length_answers_as_quickly_as_a_short_one() {
    let world = World::start(1).await;
    for _ in 0..60 {
        put_many(&world, (0..500).map(|_| entry("k", "x")).collect()).await.unwrap();
    }
    let latest = world.iterator(&id(0), ShardIteratorType::Latest, None).await;
    let started = Instant::now();
    for _ in 0..200 {
        world.client.get_records().shard_iterator(&latest).send().await.unwrap();
    }
    // Loose, for a busy machine: walking 30,000 records at each call would take far longer.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}
