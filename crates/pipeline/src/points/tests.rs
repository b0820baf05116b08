//! Any deliveries, cut into batches of two shards and flushed and crashed at random: what
//! history, hot projection, corrections and ledger hold is what a fold of them says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../../store/tests/support/mod.rs"]
mod support;

use super::*;
use crate::work::Origin;
use eaves_model::ValueType;
use eaves_store::ingest::{Attribute, Commit, Guard};
use eaves_store::read::{HistoryQuery, Reader};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::collections::BTreeMap;
use std::time::Duration;
use support::{Database, Server, Writer, place, position, time};

/// A value for a time, and what happens after it.
#[derive(Debug, Clone, Copy)]
struct Delivery {
    shard: usize,
    at: i64,
    value: i64,
    then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Nothing,
    Commit,
    Flush,
    Crash,
}

fn deliveries() -> impl Strategy<Value = Vec<Delivery>> {
    let then = prop_oneof![
        4 => Just(Then::Nothing), 4 => Just(Then::Commit), 2 => Just(Then::Flush), 1 => Just(Then::Crash)
    ];
    let one = (0..2usize, 0..4i64, 0..3i64, then).prop_map(|(shard, at, value, then)| Delivery {
        shard,
        at,
        value,
        then,
    });
    prop::collection::vec(one, 1..24)
}

/// What a point holds, and what it held before.
type Folded = BTreeMap<i64, (i64, Vec<i64>)>;

/// The reference: the deliveries one by one. Also how many are rejected.
fn fold(policy: PointPolicy, all: impl Iterator<Item = Delivery>) -> (Folded, u64) {
    let (mut points, mut rejected) = (Folded::new(), 0);
    for d in all {
        let Some((value, before)) = points.get_mut(&d.at) else {
            points.insert(d.at, (d.value, Vec::new()));
            continue;
        };
        match policy {
            _ if *value == d.value => {}
            PointPolicy::Replace => *value = d.value,
            PointPolicy::Reject => rejected += 1,
            PointPolicy::Correction => before.push(std::mem::replace(value, d.value)),
        }
    }
    (points, rejected)
}

struct Case<'a> {
    db: &'a Database,
    policy: PointPolicy,
    writers: Vec<Writer>,
    entity: EntityId,
    attribute: Arc<KnownAttribute>,
    open: [Vec<Delivery>; 2],
    /// Committed batches in order of their commits: shard, position, deliveries.
    log: Vec<(usize, u64, Vec<Delivery>)>,
    /// How many of them are in history.
    flushed: usize,
    position: u64,
}

