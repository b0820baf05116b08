//! What following history into files costs the write path, and how fast the loader is.

use crate::e2e::{DEVICES, SHARDS, run_of};
use crate::events::Shape;
use crate::results::{Figure, percentile};
use crate::rig::Rig;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

/// The figures.
pub(crate) const NAMES: &[&str] = &["e2e_with_olap_values_per_s", "olap_load_values_per_s"];

const TENANT: &str = "bench-olap";
/// Events a shard and run.
const EVENTS: usize = 60;
/// Runs with and without the loader, each, in turn.
const ROUNDS: usize = 3;
/// Shards of other measurements end before this one.
const FIRST: usize = 300;

pub(crate) async fn measure(rig: &Rig) -> Result<Vec<Figure>> {
    rig.tenant_with_rules(TENANT).await?;
    rig.without_replica(true).await?;
    // What earlier measurements left in history is copied before the clock starts.
    load_all(rig).await?;
    let (mut with, mut without, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let first = FIRST + 2 * SHARDS * round;
        // The slot is there, and is read afterwards: this is the backlog whose load is measured.
        let run =
            run_of(rig, TENANT, Shape::Device, DEVICES, first, EVENTS).await.context("without loads")?;
        without.push(run.per_s());
        let began = Instant::now();
        let changes = load_all(rig).await?;
        rates.push(changes as f64 / began.elapsed().as_secs_f64());

        let loader = rig.olap_load();
        let loads = tokio::spawn(async move {
            loop {
                if let Err(e) = loader.invoke(&json!({})).await {
                    return e;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let run = run_of(rig, TENANT, Shape::Device, DEVICES, first + SHARDS, EVENTS).await;
        // A loader that has ended slows nobody down.
        ensure!(!loads.is_finished(), "a load failed: {}", loads.await?);
        loads.abort();
        with.push(run.context("with loads")?.per_s());
        load_all(rig).await?;
    }
    rig.without_replica(false).await?;
    let n = (ROUNDS * EVENTS) as u64;
    let (with, without) = (percentile(&mut with, 50.0), percentile(&mut without, 50.0));
    Ok(vec![
        Figure::new(
            NAMES[0],
            with,
            "values/s",
            without,
            n,
            format!(
                "end to end while history is loaded into files every second, loader on the same cores; median of \
                 {ROUNDS} runs; baseline: the same with nobody reading the slot, run in turn"
            ),
        ),
        Figure::new(
            NAMES[1],
            percentile(&mut rates, 50.0),
            "values/s",
            without,
            n,
            "changes of a backlog from the slot into Parquet files in the emulator's S3; baseline: end to end".into(),
        ),
    ])
}

/// Loads until nothing is left; how many changes and copied rows that was.
async fn load_all(rig: &Rig) -> Result<u64> {
    let mut rows = 0;
    loop {
        let answer = rig.olap_load().invoke(&json!({})).await.context("a load")?;
        rows += ["changes", "copied"].iter().filter_map(|what| answer[what].as_u64()).sum::<u64>();
        if answer["caught_up"] == true {
            return Ok(rows);
        }
    }
}
