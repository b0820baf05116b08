//! Live ingest while an attribute of half a million entities becomes hot.

use crate::e2e::{self, Run};
use crate::events::Shape;
use crate::million::Million;
use crate::results::{Figure, percentile};
use crate::rig::{DEVICE_TENANT, Rig};
use anyhow::{Context as _, Result, bail};
use eaves_store::flush::{FlushStore, Pace};
use std::time::Duration;

pub(crate) const NAMES: &[&str] = &["ingest_during_backfill_ratio"];

/// Runs with and without a backfill, each.
const ROUNDS: usize = 3;
const DEVICES: u32 = 10_000;
/// Events a shard and run.
const EVENTS: usize = 60;
/// Shards of one run; another run has others.
const SHARDS: usize = 2;

pub(crate) async fn measure(rig: &Rig, million: &Million) -> Result<Figure> {
    let sql = "select exists (select from tenants where name = $1)";
    // Where the million is kept the tenant may be, too.
    if !rig.admin().await?.query_one(sql, &[&DEVICE_TENANT]).await?.get::<_, bool>(0) {
        rig.tenant_with_rules(DEVICE_TENANT).await?;
    }
    // A replica is another machine's work.
    rig.without_replica(true).await?;
    let outcome = rounds(rig, million).await;
    rig.without_replica(false).await?;
    outcome
}

async fn rounds(rig: &Rig, million: &Million) -> Result<Figure> {
    let admin = rig.admin().await?;
    let tenant = million.fleet().tenant;
    let request = async |hot: bool| {
        let sql = "select hot_request($1, 'note', $2, 'bench', '')";
        admin.execute(sql, &[&tenant.0, &hot]).await.map(drop)
    };
    let through = async || {
        let sql = "select coalesce(sum(entities), 0)::float8 from hot_changes where tenant_id = $1 and change = 'promote'";
        anyhow::Ok(admin.query_one(sql, &[&tenant.0]).await?.get::<_, f64>(0))
    };
    let before = through().await?;
    // Shards that no run had: what is kept knows how far the others were.
    let fresh = (jiff::Timestamp::now().as_second() % 100_000_000) as usize * 100;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let first = fresh + 2 * SHARDS * round;
        alone.push(e2e::run(rig, Shape::Device, DEVICES, first, EVENTS).await.context("alone")?.per_s());
        request(true).await?;
        let run: Run = tokio::select! {
            run = e2e::run(rig, Shape::Device, DEVICES, first + SHARDS, EVENTS) => run.context("beside a backfill")?,
            ended = fill(rig) => {
                ended?;
                bail!("the backfill ended before the run did: load more entities")
            }
        };
        beside.push(run.per_s());
        // What was filled in is taken out again.
        request(false).await?;
    }
    let filled = through().await? - before;
    let flush = FlushStore::connect(&rig.database("eaves_flush")?).await?;
    while flush.hot_step(1_000, Some(Duration::ZERO)).await?.is_some() {}
    let (with, without) = (percentile(&mut beside, 50.0), percentile(&mut alone, 50.0));
    let note = format!(
        "values/s, device-shaped, until the last row is in history, while an attribute of {} entities is filled in at the pace of maintain ({filled:.0} entities came through); median of {ROUNDS} runs in turn; {}; baseline: the same alone",
        million.fleet().entities,
        million.size()
    );
    Ok(Figure::new(NAMES[0], with, "values/s", without, ROUNDS as u64, note))
}

/// As the maintain function does it, until it is dropped.
async fn fill(rig: &Rig) -> Result<()> {
    let flush = FlushStore::connect(&rig.database("eaves_flush")?).await?;
    let mut pace = Pace::default();
    while flush.paced_hot_step(Some(Duration::ZERO), &mut pace).await?.is_some() {}
    Ok(())
}
