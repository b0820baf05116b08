//! A tenant's plugins in the database: registration, previous values, figures and events, and
//! what a backtest reads. Of one's own tenant only.

use crate::support::{Server, Suite, time};
use eaves_model::{Code, Rejection, Value, ValueType};
use eaves_store::ingest::{PluginFigures, PluginVersion, QuarantineKind, Quarantined};
use eaves_store::read::Reader;
use std::sync::Arc;
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("plugins::versions_figures_and_events", versions);
    suite.test("plugins::a_previous_value_is_the_hot_one", previous);
    suite.test("plugins::a_backtest_reads_what_is_stored", stored);
}

const RULES: PluginVersion<'_> =
    PluginVersion { name: "rules", version: "1.0.0", digest: "d1", settings_digest: "s1", validated: true };

async fn versions(server: Arc<Server>) {
    let db = server.database().await;
    let w = db.writer("shard").await;
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(10));
    let first = w.store.register_plugin_version(db.acme, &RULES).await.unwrap();
    assert_eq!(w.store.register_plugin_version(db.acme, &RULES).await.unwrap(), first);
    // What was taken although it failed is told apart, and so are others' plugins of the name.
    let unvalidated = PluginVersion { validated: false, ..RULES };
    assert_ne!(w.store.register_plugin_version(db.acme, &unvalidated).await.unwrap(), first);
    assert_ne!(w.store.register_plugin_version(db.other, &RULES).await.unwrap(), first);

    let figures = PluginFigures {
        tenant: db.acme.0,
        name: "rules".into(),
        version: "1.0.0".into(),
        digest: "d1".into(),
        role: "active".into(),
        calls: 2,
        values: 100,
        verdicts: [("accepted".into(), 90), ("rejected:above_range".into(), 10)].into(),
        memory_peak: 4096,
        ..PluginFigures::default()
    };
    // Two instances tell what they did: it adds up.
    w.store.plugin_metrics_add(std::slice::from_ref(&figures)).await.unwrap();
    w.store.plugin_metrics_add(&[PluginFigures { memory_peak: 1024, ..figures }]).await.unwrap();
    let hours = reader.plugin_metrics(db.acme, "rules", time(0)).await.unwrap();
    assert_eq!(hours.len(), 1, "{hours:?}");
    assert_eq!(hours[0].figures["calls"], 4);
    assert_eq!(hours[0].figures["verdicts"]["rejected:above_range"], 20);
    assert_eq!(hours[0].figures["memory_peak"], 4096);
    assert!(reader.plugin_metrics(db.other, "rules", time(0)).await.unwrap().is_empty());

    w.store.plugin_event_add(db.acme, "breaker_opened", &RULES, "it keeps failing").await.unwrap();
    let events = reader.plugin_events(db.acme, "rules", 10).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].kind.as_str(), events[0].message.as_str()), ("breaker_opened", "it keeps failing"));
    assert!(reader.plugin_events(db.other, "rules", 10).await.unwrap().is_empty());
}

async fn previous(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("shard").await;
    let (e, bare) = (w.entity("e").await, w.entity("bare").await);
    w.attribute("level", ValueType::Float).await;
    let hot = [w.hot(e, 7, r#"{"level":1.5,"other":true}"#)];
    w.commit(1, &[], &hot).await.unwrap();
    let found = w.store.hot_previous(db.acme, &[e, bare], &["level"]).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].entity, found[0].name.as_str()), (e, "level"));
    assert_eq!((found[0].value_json.as_str(), found[0].observed_at), ("1.5", time(7).as_micros()));
    // An entity's number of another tenant leads to nothing.
    assert!(w.store.hot_previous(db.other, &[e], &["level"]).await.unwrap().is_empty());
}

