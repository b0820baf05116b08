//! One invocation: each task once. They are independent: one that fails does not keep
//! the others from running.

use eaves_store::StoreError;
use eaves_store::flush::FlushStore;
use eaves_telemetry::span;
use serde::Serialize;
use std::time::{Duration, Instant, SystemTime};
use tracing::Instrument as _;

/// Entities whose hot values are compared with history each time.
const VERIFIED: u32 = 500;
/// Entities of one part of a change of what is hot: some tens of milliseconds.
const PART: u32 = 200;
/// Time left for the answer when changes go on the next time.
const MARGIN: Duration = Duration::from_secs(20);

/// What an invocation did.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Partitions of history there are now.
    partitions: u32,
    /// Entities whose hot values were compared with history.
    hot_entities: u64,
    /// Hot values that were not the latest of history.
    hot_differences: u64,
    /// Entities that changes of what is hot went through.
    hot_filled: u64,
    /// How long all took.
    duration_ms: u64,
}

pub(crate) async fn handle(store: &FlushStore, deadline: SystemTime) -> Result<Summary, StoreError> {
    let began = Instant::now();
    let partitions = store.maintain_partitions().instrument(span!("partitions")).await;
    let refreshed = store.refresh_statistics().instrument(span!("statistics")).await;
    let verified = store.verify_hot_some(VERIFIED).instrument(span!("verify")).await;
    let filled = change(store, deadline).instrument(span!("fill")).await;
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
    let hot_filled = filled?;
    let summary = Summary { partitions: partitions?, hot_entities, hot_differences, hot_filled, duration_ms };
    tracing::info!(maintain.partitions = summary.partitions, duration_ms, "maintained");
    Ok(summary)
}

/// Changes what is hot, part by part, while there is time and something is due. As long as a
/// part took nothing is done: live writes come first.
async fn change(store: &FlushStore, deadline: SystemTime) -> Result<u64, StoreError> {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(MARGIN);
    let end = Instant::now() + left;
    let mut entities = 0;
    while Instant::now() < end {
        let part = Instant::now();
        let Some(step) = store.hot_step(PART, None).await? else { break };
        entities += step.entities;
        if step.done {
            tracing::info!(
                tenant.id = step.tenant,
                attribute = step.attribute,
                change = step.change,
                "hot.changed"
            );
        }
        tokio::time::sleep(part.elapsed()).await;
    }
    Ok(entities)
}
