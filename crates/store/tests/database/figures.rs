//! Figures over all entities, compared with what plain code makes of the same input.

use crate::support::{Database, Server, Suite, time};
use eaves_model::{AttributeId, Decimal, TenantId, Value, ValueType};
use eaves_store::read::{
    Aggregate, AggregateQuery, AggregateRow, Distribution, DistributionQuery, ReadError, Reader,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("figures::aggregates_are_exact", aggregates);
    suite.test("figures::distributions_count_every_value_once", distributions);
}

struct Input {
    db: Database,
    integer: AttributeId,
    decimal: AttributeId,
    float: AttributeId,
    text: AttributeId,
    /// Entity, its type, second, integer, decimal.
    values: Vec<(usize, &'static str, i64, i64, Decimal)>,
}

/// Values of five entities of two types, with more digits than a float has.
async fn input(server: &Server) -> Input {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (integer, decimal) =
        (w.attribute("i", ValueType::Integer).await, w.attribute("d", ValueType::Decimal).await);
    let (float, text) = (w.attribute("f", ValueType::Float).await, w.attribute("s", ValueType::String).await);
    let kinds = ["pump", "valve", "pump", "valve", "pump"];
    let mut entities = Vec::new();
    for (n, kind) in kinds.iter().enumerate() {
        let name = format!("e{n}");
        let registered = w.store.register_entities(w.tenant, &[(name.as_str(), *kind)], true).await.unwrap();
        entities.push(registered[0].id);
    }
    let (mut points, mut values) = (Vec::new(), Vec::new());
    for n in 0..103_i64 {
        let of = n as usize % 5;
        let whole = (1_i64 << 60) - n * 37 % 101;
        let digits = Decimal::from_i128_with_scale(123_456_789_012_345_678_900 + i128::from(n * 53 % 97), 9);
        points.push(w.point(entities[of], integer, n, Value::Integer(whole)));
        points.push(w.point(entities[of], decimal, n, Value::Decimal(digits)));
        points.push(w.point(entities[of], float, n, Value::Float((n % 10) as f64 / 2.0)));
        points.push(w.point(entities[of], text, n, Value::String(format!("s{}", n % 4).into())));
        values.push((of, kinds[of], n, whole, digits));
    }
    w.commit(1, &points, &[]).await.unwrap();
    db.drain().await;
    Input { db, integer, decimal, float, text, values }
}

fn reader(db: &Database) -> Reader {
    Reader::new(&db.role("eaves_query"), Duration::from_secs(10))
}

fn query(tenant: TenantId, input: &Input) -> AggregateQuery {
    AggregateQuery {
        tenant,
        attributes: vec![(input.integer, ValueType::Integer), (input.decimal, ValueType::Decimal)],
        from: time(2),
        to: time(100),
        entity_type: None,
        by_entity_type: false,
        wanted: Aggregate::ALL.to_vec(),
        min_count: 1,
        limit: 100,
    }
}

/// The nearest rank.
fn percentile<T: Ord + Copy>(sorted: &[T], percent: usize) -> T {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

fn check(input: &Input, row: &AggregateRow, kind: Option<&str>) {
    let of = || {
        let in_window = input.values.iter().filter(|v| (2..100).contains(&v.2));
        in_window.filter(|v| kind.is_none_or(|k| k == v.1))
    };
    let figures: BTreeMap<&str, &str> = Aggregate::ALL
        .iter()
        .zip(&row.figures)
        .map(|(a, figure)| (a.name(), figure.as_deref().unwrap_or("null")))
        .collect();
    assert_eq!(row.count, of().count() as i64);
    assert_eq!(figures["count"], row.count.to_string());
    assert_eq!(figures["entities"], of().map(|v| v.0).collect::<BTreeSet<_>>().len().to_string());
    if row.attribute == input.integer {
        let mut sorted: Vec<i64> = of().map(|v| v.3).collect();
        sorted.sort_unstable();
        let sum: i128 = sorted.iter().map(|n| i128::from(*n)).sum();
        assert_eq!(figures["sum"], sum.to_string());
        assert_eq!(figures["min"], sorted[0].to_string());
        assert_eq!(figures["max"], sorted[sorted.len() - 1].to_string());
        for (name, percent) in [("p50", 50), ("p95", 95), ("p99", 99)] {
            assert_eq!(figures[name], percentile(&sorted, percent).to_string(), "{name}");
        }
        // The mean to the last digit told, times the number, is the sum.
        let avg: Decimal = figures["avg"].parse().unwrap();
        let mean = Decimal::from_i128_with_scale(sum, 0) / Decimal::from(sorted.len());
        assert!((avg - mean).abs() < Decimal::new(1, 3), "{avg} {mean}");
    } else {
        let mut sorted: Vec<Decimal> = of().map(|v| v.4).collect();
        sorted.sort_unstable();
        assert_eq!(figures["sum"], sorted.iter().sum::<Decimal>().to_string());
        assert_eq!(figures["min"], sorted[0].to_string());
        assert_eq!(figures["p95"], percentile(&sorted, 95).to_string());
        assert_eq!(figures["max"], sorted[sorted.len() - 1].to_string());
    }
}

async fn aggregates(server: Arc<Server>) {
    let input = input(&server).await;
    let reader = reader(&input.db);
    let all = query(input.db.acme, &input);
    let rows = reader.aggregates(&all).await.unwrap().value;
    assert_eq!(rows.len(), 2);
    rows.iter().for_each(|row| check(&input, row, None));

    let grouped = AggregateQuery { by_entity_type: true, ..all.clone() };
    let rows = reader.aggregates(&grouped).await.unwrap().value;
    let kinds: Vec<_> = rows.iter().map(|r| r.entity_type.clone().unwrap()).collect();
    assert_eq!(kinds, ["pump", "valve", "pump", "valve"]);
    rows.iter().for_each(|row| check(&input, row, row.entity_type.as_deref()));

    let only = AggregateQuery { entity_type: Some("valve".into()), ..all.clone() };
    let rows = reader.aggregates(&only).await.unwrap().value;
    assert_eq!(rows.len(), 2);
    rows.iter().for_each(|row| check(&input, row, Some("valve")));

    let many = AggregateQuery { min_count: 50, by_entity_type: true, ..all.clone() };
    let rows = reader.aggregates(&many).await.unwrap().value;
    assert!(rows.iter().all(|r| r.entity_type.as_deref() == Some("pump")) && rows.len() == 2, "{rows:?}");

    // What is no number is counted, and that is all.
    let texts = AggregateQuery { attributes: vec![(input.text, ValueType::String)], ..all.clone() };
    let rows = reader.aggregates(&texts).await.unwrap().value;
    assert_eq!((rows.len(), rows[0].count), (1, 98));
    assert_eq!(rows[0].figures[2..], vec![None; 7]);

    let others = AggregateQuery { tenant: input.db.other, ..all.clone() };
    assert!(reader.aggregates(&others).await.unwrap().value.is_empty());

    // The database makes the same of floats as this side does of their values; those of many attributes are its.
    let float = (input.float, ValueType::Float);
    let here = AggregateQuery { tenant: input.db.acme, attributes: vec![float], ..others.clone() };
    let there = AggregateQuery { attributes: vec![float; 5], ..here.clone() };
    let numbers = |row: &AggregateRow| -> Vec<f64> {
        row.figures.iter().map(|figure| figure.as_deref().unwrap().parse().unwrap()).collect()
    };
    let (here, there) =
        (reader.aggregates(&here).await.unwrap().value, reader.aggregates(&there).await.unwrap().value);
    assert_eq!((here.len(), here[0].count), (1, 98));
    assert_eq!(numbers(&here[0]), numbers(&there[0]));
    // What has no room here is made there, too.
    let narrow = Reader::new(&input.db.role("eaves_query"), Duration::from_secs(10)).holding(1024);
    let again = AggregateQuery { attributes: vec![float], tenant: input.db.acme, ..others.clone() };
    assert_eq!(numbers(&narrow.aggregates(&again).await.unwrap().value[0]), numbers(&there[0]));

    // A sum that no float holds is told, and not infinite.
    let db = &input.db;
    let mut w = db.writer("t").await;
    let e = w.entity("huge").await;
    let points = [0, 1].map(|n| w.point(e, input.float, 1000 + n, Value::Float(f64::MAX)));
    w.commit(1, &points, &[]).await.unwrap();
    db.drain().await;
    let huge = AggregateQuery {
        attributes: vec![(input.float, ValueType::Float)],
        from: time(1000),
        to: time(1010),
        ..query(db.acme, &input)
    };
    let refused = reader.aggregates(&huge).await.unwrap_err();
    assert!(matches!(refused, ReadError::OutOfRange), "{refused:?}");
}

async fn distributions(server: Arc<Server>) {
    let input = input(&server).await;
    let reader = reader(&input.db);
    let query = |tenant, attribute, value_type, kind: Option<&str>| DistributionQuery {
        tenant,
        attribute,
        value_type,
        from: time(0),
        to: time(1000),
        entity_type: kind.map(str::to_owned),
        parts: 7,
    };
    let acme = input.db.acme;
    for kind in [None, Some("pump")] {
        let asked = query(acme, input.decimal, ValueType::Decimal, kind);
        let Distribution::Histogram(buckets) = reader.distribution(&asked).await.unwrap().value else {
            panic!("no histogram")
        };
        let values: Vec<Decimal> =
            input.values.iter().filter(|v| kind.is_none_or(|k| k == v.1)).map(|v| v.4).collect();
        assert_eq!(buckets.len(), 7);
        let number = |text: &str| -> Decimal { text.parse().unwrap() };
        assert_eq!(number(&buckets[0].from), *values.iter().min().unwrap());
        assert_eq!(number(&buckets[6].to), *values.iter().max().unwrap());
        for (n, bucket) in buckets.iter().enumerate() {
            let (from, to) = (number(&bucket.from), number(&bucket.to));
            let inside = |v: &&Decimal| **v >= from && (**v < to || n == 6 && **v <= to);
            assert_eq!(bucket.count, values.iter().filter(inside).count() as i64, "{bucket:?}");
            let width = (number(&buckets[6].to) - number(&buckets[0].from)) / Decimal::from(7);
            assert!((to - from - width).abs() < Decimal::new(1, 9), "{bucket:?} {width}");
        }
    }
    let floats = query(acme, input.float, ValueType::Float, None);
    let Distribution::Histogram(buckets) = reader.distribution(&floats).await.unwrap().value else {
        panic!("no histogram")
    };
    assert_eq!(buckets.iter().map(|b| b.count).sum::<i64>(), 103);

    let Distribution::Top { values, count, distinct } =
        reader.distribution(&query(acme, input.text, ValueType::String, None)).await.unwrap().value
    else {
        panic!("no list")
    };
    let shown: Vec<_> = values.iter().map(|v| (v.value.clone(), v.count)).collect();
    let expect = [("s0", 26), ("s1", 26), ("s2", 26), ("s3", 25)];
    assert_eq!(shown, expect.map(|(s, n)| (Value::String(s.into()), n)));
    assert_eq!((count, distinct), (103, 4));

    // One value only, and none at all.
    let one = DistributionQuery { to: time(1), ..query(acme, input.integer, ValueType::Integer, None) };
    let Distribution::Histogram(buckets) = reader.distribution(&one).await.unwrap().value else {
        panic!("no histogram")
    };
    assert_eq!((buckets.len(), buckets[0].count, &buckets[0].from), (1, 1, &buckets[0].to));
    for asked in [
        query(input.db.other, input.integer, ValueType::Integer, None),
        query(input.db.other, input.text, ValueType::String, None),
    ] {
        match reader.distribution(&asked).await.unwrap().value {
            Distribution::Histogram(buckets) => assert!(buckets.is_empty(), "another tenant's values"),
            Distribution::Top { values, count, .. } => assert_eq!((values.len(), count), (0, 0)),
        }
    }
}
