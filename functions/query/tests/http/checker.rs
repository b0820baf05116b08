//! The freshness checker (I6): no answer is older than it says, nor lacks what its token names. A writer
//! commits 1, 2, 3, …, the checker knows what was committed when, replicas are held up, and one is promoted
//! on the way.
//!
//! `EAVES_CHECK_READS=100000` makes it a long run, with lag up to 30 s; without it, a short one.

use crate::ground::{Ground, Known};
use crate::storms::written;
use crate::world::{Answer, claims, send};
use axum::http::Method;
use eaves_model::{ConsistencyToken, Position};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Stands for a token of one of the last records, or of one that is still to come.
const TOKEN: &str = "TOKEN";

/// Asked in turn: the demand, and the seconds that the answer must be under.
const DEMANDS: [(&str, Option<f64>); 17] = [
    ("", None),
    ("consistency=strong", None),
    ("max_staleness=500ms", Some(0.5)),
    ("max_staleness=2s", Some(2.0)),
    ("max_staleness=10s", Some(10.0)),
    ("purpose=critical", None),
    ("purpose=dashboard", None),
    ("purpose=operational", None),
    ("purpose=operational&max_staleness=6s", Some(6.0)),
    ("purpose=alerting", None),
    ("purpose=reporting", None),
    ("consistency=analytics", None),
    ("consistency=analytics&max_staleness=25s", Some(25.0)),
    ("token=TOKEN", None),
    ("token=TOKEN&wait=300ms&max_staleness=10s", Some(10.0)),
    ("token=TOKEN&wait=0s&consistency=strong", None),
    ("token=TOKEN&wait=300ms&consistency=analytics", None),
];
const READERS: usize = 4;

/// What was found, for the report.
#[derive(Default)]
struct Seen {
    reads: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    wrong: Mutex<Vec<String>>,
    /// Answers and the longest lag, by source.
    sources: Mutex<BTreeMap<String, (u64, f64)>>,
    /// Answers to who had a token, by source.
    with_token: Mutex<BTreeMap<String, u64>>,
}

pub(crate) async fn no_answer_is_older_than_it_says(ground: &Arc<Ground>) {
    written(ground).await;
    ground.writes.store(true, Ordering::SeqCst);
    let wanted = std::env::var("EAVES_CHECK_READS").ok().and_then(|n| n.parse::<u64>().ok());
    let (seen, on) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(true)));
    let readers: Vec<_> = (0..READERS)
        .map(|n| tokio::spawn(read_on(Arc::clone(ground), Arc::clone(&seen), Arc::clone(&on), n)))
        .collect();
    let began = Instant::now();

    let (a, b) = (ground.a.lock().await.port(), ground.b.lock().await.port());
    // One replica is near, one is held up.
    pause(Duration::from_millis(700)).await;
    ground.sql(b, "select pg_wal_replay_pause()").await;
    pause(Duration::from_millis(1500)).await;
    // Both are, until neither does for reads without a bound.
    ground.sql(a, "select pg_wal_replay_pause()").await;
    pause(Duration::from_millis(5500)).await;
    ground.sql(b, "select pg_wal_replay_resume()").await;
    if wanted.is_some() {
        ground.sql(a, "select pg_wal_replay_resume()").await;
        for delay in [1, 3, 7, 15, 30] {
            for (port, share) in [(a, 1), (b, 2)] {
                ground
                    .sql(
                        port,
                        &format!("alter system set recovery_min_apply_delay = '{}ms'", delay * 500 * share),
                    )
                    .await;
                ground.sql(port, "select pg_reload_conf()").await;
            }
            pause(Duration::from_secs(delay + 2)).await;
        }
    }
    promote(ground, a).await;
    pause(Duration::from_millis(1500)).await;
    while wanted.is_some_and(|n| seen.reads.load(Ordering::Relaxed) < n) {
        assert!(began.elapsed() < Duration::from_secs(1800), "reads are too slow");
        pause(Duration::from_millis(100)).await;
    }
    on.store(false, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }

    let wrong = seen.wrong.lock().unwrap();
    let (reads, refused) = (seen.reads.load(Ordering::Relaxed), seen.refused.load(Ordering::Relaxed));
    let with_token = seen.with_token.lock().unwrap();
    let (sources, unknown) = (seen.sources.lock().unwrap(), seen.unknown.load(Ordering::Relaxed));
    eprintln!(
        "freshness checker: {reads} reads in {:.1} s, {} commits, {refused} refused, {unknown} of unknown age, by \
         source (answers, longest lag in s): {sources:?}, with a token: {with_token:?}",
        began.elapsed().as_secs_f64(),
        ground.known.lock().unwrap().len(),
    );
    assert!(wrong.is_empty(), "{} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(reads > 1000, "only {reads} reads");
    for source in ["cache", "read-replica", "primary"] {
        assert!(sources.contains_key(source), "nothing came from {source}: {sources:?}");
        assert!(with_token.contains_key(source), "no token was met by {source}: {with_token:?}");
    }
    let behind = if wanted.is_some() { 25.0 } else { 5.0 };
    assert!(sources["read-replica"].1 > behind, "replicas were never far behind: {sources:?}");
    assert!(refused > 0 && refused < reads / 2, "{refused} of {reads}");
}

