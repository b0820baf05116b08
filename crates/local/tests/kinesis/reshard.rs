//! Split, merge, list and describe.

use super::*;
use aws_sdk_kinesis::types::{ShardFilter, ShardFilterType};

fn hashes(shard: &Shard) -> (String, String) {
    let range = shard.hash_key_range.as_ref().unwrap();
    (range.starting_hash_key.clone(), range.ending_hash_key.clone())
}

fn ending(shard: &Shard) -> Option<&str> {
    shard.sequence_number_range.as_ref().unwrap().ending_sequence_number.as_deref()
}

#[tokio::test]
async fn a_split_keeps_the_parent_with_its_records() {
    let world = World::start(1).await;
    let before = world.put("a", "before").await.1;
    let waiting = world.iterator(&id(0), ShardIteratorType::Latest, None).await;
    world.split(&id(0), 1 << 127).await;
    let (shard, after) = world.put("a", "after").await;
    assert_eq!(shard, id(1));
    assert!(before < after, "numbers grow along a key");

    let shards = world.shards().await;
    assert_eq!(shards.len(), 3);
    assert!(ending(&shards[0]).is_some_and(|end| before.as_str() < end));
    assert_eq!(hashes(&shards[0]), ("0".into(), u128::MAX.to_string()));
    for (shard, range) in shards[1..].iter().zip([(0, (1 << 127) - 1), (1u128 << 127, u128::MAX)]) {
        assert_eq!(shard.parent_shard_id, Some(id(0)));
        assert_eq!((shard.adjacent_parent_shard_id.as_ref(), ending(shard)), (None, None));
        assert_eq!(hashes(shard), (range.0.to_string(), range.1.to_string()));
    }

    let (records, ended) = world.read_all(&id(0)).await;
    assert_eq!((texts(&records), ended), (vec!["before".to_owned()], true));
    let end = world.client.get_records().shard_iterator(waiting).send().await.unwrap();
    assert_eq!((end.records.len(), end.next_shard_iterator), (0, None));
    let children = end.child_shards.unwrap();
    assert_eq!(children.iter().map(|c| c.shard_id.clone()).collect::<Vec<_>>(), [id(1), id(2)]);
    assert_eq!(children[0].parent_shards, [id(0)]);
}

#[tokio::test]
async fn a_merge_has_both_as_parents() {
    let world = World::start(3).await;
    let lasting = world.put("a", "x").await;
    world.merge(&id(1), &id(0)).await;
    let shards = world.shards().await;
    assert_eq!(shards.len(), 4);
    let child = &shards[3];
    assert_eq!(child.parent_shard_id, Some(id(1)));
    assert_eq!(child.adjacent_parent_shard_id, Some(id(0)));
    assert_eq!(hashes(child), ("0".into(), hashes(&shards[1]).1));
    assert_eq!(lasting.0, id(0));
    let (records, ended) = world.read_all(&id(0)).await;
    assert_eq!((records.len(), ended), (1, true));
    assert_eq!(world.put("a", "y").await.0, id(3));
}

#[tokio::test]
async fn what_cannot_be_split_or_merged_is_told() {
    let world = World::start(3).await;
    let split = async |shard: String, at: String| {
        let call = world.client.split_shard().stream_name(STREAM).shard_to_split(shard);
        call.new_starting_hash_key(at).send().await.unwrap_err().into_service_error()
    };
    let merge = async |one: u32, other: u32| {
        let call = world.client.merge_shards().stream_name(STREAM).shard_to_merge(id(one));
        call.adjacent_shard_to_merge(id(other)).send().await.unwrap_err().into_service_error()
    };
    let outside = split(id(0), u128::MAX.to_string()).await;
    assert!(outside.is_invalid_argument_exception(), "{outside:?}");
    assert!(outside.to_string().contains(&u128::MAX.to_string()), "{outside}");
    assert!(split(id(0), "1".into()).await.is_invalid_argument_exception());
    assert!(split(id(9), "5".into()).await.is_resource_not_found_exception());
    assert!(merge(0, 2).await.is_invalid_argument_exception());
    assert!(merge(0, 0).await.is_invalid_argument_exception());
    world.merge(&id(0), &id(1)).await;
    assert!(merge(0, 1).await.is_invalid_argument_exception());
    assert!(split(id(1), "5".into()).await.is_invalid_argument_exception());
}

#[tokio::test]
async fn shards_are_listed_in_pages_and_by_filter() {
    let world = World::start(5).await;
    world.merge(&id(0), &id(1)).await;
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let call = world.client.list_shards().max_results(2);
        let call = match token.take() {
            Some(token) => call.next_token(token),
            None => call.stream_name(STREAM),
        };
        let answer = call.send().await.unwrap();
        found.extend(answer.shards.unwrap().into_iter().map(|s| s.shard_id));
        token = answer.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(found, (0..6).map(id).collect::<Vec<_>>());
    let filtered = async |filter: ShardFilterType, shard: Option<String>| {
        let filter = ShardFilter::builder().r#type(filter).set_shard_id(shard).build().unwrap();
        let call = world.client.list_shards().stream_name(STREAM).shard_filter(filter);
        let shards = call.send().await.unwrap().shards.unwrap();
        shards.into_iter().map(|s| s.shard_id).collect::<Vec<_>>()
    };
    assert_eq!(filtered(ShardFilterType::AtLatest, None).await, (2..6).map(id).collect::<Vec<_>>());
    assert_eq!(filtered(ShardFilterType::FromTrimHorizon, None).await, found);
    assert_eq!(filtered(ShardFilterType::AfterShardId, Some(id(3))).await, [id(4), id(5)]);
    let page = world.client.describe_stream().stream_name(STREAM).limit(4).send().await.unwrap();
    let page = page.stream_description.unwrap();
    assert_eq!((page.shards.len(), page.has_more_shards), (4, true));
    assert!(page.stream_arn.ends_with(":stream/readings"));
}

#[tokio::test]
async fn streams_come_and_go() {
    let world = World::start(1).await;
    let create = async |name: &str, shards: i32| {
        world.client.create_stream().stream_name(name).shard_count(shards).send().await
    };
    for name in ["a", "b", "c"] {
        create(name, 1).await.unwrap();
    }
    let again = create("a", 1).await.unwrap_err().into_service_error();
    assert!(again.is_resource_in_use_exception(), "{again:?}");
    let many = create("many", 10_000).await.unwrap_err().into_service_error();
    assert!(many.is_limit_exceeded_exception(), "{many:?}");
    let page = world.client.list_streams().limit(3).send().await.unwrap();
    assert_eq!(
        (page.stream_names.as_slice(), page.has_more_streams),
        (&["a".into(), "b".into(), "c".into()][..], true)
    );
    let rest = world.client.list_streams().next_token(page.next_token.unwrap()).send().await.unwrap();
    assert_eq!((rest.stream_names.as_slice(), rest.has_more_streams), (&["readings".into()][..], false));

    let iterator = world.iterator(&id(0), ShardIteratorType::Latest, None).await;
    world.client.delete_stream().stream_name(STREAM).send().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    create(STREAM, 1).await.unwrap();
    let old = world.client.get_records().shard_iterator(iterator).send().await.unwrap_err();
    assert!(old.into_service_error().is_resource_not_found_exception());
    let none = world.client.describe_stream_summary().stream_name("none").send().await.unwrap_err();
    assert!(none.into_service_error().is_resource_not_found_exception());
}
