//! After a crash that takes a minute of staged values: how soon the first new value is taken,
//! and how fast what was lost is read again.
//!
//! Through Kinesis, the mapping and the platform's own two ingest instances, as records come.

use crate::events::{Events, Shape, VALUES};
use crate::results::Figure;
use crate::rig::{DEVICE_TENANT, Rig};
use anyhow::{Context as _, Result, ensure};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use futures_util::{StreamExt as _, TryStreamExt as _};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

pub(crate) const NAMES: &[&str] = &["recovery_first_value_s", "replay_values_per_s"];
/// 50,000 values a second in readings of ten are 5,000 records, and a shard takes 1,000.
pub(crate) const SHARDS: u32 = 8;
/// A minute of 50,000 values a second.
const STAGED: usize = 3_000_000;
/// Values for the rate of live ingest.
const LIVE: usize = 1_000_000;
const DEVICES: u32 = 20_000;
const RECORDS_PER_PUT: usize = 500;
/// Puts under way at a time.
const WRITERS: usize = 4;

pub(crate) async fn measure(rig: &Rig) -> Result<Vec<Figure>> {
    rig.without_replica(true).await?;
    let db = rig.admin().await?;
    let mut events = Events::new(DEVICE_TENANT, Shape::Device, 200, DEVICES);
    // Entities and attributes are known, caches warm.
    put(rig, &mut events, DEVICES as usize * VALUES).await?;
    until_in_history(&db, i64::from(DEVICES) * VALUES as i64).await?;

    let already = in_history(&db).await?;
    let started = Instant::now();
    put(rig, &mut events, LIVE).await?;
    until_in_history(&db, already + LIVE as i64).await?;
    let live = LIVE as f64 / started.elapsed().as_secs_f64();

    // Staged, and the flush kept from it, for as long as this connection is there.
    let flushed = in_history(&db).await?;
    let hold = rig.admin().await?;
    hold.query_one("select pg_advisory_lock(hashtextextended('eaves.stage_flush', 0))", &[]).await?;
    put(rig, &mut events, STAGED).await?;
    taken(&db, flushed + STAGED as i64).await?;

    let victim: i32 = db.query_one("select pg_backend_pid()", &[]).await?.get(0);
    let killed = tokio::process::Command::new("kill").args(["-9", &victim.to_string()]).status().await?;
    ensure!(killed.success(), "kill -9 {victim}");
    while !db.is_closed() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let db = back(rig).await?;
    let since = Instant::now();
    ensure!(staged(&db).await? < STAGED as i64 / 2, "staging survived: nothing was measured");
    // One new record for each shard, of an entity that was never seen before.
    let mut fresh = Events::new(DEVICE_TENANT, Shape::Device, 201, SHARDS);
    spread(rig, &mut fresh).await?;
    let query = "select count(*) from entity_jsonb j join entities e using (tenant_id, entity_id)
                 where e.external_id like 'dev-201-%'";
    let (mut first, mut all) = (None, None);
    while all.is_none() {
        let there: i64 = db.query_one(query, &[]).await?.get(0);
        if there > 0 {
            first = first.or(Some(since.elapsed()));
        }
        if there == i64::from(SHARDS) {
            all = Some(since.elapsed());
        }
        ensure!(since.elapsed() < Duration::from_secs(300), "{there} of {SHARDS} new records after 300 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let wanted = flushed + STAGED as i64 + i64::from(SHARDS) * VALUES as i64;
    until_in_history(&db, wanted).await?;
    let replayed = since.elapsed();
    let rows = rig.history_rows(DEVICE_TENANT).await?;
    ensure!(rows == wanted as u64, "{rows} values in history after the crash, {wanted} were sent");
    let (first, all) = (first.unwrap_or_default(), all.unwrap_or_default());
    Ok(vec![
        Figure::new(
            NAMES[0],
            first.as_secs_f64(),
            "s",
            10.0,
            STAGED as u64,
            format!(
                "from the database's being back after kill -9 with {STAGED} values staged to the first new value; in all {SHARDS} shards after {:.1} s; baseline: the bound",
                all.as_secs_f64()
            ),
        ),
        Figure::new(
            NAMES[1],
            STAGED as f64 / replayed.as_secs_f64(),
            "values/s",
            live,
            STAGED as u64,
            "values lost with staging, until the last is in history; baseline: live ingest in the same run, until in history"
                .into(),
        ),
    ])
}

/// Puts `values` values in readings of ten, whose devices are spread over the shards.
async fn put(rig: &Rig, events: &mut Events, values: usize) -> Result<()> {
    let (client, stream) = rig.kinesis();
    let mut batches = Vec::new();
    for _ in 0..values.div_ceil(VALUES * RECORDS_PER_PUT) {
        batches.push(events.records(RECORDS_PER_PUT));
    }
    futures_util::stream::iter(batches.into_iter().map(|records| {
        let client = client.clone();
        async move {
            let entries: Result<Vec<_>, _> = records
                .into_iter()
                .map(|(key, data)| {
                    PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data)).build()
                })
                .collect();
            let answer = client.put_records().stream_name(stream).set_records(Some(entries?)).send().await?;
            ensure!(answer.failed_record_count.unwrap_or(0) == 0, "records were not taken");
            anyhow::Ok(())
        }
    }))
    .buffer_unordered(WRITERS)
    .try_collect::<()>()
    .await
}

/// One record for each shard.
async fn spread(rig: &Rig, events: &mut Events) -> Result<()> {
    let (client, stream) = rig.kinesis();
    for (shard, (key, data)) in events.records(SHARDS as usize).into_iter().enumerate() {
        let hash = (u128::MAX / u128::from(SHARDS)) * shard as u128 + 1;
        let request = client.put_record().stream_name(stream).partition_key(key);
        request.explicit_hash_key(hash.to_string()).data(Blob::new(data)).send().await?;
    }
    Ok(())
}

async fn staged(db: &Client) -> Result<i64> {
    let query = "select coalesce(sum(row_count), 0)::int8 from staging_batches";
    Ok(db.query_one(query, &[]).await?.get(0))
}

async fn in_history(db: &Client) -> Result<i64> {
    Ok(db.query_one("select rows_total from flush_state", &[]).await?.get(0))
}

/// Waits until that many values are staged or in history.
async fn taken(db: &Client, values: i64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        let now = staged(db).await? + in_history(db).await?;
        if now >= values {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{now} of {values} values taken after 300 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_in_history(db: &Client, values: i64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        let now = in_history(db).await?;
        if now >= values {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{now} of {values} values in history after 300 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A connection, once the database takes one again.
async fn back(rig: &Rig) -> Result<Client> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match rig.admin().await {
            Ok(client) => return Ok(client),
            Err(e) if Instant::now() > end => return Err(e).context("the database did not come back"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
