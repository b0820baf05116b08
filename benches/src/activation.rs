//! From the answer to an activation to the first value that it decides, and to the last one that
//! the version before decided, while readings flow through all shards.

use crate::results::{Figure, percentile};
use crate::rig::Rig;
use anyhow::{Context as _, Result, ensure};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const TENANT: &str = "bench-activation";
const ROUNDS: usize = 20;
/// Keys enough that every shard has some.
const KEYS: u64 = 8;
/// Between two readings of a key.
const PACE: Duration = Duration::from_millis(20);
/// What no round may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn measure(rig: &Rig) -> Result<Figure> {
    rig.tenant_with_rules(TENANT).await?;
    let stop = AtomicBool::new(false);
    let rounds = async {
        let outcome = rounds(rig).await;
        stop.store(true, Ordering::Relaxed);
        outcome
    };
    let (rounds, sent) = tokio::join!(rounds, readings(rig, &stop));
    sent.context("send readings")?;
    let (mut first, mut last): (Vec<f64>, Vec<f64>) = rounds?.into_iter().unzip();
    let [median, most] = [50.0, 100.0].map(|p| percentile(&mut first, p));
    let note = format!(
        "median of {ROUNDS} activations with other settings, from the answer of POST …/activate to the first value \
         rejected by them; longest {most:.0} ms; the last value of the version before came {:.0} ms after the answer \
         at most; {KEYS} keys, a reading each {} ms; baseline: the bound of 2 s",
        percentile(&mut last, 100.0),
        PACE.as_millis(),
    );
    Ok(Figure::new("plugin_activation_ms", median, "ms", 2_000.0, ROUNDS as u64, note))
}

/// Readings that wide settings accept and narrow ones reject, until the rounds are over.
async fn readings(rig: &Rig, stop: &AtomicBool) -> Result<()> {
    let (kinesis, stream) = rig.kinesis();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let now = jiff::Timestamp::now().to_string();
        let entries = (0..KEYS).map(|key| {
            let reading = json!({"tenant": TENANT, "entity": format!("e-{key}-{n}"), "observed_at": now,
                "values": {"temperature": 100.0}});
            let data = Blob::new(reading.to_string());
            PutRecordsRequestEntry::builder().partition_key(format!("key-{key}")).data(data).build()
        });
        let entries = entries.collect::<Result<_, _>>()?;
        kinesis.put_records().stream_name(stream).set_records(Some(entries)).send().await?;
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

/// For each round: first use of the new settings and last use of the old ones, in milliseconds
/// after the answer, by the database's clock.
async fn rounds(rig: &Rig) -> Result<Vec<(f64, f64)>> {
    let db = rig.admin().await?;
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    let token = rig.token_for(TENANT, "plugins:write").await?;
    let url = format!("{}/v1/plugins/telemetry-rules/versions/1.0.0/activate", rig.http_url());
    let activate = async |most: f64| -> Result<()> {
        let body = json!({"settings": {"attributes": {"temperature": {"max": most}}}});
        let answer = http.post(&url).bearer_auth(&token).json(&body).send().await?;
        let status = answer.status();
        let told: Value = answer.json().await?;
        ensure!(status.is_success(), "{status}: {told}");
        Ok(())
    };
    let mut found = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        activate(1_000.0 + round as f64).await?;
        settled(&db, ACCEPTED, REJECTED).await.context("the wide settings")?;
        let asked = now(&db).await?;
        activate(50.0 + round as f64).await?;
        let answered = now(&db).await?;
        settled(&db, REJECTED, ACCEPTED).await.context("the narrow settings")?;
        let first = first_after(&db, asked, answered).await?;
        found.push((first, last_before(&db, answered).await?));
    }
    Ok(found)
}

const ACCEPTED: &str =
    "select max(ingested_at) from entity_values_ts v join tenants t using (tenant_id) where t.name = $1";
const REJECTED: &str =
    "select max(q.created_at) from quarantine q join tenants t using (tenant_id) where t.name = $1";

async fn now(db: &Client) -> Result<f64> {
    Ok(db.query_one("select extract(epoch from clock_timestamp())::float8", &[]).await?.get(0))
}

/// Waits until all readings of half a second were decided one way.
async fn settled(db: &Client, this: &str, other: &str) -> Result<()> {
    let query = format!(
        "select coalesce(({this}) > now() - interval '200 ms'
                and coalesce(({other}), '-infinity') < now() - interval '500 ms', false)"
    );
    let end = Instant::now() + PATIENCE;
    while !db.query_one(&query, &[&TENANT]).await?.get::<_, bool>(0) {
        ensure!(Instant::now() < end, "not in force after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn first_after(db: &Client, asked: f64, answered: f64) -> Result<f64> {
    let query = "select (extract(epoch from min(q.created_at)) - $2::float8)::float8 from quarantine q
                 join tenants t using (tenant_id)
                 where t.name = $1 and q.created_at > to_timestamp($3::float8)";
    let seconds: Option<f64> = db.query_one(query, &[&TENANT, &answered, &asked]).await?.get(0);
    // Instances may learn of it before the answer has come back.
    Ok(seconds.context("nothing was rejected")?.max(0.0) * 1e3)
}

async fn last_before(db: &Client, answered: f64) -> Result<f64> {
    let query = "select coalesce(extract(epoch from max(ingested_at)) - $2::float8, 0)::float8 from entity_values_ts v
                 join tenants t using (tenant_id) where t.name = $1";
    Ok(db.query_one(query, &[&TENANT, &answered]).await?.get::<_, f64>(0).max(0.0) * 1e3)
}