async fn stored(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("shard").await;
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(10));
    let e = w.entity("pump-7").await;
    let values = [
        ("f", Value::Float(1.25)),
        ("i", Value::Integer(i64::MIN)),
        ("b", Value::Boolean(false)),
        ("s", Value::String("grün".into())),
        ("d", Value::Decimal("12.30".parse().unwrap())),
        ("t", Value::Timestamp(time(3))),
    ];
    let mut points = Vec::new();
    for (name, value) in &values {
        let a = w.attribute(name, value.value_type()).await;
        points.extend([1, 2].map(|at| w.point(e, a, at, value.clone())));
    }
    let refused = Quarantined {
        tenant: Some(db.acme),
        kind: QuarantineKind::Value,
        rejection: Rejection::new(Code("above_range".into()), "values.f", "too high"),
        payload: br#"{"values":{"f":999}}"#.to_vec(),
        sequence: "1".into(),
        sub: 0,
        plugin_digest: Some("d1".into()),
        item: 0,
        pieces: 1,
        named: None,
        arrived: None,
        redrive_of: None,
        attempts: 0,
    };
    w.commit_all(1, &points, &[], &[refused]).await.unwrap();
    db.drain().await;

    let attributes = reader.all_attributes(db.acme).await.unwrap();
    assert_eq!(
        attributes.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(),
        ["f", "i", "b", "s", "d", "t"]
    );
    // The end is exclusive.
    let found = reader.stored_values(db.acme, &attributes, (time(1), time(2)), 100).await.unwrap();
    let mut found: Vec<_> = found.into_iter().map(|v| (v.attribute, v.value)).collect();
    found.sort_by_key(|(attribute, _)| attribute.0);
    assert_eq!(
        found.into_iter().map(|(_, value)| value).collect::<Vec<_>>(),
        values.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>()
    );
    assert_eq!(reader.stored_values(db.acme, &attributes, (time(1), time(9)), 5).await.unwrap().len(), 5);
    assert!(reader.stored_values(db.other, &attributes, (time(0), time(9)), 100).await.unwrap().is_empty());
    let names = reader.entity_names(db.acme, &[e]).await.unwrap();
    assert_eq!(names, [(e, "pump-7".to_owned(), String::new())]);
    assert!(reader.entity_names(db.other, &[e]).await.unwrap().is_empty());
    let ids = reader.entity_ids(db.acme, &["pump-7", "no-such"]).await.unwrap();
    assert_eq!(ids, [("pump-7".to_owned(), e, String::new())]);
    assert!(reader.entity_ids(db.other, &["pump-7"]).await.unwrap().is_empty());

    // Before a time means before it; what is asked for in vain keeps its place.
    let (f, i) = (attributes[0].id, attributes[1].id);
    let asked = [(e, f, time(1)), (e, i, time(3)), (e, f, time(3))];
    let before = reader.values_before(db.acme, &asked).await.unwrap();
    let last = |n: usize| {
        let times = points.iter().filter(|p| p.attribute == asked[n].1 && p.observed_at < asked[n].2);
        times.max_by_key(|p| p.observed_at).map(|p| (p.observed_at, p.value.clone()))
    };
    assert_eq!(before, [last(0), last(1), last(2)]);
    assert!(before[0].is_none() && before[2].is_some(), "{before:?}");
    assert_eq!(reader.values_before(db.other, &asked).await.unwrap(), [None, None, None]);
    assert!(reader.values_before(db.acme, &[]).await.unwrap().is_empty());

    // What a reading has, of all attributes; what is asked for in vain, or is another tenant's, has nothing.
    let found = reader.values_at(db.acme, &[(e, time(9)), (e, time(2)), (e, time(1))]).await.unwrap();
    for (place, at) in [(1, time(2)), (2, time(1))] {
        let of_time: Vec<_> = found.iter().filter(|(n, _)| *n == place).map(|(_, v)| v).collect();
        let same = points.iter().filter(|p| {
            of_time.iter().any(|v| (v.attribute, v.observed_at, &v.value) == (p.attribute, at, &p.value))
        });
        assert_eq!((of_time.len(), same.filter(|p| p.observed_at == at).count()), (6, 6), "{found:?}");
    }
    assert_eq!(found.len(), 12, "{found:?}");
    assert!(reader.values_at(db.other, &[(e, time(1))]).await.unwrap().is_empty());

    let ever = (time(-1_000_000_000), time(1_000_000_000));
    let refusals = reader.stored_refusals(db.acme, ever, 0, 10).await.unwrap();
    assert_eq!(refusals.len(), 1);
    assert!(String::from_utf8_lossy(&refusals[0].payload).contains("999"));
    assert!(reader.stored_refusals(db.acme, ever, refusals[0].id, 10).await.unwrap().is_empty());
    assert!(reader.stored_refusals(db.other, ever, 0, 10).await.unwrap().is_empty());
}