impl Case<'_> {
    async fn commit(&mut self, shard: usize) {
        let batch = std::mem::take(&mut self.open[shard]);
        if batch.is_empty() {
            return;
        }
        self.position += 1;
        self.write(shard, self.position, &batch).await;
        self.log.push((shard, self.position, batch));
    }

    async fn write(&mut self, shard: usize, to: u64, batch: &[Delivery]) {
        let (entity, attribute, policy) = (self.entity, &self.attribute, self.policy);
        let w = &mut self.writers[shard];
        let points: Vec<Point> =
            batch.iter().map(|d| w.point(entity, attribute.row.id, d.at, Value::Integer(d.value))).collect();
        if policy == PointPolicy::Replace {
            let hot: Vec<HotRow> =
                batch.iter().map(|d| w.hot(entity, d.at, &format!(r#"{{"a":{}}}"#, d.value))).collect();
            w.commit(to, &points, &hot).await.unwrap();
            return;
        }
        let to = position(to);
        let reading = |at: u32| GuardedReading {
            policy,
            tenant_name: "acme".into(),
            entity_name: "e".into(),
            place: Origin { sequence: to.sequence(), sub: 0, item: at, arrived: time(0), redrive: None }
                .kept(),
            digest: None,
            validated: true,
            first: at,
            points: vec![(attribute.clone(), Some(0))],
        };
        let readings: Vec<_> = (0..points.len() as u32).map(reading).collect();
        let at = Commit {
            stream: "stream",
            shard: &w.shard,
            consumer: "test",
            expected: w.at.as_ref(),
            position: &to,
            points: &points,
            hot: &[],
            ledger: &[],
            quarantine: &[],
            redrives: &[],
        };
        let mut account = Account::default();
        let which = guarded(&readings);
        let settle = Box::new(|held| settle(&points, Vec::new(), &readings, &mut account, held));
        w.store.commit_guarded(&at, Guard { points: &which, settle }).await.unwrap();
        w.at = Some(to);
    }

    async fn flush(&mut self) {
        self.db.drain().await;
        self.flushed = self.log.len();
    }

    /// Staging is emptied; each shard's batches after the flushed watermark come again, the
    /// first shard's before the second's, whatever their order was.
    async fn crash(&mut self) {
        let staging = "truncate staging_epoch, staging_batches, staging_ledger, entity_values_ingest, \
                       entity_values_ingest_0, entity_values_ingest_1";
        self.db.sql.batch_execute(staging).await.unwrap();
        let mut lost = self.log.split_off(self.flushed);
        lost.sort_by_key(|(shard, ..)| *shard);
        for w in &mut self.writers {
            w.store.rewind(&place(&w.shard), None).await.unwrap();
            w.at = w.store.checkpoint(&place(&w.shard)).await.unwrap().position;
        }
        for (shard, to, batch) in lost {
            self.write(shard, to, &batch).await;
            self.log.push((shard, to, batch));
        }
    }

    /// What the history says, with what was superseded.
    async fn history(&self, with_staging: bool) -> Folded {
        let reader = Reader::new(&self.db.role("eaves_query"), Duration::from_secs(5));
        let query = HistoryQuery {
            tenant: self.db.acme,
            entity: self.entity,
            attribute: self.attribute.row.id,
            value_type: ValueType::Integer,
            from: time(0),
            to: time(100),
            descending: false,
            limit: 1000,
            with_staging,
            with_corrections: true,
        };
        let number = |v: &Value| if let Value::Integer(i) = v { *i } else { panic!("{v:?}") };
        let points = reader.history(&query).await.unwrap().value;
        let point = |p: &eaves_store::read::HistoryPoint| {
            let at = (p.observed_at.as_micros() - time(0).as_micros()) / 1_000_000;
            (at, (number(&p.value), p.superseded.iter().map(|s| number(&s.value)).collect()))
        };
        points.iter().map(point).collect()
    }
}

async fn play(
    db: &Database,
    number: usize,
    policy: PointPolicy,
    all: Vec<Delivery>,
) -> Result<(), TestCaseError> {
    // Between cases nothing is staged, so the ledger of one can be told by its growth.
    let mut writers = Vec::new();
    for shard in 0..2 {
        writers.push(db.writer(&format!("{number}-{shard}")).await);
    }
    let entity = writers[0].entity(&format!("e{number}")).await;
    let id = writers[0].attribute("a", ValueType::Integer).await;
    let row =
        Attribute { name: "a".into(), id, value_type: ValueType::Integer, unit: String::new(), is_hot: true };
    let attribute = Arc::new(KnownAttribute {
        row,
        json_key: "\"a\":".into(),
        limits: eaves_model::TimeLimits::default(),
    });
    let (open, log) = ([Vec::new(), Vec::new()], Vec::new());
    let mut case = Case { db, policy, writers, entity, attribute, open, log, flushed: 0, position: 0 };
    for d in all {
        case.open[d.shard].push(d);
        if d.then != Then::Nothing {
            case.commit(d.shard).await;
        }
        match d.then {
            Then::Flush => case.flush().await,
            Then::Crash => case.crash().await,
            Then::Nothing | Then::Commit => {}
        }
    }
    case.commit(0).await;
    case.commit(1).await;

    let sent = case.log.iter().flat_map(|(.., batch)| batch).count() as u64;
    let (expected, rejected) = fold(policy, case.log.iter().flat_map(|(.., batch)| batch.clone()));
    prop_assert_eq!(case.history(true).await, expected.clone(), "before the flush");
    case.flush().await;
    prop_assert_eq!(case.history(false).await, expected.clone(), "after the flush");
    let hot = db.one(&format!("select hot_attrs ->> 'a' from entity_jsonb where entity_id = {entity}")).await;
    let newest = expected.last_key_value().map(|(_, (value, _))| value.to_string());
    prop_assert_eq!(Some(hot), newest, "hot is the fold of history");
    let ledger = format!(
        "select coalesce(sum(count) filter (where outcome = 'accepted'), 0), \
         coalesce(sum(count) filter (where outcome = 'rejected' and reason = 'point_conflict'), 0) \
         from ingest_ledger where shard like '{number}-%'"
    );
    prop_assert_eq!(db.one(&ledger).await, format!("{}|{rejected}", sent - rejected));
    let kept = format!("select count(*) from quarantine where shard like '{number}-%'");
    prop_assert_eq!(db.one(&kept).await, rejected.to_string());
    Ok(())
}

#[test]
fn any_deliveries_end_as_their_fold() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(Server::start());
    let db = runtime.block_on(server.database());
    let number = std::cell::Cell::new(0);
    let mut failed = Vec::new();
    for policy in PointPolicy::ALL {
        let config =
            Config { cases: 24, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
        let done = TestRunner::new(config).run(&deliveries(), |all| {
            number.set(number.get() + 1);
            runtime.block_on(play(&db, number.get(), policy, all))
        });
        failed.extend(done.err().map(|e| format!("{policy}: {e}")));
    }
    drop(db);
    runtime.block_on(async { server.pg.lock().await.stop().await }).unwrap();
    drop(std::fs::remove_dir_all(&server.folder));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
