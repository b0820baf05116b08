//! One invocation: each task once. They are independent: one that fails does not keep
//! the others from running.

use eaves_store::StoreError;
use eaves_store::flush::FlushStore;
use eaves_telemetry::span;
use serde::Serialize;
use std::time::Instant;
use tracing::Instrument as _;

/// Entities whose hot values are compared with history each time.
const VERIFIED: u32 = 500;

/// What an invocation did.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Partitions of history there are now.
    partitions: u32,
    /// Entities whose hot values were compared with history.
    hot_entities: u64,
    /// Hot values that were not the latest of history.
    hot_differences: u64,
    /// How long all took.
    duration_ms: u64,
}

pub(crate) async fn handle(store: &FlushStore) -> Result<Summary, StoreError> {
    let began = Instant::now();
    let partitions = store.maintain_partitions().instrument(span!("partitions")).await;
    let refreshed = store.refresh_statistics().instrument(span!("statistics")).await;
    let verified = store.verify_hot_some(VERIFIED).instrument(span!("verify")).await;
    refreshed?;
    let verified = verified?;
    if let Some(first) = verified.differences.first() {
        tracing::error!(
            hot.differences = verified.found,
            hot.repaired = verified.repaired,
            ?first,
            "hot values differ from history"
        );
    }
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (hot_entities, hot_differences) = (verified.entities, verified.found);
    let summary = Summary { partitions: partitions?, hot_entities, hot_differences, duration_ms };
    tracing::info!(maintain.partitions = summary.partitions, duration_ms, "maintained");
    Ok(summary)
}
