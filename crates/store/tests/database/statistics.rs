//! Statistics of attributes: what is added by many adds up, and belongs to one tenant.

use crate::support::{Database, Server, Suite, connect, text};
use eaves_model::{TenantId, Value, ValueType};
use eaves_store::read::{Asked, AttributeUsage, Reader};
use std::sync::Arc;
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("statistics::writes_are_counted_when_the_batch_is_taken", writes);
    suite.test("statistics::queries_count_for_the_tenant_that_asks", queries);
    suite.test("statistics::many_who_add_and_fold_lose_and_double_nothing", concurrent);
    suite.test("statistics::two_periods_are_kept", periods);
}

async fn usage(db: &Database, tenant: TenantId, name: &str) -> Option<AttributeUsage> {
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(10));
    reader.attribute_usages(tenant, "", Some(name), 1).await.unwrap().value.pop()
}

async fn writes(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let a = w.attribute("a", ValueType::String).await;
    let (e, f) = (w.entity("e").await, w.entity("f").await);
    let string = |s: &str| Value::String(s.into());
    let points =
        [w.point(e, a, 1, string("on")), w.point(e, a, 2, string("on")), w.point(f, a, 1, string("off"))];
    w.commit(1, &points, &[]).await.unwrap();
    // The same batch by another instance, and by this one: not taken, and not counted.
    let mut twin = db.writer("s").await;
    twin.commit(1, &points, &[]).await.unwrap_err();
    twin.at = w.at.clone();
    let flusher = db.flusher().await;
    assert_eq!(flusher.fold_statistics().await.unwrap(), 1);
    assert_eq!(flusher.fold_statistics().await.unwrap(), 0);
    let found = usage(&db, db.acme, "a").await.unwrap().usage;
    assert_eq!((found.values, found.bytes), (3, 7));
    assert_eq!((found.compared, found.changed), (1, 0));
    assert_eq!((found.entities, found.distinct_values), (2, 2));
    assert!(found.last_written_at.is_some());
    assert_eq!(usage(&db, db.other, "a").await, None);

    // What the twin told of a batch that was rolled back it tells again.
    let points = [w.point(e, a, 3, string("off")), w.point(f, a, 2, string("idle"))];
    twin.commit(2, &points, &[]).await.unwrap();
    flusher.fold_statistics().await.unwrap();
    let found = usage(&db, db.acme, "a").await.unwrap().usage;
    assert_eq!((found.values, found.entities, found.distinct_values), (5, 2, 3));
    // Not a value, and known all the same.
    w.attribute("b", ValueType::Float).await;
    let unused = usage(&db, db.acme, "b").await.unwrap();
    assert_eq!((unused.usage.values, unused.usage.entities, unused.day), (0, 0, None));
}

async fn queries(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    w.attribute("a", ValueType::Float).await;
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(10));
    let asked = |name: &str| Asked {
        name: name.into(),
        queries: 3,
        filters: 2,
        ranges: 1,
        returns: 1,
        query_us: 6000,
    };
    reader.add_queries(db.acme, &[asked("a"), asked("none")]).await.unwrap();
    reader.add_queries(db.other, &[asked("a")]).await.unwrap();
    assert_eq!(db.flusher().await.fold_statistics().await.unwrap(), 1);
    let found = usage(&db, db.acme, "a").await.unwrap().usage;
    assert_eq!((found.queries, found.filters, found.returns), (3, 2, 1));
    assert_eq!(found.query_milliseconds(), Some(2.0));
    assert_eq!(db.one("select ranges from attribute_statistics").await, "1");
    // The release before does not say which filters were ranges.
    let query = connect(&db.role("eaves_query")).await;
    let before = "select statistics_add_queries('{a,none}', '{3,3}', '{2,2}', '{1,1}', '{6000,6000}')";
    query
        .batch_execute(&format!(
            "begin; select set_config('app.current_tenant_id', '{}', true); {before}; commit",
            db.acme
        ))
        .await
        .unwrap();
    db.flusher().await.fold_statistics().await.unwrap();
    assert_eq!(db.one("select filters || ' ' || ranges from attribute_statistics").await, "4 3");
    // What a rule of promotion is shown is the tenant's own.
    let judged = reader.hot_statistics(db.acme).await.unwrap().value;
    let names: Vec<&str> = judged.statistics.attributes.iter().map(|a| &*a.name).collect();
    assert_eq!(names, ["a"]);
    assert!(judged.statistics.attributes[0].filters_per_second > 0.0);
    assert!(reader.hot_statistics(db.other).await.unwrap().value.statistics.attributes.is_empty());
    // Without a tenant nothing is added, and nothing read.
    let query = connect(&db.role("eaves_query")).await;
    text(&query, "select statistics_add_queries('{a}', '{1}', '{1}', '{1}', '{1}', '{1}')").await;
    text(&query, "select statistics_add_queries('{a}', '{1}', '{1}', '{1}', '{1}')").await;
    assert_eq!(db.one("select count(*) from staging_attribute_statistics").await, "0");
    let rows =
        "select (select count(*) from attribute_statistics) + (select count(*) from attribute_sketches)";
    assert_eq!(text(&query, rows).await, "0");
}

