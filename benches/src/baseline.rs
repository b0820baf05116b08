//! What the database alone can do: a plain binary COPY into a table indexed like history.

use crate::rig::{DEVICE_TENANT, Rig};
use anyhow::{Context as _, Result};
use futures_util::{SinkExt as _, StreamExt as _};
use std::time::Instant;

/// Rows and rows per second.
pub(crate) struct Copied {
    pub(crate) rows: u64,
    pub(crate) per_s: f64,
}

/// Copies the device run's rows out of history, then into an empty table with the same
/// columns and indexes, in one transaction with asynchronous commit; only the latter is
/// measured.
pub(crate) async fn copy_history(rig: &Rig) -> Result<Copied> {
    let db = rig.admin().await?;
    db.batch_execute(
        "drop table if exists bench_history;
         create table bench_history (like entity_values_ts);
         create unique index on bench_history (tenant_id, entity_id, attribute_id, observed_at);
         create index on bench_history (tenant_id, attribute_id, observed_at);
         create index on bench_history using brin (ingested_at);",
    )
    .await?;
    let select = format!(
        "copy (select v.* from entity_values_ts v join tenants t using (tenant_id)
         where t.name = '{DEVICE_TENANT}') to stdout (format binary)"
    );
    let mut chunks = Vec::new();
    let mut out = std::pin::pin!(db.copy_out(&select).await?);
    while let Some(chunk) = out.next().await {
        chunks.push(chunk?);
    }
    db.batch_execute("begin; set local synchronous_commit = off").await?;
    let started = Instant::now();
    let sink = db.copy_in("copy bench_history from stdin (format binary)").await?;
    let mut sink = std::pin::pin!(sink);
    for chunk in chunks {
        sink.feed(chunk).await?;
    }
    let rows = sink.finish().await.context("finish COPY")?;
    db.batch_execute("commit").await?;
    let per_s = rows as f64 / started.elapsed().as_secs_f64();
    db.batch_execute("drop table bench_history").await?;
    Ok(Copied { rows, per_s })
}
