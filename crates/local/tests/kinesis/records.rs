//! Put, iterate, get.

use super::*;
use aws_sdk_kinesis::operation::get_records::GetRecordsError;
use aws_sdk_kinesis::operation::get_shard_iterator::GetShardIteratorError;
use aws_sdk_kinesis::primitives::DateTime;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn what_is_put_comes_back_in_order() {
    let world = World::start(1).await;
    let mut numbers = Vec::new();
    for n in 0..50 {
        numbers.push(world.put(&format!("key-{n}"), format!("{n}")).await.1);
    }
    let start = world.iterator(&id(0), ShardIteratorType::TrimHorizon, None).await;
    let (records, ended) = world.read(start, 7).await;
    assert!(!ended && grows(&records));
    assert_eq!(texts(&records), (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(records.iter().map(|r| r.sequence_number.clone()).collect::<Vec<_>>(), numbers);
    assert_eq!(records[3].partition_key.as_deref(), Some("key-3"));
    let arrived = SystemTime::try_from(records[3].approximate_arrival_timestamp.unwrap()).unwrap();
    assert!(arrived.elapsed().unwrap() < Duration::from_secs(60));
}

#[tokio::test]
async fn every_iterator_type_begins_where_it_says() {
    let world = World::start(1).await;
    let mut numbers = Vec::new();
    for n in 0..4 {
        numbers.push(world.put("k", n.to_string()).await.1);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let from = async |kind, number: Option<usize>| {
        let iterator = world.iterator(&id(0), kind, number.map(|n| numbers[n].as_str())).await;
        texts(&world.read(iterator, 100).await.0)
    };
    assert_eq!(from(ShardIteratorType::TrimHorizon, None).await, ["0", "1", "2", "3"]);
    assert_eq!(from(ShardIteratorType::AtSequenceNumber, Some(2)).await, ["2", "3"]);
    assert_eq!(from(ShardIteratorType::AfterSequenceNumber, Some(2)).await, ["3"]);
    assert!(from(ShardIteratorType::AfterSequenceNumber, Some(3)).await.is_empty());
    let latest = world.iterator(&id(0), ShardIteratorType::Latest, None).await;
    world.put("k", "4").await;
    assert_eq!(texts(&world.read(latest, 100).await.0), ["4"]);

    let (records, _) = world.read_all(&id(0)).await;
    let at_time = async |time: DateTime| {
        let request = world.client.get_shard_iterator().stream_name(STREAM).shard_id(id(0));
        let request = request.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(time);
        request.send().await.map(|answer| answer.shard_iterator.unwrap())
    };
    let second = at_time(records[2].approximate_arrival_timestamp.unwrap()).await.unwrap();
    assert_eq!(texts(&world.read(second, 100).await.0), ["2", "3", "4"]);
    let long_ago = at_time(DateTime::from_secs(1)).await.unwrap();
    assert_eq!(world.read(long_ago, 100).await.0.len(), 5);
    let future = at_time(DateTime::from(SystemTime::now() + Duration::from_secs(60))).await.unwrap_err();
    assert!(future.into_service_error().is_invalid_argument_exception());
}

#[tokio::test]
async fn positions_of_another_shard_and_old_iterators_are_refused() {
    let world = World::start(2).await;
    let number = loop {
        let (shard, number) = world.put(&format!("{:?}", std::time::Instant::now()), "x").await;
        if shard == id(0) {
            break number;
        }
    };
    let request = world.client.get_shard_iterator().stream_name(STREAM).shard_id(id(1));
    let request = request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber);
    let error = request.starting_sequence_number(&number).send().await.unwrap_err().into_service_error();
    let GetShardIteratorError::InvalidArgumentException(error) = error else { panic!("{error:?}") };
    let message = error.message.unwrap();
    assert!(message.contains("StartingSequenceNumber") && message.contains(&number), "{message}");

    let missing = world.client.get_shard_iterator().stream_name(STREAM).shard_id(id(7));
    let missing = missing.shard_iterator_type(ShardIteratorType::Latest).send().await.unwrap_err();
    assert!(missing.into_service_error().is_resource_not_found_exception());

    world.kinesis.set_iterator_lifetime(Duration::from_millis(20));
    let iterator = world.iterator(&id(0), ShardIteratorType::TrimHorizon, None).await;
    assert_eq!(world.read(iterator.clone(), 10).await.0.len(), 1);
    tokio::time::sleep(Duration::from_millis(40)).await;
    let late = world.client.get_records().shard_iterator(iterator).send().await.unwrap_err();
    assert!(matches!(late.into_service_error(), GetRecordsError::ExpiredIteratorException(_)));
    let none = world.client.get_records().shard_iterator("bm8=").send().await.unwrap_err();
    assert!(matches!(none.into_service_error(), GetRecordsError::InvalidArgumentException(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_concurrent_writers_is_lost() {
    const WRITERS: usize = 4;
    const CALLS: usize = 25;
    let world = Arc::new(World::start(3).await);
    let writers = (0..WRITERS).map(|writer| {
        let world = world.clone();
        tokio::spawn(async move {
            for call in 0..CALLS {
                let entries = (0..100).map(|n| {
                    entry(&format!("{writer}-{}", n % 5), format!("{writer}-{}/{}", n % 5, call * 100 + n))
                });
                let request = world.client.put_records().stream_name(STREAM);
                let answer = request.set_records(Some(entries.collect())).send().await.unwrap();
                assert_eq!(answer.failed_record_count, Some(0));
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = 0;
    for shard in 0..3 {
        let (records, _) = world.read_all(&id(shard)).await;
        assert!(grows(&records));
        for text in texts(&records) {
            let (key, n) = text.split_once('/').unwrap();
            let n: usize = n.parse().unwrap();
            let before = last.insert(key.to_owned(), n);
            assert!(before.is_none_or(|before| before < n), "{key}: {n} after {before:?}");
            count += 1;
        }
    }
    assert_eq!(count, WRITERS * CALLS * 100);
    assert_eq!(world.kinesis.size(STREAM).unwrap().records, count);
}

#[tokio::test]
async fn a_record_goes_where_its_explicit_hash_key_says() {
    let world = World::start(2).await;
    for (hash, shard) in [(0, id(0)), ((1u128 << 127) - 1, id(0)), (1 << 127, id(1)), (u128::MAX, id(1))] {
        let request = world.client.put_record().stream_name(STREAM).partition_key("k");
        let request = request.explicit_hash_key(hash.to_string()).data(Blob::new("x"));
        assert_eq!(request.send().await.unwrap().shard_id, shard, "{hash}");
    }
    // md5("a") = 0cc1…, md5("b") = 92eb….
    assert_eq!((world.put("a", "x").await.0, world.put("b", "x").await.0), (id(0), id(1)));
}

#[tokio::test]
async fn retention_takes_what_is_older() {
    let world = World::start(1).await;
    let old = world.put("k", "old").await.1;
    world.split(&id(0), 1 << 127).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    world.kinesis.set_retention_ms(STREAM, 50).unwrap();
    assert_eq!(world.kinesis.size(STREAM).unwrap().records, 0);
    let request = world.client.get_shard_iterator().stream_name(STREAM).shard_id(id(0));
    let request = request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber);
    let gone = request.starting_sequence_number(old).send().await.unwrap_err().into_service_error();
    assert!(gone.is_resource_not_found_exception(), "{gone:?}");
    assert_eq!(world.shards().await.iter().map(|s| s.shard_id.clone()).collect::<Vec<_>>(), [id(1), id(2)]);

    world.kinesis.set_retention_ms(STREAM, 60_000).unwrap();
    let hours = async |hours: i32, more: bool| {
        if more {
            let call = world.client.increase_stream_retention_period().stream_name(STREAM);
            call.retention_period_hours(hours).send().await.map_err(|e| format!("{e:?}")).map(drop)
        } else {
            let call = world.client.decrease_stream_retention_period().stream_name(STREAM);
            call.retention_period_hours(hours).send().await.map_err(|e| format!("{e:?}")).map(drop)
        }
    };
    hours(48, true).await.unwrap();
    assert!(hours(24, true).await.unwrap_err().contains("InvalidArgument"));
    hours(24, false).await.unwrap();
    assert!(hours(1, false).await.unwrap_err().contains("InvalidArgument"));
    let summary = world.client.describe_stream_summary().stream_name(STREAM).send().await.unwrap();
    let summary = summary.stream_description_summary.unwrap();
    assert_eq!((summary.retention_period_hours, summary.open_shard_count), (24, 2));
}
