//! The hot projection against the fold of history.

use crate::support::{Database, Server, Suite};
use eaves_model::value::decimal;
use eaves_model::{EntityId, Timestamp, Value, ValueType};
use eaves_store::admin::HotCheck;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub fn add(suite: &mut Suite) {
    suite.test("verify::values_of_every_type_agree_staged_or_flushed", every_type);
    suite.test("verify::what_was_broken_is_told_and_repaired", repairs);
    suite.test("verify::live_writes_and_flushes_show_no_difference", live);
}

async fn verify(db: &Database, repair: bool) -> HotCheck {
    db.admin().await.hot_verify(db.acme, EntityId(0), 1000, repair).await.unwrap()
}

async fn every_type(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let e = w.entity("e").await;
    let time = |text: &str| Value::Timestamp(text.parse::<Timestamp>().unwrap());
    let values = [
        ("text", Value::String("it's \\ \"é\"".into())),
        ("whole", Value::Integer(i64::MIN)),
        ("float", Value::Float(0.1 + 0.2)),
        ("tiny", Value::Float(5e-324)),
        ("huge", Value::Float(-1.7e308)),
        ("zero", Value::Float(-0.0)),
        ("exact", Value::Decimal(decimal("10.000000000000000000001").unwrap())),
        ("zeros", Value::Decimal(decimal("1.500").unwrap())),
        ("yes", Value::Boolean(true)),
        ("noon", time("2026-03-01T12:00:00Z")),
        ("later", time("2026-03-01T12:00:00.25Z")),
        ("before", time("0044-03-15T00:00:10Z")),
    ];
    let mut points = Vec::new();
    let mut hot = Vec::new();
    for (name, value) in values {
        let a = w.attribute(name, value.value_type()).await;
        let mut json = format!("{{\"{name}\":");
        value.write_json(&mut json);
        json.push('}');
        hot.push(w.hot(e, 1, &json));
        points.push(w.point(e, a, 1, value));
    }
    w.commit(1, &points, &hot).await.unwrap();
    let staged = verify(&db, true).await;
    assert_eq!((staged.entities, staged.values, staged.differences), (1, 12, vec![]));
    db.drain().await;
    let flushed = verify(&db, true).await;
    assert_eq!((flushed.values, flushed.found, flushed.repaired, flushed.differences), (12, 0, 0, vec![]));
}