async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A failover that nobody prepared, to a replica that is held up: the primary is gone with what was staged
/// and with its last commits, and its name leads to the replica before that is promoted. Until the stream
/// was read again, strong reads are refused and others tell how old what they have is.
async fn promote(ground: &Ground, a: u16) {
    ground.flushes.store(false, Ordering::SeqCst);
    let before = ground.known.lock().unwrap().len();
    while ground.known.lock().unwrap().len() < before + 20 {
        pause(Duration::from_millis(5)).await;
    }
    ground.writes.store(false, Ordering::SeqCst);
    while !ground.rests.load(Ordering::SeqCst) {
        pause(Duration::from_millis(5)).await;
    }
    ground.primary.lock().await.stop_immediately().await.unwrap();
    ground.flushes.store(true, Ordering::SeqCst);
    ground.leads_to(a);
    // What answers there now is a replica, which no strong read may take for the primary.
    for _ in 0..10 {
        let strong = ground.get("/v1/entities/e?consistency=strong").await;
        strong.problem(503, None, "strong read takes no other source");
        pause(Duration::from_millis(30)).await;
    }
    ground.a.lock().await.promote().unwrap();
    let lacks = |answer: &Answer| answer.body["primary"]["recovering"] == true;
    ground.until("/v1/freshness", lacks).await;
    for path in ["/v1/entities/e?consistency=strong", "/v1/entities/e/history/n?consistency=strong&limit=1"] {
        ground.get(path).await.problem(503, None, "being read again from the stream");
    }
    ground.writes.store(true, Ordering::SeqCst);
    ground.until("/v1/entities/e?consistency=strong", |answer| answer.status == 200).await;
    ground.get("/v1/entities/e/history/n?consistency=strong&limit=1").await.ok();
}

async fn read_on(ground: Arc<Ground>, seen: Arc<Seen>, on: Arc<AtomicBool>, reader: usize) {
    let mut n = reader;
    while on.load(Ordering::SeqCst) {
        let (demand, bound) = DEMANDS[n % DEMANDS.len()];
        let kind = n / DEMANDS.len() % 4;
        // The writer's records have their values as sequence numbers.
        let last = ground.known.lock().unwrap().last().map_or(0, |k| k.value);
        let named = demand.contains(TOKEN).then_some((last + [0, -1, 2][n % 3]).max(1));
        let demand = &demand.replace(TOKEN, &named.map(|value| token(&ground, value)).unwrap_or_default());
        n += 1;
        let began = Instant::now();
        let answer = one(&ground, kind, demand).await;
        seen.reads.fetch_add(1, Ordering::Relaxed);
        if let Err(why) = judge(&ground, &seen, (demand, bound, named), began, &answer) {
            seen.wrong.lock().unwrap().push(format!("{demand:?}, kind {kind}: {why}: {}", answer.text));
        }
        // The writer and the servers need the processor, too.
        tokio::task::yield_now().await;
    }
}

