//! The hot projection: attribute by attribute the latest value.

use crate::support::{Server, Suite, text};
use eaves_model::ValueType;
use rand::seq::SliceRandom as _;
use std::collections::BTreeMap;
use std::sync::Arc;

pub fn add(suite: &mut Suite) {
    suite.test("hot::the_latest_value_wins_attribute_by_attribute", latest_wins);
    suite.test("hot::nothing_new_changes_nothing", nothing_new);
    suite.test("hot::any_order_of_arrival_ends_the_same", any_order);
    suite.test("hot::batches_that_share_entities_do_not_lock_each_other_out", shared_entities);
    suite.test("hot::one_entity_by_function", one_entity);
}

const ROW: &str = "select hot_attrs, extract(epoch from observed_at)::int8 - 1767225600 from entity_jsonb";

async fn latest_wins(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let e = w.entity("e").await;
    let done = w.commit(1, &[], &[w.hot(e, 10, r#"{"a":1,"b":1}"#)]).await.unwrap();
    let first = done.hot[0].version;
    assert!(first > eaves_model::Timestamp::now().as_micros() - 60_000_000, "microseconds: {first}");
    assert_eq!(done.hot[0].attrs_json, r#"{"a": 1, "b": 1}"#);
    // Late for a and b, first for c.
    let done = w.commit(2, &[], &[w.hot(e, 5, r#"{"a":0,"c":0}"#)]).await.unwrap();
    assert_eq!(done.hot[0].attrs_json, r#"{"a": 1, "b": 1, "c": 0}"#);
    // Several readings of one entity in a batch, the late one last.
    let hot = [w.hot(e, 30, r#"{"a":3}"#), w.hot(e, 7, r#"{"c":7,"b":0}"#), w.hot(e, 20, r#"{"a":2,"b":2}"#)];
    w.commit(3, &[], &hot).await.unwrap();
    assert_eq!(db.one(ROW).await, r#"{"a": 3, "b": 2, "c": 7}|30"#);
    let times = "select (hot_times ->> 'a')::int8 - (hot_times ->> 'c')::int8 from entity_jsonb";
    assert_eq!(db.one(times).await, "23000000");
}

async fn nothing_new(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let e = w.entity("e").await;
    w.commit(1, &[], &[w.hot(e, 10, r#"{"a":1,"b":1}"#)]).await.unwrap();
    for late in [w.hot(e, 10, r#"{"a":1,"b":1}"#), w.hot(e, 9, r#"{"a":5}"#)] {
        let at = w.at.as_ref().map_or(0, |p| p.sequence()[50..].parse::<u64>().unwrap());
        assert!(w.commit(at + 1, &[], &[late]).await.unwrap().hot.is_empty());
    }
    // At the same time the one that arrives later holds, as in history.
    assert_eq!(w.commit(9, &[], &[w.hot(e, 10, r#"{"a":2}"#)]).await.unwrap().hot.len(), 1);
    assert_eq!(db.one(ROW).await, r#"{"a": 2, "b": 1}|10"#);
}

async fn any_order(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let mut rng = rand::rng();
    for round in 0..10 {
        let e = w.entity(&format!("e{round}")).await;
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        let mut readings = Vec::new();
        for at in 0..30i64 {
            let names: Vec<String> =
                (0..6).filter(|n| (at * 7 + n * 3 + round) % 4 < 2).map(|n| format!("k{n}")).collect();
            let fields: Vec<String> = names.iter().map(|n| format!("\"{n}\":{at}")).collect();
            expected.extend(names.into_iter().map(|n| (n, at)));
            readings.push(w.hot(e, at, &format!("{{{}}}", fields.join(","))));
        }
        readings.shuffle(&mut rng);
        for (n, batch) in readings.chunks(7).enumerate() {
            w.commit(round as u64 * 10 + n as u64 + 1, &[], batch).await.unwrap();
        }
        let found = db.one(&format!("select hot_attrs from entity_jsonb where entity_id = {e}")).await;
        assert_eq!(serde_json::from_str::<BTreeMap<String, i64>>(&found).unwrap(), expected);
    }
}

async fn shared_entities(server: Arc<Server>) {
    let db = server.database().await;
    let mut first = db.writer("s").await;
    let mut entities = Vec::new();
    for n in 0..40 {
        entities.push(first.entity(&format!("e{n}")).await);
    }
    let work = (0..5).map(|n| {
        let mut entities = entities.clone();
        entities.rotate_left(n * 7);
        let db = &db;
        async move {
            let mut w = db.writer(&format!("shard{n}")).await;
            for to in 1..20u64 {
                let at = (to * 5 + n as u64) as i64;
                let hot: Vec<_> =
                    entities.iter().map(|e| w.hot(*e, at, &format!(r#"{{"a":{at}}}"#))).collect();
                w.commit(to, &[], &hot).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(work).await;
    assert_eq!(db.one("select distinct hot_attrs from entity_jsonb").await, r#"{"a": 99}"#);
}

async fn one_entity(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let e = w.entity("e").await;
    w.attribute("a", ValueType::Float).await;
    let ingest = crate::support::connect(&db.role("eaves_ingest")).await;
    let call = |json: &str, at: &str| format!("select upsert_hot_attrs({}, {e}, '{json}', '{at}')", db.acme);
    let version = text(&ingest, &call(r#"{"a":1.5}"#, "2026-01-01")).await;
    assert!(version.parse::<i64>().unwrap() > 0, "{version}");
    assert_eq!(text(&ingest, &call(r#"{"a":0.5}"#, "2025-12-31")).await, "");
    assert_eq!(db.one(ROW).await, r#"{"a": 1.5}|0"#);
}