async fn repairs(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let mut entities = Vec::new();
    for name in ["missing", "gone", "stale", "value", "ahead", "fine"] {
        entities.push(w.entity(name).await);
    }
    let a = w.attribute("a", ValueType::Integer).await;
    let b = w.attribute("b", ValueType::Timestamp).await;
    let noon: Timestamp = "2026-03-01T12:00:00.5Z".parse().unwrap();
    let mut points = Vec::new();
    let mut hot = Vec::new();
    for e in &entities {
        for at in [1, 2] {
            points.push(w.point(*e, a, at, Value::Integer(at)));
        }
        points.push(w.point(*e, b, 1, Value::Timestamp(noon)));
        hot.push(w.hot(*e, 1, "{\"b\":\"2026-03-01T12:00:00.5Z\"}"));
        hot.push(w.hot(*e, 2, "{\"a\":2}"));
    }
    w.commit(1, &points, &hot).await.unwrap();
    db.drain().await;
    assert_eq!(verify(&db, false).await.found, 0);

    let at = |n: usize| format!("where entity_id = {}", entities[n]);
    let breakages = [
        format!("update entity_jsonb set hot_attrs = hot_attrs - 'a', hot_times = hot_times - 'a' {}", at(0)),
        format!("delete from entity_jsonb {}", at(1)),
        format!(
            "update entity_jsonb set hot_attrs = '{{\"a\":1}}', hot_times = '{{\"a\":1767225601000000}}', \
                 observed_at = '2026-01-01 00:00:01+00' {}",
            at(2)
        ),
        format!(
            "update entity_jsonb set hot_attrs = hot_attrs || '{{\"a\":7, \"b\":\"2020-01-01T00:00:00Z\"}}' {}",
            at(3)
        ),
        format!(
            "update entity_jsonb set hot_attrs = hot_attrs || '{{\"a\":9}}', \
                 hot_times = hot_times || '{{\"a\":1767229999000000}}', observed_at = '2026-01-01 01:13:19+00' {}",
            at(4)
        ),
    ];
    for sql in breakages {
        assert_eq!(db.sql.execute(&sql, &[]).await.unwrap(), 1, "{sql}");
    }
    let told = |check: &HotCheck| -> Vec<String> {
        let all = check.differences.iter();
        all.map(|d| format!("{} {} {}", d.entity, d.attribute, d.kind)).collect()
    };
    let expected = [
        "missing a missing",
        "gone a missing",
        "gone b missing",
        "stale a stale",
        "stale b missing",
        "value a value",
        "value b value",
        "ahead a ahead",
    ];
    let found = verify(&db, false).await;
    assert_eq!(told(&found), expected);
    assert_eq!((found.found, found.repaired), (8, 0));
    // Told with both sides; another tenant's comparison shows nothing of it.
    assert_eq!((&found.differences[3].projected, &found.differences[3].folded), (&1.into(), &2.into()));
    let admin = db.admin().await;
    assert_eq!(admin.hot_verify(db.other, EntityId(0), 1000, true).await.unwrap(), HotCheck::default());

    assert_eq!(verify(&db, true).await.repaired, 4);
    assert_eq!(told(&verify(&db, true).await), ["ahead a ahead"]);
    let rows =
        "select count(*) from entity_jsonb where hot_attrs @> '{\"a\":2,\"b\":\"2026-03-01T12:00:00.5Z\"}'";
    assert_eq!(db.one(rows).await, "5");
    // While a shard is being read again it is history that is behind.
    db.sql.batch_execute("update ingest_checkpoints set epoch = gen_random_uuid()").await.unwrap();
    assert_eq!(verify(&db, true).await.found, 0);
    // In parts, up to the last.
    let mut after = EntityId(0);
    let mut seen = 0;
    loop {
        let part = admin.hot_verify(db.acme, after, 4, false).await.unwrap();
        seen += part.entities;
        let Some(last) = part.last else { break };
        after = EntityId(last);
    }
    assert_eq!(seen, 6);
    let some = admin.hot_verify_some(db.acme, 3, true).await.unwrap();
    assert!((1..=3).contains(&some.entities) && some.found == 0, "{some:?}");
    assert_eq!(admin.hot_verify_some(db.other, 3, true).await.unwrap(), HotCheck::default());
    // As maintain does it: some tenant's.
    assert_eq!(db.flusher().await.verify_hot_some(10).await.unwrap().found, 0);
}

async fn live(server: Arc<Server>) {
    let db = server.database().await;
    let mut first = db.writer("s").await;
    let a = first.attribute("a", ValueType::Integer).await;
    let mut entities = Vec::new();
    for n in 0..30 {
        entities.push(first.entity(&format!("e{n}")).await);
    }
    let done = AtomicBool::new(false);
    let write = async {
        let writers = (0..3_i64).map(|shard| {
            let (db, entities) = (&db, &entities);
            async move {
                let mut w = db.writer(&format!("shard{shard}")).await;
                for to in 1..60_u64 {
                    // Out of order, and never two of one point.
                    let at = ((to * 37) % 60) as i64 * 3 + shard;
                    let points: Vec<_> =
                        entities.iter().map(|e| w.point(*e, a, at, Value::Integer(at))).collect();
                    let hot: Vec<_> =
                        entities.iter().map(|e| w.hot(*e, at, &format!("{{\"a\":{at}}}"))).collect();
                    w.commit(to, &points, &hot).await.unwrap();
                }
            }
        });
        futures_util::future::join_all(writers).await;
        done.store(true, Ordering::SeqCst);
    };
    let flush = async {
        let flusher = db.flusher().await;
        while !done.load(Ordering::SeqCst) {
            flusher.stage_flush(1).await.unwrap();
        }
    };
    let check = async {
        let (admin, mut repair) = (db.admin().await, false);
        while !done.load(Ordering::SeqCst) {
            let found = admin.hot_verify(db.acme, EntityId(0), 1000, repair).await.unwrap();
            assert_eq!((found.repaired, found.differences), (0, vec![]));
            repair = !repair;
        }
    };
    tokio::join!(write, flush, check);
    assert_eq!(db.one("select distinct hot_attrs from entity_jsonb").await, "{\"a\": 179}");
    let all = verify(&db, true).await;
    assert_eq!((all.values, all.found), (30, 0));
}
