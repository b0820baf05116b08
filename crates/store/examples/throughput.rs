//! What the database side can take, without Lambda and decoding: device-shaped batches
//! (500 readings of 10 values) through `commit` and the flush, on a server of its own.
//!
//! `cargo run --release -p eaves-store --example throughput -- [batches] [hot|cold] [writers]`

use anyhow::{Context as _, Result};
use eaves_model::batch::Point;
use eaves_model::{Position, Timestamp, Value, ValueType};
use eaves_pg_server::{PgOptions, PgServer};
use eaves_settings::{Postgres, Secret, Tls};
use eaves_store::admin::{AdminStore, set_password};
use eaves_store::flush::FlushStore;
use eaves_store::ingest::{Commit, HotRow, IngestStore, LedgerLine, Outcome};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

const READINGS: usize = 500;
const ATTRIBUTES: usize = 10;
const ENTITIES: usize = 5_000;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let batches: usize = args.next().map_or(Ok(200), |a| a.parse())?;
    let hot = args.next().is_none_or(|a| a == "hot");
    let writers: usize = args.next().map_or(Ok(1), |a| a.parse())?;

    let dir = tempfile::tempdir()?;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
    let mut server = PgServer::start(PgOptions::new("throughput", dir.path().join("db"))).await?;
    let superuser = Postgres {
        host: server.host().into(),
        port: server.port(),
        database: "postgres".into(),
        user: server.superuser().into(),
        password: Secret::new(server.password()),
        sign_in: eaves_settings::SignIn::Password,
        tls: Tls::Disable,
        statement_timeout: Duration::from_secs(60),
    };
    eaves_store::migrate(&superuser).await?;
    let login = async |role: &str| -> Result<Postgres> {
        set_password(&superuser, role, &Secret::new("throughput")).await?;
        Ok(Postgres { user: role.into(), password: Secret::new("throughput"), ..superuser.clone() })
    };
    let (admin, ingest, flush) =
        (login("eaves_admin").await?, login("eaves_ingest").await?, login("eaves_flush").await?);
    let tenant = AdminStore::connect(&admin).await?.tenant_create("bench", false, None).await?;

    let flusher = FlushStore::connect(&flush).await?;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let flushing = tokio::spawn(async move {
        let (mut rows, mut busy, mut turns) = (0, Duration::ZERO, 0u32);
        loop {
            let done = *stopped.borrow();
            let turn = Instant::now();
            let moved = flusher.stage_flush(1).await?.unwrap_or(0);
            busy += turn.elapsed();
            rows += moved;
            turns += u32::from(moved > 0);
            if done && moved == 0 {
                return anyhow::Ok((rows, busy, turns));
            }
            if moved < 20_000 {
                let wait = Duration::from_millis(100).saturating_sub(turn.elapsed());
                let _ = tokio::time::timeout(wait, stopped.changed()).await;
            }
        }
    });

    let began = Instant::now();
    let mut tasks = Vec::new();
    for writer in 0..writers {
        let ingest = ingest.clone();
        tasks.push(tokio::spawn(async move {
            let mut store = IngestStore::connect(&ingest).await?;
            let names: Vec<String> = (0..ENTITIES).map(|n| format!("device-{writer}-{n}")).collect();
            let names: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "device")).collect();
            let entities = store.register_entities(tenant, &names, true).await?;
            let attrs: Vec<String> = (0..ATTRIBUTES).map(|n| format!("attribute_{n}")).collect();
            let wanted: Vec<(&str, ValueType)> =
                attrs.iter().map(|n| (n.as_str(), ValueType::Float)).collect();
            let attributes = store.register_attributes(tenant, &wanted, true).await?;
            let shard = format!("shard-{writer}");
            let mut expected: Option<Position> = None;
            let mut spent = Duration::ZERO;
            let mut acks = Vec::new();
            for batch in 0..batches {
                let now = Timestamp::now();
                let mut points = Vec::with_capacity(READINGS * ATTRIBUTES);
                let mut rows = Vec::new();
                for reading in 0..READINGS {
                    let entity = entities[(batch * READINGS + reading) % ENTITIES].id;
                    let mut json = String::from("{");
                    for (n, attribute) in attributes.iter().enumerate() {
                        let value = Value::Float(((batch * 31 + reading * 7 + n) % 1000) as f64 / 8.0);
                        if n > 0 {
                            json.push(',');
                        }
                        json.push_str(&format!("\"{}\":", attrs[n]));
                        value.write_json(&mut json);
                        let attribute = attribute.id;
                        points.push(Point {
                            tenant,
                            entity,
                            attribute,
                            observed_at: now,
                            plugin: None,
                            value,
                        });
                    }
                    json.push('}');
                    if hot {
                        rows.push(HotRow { tenant, entity, observed_at: now, attrs_json: json });
                    }
                }
                let position = Position::whole(&(batch + 1).to_string())?;
                let count = points.len() as u64;
                let ledger = [LedgerLine {
                    tenant,
                    outcome: Outcome::Accepted,
                    reason: String::new(),
                    count,
                    minute: None,
                }];
                let commit = Commit {
                    stream: "bench",
                    shard: &shard,
                    consumer: "bench",
                    expected: expected.as_ref(),
                    position: &position,
                    points: &points,
                    hot: &rows,
                    ledger: &ledger,
                    quarantine: &[],
                    redrives: &[],
                };
                let turn = Instant::now();
                store.commit(&commit).await.context("commit")?;
                spent += turn.elapsed();
                acks.push(turn.elapsed());
                expected = Some(position);
            }
            acks.sort();
            anyhow::Ok((spent, acks[acks.len() / 2], acks[acks.len() * 95 / 100]))
        }));
    }
    for task in tasks {
        let (spent, p50, p95) = task.await??;
        eprintln!("writer: {batches} commits in {spent:?}, p50 {p50:?}, p95 {p95:?}");
    }
    let wrote = began.elapsed();
    let _ = stop.send(true);
    let (rows, busy, turns) = flushing.await??;
    let all = began.elapsed();
    let values = (writers * batches * READINGS * ATTRIBUTES) as f64;
    anyhow::ensure!(rows as f64 == values, "{rows} rows flushed of {values}");
    eprintln!("acknowledged {:.0} values/s", values / wrote.as_secs_f64());
    eprintln!("in history {:.0} values/s (flush busy {busy:?} in {turns} turns)", values / all.as_secs_f64());
    if let Ok(statements) = std::env::var("STATEMENTS") {
        let mut show = tokio::process::Command::new(server.bin_dir().join("psql"));
        show.args([
            "-h",
            server.host(),
            "-p",
            &server.port().to_string(),
            "-U",
            "postgres",
            "-c",
            &statements,
        ])
        .env("PGPASSWORD", server.password());
        show.status().await?;
    }
    server.stop().await?;
    Ok(())
}
