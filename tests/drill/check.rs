//! A case under load, and what the data says when everything has come to rest.

use crate::cases::{Case, Fault};
use crate::load::{Load, Sent};
use crate::stage::Stage;
use crate::table::Outcome;
use anyhow::{Context as _, Result};
use rand::rngs::SmallRng;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long everything may take to come to rest.
const REST_S: u64 = 120;

/// Ledger counts by outcome.
type Ledger = HashMap<String, i64>;

/// Runs a case: load, faults, rest, comparison.
pub(crate) async fn under_load(
    stage: &Stage,
    case: &Case,
    times: u32,
    rng: &mut SmallRng,
) -> Result<Outcome> {
    // Nothing of an earlier case is to be counted for this one.
    stage.until(REST_S, "the case before to come to rest", || stage.at_rest()).await?;
    let before = ledger(stage).await?;
    let crashes = Arc::new(AtomicU32::new(0));
    let watch = watermarks(stage, crashes.clone());
    let load = Load::start(stage, case.name);
    let fault = Fault { stage, times, rng, crashes: &crashes };
    let done = (case.run)(fault).await;
    let sent = load.stop().await?;
    let done = done.with_context(|| format!("case {}", case.name))?;
    let mut problems = done.problems;

    let want = (sent.accepted + sent.rejected + sent.quarantined) as i64 + done.extra.iter().sum::<i64>();
    // Of what may be lost it is not known how much will come.
    let want = if done.may_be_lost { 0 } else { want };
    let settled = stage
        .until(REST_S, "everything to be taken and flushed", || async {
            let now = ledger(stage).await?;
            let grown = |outcome: &str| count(&now, outcome) - count(&before, outcome);
            Ok(stage.at_rest().await? && grown("accepted") + grown("rejected") + grown("quarantined") >= want)
        })
        .await;
    if let Err(e) = settled {
        problems.push(format!("{e:#}"));
    }
    watch.task.abort();
    let after = ledger(stage).await?;
    let grown = |outcome: &str| count(&after, outcome) - count(&before, outcome);
    let [more_accepted, more_rejected, more_quarantined] = done.extra;
    let expected = [
        ("accepted", sent.accepted as i64 + more_accepted),
        ("rejected", sent.rejected as i64 + more_rejected),
        ("quarantined", sent.quarantined as i64 + more_quarantined),
    ];
    let mut duplicated = 0;
    for (outcome, sent) in expected {
        let found = grown(outcome);
        duplicated += (found - sent).max(0);
        if found > sent || (found < sent && !done.may_be_lost) {
            problems
                .push(format!("I1: {sent} values or records were to be {outcome}, the ledger has {found}"));
        }
    }
    let lost = points(stage, case, &sent, done.may_be_lost, &mut problems).await?;
    hot(stage, &sent, done.may_be_lost, &mut problems).await?;
    problems.extend(watch.moved_back.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..));
    Ok(Outcome {
        number: case.number,
        name: case.name,
        injected: done.injected,
        sent: sent.records,
        accepted: grown("accepted"),
        rejected: grown("rejected"),
        quarantined: grown("quarantined"),
        lost,
        duplicated,
        recovered_ms: done.recovered.map(|t| t.as_millis() as u64),
        passed: problems.is_empty(),
        problems,
    })
}

async fn ledger(stage: &Stage) -> Result<Ledger> {
    let sql = "select outcome, sum(count)::int8 from
                 (select outcome, count from ingest_ledger union all select outcome, count from staging_ledger) l
               group by outcome";
    Ok(stage.sql().await?.query(sql, &[]).await?.iter().map(|r| (r.get(0), r.get(1))).collect())
}

fn count(ledger: &Ledger, outcome: &str) -> i64 {
    ledger.get(outcome).copied().unwrap_or_default()
}

