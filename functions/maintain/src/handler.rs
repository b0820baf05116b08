//! One invocation: each task once. They are independent: one that fails does not keep
//! the others from running.

use eaves_store::StoreError;
use eaves_store::flush::FlushStore;
use serde::Serialize;
use std::time::Instant;

/// What an invocation did.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Partitions of history there are now.
    partitions: u32,
    /// How long all took.
    duration_ms: u64,
}

pub(crate) async fn handle(store: &FlushStore) -> Result<Summary, StoreError> {
    let began = Instant::now();
    let partitions = store.maintain_partitions().await;
    store.refresh_statistics().await?;
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let summary = Summary { partitions: partitions?, duration_ms };
    tracing::info!(maintain.partitions = summary.partitions, duration_ms, "maintained");
    Ok(summary)
}
