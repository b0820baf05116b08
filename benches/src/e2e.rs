//! From the bytes of Kinesis events handed to the ingest binary to rows in history and the
//! hot projection, validated by a plugin.

use crate::baseline;
use crate::events::{Events, RECORDS, Shape, VALUES};
use crate::results::{Figure, percentile};
use crate::rig::{self, Rig};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use eaves_local::lambda::FunctionHost;
use std::time::{Duration, Instant};

/// Shards, each with an ingest instance of its own, as Lambda would run them.
pub(crate) const SHARDS: usize = 2;
/// Events per shard that are measured, and those before that warm caches and partitions.
const MEASURED: usize = 150;
const WARM_UP: usize = 10;
/// Runs with and without the guarantees, each.
const ROUNDS: usize = 3;
/// The write path without its guarantees.
const UNGUARDED: &str = include_str!("../unguarded.sql");
pub(crate) const DEVICES: u32 = 10_000;
const RANDOM_ENTITIES: u32 = 100_000;

/// What a run through the whole write path took.
pub(crate) struct Run {
    pub(crate) values: u64,
    took: Duration,
    acks_ms: Vec<f64>,
    rss_mb: f64,
}

impl Run {
    pub(crate) fn per_s(&self) -> f64 {
        self.values as f64 / self.took.as_secs_f64()
    }
}

/// Throughput for both shapes, acknowledgement time and memory.
pub(crate) async fn measure(rig: &Rig) -> Result<Vec<Figure>> {
    // A replica is another machine's work.
    rig.without_replica(true).await?;
    let device = run(rig, Shape::Device, DEVICES, 0, MEASURED).await.context("device-shaped run")?;
    let copy = baseline::copy_history(rig).await.context("plain COPY of the same rows")?;
    let random = run(rig, Shape::Random, RANDOM_ENTITIES, 0, MEASURED).await.context("random-shaped run")?;
    rig.without_replica(false).await?;
    let per_s = Run::per_s;
    let mut acks = device.acks_ms.clone();
    let shape = format!("{SHARDS} shards, {DEVICES} devices a shard, validated by telemetry-rules");
    Ok(vec![
        Figure::new(
            "copy_history_values_per_s",
            copy.per_s,
            "values/s",
            copy.per_s,
            copy.rows,
            "binary COPY of the same rows into a table indexed like history, one connection".into(),
        ),
        Figure::new(
            "e2e_device_values_per_s",
            per_s(&device),
            "values/s",
            copy.per_s,
            device.values,
            format!("10 values a reading; until the last row is in history; {shape}"),
        ),
        Figure::new(
            "e2e_random_values_per_s",
            per_s(&random),
            "values/s",
            copy.per_s,
            random.values,
            format!("one value a reading, {RANDOM_ENTITIES} entities a shard, otherwise the same"),
        ),
        Figure::new(
            "ingest_ack_p95_ms",
            percentile(&mut acks, 95.0),
            "ms",
            percentile(&mut acks, 50.0),
            acks.len() as u64,
            format!("a batch of {} values under full load; baseline: its median", RECORDS * VALUES),
        ),
        Figure::new(
            "ingest_rss_mb",
            device.rss_mb.max(random.rss_mb),
            "MiB",
            256.0,
            SHARDS as u64,
            "largest resident sets of an ingest instance and its process for plugins; baseline: the bound"
                .into(),
        ),
    ])
}

/// What the guarantees cost: the same pipeline with and without them, in turn, so that what the
/// machine does meanwhile falls on both.
///
/// Leaves a database that is good for nothing else.
pub(crate) async fn guarantees(rig: &Rig) -> Result<Figure> {
    const EVENTS: usize = 100;
    rig.without_replica(true).await?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let guarded = rig.functions().await?;
    for round in 0..ROUNDS {
        let first = 10 + 2 * SHARDS * round;
        with.push(run(rig, Shape::Device, DEVICES, first, EVENTS).await.context("with guarantees")?.per_s());
        let admin = rig.admin().await?;
        admin.batch_execute(UNGUARDED).await.context("take the guarantees away")?;
        let run = run(rig, Shape::Device, DEVICES, first + SHARDS, EVENTS).await;
        without.push(run.context("without guarantees")?.per_s());
        admin.batch_execute(&guarded).await.context("bring the guarantees back")?;
    }
    let n = (ROUNDS * SHARDS * EVENTS * RECORDS * VALUES) as u64;
    let note = format!(
        "values/s with checkpoint, epoch, watermark, ledger and unique points; median of {ROUNDS} runs; \
         baseline: the same functions and indexes without them, run in turn"
    );
    let (with, without) = (percentile(&mut with, 50.0), percentile(&mut without, 50.0));
    Ok(Figure::new("guaranteed_values_per_s", with, "values/s", without, n, note))
}

