//! Attributes that become hot, and cease to be, while values come in.

use crate::support::{Database, Server, Suite, connect, text};
use eaves_model::{EntityId, TenantId, Value, ValueType};
use eaves_store::flush::FlushStore;
use eaves_store::hot::{ByHand, Decided, HotChange};
use eaves_store::read::{FilterRefusal, ReadError, Reader, SearchQuery};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("changes::history_is_filled_in_before_queries_see_it", filled);
    suite.test("changes::a_demoted_attribute_leaves_the_rows", demoted);
    suite.test("changes::attributes_that_become_hot_together_are_filled_in_together", together);
    suite.test("changes::values_of_all_ages_are_filled_in_and_told_as_they_stand", told_of_few);
    suite.test("changes::values_of_all_ages_are_filled_in_where_history_is_long", told_of_many);
    suite.test("changes::a_fill_that_is_killed_goes_on_where_it_was", killed);
    suite.test("changes::live_and_late_values_win_during_a_fill", live);
    suite.test("changes::a_search_during_a_fill_is_that_of_a_full_projection", searched);
}

const NOW: Option<Duration> = Some(Duration::ZERO);

/// No attribute becomes hot by itself.
async fn database(server: &Server) -> Database {
    let db = server.database().await;
    db.sql.batch_execute("update tenants set hot_limit = 0").await.unwrap();
    db
}

async fn request(db: &Database, tenant: TenantId, name: &str, hot: bool) -> Decided {
    let change = if hot { ByHand::Promote } else { ByHand::Demote };
    db.admin().await.hot_decide(tenant, name, change, ("tester", "for the test")).await.unwrap()
}

async fn through(flusher: &FlushStore) -> u64 {
    let mut rows = 0;
    while let Some(step) = flusher.hot_step(3, NOW).await.unwrap() {
        rows += step.rows;
    }
    rows
}

async fn found(db: &Database, filter: &str) -> Result<Vec<String>, ReadError> {
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(10));
    let rows = reader.search(&SearchQuery::new(db.acme, filter, 100)).await?.value;
    Ok(rows.into_iter().map(|r| format!("{} {}", r.entity.external_id, r.entity.attrs_json)).collect())
}

async fn only(db: &Database) -> HotChange {
    db.admin().await.hot_changes(db.acme).await.unwrap().remove(0)
}

async fn filled(server: Arc<Server>) {
    let db = database(&server).await;
    let mut w = db.writer("s").await;
    let a = w.attribute("a", ValueType::Integer).await;
    let mut points = Vec::new();
    for n in 0..8_i64 {
        let e = w.entity(&format!("e{n}")).await;
        points.extend([w.point(e, a, 5, Value::Integer(n)), w.point(e, a, 1, Value::Integer(-1))]);
    }
    // Some in history, some staged; one entity without.
    w.commit(1, &points[..10], &[]).await.unwrap();
    db.drain().await;
    w.commit(2, &points[10..], &[]).await.unwrap();
    w.entity("none").await;

    assert_eq!(request(&db, db.acme, "b", true).await, Decided::Unknown);
    assert_eq!(request(&db, db.other, "a", true).await, Decided::Unknown);
    assert_eq!(request(&db, db.acme, "a", true).await, Decided::Filling);
    assert_eq!(request(&db, db.acme, "a", true).await, Decided::Filling);
    // Ingest writes it from now on; queries do not see it yet.
    let known = w.store.register_attributes(db.acme, &[("a", ValueType::Integer)], true).await.unwrap();
    assert!(known[0].is_hot);
    let flusher = db.flusher().await;
    // Instances of ingest need their time to know.
    assert!(flusher.hot_step(100, None).await.unwrap().is_none());
    assert_eq!(only(&db).await.state, "waiting");
    let step = flusher.hot_step(3, NOW).await.unwrap().unwrap();
    assert_eq!((step.entities, step.rows, step.done), (3, 3, false));
    let filter = "{\"attribute\": \"a\", \"gte\": 6}";
    let refused = found(&db, filter).await.unwrap_err();
    assert!(matches!(refused, ReadError::Filter { refusal: FilterRefusal::NotHot, .. }), "{refused:?}");
    let running = only(&db).await;
    assert_eq!((running.state.as_str(), running.entities, running.of_entities), ("running", 3, Some(9)));

    assert_eq!(through(&flusher).await, 5);
    assert_eq!(found(&db, filter).await.unwrap(), ["e6 {\"a\": 6}", "e7 {\"a\": 7}"]);
    let done = only(&db).await;
    assert_eq!((done.state.as_str(), done.entities, done.rows), ("done", 9, 8));
    assert_eq!((done.requested_by.as_str(), done.reason.as_str()), ("tester", "for the test"));
    assert_eq!(request(&db, db.acme, "a", true).await, Decided::Hot);
    assert_eq!(db.admin().await.hot_verify(db.acme, EntityId(0), 1000, false).await.unwrap().found, 0);
    // Another tenant sees no change.
    let query = connect(&db.role("eaves_query")).await;
    let as_other = format!("begin; select set_config('app.current_tenant_id', '{}', true)", db.other);
    query.batch_execute(&as_other).await.unwrap();
    assert_eq!(text(&query, "select count(*) from hot_changes").await, "0");
}

