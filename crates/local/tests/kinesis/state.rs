//! What is left after the process.

use super::*;

fn kept(dir: &tempfile::TempDir) -> KinesisConfig {
    KinesisConfig { state_dir: Some(dir.path().to_path_buf()), ..KinesisConfig::default() }
}

#[tokio::test]
async fn a_clean_stop_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(1, kept(&dir)).await;
    for n in 0..20 {
        world.put("a", n.to_string()).await;
    }
    world.split(&id(0), 1 << 127).await;
    let (_, last) = world.put("a", "20").await;
    let before = world.shards().await;
    world.kinesis.stop(std::time::Duration::from_secs(5)).await;

    let world = World::with(4, kept(&dir)).await;
    assert_eq!(world.shards().await, before);
    let (records, ended) = world.read_all(&id(0)).await;
    assert_eq!((texts(&records), ended), ((0..20).map(|n| n.to_string()).collect(), true));
    let after = world.iterator(&id(1), ShardIteratorType::AfterSequenceNumber, Some(&last)).await;
    let latest = world.iterator(&id(1), ShardIteratorType::Latest, None).await;
    let (_, next) = world.put("a", "21").await;
    assert!(last < next);
    for iterator in [after, latest] {
        assert_eq!(texts(&world.read(iterator, 10).await.0), ["21"]);
    }
}

#[tokio::test]
async fn after_a_crash_positions_are_valid_and_the_records_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(1, kept(&dir)).await;
    let (_, last) = world.put("a", "0").await;
    let before = world.shards().await;
    // Nothing of it ends in order, as when the process is killed.
    std::mem::forget(world);

    let world = World::with(1, kept(&dir)).await;
    assert_eq!(world.shards().await, before);
    let after = world.iterator(&id(0), ShardIteratorType::AfterSequenceNumber, Some(&last)).await;
    assert!(world.read(after.clone(), 10).await.0.is_empty());
    let (_, next) = world.put("a", "1").await;
    assert!(last < next);
    assert_eq!(texts(&world.read(after, 10).await.0), ["1"]);
}
