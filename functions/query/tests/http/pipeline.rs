//! What stands for the functions that write: the flush, and the end of a replay.

use eaves_settings::Postgres;
use eaves_store::flush::FlushStore;
use eaves_store::ingest::{IngestStore, ShardPlace};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The only shard.
pub(crate) fn place() -> ShardPlace {
    ShardPlace { stream: "tests".into(), shard: "0".into(), consumer: "ingest".into() }
}

/// Sees to a crash having emptied staging: the stream has nothing of it any more, and what was lost of other
/// cases nobody asks for.
pub(crate) async fn recovered(store: &mut IngestStore, place: &ShardPlace) {
    while let Ok(found) = store.checkpoint(place).await
        && found.begin.is_some() | found.position.is_some()
        && (!found.epoch_current || found.replay_to.is_some())
    {
        store.rewind(place, None).await.unwrap();
        let found = store.checkpoint(place).await.unwrap();
        store.end_replay(place, found.position.as_ref()).await.unwrap();
    }
}

/// The flush function's loop, which also sees to shards that nobody writes to after a crash.
pub(crate) async fn flush(settings: Postgres, on: Arc<AtomicBool>) {
    let ingest = Postgres { user: "eaves_ingest".into(), ..settings.clone() };
    loop {
        if let Ok(store) = FlushStore::connect(&settings).await {
            if let Ok(mut store) = IngestStore::connect(&ingest).await {
                recovered(&mut store, &place()).await;
            }
            loop {
                let flushed = if on.load(Ordering::SeqCst) {
                    store.stage_flush(50_000).await.map(drop)
                } else {
                    Ok(())
                };
                let folded = store.fold_statistics().await;
                if flushed.is_err() || folded.is_err() || store.heartbeat().await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
