//! Points: what they hold is found wherever it is, and the later value holds.

use crate::support::{Server, Suite, Writer, time};
use eaves_model::batch::Point;
use eaves_model::{AttributeId, EntityId, PointPolicy, Timestamp, Value, ValueType};
use eaves_store::admin::{LimitChange, TenantChange};
use eaves_store::ingest::{Commit, Correction, Decided, Guard, Held, IngestStore};
use eaves_store::read::{HistoryQuery, Reader};
use std::sync::Arc;
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("points::the_later_value_holds_whichever_leaf_is_flushed_first", later_value);
    suite.test("points::statistics_count_a_point_once", statistics);
    suite.test("points::what_a_point_holds_is_found_staged_and_flushed", found_anywhere);
    suite.test("points::a_look_up_does_not_make_the_flush_wait", flush_goes_on);
    suite.test("points::one_batch_of_a_guarded_tenant_at_a_time", one_at_a_time);
    suite.test("points::corrections_are_shown_when_their_point_is", corrections);
    suite.test("points::rules_are_set_seen_and_taken_away", rules);
}

fn at(number: u64) -> eaves_model::Position {
    crate::support::position(number)
}

/// Commits with a guard on every point; `settle` decides.
async fn guarded(
    w: &mut Writer,
    to: u64,
    points: &[Point],
    settle: impl FnOnce(Vec<Held>) -> Decided + Send,
) -> eaves_store::ingest::Committed {
    let which: Vec<u32> = (0..points.len() as u32).collect();
    let to = at(to);
    let commit = Commit {
        stream: "stream",
        shard: &w.shard,
        consumer: "test",
        expected: w.at.as_ref(),
        position: &to,
        points,
        hot: &[],
        ledger: &[],
        quarantine: &[],
        redrives: &[],
    };
    let done =
        w.store.commit_guarded(&commit, Guard { points: &which, settle: Box::new(settle) }).await.unwrap();
    w.at = Some(to);
    done
}

/// What each of the points holds.
async fn held(w: &mut Writer, to: u64, points: &[Point]) -> Vec<Option<Value>> {
    let mut found = vec![None; points.len()];
    guarded(w, to, points, |held| {
        for h in held {
            found[h.point as usize] = Some(h.value);
        }
        Decided::default()
    })
    .await;
    found
}

async fn later_value(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    for (to, value) in [(1, 1), (2, 2)] {
        let points = [w.point(e, a, 0, Value::Integer(value))];
        w.commit(to, &points, &[]).await.unwrap();
    }
    // As if the first batch had waited for its leaf while that was flushed: the second is
    // in the other leaf by then, which is flushed first.
    db.sql
        .batch_execute(
            "insert into entity_values_ingest_1 select * from entity_values_ingest_0 where value_int = 1;
             delete from entity_values_ingest_0 where value_int = 1;
             update staging_batches set slot = 1 where right(sequence::text, 1) = '1'",
        )
        .await
        .unwrap();
    db.drain().await;
    assert_eq!(db.one("select value_int from entity_values_ts").await, "2");
}

async fn statistics(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let now = Timestamp::now();
    let point = |w: &Writer, value| Point { observed_at: now, ..w.point(e, a, 0, Value::Integer(value)) };
    let points = [point(&w, 1), point(&w, 2)];
    w.commit(1, &points, &[]).await.unwrap();
    let points = [point(&w, 3)];
    w.commit(2, &points, &[]).await.unwrap();
    db.drain().await;
    w.commit(3, &points, &[]).await.unwrap();
    db.drain().await;
    db.flusher().await.refresh_statistics().await.unwrap();
    let row = "select value_count, entity_count, min_value, max_value from mv_entity_attribute_stats";
    assert_eq!(db.one(row).await, "1|1|3|3");
}

