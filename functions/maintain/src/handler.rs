//! One invocation: each task once. They are independent: one that fails does not keep
//! the others from running.

use eaves_cache::{Cache, Entry};
use eaves_model::Timestamp;
use eaves_settings::functions::Retention;
use eaves_store::StoreError;
use eaves_store::flush::{FlushStore, Pace};
use eaves_store::ingest::HotState;
use eaves_telemetry::span;
use serde::Serialize;
use std::time::{Duration, Instant, SystemTime};
use tracing::Instrument as _;

/// Entities whose hot values are compared with history each time.
const VERIFIED: u32 = 500;
/// Time left for the answer when changes go on the next time.
const MARGIN: Duration = Duration::from_secs(20);
/// Rows that are forgotten at once: a transaction of these takes moments.
const AT_ONCE: u32 = 10_000;
/// How long rows are forgotten; what is left then waits for the next invocation.
const FORGETTING: Duration = Duration::from_secs(60);

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
    /// Entities that got an index of ranges.
    ranges_indexed: u64,
    /// Hours of plugins' figures that were forgotten.
    metrics_forgotten: u64,
    /// Rows of quarantine that were forgotten.
    quarantine_forgotten: u64,
    /// How long all took.
    duration_ms: u64,
}

pub(crate) async fn handle(
    store: &FlushStore,
    cache: Option<&Cache>,
    retention: &Retention,
    deadline: SystemTime,
) -> Result<Summary, StoreError> {
    let began = Instant::now();
    let partitions = store.maintain_partitions().instrument(span!("partitions")).await;
    let refreshed = store.refresh_statistics().instrument(span!("statistics")).await;
    let verified = verify(store, cache).instrument(span!("verify")).await;
    let forgotten = forget(store, retention).instrument(span!("forget")).await;
    let filled = change(store, cache, deadline).instrument(span!("fill")).await;
    let indexed = index_ranges(store, deadline).instrument(span!("ranges")).await;
    refreshed?;
    let (hot_entities, hot_differences) = verified?;
    let (metrics_forgotten, quarantine_forgotten) = forgotten?;
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let summary = Summary {
        partitions: partitions?,
        hot_entities,
        hot_differences,
        hot_filled: filled?,
        ranges_indexed: indexed?,
        metrics_forgotten,
        quarantine_forgotten,
        duration_ms,
    };
    tracing::info!(
        maintain.partitions = summary.partitions,
        maintain.metrics_forgotten = metrics_forgotten,
        maintain.quarantine_forgotten = quarantine_forgotten,
        duration_ms,
        "maintained"
    );
    Ok(summary)
}

/// Compares hot values with history; how many entities, and how many values differed.
async fn verify(store: &FlushStore, cache: Option<&Cache>) -> Result<(u64, u64), StoreError> {
    let began = Timestamp::now();
    let verified = store.verify_hot_some(VERIFIED).await?;
    write_through(cache, verified.repaired_rows(), began).await;
    if let Some(first) = verified.differences.first() {
        tracing::error!(
            hot.differences = verified.found,
            hot.repaired = verified.repaired,
            ?first,
            "hot values differ from history"
        );
    }
    Ok((verified.entities, verified.found))
}

/// Forgets what is older than the retention: hours of plugins' figures, rows of quarantine.
async fn forget(store: &FlushStore, retention: &Retention) -> Result<(u64, u64), StoreError> {
    let began = Instant::now();
    let mut sum = (0, 0);
    loop {
        let Retention { metrics_days, quarantine_days } = *retention;
        let (metrics, quarantined) = store.forget_old(metrics_days, quarantine_days, AT_ONCE).await?;
        sum = (sum.0 + metrics, sum.1 + quarantined);
        if metrics.max(quarantined) < u64::from(AT_ONCE) || began.elapsed() > FORGETTING {
            return Ok(sum);
        }
    }
}

/// Changes what is hot, part by part, while there is time and something is due. Live writes come first:
/// while values come in it rests nine times as long as it works.
async fn change(store: &FlushStore, cache: Option<&Cache>, deadline: SystemTime) -> Result<u64, StoreError> {
    let end = end_of_work(deadline);
    let (mut entities, mut pace) = (0, Pace::default());
    while Instant::now() < end {
        let began = Timestamp::now();
        let Some(step) = store.paced_hot_step(None, &mut pace).await? else { break };
        write_through(cache, step.changed_rows(), began).await;
        entities += step.entities;
        if step.done {
            tracing::info!(
                tenant.id = step.tenant,
                attributes = step.attributes.join(", "),
                change = step.change,
                "hot.changed"
            );
        }
    }
    Ok(entities)
}

/// Chooses which attributes have an index of their ranges, and puts what follows from it into the rows, part
/// by part, while there is time. Live writes come first, as above.
async fn index_ranges(store: &FlushStore, deadline: SystemTime) -> Result<u64, StoreError> {
    let changed = store.choose_ranges().await?;
    if changed > 0 {
        tracing::info!(tenants = changed, "hot.ranges_chosen");
    }
    let end = end_of_work(deadline);
    let (mut entities, mut pace) = (0, Pace::default());
    while Instant::now() < end {
        let Some(step) = store.paced_range_step(None, &mut pace).await? else { break };
        entities += step.entities;
        if step.done {
            tracing::info!(tenant.id = step.tenant, "hot.ranges_indexed");
        }
    }
    Ok(entities)
}

/// When no part is begun any more.
fn end_of_work(deadline: SystemTime) -> Instant {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now() + left.saturating_sub(MARGIN)
}

/// Rows that changed take the place of what the cache has of them, as those of ingest do.
async fn write_through(cache: Option<&Cache>, rows: Vec<HotState>, as_of: Timestamp) {
    let Some(cache) = cache.filter(|_| !rows.is_empty()) else { return };
    let entry = |row: HotState| Entry {
        tenant: row.tenant,
        entity: row.entity,
        version: row.version,
        as_of,
        attrs_json: row.attrs_json,
        times_json: row.times_json,
        taken: None,
    };
    let entries: Vec<Entry> = rows.into_iter().map(entry).collect();
    if let Err(e) = cache.write_through(&entries).await {
        // What is there says how old it is, and the next reader replaces it.
        tracing::warn!(error = &e as &dyn std::error::Error, "cache write failed");
    }
}