/// I2 and the rest of I1: each point that was sent is in history once, with its value, and
/// no other. Returns how many are not.
async fn points(
    stage: &Stage,
    case: &Case,
    sent: &Sent,
    may_be_lost: bool,
    problems: &mut Vec<String>,
) -> Result<u64> {
    let sql = "select t.name, e.external_id, a.attribute_name,
                      (extract(epoch from v.observed_at) * 1000000)::int8, v.value_int
               from entity_values_ts v
               join tenants t using (tenant_id)
               join entities e using (tenant_id, entity_id)
               join attributes a using (tenant_id, attribute_id)
               where e.external_id like $1 and a.attribute_name in ('n', 'level')";
    let rows = stage.sql().await?.query(sql, &[&format!("{}-%", case.name)]).await?;
    let mut missing = sent.points.len() as u64;
    let (mut wrong, mut twice) = (0_u64, 0_u64);
    let (mut seen, mut there) = (HashSet::new(), HashSet::new());
    for row in &rows {
        let (tenant, entity, attribute): (&str, String, &str) = (row.get(0), row.get(1), row.get(2));
        let (at, value): (i64, Option<i64>) = (row.get(3), row.get(4));
        let tenant = if tenant == crate::stage::PLAIN { crate::stage::PLAIN } else { crate::stage::RULED };
        let attribute = if attribute == "n" { "n" } else { "level" };
        let key = (tenant, entity, attribute, at);
        if !seen.insert(key.clone()) {
            twice += 1;
        } else if sent.points.get(&key) == value.as_ref() {
            missing -= 1;
            there.insert(key);
        } else {
            wrong += 1;
        }
    }
    if missing > 0 && !may_be_lost {
        problems.push(format!(
            "I1: {missing} of {} points are not in history as they were sent",
            sent.points.len()
        ));
    }
    if missing > 0 && may_be_lost {
        let gone = sent.places.iter().filter(|(key, _)| !there.contains(*key));
        let untold = untold(stage, gone.flat_map(|(_, records)| records)).await?;
        if untold > 0 {
            problems.push(format!("I1: {untold} records are gone that lie in no range that was told"));
        }
    }
    if wrong + twice > 0 {
        problems.push(format!("I2: {wrong} points nobody sent so, {twice} points twice"));
    }
    Ok(missing)
}

/// How many of these records lie in no range of the stream that was told to be lost.
async fn untold<'a>(stage: &Stage, records: impl Iterator<Item = &'a (String, String)>) -> Result<usize> {
    let sql = "select shard, after_sequence::text, before_sequence::text from stream_losses";
    let losses = stage.sql().await?.query(sql, &[]).await?;
    // Sequence numbers have up to 129 digits.
    let number = |digits: &str| format!("{digits:0>130}");
    let told: Vec<(String, Option<String>, Option<String>)> = losses
        .iter()
        .map(|r| (r.get(0), r.get::<_, Option<&str>>(1).map(number), r.get::<_, Option<&str>>(2).map(number)))
        .collect();
    let untold = records.filter(|(shard, sequence)| {
        let at = number(sequence);
        !told.iter().any(|(of, after, before)| {
            of == shard && after.as_ref().is_none_or(|a| *a < at) && before.as_ref().is_none_or(|b| at < *b)
        })
    });
    Ok(untold.count())
}

/// I3: the hot projection is the newest value of each entity.
async fn hot(stage: &Stage, sent: &Sent, may_be_lost: bool, problems: &mut Vec<String>) -> Result<()> {
    let sql = "select t.name, e.external_id, (h.hot_attrs->>'n')::int8
               from entity_jsonb h join tenants t using (tenant_id) join entities e using (tenant_id, entity_id)";
    let rows = stage.sql().await?.query(sql, &[]).await?;
    let hot: HashMap<(String, String), Option<i64>> =
        rows.iter().map(|r| ((r.get(0), r.get(1)), r.get(2))).collect();
    let stale = sent
        .newest
        .iter()
        .filter(|((tenant, entity), (_, n))| {
            hot.get(&((*tenant).to_owned(), entity.clone())) != Some(&Some(*n))
        })
        .count();
    if stale > 0 && !may_be_lost {
        problems.push(format!(
            "I3: the hot projection of {stale} of {} entities is not the newest",
            sent.newest.len()
        ));
    }
    Ok(())
}

struct Watch {
    moved_back: Arc<std::sync::Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// I7: between two crashes no shard's flushed position moves back. (A crash may undo one
/// that was not on disk yet, together with the rows it stands for.)
fn watermarks(stage: &Stage, crashes: Arc<AtomicU32>) -> Watch {
    let moved_back = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (found, connect) = (moved_back.clone(), stage.connector());
    let task = tokio::spawn(async move {
        let mut last: HashMap<String, String> = HashMap::new();
        let mut era = 0;
        let mut client = None;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = crashes.load(Ordering::SeqCst);
            if client.is_none() {
                client = connect.open().await.ok();
            }
            let Some(sql) = &client else { continue };
            let query = "select shard, lpad(sequence::text, 130, '0') from flush_checkpoints where consumer = 'ingest'";
            let Ok(rows) = sql.query(query, &[]).await else {
                client = None;
                // Whatever broke the connection may have undone a commit.
                last.clear();
                continue;
            };
            if now != era || crashes.load(Ordering::SeqCst) != now {
                last.clear();
                era = now;
                continue;
            }
            for row in rows {
                let (shard, at): (String, String) = (row.get(0), row.get(1));
                if last.get(&shard).is_some_and(|before| at < *before) {
                    let text = format!("I7: the watermark of {shard} moved back to {at}");
                    found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(text);
                }
                last.insert(shard, at);
            }
        }
    });
    Watch { moved_back, task }
}