async fn found_anywhere(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let e = w.entity("e").await;
    let values = [
        Value::Integer(i64::MIN),
        Value::Float(0.1),
        Value::Boolean(false),
        Value::Decimal("0.00".parse().unwrap()),
        Value::Timestamp(time(7)),
        Value::String("ä".repeat(30_000).as_str().into()),
    ];
    // This month, months in the past, and where only the default partition takes them.
    let times = [Timestamp::now().plus_micros(-1).as_micros(), time(0).as_micros(), 980_000_000_000_000];
    let mut points = Vec::new();
    for (n, value) in values.iter().enumerate() {
        let a = w.attribute(&format!("a{n}"), value.value_type()).await;
        for micros in times {
            let observed_at = Timestamp::from_micros(micros).unwrap();
            points.push(Point { observed_at, ..w.point(e, a, 0, value.clone()) });
        }
    }
    let expected: Vec<Option<Value>> = points.iter().map(|p| Some(p.value.clone())).collect();
    assert_eq!(held(&mut w, 1, &points).await, vec![None; points.len()]);
    w.commit(2, &points, &[]).await.unwrap();
    assert_eq!(held(&mut w, 3, &points).await, expected, "staged");
    db.drain().await;
    assert_eq!(held(&mut w, 4, &points).await, expected, "in history");
    let foreign = Writer { tenant: db.other, ..db.writer("t").await };
    let other = [Point { tenant: db.other, ..points[0].clone() }];
    assert_eq!(held(&mut { foreign }, 1, &other).await, [None]);
    // Staged again with another value: that one.
    let again = [Point { value: Value::Integer(1), ..points[0].clone() }];
    w.commit(5, &again, &[]).await.unwrap();
    assert_eq!(held(&mut w, 6, &again).await, [Some(Value::Integer(1))]);
    w.commit(7, &[points[0].clone(), again[0].clone()], &[]).await.unwrap();
    assert_eq!(held(&mut w, 8, &again).await, [Some(Value::Integer(1))], "the later of a batch");
}

async fn flush_goes_on(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let points = [w.point(e, a, 0, Value::Integer(1))];
    w.commit(1, &points, &[]).await.unwrap();
    let looking = crate::support::connect(&db.role("eaves_ingest")).await;
    let sql = format!(
        "begin; select count(*) from held_points(array[{}], array[{e}::int8], array[{a}], array['2026-01-01'::timestamptz])",
        db.acme
    );
    assert!(crate::support::text(&looking, &sql).await.ends_with('1'));
    let leaves = "select count(*) from pg_locks l join pg_class c on c.oid = l.relation
                  where c.relname like 'entity\\_values\\_ingest%'
                    and l.database = (select oid from pg_database where datname = current_database())";
    // Databases that were copied from one template have tables of the same numbers.
    assert_eq!(db.one(leaves).await, "0", "the look-up's locks are gone");
    assert_eq!(db.flusher().await.stage_flush(1).await.unwrap(), Some(1));
    assert_eq!(db.one("select pg_relation_size('entity_values_ingest_0')").await, "0", "truncated");
    looking.batch_execute("rollback").await.unwrap();
}

/// Of batches that bring different values at once exactly one finds the point free.
async fn one_at_a_time(server: Arc<Server>) {
    let db = server.database().await;
    let mut first = db.writer("s0").await;
    let (e, a) = (first.entity("e").await, first.attribute("a", ValueType::Integer).await);
    for round in 0..10u64 {
        let work = (0..4i64).map(|n| {
            let db = &db;
            async move {
                let mut w = db.writer(&format!("s{n}")).await;
                w.at = (round > 0).then(|| at(round));
                let points = vec![w.point(e, a, round as i64, Value::Integer(n))];
                let mut won = 0;
                guarded(&mut w, round + 1, &points.clone(), |held| {
                    won = usize::from(held.is_empty());
                    let points = if held.is_empty() { points } else { Vec::new() };
                    Decided { points, ..Decided::default() }
                })
                .await;
                won
            }
        });
        let flush = async {
            db.flusher().await.stage_flush(1).await.unwrap();
            0
        };
        let (won, _) = tokio::join!(futures_util::future::join_all(work), flush);
        assert_eq!(won.iter().sum::<usize>(), 1, "round {round}");
    }
    db.drain().await;
    assert_eq!(db.one("select count(*), count(distinct observed_at) from entity_values_ts").await, "10|10");
}

