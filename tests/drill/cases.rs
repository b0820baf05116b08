//! The cases, by their number in the list of faults (`docs/delivery.md`).

use crate::olap::killed_olap_loader;
use crate::stage::{PLAIN, RULED, Stage};
use anyhow::{Context as _, Result, ensure};
use aws_sdk_kinesis::primitives::Blob;
use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What a case is given.
pub(crate) struct Fault<'a> {
    pub(crate) stage: &'a Stage,
    /// How often it is to break something.
    pub(crate) times: u32,
    pub(crate) rng: &'a mut SmallRng,
    /// Raised before and after each crash.
    pub(crate) crashes: &'a AtomicU32,
}

/// What a case did besides the fleet's load.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) injected: u32,
    pub(crate) recovered: Option<Duration>,
    /// Values accepted, values rejected, records quarantined beyond the fleet's.
    pub(crate) extra: [i64; 3],
    /// The case takes records away for good; what is told of that it checks itself.
    pub(crate) may_be_lost: bool,
    pub(crate) problems: Vec<String>,
}

pub(crate) struct Case {
    pub(crate) number: &'static str,
    pub(crate) name: &'static str,
    /// How often, in a short and in a full drill.
    pub(crate) short: u32,
    pub(crate) full: u32,
    pub(crate) run: for<'a> fn(Fault<'a>) -> BoxFuture<'a, Result<Done>>,
}

macro_rules! cases {
    ($($number:literal $name:ident $short:literal $full:literal),* $(,)?) => {
        pub(crate) const CASES: &[Case] = &[$(Case {
            number: $number,
            name: stringify!($name),
            short: $short,
            full: $full,
            run: |fault| $name(fault).boxed(),
        }),*];
    };
}

// The promotion is the last but one: afterwards there is no replica. What takes records
// away for good comes last.
cases![
    "1" killed_backend 3 70,
    "2" immediate_stop 2 35,
    "4" killed_flusher 3 30,
    "5" many_flushers 4 8,
    "6" killed_ingest 3 30,
    "7" poison_records 3 12,
    "8" handed_back_batches 2 8,
    "9" aggregated_and_crashed 1 6,
    "10" sent_again 2 10,
    "11" resharded_in_replay 1 2,
    "12" other_rules_at_replay 1 3,
    "14" killed_olap_loader 4 32,
    "18" two_tenants_one_connection 100 1000,
    "3" promoted_replica 1 1,
    "13" forgotten_by_the_stream 1 2,
];

impl Fault<'_> {
    /// A pause that is never the same.
    pub(crate) async fn pause(&mut self, from_ms: u64, to_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(from_ms..=to_ms))).await;
    }

    fn crash(&self) {
        self.crashes.fetch_add(1, Ordering::SeqCst);
    }

    /// Puts records beside the fleet's.
    async fn put(&self, records: &[(String, Vec<u8>)]) -> Result<()> {
        for (key, data) in records {
            let put = self.stage.kinesis.put_record().stream_name(&self.stage.endpoints.stream);
            put.partition_key(key).data(Blob::new(data.clone())).send().await?;
        }
        Ok(())
    }
}