pub(crate) async fn run(
    rig: &Rig,
    shape: Shape,
    entities: u32,
    first: usize,
    measured: usize,
) -> Result<Run> {
    let tenant = if shape == Shape::Device { rig::DEVICE_TENANT } else { rig::RANDOM_TENANT };
    run_of(rig, tenant, shape, entities, first, measured).await
}

/// The same for a tenant of the caller's: `measured` events for each of [`SHARDS`] shards, numbered from
/// `first` on.
pub(crate) async fn run_of(
    rig: &Rig,
    tenant: &'static str,
    shape: Shape,
    entities: u32,
    first: usize,
    measured: usize,
) -> Result<Run> {
    let mut hosts = Vec::new();
    let mut batches: Vec<Vec<Bytes>> = Vec::new();
    for shard in first..first + SHARDS {
        hosts.push(rig.ingest_host(1).await?);
        let mut events = Events::new(tenant, shape, shard, entities);
        batches.push((0..WARM_UP + measured).map(|_| events.next()).collect());
    }
    for (host, events) in hosts.iter().zip(&batches) {
        for event in &events[..WARM_UP] {
            deliver(host, event).await?;
        }
    }
    rig.wait_flushed().await?;
    let before = rig.history_rows(tenant).await?;

    let started = Instant::now();
    let acks = hosts.iter().zip(&batches).map(|(host, events)| async move {
        let mut acks = Vec::with_capacity(measured);
        for event in &events[WARM_UP..] {
            let sent = Instant::now();
            deliver(host, event).await?;
            acks.push(sent.elapsed().as_secs_f64() * 1e3);
        }
        anyhow::Ok(acks)
    });
    let acks_ms = futures_util::future::try_join_all(acks).await?.concat();
    rig.wait_flushed().await?;
    let took = started.elapsed();

    let values = (SHARDS * measured * RECORDS * VALUES) as u64;
    let rows = rig.history_rows(tenant).await? - before;
    // Random readings may name one entity, attribute and second twice: one point.
    let expected = if shape == Shape::Device { values..=values } else { values * 95 / 100..=values };
    ensure!(expected.contains(&rows), "{rows} rows in history, of {values} values sent");
    let rss_mb = hosts.iter().filter_map(FunctionHost::pid).filter_map(rss_mb).fold(0.0, f64::max);
    for host in hosts {
        host.stop(Duration::from_secs(2)).await;
    }
    Ok(Run { values, took, acks_ms, rss_mb })
}

async fn deliver(host: &FunctionHost, event: &Bytes) -> Result<()> {
    let answer = host.invoke_bytes(event.clone()).await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    let failures = answer["batchItemFailures"].as_array().map_or(0, Vec::len);
    ensure!(failures == 0, "ingest handed a batch back: {answer}");
    Ok(())
}

/// Spawn to first answer of the ingest binary, against its answer when warm.
pub(crate) async fn cold_start(rig: &Rig) -> Result<Figure> {
    const STARTS: usize = 9;
    let mut events = Events::new(rig::DEVICE_TENANT, Shape::Device, 90, 500);
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (first, second) = (events.next(), events.next());
        let started = Instant::now();
        let host = rig.ingest_host(1).await?;
        deliver(&host, &first).await?;
        cold.push(started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        deliver(&host, &second).await?;
        warm.push(started.elapsed().as_secs_f64() * 1e3);
        host.stop(Duration::from_secs(2)).await;
    }
    let note =
        "median of process start to the answer to its first batch of 5,000 values; baseline: its second"
            .into();
    Ok(Figure::new(
        "cold_start_ms",
        percentile(&mut cold, 50.0),
        "ms",
        percentile(&mut warm, 50.0),
        STARTS as u64,
        note,
    ))
}

/// What a memory limit must hold: the process with those it started (that of the plugins), each
/// at its largest.
fn rss_mb(pid: u32) -> Option<f64> {
    let mut all = high_water_mb(pid)?;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A task that has just ended has no children any more.
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all += children.split_whitespace().filter_map(|pid| high_water_mb(pid.parse().ok()?)).sum::<f64>();
    }
    Some(all)
}

fn high_water_mb(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