async fn concurrent(server: Arc<Server>) {
    let db = server.database().await;
    let mut first = db.writer("s").await;
    let a = first.attribute("a", ValueType::Integer).await;
    let mut entities = Vec::new();
    for n in 0..20 {
        entities.push(first.entity(&format!("e{n}")).await);
    }
    let writers = (0..4).map(|shard| {
        let (db, entities) = (&db, &entities);
        async move {
            let mut w = db.writer(&format!("shard{shard}")).await;
            for to in 1..=15_u64 {
                let value = Value::Integer(to as i64);
                let points: Vec<_> =
                    entities.iter().map(|e| w.point(*e, a, to as i64 * 10 + shard, value.clone())).collect();
                w.commit(to, &points, &[]).await.unwrap();
            }
        }
    });
    let folders = (0..2).map(|_| async {
        let flusher = db.flusher().await;
        for _ in 0..30 {
            flusher.fold_statistics().await.unwrap();
        }
    });
    tokio::join!(futures_util::future::join_all(writers), futures_util::future::join_all(folders));
    let flusher = db.flusher().await;
    flusher.fold_statistics().await.unwrap();
    assert_eq!(db.one("select count(*) from staging_attribute_statistics").await, "0");
    let found = usage(&db, db.acme, "a").await.unwrap().usage;
    assert_eq!((found.values, found.bytes), (4 * 15 * 20, 4 * 15 * 20 * 8));
    // Each writer compares what it wrote itself.
    assert_eq!((found.compared, found.changed), (4 * 14 * 20, 4 * 14 * 20));
    assert!((19..=21).contains(&found.entities) && (14..=16).contains(&found.distinct_values), "{found:?}");
}

async fn periods(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (a, e) = (w.attribute("a", ValueType::Integer).await, w.entity("e").await);
    let flusher = db.flusher().await;
    for (to, back) in [(1, 2), (2, 1), (3, 0)] {
        w.commit(to, &[w.point(e, a, to as i64, Value::Integer(to as i64))], &[]).await.unwrap();
        flusher.fold_statistics().await.unwrap();
        for table in ["attribute_statistics", "attribute_sketches"] {
            let sql = format!(
                "update {table} set period = period - {back} where period = statistics_period(now())"
            );
            db.sql.batch_execute(&sql).await.unwrap();
        }
        // Another instance tells of its registers anew, as all do in a new period.
        w.store = db.writer("s").await.store;
    }
    let found = usage(&db, db.acme, "a").await.unwrap().usage;
    assert_eq!((found.values, found.distinct_values, found.entities), (2, 2, 1));
    let periods = "select count(distinct period) from attribute_statistics";
    assert_eq!(db.one(periods).await, "3");
    db.sql
        .batch_execute("update attribute_statistics_state set folded_at = now() - interval '13 hours'")
        .await
        .unwrap();
    flusher.fold_statistics().await.unwrap();
    assert_eq!(db.one(periods).await, "2");
    assert_eq!(db.one("select count(*) from attribute_sketches").await, "2");
}