async fn corrections(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Decimal).await);
    let decimal = |text: &str| Value::Decimal(text.parse().unwrap());
    let points = [w.point(e, a, 0, decimal("0.00")), w.point(e, a, 1, decimal("5"))];
    w.commit(1, &points, &[]).await.unwrap();
    db.drain().await;
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(5));
    let seen = async |with_staging: bool| -> Vec<(Value, Vec<Value>)> {
        let points = reader.history(&query(db.acme, e, a, with_staging)).await.unwrap().value;
        let superseded =
            |p: &eaves_store::read::HistoryPoint| p.superseded.iter().map(|s| s.value.clone()).collect();
        points.iter().map(|p| (p.value.clone(), superseded(p))).collect()
    };
    let next = [w.point(e, a, 0, decimal("1.50"))];
    let correct = |held: Vec<Held>| {
        let correction = |h: Held| Correction {
            tenant: next[0].tenant,
            entity: e,
            attribute: a,
            observed_at: next[0].observed_at,
            value: h.value,
            ingested_at: Some(h.ingested_at),
            sequence: "2".into(),
            sub: 0,
        };
        let corrections = held.into_iter().map(correction).collect();
        Decided { points: next.to_vec(), corrections, ..Decided::default() }
    };
    guarded(&mut w, 2, &next, correct).await;
    let before = vec![(decimal("5"), vec![]), (decimal("0.00"), vec![])];
    let after = vec![(decimal("5"), vec![]), (decimal("1.50"), vec![decimal("0.00")])];
    assert_eq!(seen(false).await, before, "the new value is not in history yet");
    assert_eq!(seen(true).await, after);
    db.drain().await;
    assert_eq!(seen(false).await, after);
    assert_eq!(db.one("select value_decimal from entity_value_corrections").await, "0.00");
    let page = HistoryQuery { limit: 1, descending: false, ..query(db.acme, e, a, true) };
    let page = reader.history(&page).await.unwrap().value;
    assert_eq!((page.len(), page[0].superseded.len()), (1, 1));
    let other = reader.history(&query(db.other, e, a, true)).await.unwrap().value;
    assert!(other.is_empty());
}

fn query(
    tenant: eaves_model::TenantId,
    entity: EntityId,
    attribute: AttributeId,
    with_staging: bool,
) -> HistoryQuery {
    HistoryQuery {
        tenant,
        entity,
        attribute,
        value_type: ValueType::Decimal,
        from: time(-10),
        to: time(1_000),
        descending: true,
        limit: 100,
        with_staging,
        with_corrections: true,
    }
}

async fn rules(server: Arc<Server>) {
    let db = server.database().await;
    let mut store = IngestStore::connect(&db.role("eaves_ingest")).await.unwrap();
    let attributes = store
        .register_attributes(db.acme, &[("a", ValueType::Float), ("b", ValueType::Float)], true)
        .await
        .unwrap();
    let admin = db.admin().await;
    let found = store.tenants(&["acme", "nobody", "other"]).await.unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|t| t.points == PointPolicy::Replace && t.attributes.is_empty()), "{found:?}");
    assert!(found.iter().all(|t| t.limits == eaves_model::TimeLimits::default()));

    let limit = |text: &str| Some(Some(text.parse().unwrap()));
    let limits = LimitChange { late: limit("30d:quarantine"), ahead: limit("10m:reject") };
    let change = TenantChange { points: Some(PointPolicy::Reject), limits, ..TenantChange::default() };
    assert_eq!(admin.tenant_set("acme", change).await.unwrap(), Some(db.acme));
    assert_eq!(admin.tenant_set("nobody", change).await.unwrap(), None);
    let own = LimitChange { late: limit("accept"), ahead: None };
    assert!(admin.attribute_set(db.acme, "b", own).await.unwrap());
    assert!(!admin.attribute_set(db.other, "b", own).await.unwrap());

    let acme = store.tenants(&["acme"]).await.unwrap().remove(0);
    assert_eq!(acme.points, PointPolicy::Reject);
    assert_eq!(acme.limits.late.unwrap().to_string(), "30d:quarantine");
    assert_eq!(acme.limits.ahead.unwrap().to_string(), "10m:reject");
    let (id, own) = acme.attributes[0];
    assert_eq!((id, own.late.unwrap().to_string(), own.ahead), (attributes[1].id, "accept".into(), None));
    let shown = admin.tenant_settings().await.unwrap();
    assert_eq!((shown[0].limits, shown[0].points, shown[0].hot_limit), (acme.limits, acme.points, 64));
    assert_eq!(admin.attribute_settings(db.acme).await.unwrap()[1].limits, own);

    // What is not named stays, what is taken away is gone.
    let limits = LimitChange { late: Some(None), ahead: None };
    admin.tenant_set("acme", TenantChange { limits, hot_limit: Some(7), ..<_>::default() }).await.unwrap();
    assert!(admin.attribute_set(db.acme, "b", limits).await.unwrap());
    let acme = store.tenants(&["acme"]).await.unwrap().remove(0);
    assert_eq!((acme.points, acme.limits.late, acme.attributes.len()), (PointPolicy::Reject, None, 0));
    assert!(acme.limits.ahead.is_some());
    assert_eq!(admin.tenant_settings().await.unwrap()[0].hot_limit, 7);
}