/// What a write that put the record of this value on the stream would have answered.
fn token(ground: &Ground, value: i64) -> String {
    let mut token = ConsistencyToken::default();
    token.add("0", Position::whole(&value.to_string()).unwrap());
    token.encode("tests", &ground.tenant.name).unwrap()
}

/// A read of one kind.
async fn one(ground: &Ground, kind: usize, demand: &str) -> Answer {
    match kind {
        0 | 1 => ground.get(&format!("/v1/entities/e?{demand}")).await,
        2 => ground.get(&format!("/v1/entities/e/history/n?limit=1&{demand}")).await,
        _ => {
            let claims = Some(claims(&ground.tenant, "query:read"));
            let body = json!({"external_ids": ["e"]}).to_string().into_bytes();
            send(&ground.router, Method::POST, &format!("/v1/entities/batch?{demand}"), claims, &[], body)
                .await
        }
    }
}

/// Holds an answer against what was known to be committed when it was asked for.
fn judge(
    ground: &Ground,
    seen: &Seen,
    (demand, bound, named): (&str, Option<f64>, Option<i64>),
    began: Instant,
    answer: &Answer,
) -> Result<(), String> {
    if answer.status == 503 {
        seen.refused.fetch_add(1, Ordering::Relaxed);
        let told = answer.header("retry-after").parse::<u64>().is_ok();
        return if told { Ok(()) } else { Err("503 without Retry-After".into()) };
    }
    if answer.status != 200 {
        return Err(format!("status {}", answer.status));
    }
    let found = [
        &answer.body["entity"]["attributes"]["n"]["value"],
        &answer.body["items"][0]["entity"]["attributes"]["n"]["value"],
        &answer.body["points"][0]["value"],
    ];
    let value = found.iter().find_map(|v| v.as_i64()).unwrap_or(0);
    let told = &answer.body["metadata"]["freshness"];
    let source = told["source"].as_str().unwrap_or("").to_owned();
    if named.is_some_and(|named| value < named) {
        return Err(format!("has {value}, and the token names {named:?}"));
    }
    if named.is_some() {
        *seen.with_token.lock().unwrap().entry(source.clone()).or_default() += 1;
    }
    if demand.contains("consistency=strong") && source != "primary" {
        return Err("a strong read from elsewhere".into());
    }
    let Some(lag) = told["lag_seconds"].as_f64() else {
        seen.unknown.fetch_add(1, Ordering::Relaxed);
        return if bound.is_none() { Ok(()) } else { Err("an unknown age under a bound".into()) };
    };
    {
        let mut sources = seen.sources.lock().unwrap();
        let entry = sources.entry(source).or_default();
        *entry = (entry.0 + 1, entry.1.max(lag));
    }
    if bound.is_some_and(|bound| lag >= bound) {
        return Err("older than the bound".into());
    }
    if told["sla_met"].as_bool() != Some(lag < told["sla_target"].as_f64().unwrap_or(0.0)) {
        return Err("sla_met is not what lag and target make".into());
    }
    // It was read after it was asked for, so it has all that was known this long before that.
    let known = ground.known.lock().unwrap();
    let newest = |before: &dyn Fn(&Known) -> bool| {
        let covered = known.partition_point(before);
        covered.checked_sub(1).map_or(0, |last| known[last].value)
    };
    let since = began.checked_sub(Duration::from_secs_f64(lag));
    let due = since.map_or(0, |since| newest(&|k| k.at <= since));
    if value < due {
        return Err(format!("has {value}, although {due} was committed more than {lag} s before"));
    }
    let as_of: eaves_model::Timestamp =
        told["as_of"].as_str().and_then(|t| t.parse().ok()).ok_or("no as_of")?;
    let due = newest(&|k| k.time <= as_of);
    if value < due {
        return Err(format!("has {value}, although {due} was committed before {as_of}"));
    }
    Ok(())
}
