//! Several entities or attributes at once, compared with what plain code makes of the same input.

use crate::support::{Database, Server, Suite, time};
use eaves_model::{AttributeId, Decimal, EntityId, TenantId, Timestamp, Value, ValueType};
use eaves_store::read::{BucketQuery, EntitiesQuery, LatestQuery, Reader, SeriesPart, SeriesQuery};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("several::entities_by_page_and_by_name", entities);
    suite.test("several::series_have_each_point_once", series);
    suite.test("several::the_latest_value_at_or_before_a_time", latest);
    suite.test("several::buckets_have_all_digits", buckets);
}

fn reader(db: &Database) -> Reader {
    Reader::new(&db.role("eaves_query"), Duration::from_secs(10))
}

async fn entities(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let entities: Vec<(String, &str)> =
        (0..7).map(|i| (format!("e{i}"), if i % 2 == 0 { "pump" } else { "valve" })).collect();
    let named: Vec<(&str, &str)> = entities.iter().map(|(id, kind)| (id.as_str(), *kind)).collect();
    w.store.register_entities(w.tenant, &named, true).await.unwrap();
    w.attribute("a", ValueType::Integer).await;
    let e3 = w.entity("e3").await;
    let hot = w.hot(e3, 0, r#"{"a":3}"#);
    w.commit(1, &[], &[hot]).await.unwrap();
    let reader = reader(&db);
    let page = async |entity_type: Option<&str>, after: EntityId| {
        let entity_type = entity_type.map(str::to_owned);
        let query = EntitiesQuery { tenant: db.acme, entity_type, after, limit: 3 };
        reader.entities_page(&query).await.unwrap().value
    };
    let (mut found, mut after) = (Vec::new(), EntityId(0));
    loop {
        let rows = page(None, after).await;
        let Some(last) = rows.last() else { break };
        after = last.entity;
        // What is registered meanwhile comes at the end, and moves nothing.
        if found.is_empty() {
            w.store.register_entities(w.tenant, &[("a-late-one", "pump")], true).await.unwrap();
        }
        found.extend(rows.into_iter().map(|r| (r.external_id, r.attrs_json)));
    }
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["e0", "e1", "e2", "e3", "e4", "e5", "e6", "a-late-one"]);
    assert_eq!(found[3].1, r#"{"a": 3}"#);
    assert_eq!(found[2].1, "{}");
    let valves = page(Some("valve"), EntityId(0)).await;
    assert_eq!(valves.iter().map(|r| r.external_id.as_str()).collect::<Vec<_>>(), ["e1", "e3", "e5"]);

    let some = reader.entities_named(db.acme, &["e6", "none", "e3"]).await.unwrap().value;
    let mut some: Vec<_> = some.iter().map(|r| (r.external_id.as_str(), r.version > 0)).collect();
    some.sort_unstable();
    assert_eq!(some, [("e3", true), ("e6", false)]);
    assert!(reader.entities_named(db.other, &["e6"]).await.unwrap().value.is_empty());
    let query = EntitiesQuery { tenant: db.other, entity_type: None, after: EntityId(0), limit: 9 };
    assert!(reader.entities_page(&query).await.unwrap().value.is_empty());
}

/// Two attributes of one entity: some points in history, some staged, one point taken twice.
async fn two_attributes(
    server: &Server,
) -> (Database, EntityId, [AttributeId; 2], BTreeMap<(i64, i32), i64>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let e = w.entity("e").await;
    let attributes = [w.attribute("a", ValueType::Integer).await, w.attribute("b", ValueType::Integer).await];
    let mut expect = BTreeMap::new();
    let mut points = Vec::new();
    for n in 0..40_i64 {
        let attribute = attributes[usize::from(n % 3 == 0)];
        // Two attributes have a value of the same time now and then.
        points.push(w.point(e, attribute, n / 2, Value::Integer(n)));
        expect.insert((n / 2, attribute.0), n);
    }
    w.commit(1, &points[..30], &[]).await.unwrap();
    db.drain().await;
    // Of a time that history has: the later value holds.
    points.push(w.point(e, attributes[0], 1, Value::Integer(1000)));
    expect.insert((1, attributes[0].0), 1000);
    w.commit(2, &points[30..], &[]).await.unwrap();
    (db, e, attributes, expect)
}

async fn series(server: Arc<Server>) {
    let (db, entity, attributes, expect) = two_attributes(&server).await;
    let reader = reader(&db);
    let part =
        |attribute| SeriesPart { attribute, value_type: ValueType::Integer, from: time(0), to: time(100) };
    let query = |tenant, descending, limit, with_staging| SeriesQuery {
        tenant,
        entity,
        parts: attributes.map(part).to_vec(),
        descending,
        limit,
        with_staging,
    };
    let read = async |query: &SeriesQuery| -> Vec<((i64, i32), i64)> {
        let points = reader.series(query).await.unwrap().value;
        let seconds = |t: Timestamp| (t.as_micros() - time(0).as_micros()) / 1_000_000;
        points
            .into_iter()
            .map(|(a, p)| match p.value {
                Value::Integer(n) => ((seconds(p.observed_at), a.0), n),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let ascending: Vec<_> = expect.clone().into_iter().collect();
    let mut descending = ascending.clone();
    descending.sort_by_key(|((at, attribute), _)| (-at, *attribute));
    assert_eq!(read(&query(db.acme, false, 1000, true)).await, ascending);
    assert_eq!(read(&query(db.acme, true, 1000, true)).await, descending);
    assert_eq!(read(&query(db.acme, true, 7, true)).await, descending[..7]);
    assert!(
        read(&query(db.acme, true, 1000, false)).await.len() < ascending.len(),
        "history alone lacks some"
    );
    assert!(read(&query(db.other, true, 1000, true)).await.is_empty());
    db.drain().await;
    assert_eq!(read(&query(db.acme, false, 1000, false)).await, ascending);
}

async fn latest(server: Arc<Server>) {
    let (db, entity, attributes, expect) = two_attributes(&server).await;
    let reader = reader(&db);
    let other = db.writer("t").await.entity("without").await;
    let read = async |tenant: TenantId, until: i64, with_staging: bool| -> Vec<(EntityId, i32, i64, Value)> {
        let query = LatestQuery {
            tenant,
            entities: vec![other, entity],
            attributes: attributes.map(|a| (a, ValueType::Integer)).to_vec(),
            from: time(-1000),
            until: time(until),
            with_staging,
        };
        let found = reader.latest(&query).await.unwrap().value;
        let seconds = |t: Timestamp| (t.as_micros() - time(0).as_micros()) / 1_000_000;
        found.into_iter().map(|v| (v.entity, v.attribute.0, seconds(v.observed_at), v.value)).collect()
    };
    let expected = |until: i64| -> Vec<_> {
        let mut found = Vec::new();
        for attribute in attributes {
            let of = expect.iter().filter(|((at, a), _)| *a == attribute.0 && *at <= until);
            found.extend(
                of.max_by_key(|((at, _), _)| *at).map(|((at, a), n)| (entity, *a, *at, Value::Integer(*n))),
            );
        }
        found
    };
    for until in [-1, 0, 1, 5, 14, 17, 50] {
        assert_eq!(read(db.acme, until, true).await, expected(until), "{until}");
    }
    assert!(read(db.other, 50, true).await.is_empty());
    db.drain().await;
    assert_eq!(read(db.acme, 50, false).await, expected(50));
}

async fn buckets(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let e = w.entity("e").await;
    let (i, d) = (w.attribute("i", ValueType::Integer).await, w.attribute("d", ValueType::Decimal).await);
    let (f, s) = (w.attribute("f", ValueType::Float).await, w.attribute("s", ValueType::String).await);
    let mut kept = BTreeMap::new();
    let mut points = Vec::new();
    for n in 0..60_i64 {
        let digits = Decimal::new(n * 7 % 13 + 10_000_000_000_000_001, 4);
        points.push(w.point(e, i, n * 7, Value::Integer((1 << 60) + n * 11 % 17)));
        points.push(w.point(e, d, n * 7, Value::Decimal(digits)));
        points.push(w.point(e, f, n * 7, Value::Float(n as f64 / 8.0)));
        points.push(w.point(e, s, n * 7, Value::String("x".into())));
        kept.insert(n * 7, ((1 << 60) + n * 11 % 17, digits));
    }
    w.commit(1, &points[..180], &[]).await.unwrap();
    db.drain().await;
    // One that is in history already, with another value; the rest is staged.
    let again = (w.point(e, i, 14, Value::Integer(5)), w.point(e, d, 14, Value::Decimal(Decimal::new(5, 1))));
    kept.insert(14, (5, Decimal::new(5, 1)));
    points.extend([again.0, again.1]);
    w.commit(2, &points[180..], &[]).await.unwrap();

    let reader = reader(&db);
    let types =
        [(i, ValueType::Integer), (d, ValueType::Decimal), (f, ValueType::Float), (s, ValueType::String)];
    let query = |tenant, with_staging| BucketQuery {
        tenant,
        entity: e,
        attributes: types.to_vec(),
        from: time(3),
        to: time(400),
        bucket_micros: 60_000_000,
        with_staging,
    };
    let check = async |with_staging: bool| {
        let found = reader.history_buckets(&query(db.acme, with_staging)).await.unwrap().value;
        let mut minutes: BTreeMap<i64, Vec<(i64, Decimal)>> = BTreeMap::new();
        for (at, value) in kept.range(3..400) {
            minutes.entry(at / 60 * 60).or_default().push(*value);
        }
        let ints: Vec<_> = found.iter().filter(|b| b.attribute == i).collect();
        let decimals: Vec<_> = found.iter().filter(|b| b.attribute == d).collect();
        assert_eq!((ints.len(), decimals.len()), (minutes.len(), minutes.len()));
        for (((at, values), int), dec) in minutes.iter().zip(ints).zip(decimals) {
            assert_eq!((int.starts_at, int.count), (time(*at), values.len() as i64));
            let text = |n: Option<i64>| n.unwrap().to_string();
            let of = || values.iter().map(|v| v.0);
            assert_eq!(int.min, text(of().min()));
            assert_eq!(int.max, text(of().max()));
            assert_eq!(int.first, text(of().next()));
            assert_eq!(int.last, text(of().next_back()));
            let of = || values.iter().map(|v| v.1);
            assert_eq!(dec.min, of().min().unwrap().to_string());
            assert_eq!(dec.last, of().next_back().unwrap().to_string());
            let mean: Decimal = of().sum::<Decimal>() / Decimal::from(values.len());
            let told: Decimal = dec.mean.parse().unwrap();
            assert!((mean - told).abs() < Decimal::new(1, 12), "{mean} {told}");
        }
        let floats: Vec<_> = found.iter().filter(|b| b.attribute == f).collect();
        assert_eq!(floats[0].first, "0.125");
        assert!(found.iter().all(|b| b.attribute != s), "a text has no figures");
    };
    check(true).await;
    assert!(reader.history_buckets(&query(db.other, true)).await.unwrap().value.is_empty());
    db.drain().await;
    check(false).await;
    check(true).await;
}