/// A reading of an entity beside the fleet, with one value.
fn reading(tenant: &str, entity: &str, at: i64, attribute: &str, value: &str) -> Vec<u8> {
    let at = jiff::Timestamp::from_microsecond(at).map(|t| t.to_string()).unwrap_or_default();
    let values = format!(r#"{{"{attribute}":{value}}}"#);
    format!(r#"{{"tenant":"{tenant}","entity":"{entity}","observed_at":"{at}","values":{values}}}"#)
        .into_bytes()
}

fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

async fn killed_backend(mut f: Fault<'_>) -> Result<Done> {
    let mut slowest = Duration::ZERO;
    for _ in 0..f.times {
        f.pause(100, 900).await;
        f.crash();
        f.stage.kill_a_backend().await?;
        f.crash();
        slowest = slowest.max(f.stage.recovered().await?);
    }
    Ok(Done { injected: f.times, recovered: Some(slowest), ..Done::default() })
}

async fn immediate_stop(mut f: Fault<'_>) -> Result<Done> {
    let mut slowest = Duration::ZERO;
    for _ in 0..f.times {
        f.pause(100, 900).await;
        f.crash();
        f.stage.stop_immediately().await?;
        f.crash();
        slowest = slowest.max(f.stage.recovered().await?);
    }
    Ok(Done { injected: f.times, recovered: Some(slowest), ..Done::default() })
}

async fn promoted_replica(mut f: Fault<'_>) -> Result<Done> {
    f.pause(500, 1500).await;
    f.crash();
    f.stage.promote_the_replica().await?;
    f.crash();
    let recovered = f.stage.recovered().await?;
    f.pause(500, 1000).await;
    // The new primary has no slot: history is copied into files of a new epoch.
    let problems = crate::olap::differences(f.stage).await?;
    Ok(Done { injected: 1, recovered: Some(recovered), problems, ..Done::default() })
}

async fn killed_flusher(mut f: Fault<'_>) -> Result<Done> {
    let mut injected = 0;
    for _ in 0..f.times {
        f.pause(100, 500).await;
        injected += f.stage.kill_functions(f.stage.platform.flush().pids()).await?;
    }
    Ok(Done { injected, ..Done::default() })
}

async fn many_flushers(mut f: Fault<'_>) -> Result<Done> {
    let mut injected = 0;
    for round in 0..f.times {
        let flushers = (0..2 + round % 7).map(|_| async {
            let client = f.stage.sql().await?;
            for _ in 0..20 {
                client.query_one("select stage_flush(1)", &[]).await?;
            }
            anyhow::Ok(())
        });
        for done in join_all(flushers).await {
            done?;
            injected += 1;
        }
        f.pause(50, 300).await;
    }
    Ok(Done { injected, ..Done::default() })
}

async fn killed_ingest(mut f: Fault<'_>) -> Result<Done> {
    let mut injected = 0;
    for _ in 0..f.times {
        f.pause(50, 400).await;
        injected += f.stage.kill_functions(f.stage.platform.ingest().pids()).await?;
    }
    Ok(Done { injected, ..Done::default() })
}

/// First, in the middle and last of a batch that is put at once.
async fn poison_records(mut f: Fault<'_>) -> Result<Done> {
    let mut extra = [0; 3];
    for round in 0..f.times {
        let poison = [
            &b"\xff\xfe not text"[..],
            b"\x1f\x8b\x08 no gzip",
            b"[{\"tenant\":",
            b"\xf3\x89\x9a\xc2 no KPL",
        ];
        let poison = poison[round as usize % poison.len()].to_vec();
        let mut records: Vec<(String, Vec<u8>)> = (0..9)
            .map(|n| ("one-shard".to_owned(), reading(PLAIN, &format!("poisoned-{n}"), now() + n, "ok", "1")))
            .collect();
        let at = [0, 4, 9][round as usize % 3];
        records.insert(at, ("one-shard".to_owned(), poison));
        f.put(&records).await?;
        extra[0] += 9;
        extra[2] += 1;
        f.pause(50, 200).await;
    }
    Ok(Done { injected: f.times, extra, ..Done::default() })
}

/// The database does not let a shard's checkpoint go: batches are handed back and come again.
async fn handed_back_batches(mut f: Fault<'_>) -> Result<Done> {
    for _ in 0..f.times {
        f.pause(200, 600).await;
        let mut client = f.stage.sql().await?;
        let transaction = client.transaction().await?;
        let lock = "select count(*) from (select from ingest_checkpoints for update) c";
        transaction.query_one(lock, &[]).await?;
        // Whoever waits is sent away.
        let cancel = "select count(pg_cancel_backend(pid)) from pg_stat_activity
                      where wait_event_type = 'Lock' and usename = 'eaves_ingest'";
        for _ in 0..10 {
            f.pause(100, 200).await;
            f.stage.count(cancel).await?;
        }
        transaction.rollback().await?;
    }
    Ok(Done { injected: f.times, ..Done::default() })
}

/// A record of many readings, and the crash comes while they are staged.
async fn aggregated_and_crashed(mut f: Fault<'_>) -> Result<Done> {
    let (mut extra, mut slowest) = ([0; 3], Duration::ZERO);
    for round in 0..f.times {
        let base = now();
        let subs: Vec<(String, Vec<u8>)> = (0..200)
            .map(|n| {
                (
                    format!("sub-{n}"),
                    reading(PLAIN, &format!("packed-{round}"), base + n, "sub", &n.to_string()),
                )
            })
            .collect();
        let subs: Vec<(&str, &[u8])> =
            subs.iter().map(|(key, data)| (key.as_str(), data.as_slice())).collect();
        let held = f.stage.hold_the_flush().await?;
        f.put(&[(format!("packed-{round}"), eaves_codec::encode::kpl(&subs))]).await?;
        extra[0] += 200;
        f.pause(0, 150).await;
        f.crash();
        f.stage.kill_a_backend().await?;
        f.crash();
        drop(held);
        slowest = slowest.max(f.stage.recovered().await?);
    }
    Ok(Done { injected: f.times, extra, recovered: Some(slowest), ..Done::default() })
}

/// The same reading in new records, in the same batch and in later ones: one point.
async fn sent_again(mut f: Fault<'_>) -> Result<Done> {
    let mut extra = [0; 3];
    let at = now();
    for round in 0..f.times {
        let copies: Vec<(String, Vec<u8>)> = (0..5)
            .map(|n| (format!("copy-{round}-{n}"), reading(PLAIN, "copied", at, "copy", "7")))
            .collect();
        f.put(&copies).await?;
        extra[0] += 5;
        f.pause(100, 400).await;
    }
    let points = "select count(*) from entity_values_ts v join entities e using (tenant_id, entity_id)
                  where e.external_id = 'copied'";
    f.stage.until(30, "the point", || async { Ok(f.stage.count(points).await? >= 1) }).await?;
    let mut problems = Vec::new();
    let found = f.stage.count(points).await?;
    if found != 1 {
        problems.push(format!("I2: one point sent {} times is {found} points", f.times * 5));
    }
    Ok(Done { injected: f.times, extra, problems, ..Done::default() })
}

/// Staging is lost, and while that is read again the stream is split and merged.
async fn resharded_in_replay(mut f: Fault<'_>) -> Result<Done> {
    let (kinesis, stream) = (&f.stage.kinesis, &f.stage.endpoints.stream);
    let mut slowest = Duration::ZERO;
    for _ in 0..f.times {
        let held = f.stage.hold_the_flush().await?;
        f.pause(500, 900).await;
        let shards = kinesis.list_shards().stream_name(stream).send().await?.shards.unwrap_or_default();
        let open = |s: &&aws_sdk_kinesis::types::Shard| {
            s.sequence_number_range.as_ref().is_some_and(|r| r.ending_sequence_number.is_none())
        };
        let shard = shards.iter().find(open).context("an open shard")?;
        let range = shard.hash_key_range.as_ref().context("a hash key range")?;
        let (from, to): (u128, u128) = (range.starting_hash_key.parse()?, range.ending_hash_key.parse()?);
        let middle = from + (to - from) / 2 + 1;
        f.crash();
        f.stage.kill_a_backend().await?;
        f.crash();
        drop(held);
        let split = kinesis.split_shard().stream_name(stream).shard_to_split(&shard.shard_id);
        split.new_starting_hash_key(middle.to_string()).send().await?;
        slowest = slowest.max(f.stage.recovered().await?);
        f.pause(500, 1000).await;
        let shards = kinesis.list_shards().stream_name(stream).send().await?.shards.unwrap_or_default();
        let children: Vec<&str> = shards
            .iter()
            .filter(|s| s.parent_shard_id.as_deref() == Some(&shard.shard_id))
            .map(|s| s.shard_id.as_str())
            .collect();
        ensure!(children.len() == 2, "a split has two children, this one {children:?}");
        let merge = kinesis.merge_shards().stream_name(stream);
        merge.shard_to_merge(children[0]).adjacent_shard_to_merge(children[1]).send().await?;
        f.pause(500, 1000).await;
    }
    Ok(Done { injected: f.times, recovered: Some(slowest), ..Done::default() })
}

/// The tenant's rules change between the first reading and the replay: what is in history
/// names the version that let it pass.
async fn other_rules_at_replay(mut f: Fault<'_>) -> Result<Done> {
    let (mut problems, mut slowest) = (Vec::new(), Duration::ZERO);
    for round in 0..f.times {
        let held = f.stage.hold_the_flush().await?;
        f.pause(300, 600).await;
        // The fleet's levels are below 100 or far above 200: either version decides the same.
        let (max, version) = (101 + round, format!("2.{round}.{}", now()));
        f.stage.rules(max, &version).await?;
        f.crash();
        f.stage.kill_a_backend().await?;
        f.crash();
        drop(held);
        slowest = slowest.max(f.stage.recovered().await?);
        f.pause(1500, 2000).await;
    }
    let unexplained = format!(
        "select count(*) from entity_values_ts v join tenants t using (tenant_id)
         left join plugin_versions p on p.plugin_id = v.plugin_id and p.tenant_id = v.tenant_id
         where t.name = '{RULED}' and (p.digest is null or p.settings_digest is null)"
    );
    let found = f.stage.count(&unexplained).await?;
    if found > 0 {
        problems.push(format!("{found} values in history name no version of the rules"));
    }
    let versions = format!(
        "select count(distinct p.settings_digest) from entity_values_ts v join tenants t using (tenant_id)
         join plugin_versions p on p.plugin_id = v.plugin_id where t.name = '{RULED}'"
    );
    let versions = f.stage.count(&versions).await?;
    if versions < 2 {
        problems.push(format!("history names {versions} version of the rules, and there were more"));
    }
    f.stage.rules(100, &format!("3.0.{}", now())).await?;
    Ok(Done { injected: f.times, recovered: Some(slowest), problems, ..Done::default() })
}

/// Both tenants' reads in turn on one connection, some of which fail, are cancelled or
/// rolled back: none sees a row of the other's.
async fn two_tenants_one_connection(f: Fault<'_>) -> Result<Done> {
    let password =
        f.stage.endpoints.passwords.get("eaves_query").context("the query role's password")?.clone();
    let ids = f.stage.sql().await?;
    let mut tenants = Vec::new();
    for name in [PLAIN, RULED] {
        let id: i32 = ids.query_one("select tenant_id from tenants where name = $1", &[&name]).await?.get(0);
        tenants.push(id);
    }
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(f.stage.endpoints.database_port).dbname(&f.stage.endpoints.database);
    config.user("eaves_query").password(password);
    let (mut client, connection) = config.connect(tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let mut problems = Vec::new();
    for turn in 0..f.times {
        let tenant = tenants[turn as usize % 2];
        let way = f.rng.random_range(0..4);
        match turn_of(f.stage, &mut client, tenant, way).await {
            Ok(found) => problems.extend(found),
            // A cancel may come late and hit the next statement: that turn is given up.
            Err(e) if cancelled(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Done { injected: f.times, problems, ..Done::default() })
}

fn cancelled(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
    code == Some(&tokio_postgres::error::SqlState::QUERY_CANCELED)
}

/// One transaction as `tenant`, ended in one of four ways; what it should not have seen.
async fn turn_of(
    stage: &Stage,
    client: &mut tokio_postgres::Client,
    tenant: i32,
    way: u32,
) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let cancel = client.cancel_token();
    let transaction = client.transaction().await?;
    let set = "select set_config('app.current_tenant_id', $1, true)";
    transaction.query_one(set, &[&tenant.to_string()]).await?;
    match way {
        // An error, and a cancelled statement: the transaction is given up.
        0 => drop(transaction.query("select 1 / 0", &[]).await),
        1 => {
            let running = "select count(*) from pg_stat_activity
                           where state = 'active' and usename = 'eaves_query' and query like '%pg_sleep%'";
            let runs = stage.until(20, "the statement", || async { Ok(stage.count(running).await? >= 1) });
            let slow = transaction.simple_query("select pg_sleep(30)");
            let (mut runs, mut slow) = (pin!(runs), pin!(slow));
            // Cancelled once it runs, and once. What ends it before that is told.
            tokio::select! {
                ended = &mut slow => drop(ended.context("the statement, before it was cancelled")?),
                runs = &mut runs => {
                    runs?;
                    cancel.cancel_query(tokio_postgres::NoTls).await?;
                    ensure!(slow.await.is_err(), "a cancelled statement went on");
                }
            }
        }
        _ => {
            let sql =
                "select distinct tenant_id from entity_jsonb union select distinct tenant_id from entities";
            for row in transaction.query(sql, &[]).await? {
                if row.get::<_, i32>(0) != tenant {
                    problems
                        .push(format!("I5: tenant {tenant} saw a row of tenant {}", row.get::<_, i32>(0)));
                }
            }
        }
    }
    if way == 3 {
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    // Without a tenant there is nothing to see.
    if !client.query("select tenant_id from entities limit 1", &[]).await?.is_empty() {
        problems.push("I5: rows without a tenant".into());
    }
    Ok(problems)
}

/// Staging is lost and the stream keeps nothing of it: told, not silent. The fleet goes on
/// writing; each of its records that is gone must lie in a range that was told.
async fn forgotten_by_the_stream(mut f: Fault<'_>) -> Result<Done> {
    let mut problems = Vec::new();
    let losses = "select count(*) from stream_losses";
    for _ in 0..f.times {
        let before = f.stage.count(losses).await?;
        let held = f.stage.hold_the_flush().await?;
        f.pause(500, 900).await;
        // A shard of which nothing is staged has lost nothing by a crash; that its records are
        // gone from the stream within a second is this case's doing, not Kinesis'.
        f.stage.until(30, "each shard to have something staged", || f.stage.all_staged()).await?;
        let beats = "select sequence from replication_heartbeat";
        let beat = f.stage.count(beats).await?;
        f.stage.until(20, "two heartbeats", || async { Ok(f.stage.count(beats).await? >= beat + 2) }).await?;
        let (kinesis, stream) = (f.stage.platform.kinesis(), &f.stage.endpoints.stream);
        kinesis.set_retention_ms(stream, 1)?;
        f.crash();
        f.stage.kill_a_backend().await?;
        f.crash();
        drop(held);
        f.stage.recovered().await?;
        kinesis.set_retention_ms(stream, 24 * 3600 * 1000)?;
        if f.stage.count(losses).await? == before {
            problems.push("records are gone, and no loss was told".into());
        }
        let told = "select (health_check() -> 'problems' ? 'stream_loss')::int::int8";
        if f.stage.count(told).await? != 1 {
            problems.push("the health check says nothing of the loss".into());
        }
        let acknowledge = "select count(loss_acknowledge(loss_id, 'drill', '')) from stream_losses";
        f.stage.count(acknowledge).await?;
    }
    Ok(Done { injected: f.times, may_be_lost: true, problems, ..Done::default() })
}