async fn together(server: Arc<Server>) {
    let db = database(&server).await;
    let mut w = db.writer("s").await;
    let (a, b) = (w.attribute("a", ValueType::Integer).await, w.attribute("b", ValueType::String).await);
    let c = w.attribute("c", ValueType::Float).await;
    let mut points = Vec::new();
    let mut entities = Vec::new();
    for n in 0..8_i64 {
        let e = w.entity(&format!("e{n}")).await;
        entities.push(e);
        // Each attribute has entities without it, and e7 has none of the first two.
        if n < 6 {
            points.extend([w.point(e, a, n + 1, Value::Integer(n)), w.point(e, a, 0, Value::Integer(-1))]);
        }
        if (4..7).contains(&n) {
            points.push(w.point(e, b, 3, Value::String("x".into())));
        }
        points.push(w.point(e, c, 1, Value::Float(0.5)));
    }
    w.commit(1, &points[..9], &[]).await.unwrap();
    db.drain().await;
    w.commit(2, &points[9..], &[]).await.unwrap();
    for name in ["a", "b"] {
        assert_eq!(request(&db, db.acme, name, true).await, Decided::Filling);
    }
    let flusher = db.flusher().await;
    let step = flusher.hot_step(3, NOW).await.unwrap().unwrap();
    assert_eq!((step.entities, step.rows, step.done), (3, 3, false));
    assert_eq!(step.attributes, ["a", "b"]);
    // One that is asked for later has its own way to go.
    assert_eq!(request(&db, db.acme, "c", true).await, Decided::Filling);
    // A live value is newer than what is filled in after it, and an early one older.
    let live = [w.hot(entities[4], 9, r#"{"a":40}"#), w.hot(entities[5], 1, r#"{"a":50}"#)];
    let points =
        [w.point(entities[4], a, 9, Value::Integer(40)), w.point(entities[5], a, 1, Value::Integer(50))];
    w.commit(3, &points, &live).await.unwrap();
    let admin = db.admin().await;
    let so_far: Vec<_> = admin.hot_changes(db.acme).await.unwrap().into_iter().map(|c| c.entities).collect();
    assert_eq!(so_far, [0, 3, 3]);
    // The row of each of e3 to e6 is written once for both, that of all eight for the third.
    assert_eq!(through(&flusher).await, 4 + 8);
    let changes = admin.hot_changes(db.acme).await.unwrap();
    let told: Vec<_> = changes.iter().map(|c| (c.state.as_str(), c.entities, c.of_entities)).collect();
    assert_eq!(told, [("done", 8, Some(8)); 3]);
    let all = found(&db, r#"{"attribute":"c","exists":true}"#).await.unwrap();
    assert_eq!(all[0], r#"e0 {"a": 0, "c": 0.5}"#);
    assert_eq!(all[4], r#"e4 {"a": 40, "b": "x", "c": 0.5}"#);
    assert_eq!(all[5], r#"e5 {"a": 5, "b": "x", "c": 0.5}"#);
    assert_eq!(all[7], r#"e7 {"c": 0.5}"#);
    assert_eq!(admin.hot_verify(db.acme, EntityId(0), 1000, false).await.unwrap().found, 0);
}

async fn demoted(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (a, b) = (w.attribute("a", ValueType::Integer).await, w.attribute("b", ValueType::Integer).await);
    let (mut points, mut hot) = (Vec::new(), Vec::new());
    for n in 0..7_i64 {
        let e = w.entity(&format!("e{n}")).await;
        points.extend([w.point(e, a, 1, Value::Integer(n)), w.point(e, b, 1, Value::Integer(n))]);
        hot.push(w.hot(e, 1, &format!("{{\"a\":{n},\"b\":{n}}}")));
    }
    w.commit(1, &points, &hot).await.unwrap();
    db.drain().await;
    assert_eq!(request(&db, db.acme, "a", false).await, Decided::Cold);
    // At once, and long before its values are gone.
    let refused = found(&db, "{\"attribute\": \"a\", \"eq\": 1}").await.unwrap_err();
    assert!(matches!(refused, ReadError::Filter { refusal: FilterRefusal::NotHot, .. }), "{refused:?}");
    let admin = db.admin().await;
    assert_eq!(admin.hot_verify(db.acme, EntityId(0), 1000, true).await.unwrap().found, 0);
    let flusher = db.flusher().await;
    assert_eq!(flusher.hot_step(3, NOW).await.unwrap().map(|s| s.rows), Some(3));
    // Wanted again half-way: what is left of it is right, what is gone comes back.
    assert_eq!(request(&db, db.acme, "a", true).await, Decided::Filling);
    assert_eq!(through(&flusher).await, 3);
    assert_eq!(found(&db, "{\"attribute\": \"a\", \"gte\": 0}").await.unwrap().len(), 7);
    let states: Vec<_> = admin.hot_changes(db.acme).await.unwrap().into_iter().map(|c| c.state).collect();
    assert_eq!(states, ["done", "cancelled"]);

    request(&db, db.acme, "a", false).await;
    assert_eq!(through(&flusher).await, 7);
    assert_eq!(
        db.one("select count(*) from entity_jsonb where hot_attrs ? 'a' or hot_times ? 'a'").await,
        "0"
    );
    assert_eq!(
        db.one("select count(*) from entity_jsonb where hot_attrs ? 'b' and hot_times ? 'b'").await,
        "7"
    );
    assert_eq!(admin.hot_verify(db.acme, EntityId(0), 1000, false).await.unwrap().found, 0);
}

async fn told_of_few(server: Arc<Server>) {
    told(&server, 2).await;
}

/// More than is read from one end to the other: each value is looked up.
async fn told_of_many(server: Arc<Server>) {
    told(&server, 100).await;
}

async fn told(server: &Server, values: i64) {
    let db = database(server).await;
    let mut w = db.writer("s").await;
    let odd = r#"q"t\ %s"#;
    let (a, text) = (w.attribute("a", ValueType::Float).await, w.attribute(odd, ValueType::String).await);
    let times = w.attribute("t", ValueType::Timestamp).await;
    let other = w.attribute("later", ValueType::Integer).await;
    // Of several partitions, the default one among them, at either end; and of staging, older and newer than those.
    const YEAR: i64 = 365 * 86_400;
    let mut staged = Vec::new();
    for (n, at) in
        [[-20 * YEAR, -21 * YEAR], [0, -20 * YEAR], [40 * 86_400, 0], [30 * YEAR, 0]].into_iter().enumerate()
    {
        let e = w.entity(&format!("e{n}")).await;
        let mut points: Vec<_> = at.map(|at| w.point(e, a, at, Value::Float(at as f64 + 0.5))).into();
        points.push(w.point(e, text, at[0], Value::String("a \"b\" \\ %s \n ☃".into())));
        points.push(w.point(e, times, at[1], Value::Timestamp(crate::support::time(1))));
        w.commit(n as u64 + 1, &points, &[]).await.unwrap();
        let at = if n % 2 == 0 { at[0] + 1 } else { at[1] + 1 };
        staged.push(w.point(e, a, at, Value::Float(0.25)));
    }
    let e = w.entity("long").await;
    let long: Vec<_> = (0..values).map(|at| w.point(e, a, at, Value::Float(at as f64))).collect();
    w.commit(5, &long, &[]).await.unwrap();
    db.drain().await;
    // One has only what is staged.
    let e = w.entity("staged").await;
    staged.push(w.point(e, times, 7, Value::Timestamp(crate::support::time(2))));
    w.commit(6, &staged, &[]).await.unwrap();
    for name in ["a", odd, "t"] {
        assert_eq!(request(&db, db.acme, name, true).await, Decided::Filling);
    }
    let step = db.flusher().await.hot_step(100, NOW).await.unwrap().unwrap();
    assert_eq!((step.entities, step.rows), (6, 6));
    assert_eq!(step.attributes, ["a", odd, "t"]);
    let all = db.admin().await.hot_verify(db.acme, EntityId(0), 1000, true).await.unwrap();
    assert_eq!((all.entities, all.repaired, all.found), (6, 0, 0), "{all:?}");
    let rows = async || {
        let sql = "select entity_id, version, hot_attrs::text, hot_times::text from entity_jsonb order by entity_id";
        let rows = db.sql.query(sql, &[]).await.unwrap();
        let row = |r: &tokio_postgres::Row| (r.get(0), r.get(1), r.get(2), r.get(3));
        rows.iter().map(row).collect::<Vec<(i64, i64, String, String)>>()
    };
    let mut told: Vec<_> = step
        .changed_rows()
        .into_iter()
        .map(|r| (r.entity.0, r.version, r.attrs_json, r.times_json))
        .collect();
    told.sort();
    assert_eq!(told, rows().await);
    assert_eq!(through(&db.flusher().await).await, 0);
    assert_eq!(found(&db, r#"{"attribute": "a", "eq": 0.25}"#).await.unwrap().len(), 2);

    // As the release before asks for it: the rows are texts there.
    let one = w.point(e, other, 7, Value::Integer(1));
    w.commit(7, &[one], &[]).await.unwrap();
    assert_eq!(request(&db, db.acme, "later", true).await, Decided::Filling);
    let told = db.sql.query_one("select hot_step(100, interval '0')", &[]).await.unwrap();
    let told: serde_json::Value = told.get(0);
    let last = rows().await.pop().unwrap();
    assert_eq!(told["changed"], serde_json::json!([[last.0, last.1, last.2, last.3]]));
    assert_eq!((&told["attributes"], &told["rows"]), (&serde_json::json!(["later"]), &serde_json::json!(1)));
}

async fn killed(server: Arc<Server>) {
    let db = database(&server).await;
    let mut w = db.writer("s").await;
    let a = w.attribute("a", ValueType::Integer).await;
    let mut points = Vec::new();
    for n in 0..20_i64 {
        let e = w.entity(&format!("e{n:02}")).await;
        points.push(w.point(e, a, 1, Value::Integer(n)));
    }
    w.commit(1, &points, &[]).await.unwrap();
    db.drain().await;
    request(&db, db.acme, "a", true).await;
    let flusher = db.flusher().await;
    flusher.hot_step(5, NOW).await.unwrap();
    // The second part is done, and its connection dies before it commits.
    let mut dying = connect(&db.superuser).await;
    let part = dying.transaction().await.unwrap();
    assert_eq!(part.query("select hot_step(5, interval '0')", &[]).await.unwrap().len(), 1);
    let pid: i32 = part.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    assert_eq!(only(&db).await.entities, 5);
    // Nobody else takes the part meanwhile.
    assert!(flusher.hot_step(5, NOW).await.unwrap().is_none());
    db.one(&format!("select pg_terminate_backend({pid})")).await;
    crate::support::until("the part is free again", async || {
        flusher.hot_step(5, NOW).await.unwrap().is_some()
    })
    .await;
    assert_eq!(only(&db).await.entities, 10);
    assert_eq!(through(&flusher).await, 10);
    let done = only(&db).await;
    assert_eq!((done.entities, done.rows), (20, 20));
    assert_eq!(found(&db, "{\"attribute\": \"a\", \"gte\": 0}").await.unwrap().len(), 20);
}

async fn live(server: Arc<Server>) {
    let db = database(&server).await;
    let mut first = db.writer("s").await;
    let a = first.attribute("a", ValueType::Integer).await;
    let (mut entities, mut points) = (Vec::new(), Vec::new());
    for n in 0..40 {
        let e = first.entity(&format!("e{n}")).await;
        entities.push(e);
        points.push(first.point(e, a, 500, Value::Integer(500)));
    }
    first.commit(1, &points, &[]).await.unwrap();
    request(&db, db.acme, "a", true).await;
    // One part at least has rows to fill, however late the others come.
    let filled = db.flusher().await.hot_step(3, NOW).await.unwrap().unwrap();
    assert_eq!(filled.rows, 3);

    let written = AtomicBool::new(false);
    let write = async {
        let writers = (0..3_i64).map(|shard| {
            let (db, entities) = (&db, &entities);
            async move {
                let mut w = db.writer(&format!("shard{shard}")).await;
                for to in 1..50_u64 {
                    // Late ones, older than history's, and newer ones, each entity in turn.
                    let at = ((to * 37) % 53) as i64 * 20 + shard;
                    let some: Vec<_> = entities.iter().skip(to as usize % 3).step_by(3).collect();
                    let points: Vec<_> =
                        some.iter().map(|e| w.point(**e, a, at, Value::Integer(at))).collect();
                    let json = format!("{{\"a\":{at}}}");
                    let hot: Vec<_> = some.iter().map(|e| w.hot(**e, at, &json)).collect();
                    w.commit(to, &points, &hot).await.unwrap();
                }
            }
        });
        futures_util::future::join_all(writers).await;
        written.store(true, Ordering::SeqCst);
    };
    let flush = async {
        let flusher = db.flusher().await;
        while !written.load(Ordering::SeqCst) {
            flusher.stage_flush(1).await.unwrap();
        }
    };
    let fill = async { through(&db.flusher().await).await };
    let ((), (), _) = tokio::join!(write, flush, fill);
    assert_eq!(only(&db).await.state, "done");
    let all = db.admin().await.hot_verify(db.acme, EntityId(0), 1000, false).await.unwrap();
    assert_eq!((all.values, all.differences), (40, vec![]));
}

/// Long enough ago for every instance of ingest to know, and flushed since.
async fn asked_long_ago(db: &Database) {
    db.sql.batch_execute("update hot_changes set requested_at = now() - interval '1 hour'").await.unwrap();
    db.drain().await;
}

async fn searched(server: Arc<Server>) {
    let db = database(&server).await;
    let mut w = db.writer("s").await;
    let (a, at) = (w.attribute("a", ValueType::Integer).await, w.attribute("at", ValueType::Timestamp).await);
    let (mut entities, mut points) = (Vec::new(), Vec::new());
    for n in 0..6_i64 {
        let e = w.entity(&format!("e{n}")).await;
        entities.push(e);
        points.extend([w.point(e, a, 5, Value::Integer(n)), w.point(e, a, 1, Value::Integer(99))]);
    }
    points.push(w.point(entities[3], at, 5, Value::Timestamp(crate::support::time(7))));
    w.entity("none").await;
    // They have been in the projection for another attribute.
    let rows: Vec<_> = entities.iter().map(|e| w.hot(*e, 1, "{\"other\":1}")).collect();
    w.commit(1, &points, &rows).await.unwrap();
    db.drain().await;
    for name in ["a", "at"] {
        assert_eq!(request(&db, db.acme, name, true).await, Decided::Filling);
    }
    asked_long_ago(&db).await;

    // Live: a newer value, and one that comes late.
    let live =
        [w.point(entities[0], a, 9, Value::Integer(50)), w.point(entities[1], a, 3, Value::Integer(60))];
    let hot = [w.hot(entities[0], 9, "{\"a\":50}"), w.hot(entities[1], 3, "{\"a\":60}")];
    w.commit(2, &live, &hot).await.unwrap();
    db.drain().await;

    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(10));
    let flusher = db.flusher().await;
    for step in 0..9 {
        if step > 0 {
            flusher.hot_step(3, NOW).await.unwrap();
        }
        let names = async |filter: &str| -> Vec<String> {
            let query = SearchQuery {
                cold_from: Some(crate::support::time(0)),
                ..SearchQuery::new(db.acme, filter, 100)
            };
            let found = reader.search(&query).await.unwrap_or_else(|e| panic!("{step}: {filter}: {e:?}"));
            found.value.into_iter().map(|row| row.entity.external_id).collect()
        };
        assert_eq!(names("{\"attribute\": \"a\", \"gte\": 3}").await, ["e0", "e3", "e4", "e5"], "{step}");
        assert_eq!(names("{\"attribute\": \"a\", \"eq\": 1}").await, ["e1"], "{step}");
        assert_eq!(names("{\"attribute\": \"a\", \"in\": [60, 99, 0]}").await, [""; 0], "{step}");
        let not = "{\"not\": {\"attribute\": \"a\", \"gte\": 3}}";
        assert_eq!(names(not).await, ["e1", "e2", "none"], "{step}");
        let both = "{\"and\": [{\"attribute\": \"a\", \"eq\": 3}, {\"attribute\": \"at\", \"lt\": \"2026-02-01T00:00:00Z\"}]}";
        assert_eq!(names(both).await, ["e3"], "{step}");
    }
    let states: Vec<_> =
        db.admin().await.hot_changes(db.acme).await.unwrap().into_iter().map(|c| c.state).collect();
    assert_eq!(states, ["done", "done"]);
    // Another tenant's attributes of the name are not searched.
    let query = SearchQuery::new(db.other, "{\"attribute\": \"a\", \"gte\": 3}", 9);
    reader.search(&query).await.unwrap_err();
}
