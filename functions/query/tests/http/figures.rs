//! Figures over all entities.

use crate::world::{Answer, World, ago};
use eaves_model::{Decimal, Value};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, HashMap};

/// What was taken: type of entity, integer, decimal, float, text.
type Row = (&'static str, i64, Decimal, f64, &'static str);

async fn input(world: &World, tenant: &eaves_model::tenant::Tenant) -> Vec<Row> {
    let mut rows = Vec::new();
    for i in 0..67_i64 {
        let kind = ["pump", "valve"][usize::from(i % 3 == 0)];
        let row = (
            kind,
            (1 << 59) - i * 31 % 53,
            Decimal::from_i128_with_scale(98_765_432_109_876_543_210 + i128::from(i * 17 % 29), 8),
            (i * 13 % 20) as f64 * 0.5,
            ["on", "off", "off", "fault"][(i % 4) as usize],
        );
        let values = [
            ("i", Value::Integer(row.1)),
            ("d", Value::Decimal(row.2)),
            ("f", Value::Float(row.3)),
            ("s", Value::String(row.4.into())),
        ];
        world.take_as(tenant.id, (&format!("{kind}-{}", i % 5), kind), ago(2000 - i), &values).await;
        rows.push(row);
    }
    // Figures are of what is flushed.
    world.until(tenant, "/v1/attributes/s/distribution", |a: &Answer| a.body["count"] == 67).await;
    rows
}

/// The figures of the groups, each with its digits.
fn figures(answer: &Answer) -> Vec<HashMap<String, String>> {
    #[derive(serde::Deserialize)]
    struct Groups {
        groups: Vec<Group>,
    }
    #[derive(serde::Deserialize)]
    struct Group {
        figures: HashMap<String, Box<serde_json::value::RawValue>>,
    }
    let groups: Groups = serde_json::from_str(&answer.text).unwrap();
    let text = |g: Group| g.figures.into_iter().map(|(name, f)| (name, f.get().to_owned())).collect();
    groups.groups.into_iter().map(text).collect()
}

fn rank<T: Copy>(sorted: &[T], percent: usize) -> T {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

fn check(told: &HashMap<String, String>, rows: &[&Row]) {
    let n = rows.len();
    assert_eq!(told["count"], n.to_string());
    let mut ints: Vec<i64> = rows.iter().map(|r| r.1).collect();
    ints.sort_unstable();
    assert_eq!(told["min"], ints[0].to_string());
    assert_eq!(told["max"], ints[n - 1].to_string());
    for (name, percent) in [("p50", 50), ("p95", 95), ("p99", 99)] {
        assert_eq!(told[name], rank(&ints, percent).to_string(), "{name}");
    }
    let sum: i64 = ints.iter().map(|i| i - (1 << 59)).sum();
    let mean = Decimal::from(1_i64 << 59) + Decimal::from(sum) / Decimal::from(n);
    let avg: Decimal = told["avg"].parse().unwrap();
    // Far beyond the digits of a float.
    assert!((avg - mean).abs() < Decimal::new(1, 3), "{avg} {mean}");
}

pub(crate) async fn aggregates_are_what_the_values_make(world: &World) {
    let (tenant, other) = (world.tenant(1).await, world.tenant(1).await);
    let rows = input(world, &tenant).await;
    let ask = async |body: Json| world.ask(&tenant, "/v1/aggregates", &body).await.ok();

    let answer = ask(json!({"attributes": ["i"]})).await;
    let all: Vec<&Row> = rows.iter().collect();
    check(&figures(&answer)[0], &all);
    assert_eq!(answer.body["groups"][0]["attribute"], "i");
    let lag: f64 = answer.header("x-data-lag-seconds").parse().unwrap();
    assert!(lag > 0.0, "history is as old as the flush, on the primary too");

    let answer = ask(json!({"attributes": ["i"], "group_by": "entity_type"})).await;
    let told = figures(&answer);
    for (i, kind) in ["pump", "valve"].into_iter().enumerate() {
        assert_eq!(answer.body["groups"][i]["entity_type"], kind);
        let of: Vec<&Row> = rows.iter().filter(|r| r.0 == kind).collect();
        check(&told[i], &of);
    }
    let of: Vec<&Row> = rows.iter().filter(|r| r.0 == "valve").collect();
    check(&figures(&ask(json!({"attributes": ["i"], "type": "valve"})).await)[0], &of);
    let many = ask(json!({"attributes": ["i"], "group_by": "entity_type", "min_count": 40})).await;
    assert_eq!(many.body["groups"].as_array().unwrap().len(), 1);

    let wanted = ["sum", "entities", "p50"];
    let answer = ask(json!({"attributes": ["f", "d", "s"], "aggregates": wanted})).await;
    let told = figures(&answer);
    let sum: Decimal = rows.iter().map(|r| r.2).sum();
    assert_eq!(told[1]["sum"], sum.to_string(), "all digits of a decimal");
    let float: f64 = told[0]["sum"].parse().unwrap();
    assert!((float - rows.iter().map(|r| r.3).sum::<f64>()).abs() < 1e-9);
    let mut floats: Vec<f64> = rows.iter().map(|r| r.3).collect();
    floats.sort_by(f64::total_cmp);
    assert_eq!(told[0]["p50"].parse::<f64>().unwrap(), rank(&floats, 50));
    // Five names a type, as far as the numbers reach.
    let names: std::collections::HashSet<_> =
        rows.iter().enumerate().map(|(i, r)| format!("{}-{}", r.0, i % 5)).collect();
    assert_eq!(told[2]["entities"], names.len().to_string());
    assert_eq!(told[2]["sum"], "null", "a text has no sum");

    let theirs = world.ask(&other, "/v1/aggregates", &json!({"attributes": ["i"]})).await;
    theirs.problem(400, Some("attributes"), "no attribute \"i\"");
    world.take(other.id, "x", ago(10), &[("i", Value::Integer(3)), ("s", Value::String("x".into()))]).await;
    let path = "/v1/attributes/i/distribution";
    let theirs = world.until(&other, path, |a| a.body["count"] == 1).await;
    assert_eq!(theirs.body["buckets"], json!([{"from": 3, "to": 3, "count": 1}]), "another tenant's values");
    let theirs = world.ask(&other, "/v1/aggregates", &json!({"attributes": ["i"]})).await.ok();
    assert_eq!(figures(&theirs)[0]["count"], "1", "another tenant's values");
}

pub(crate) async fn a_distribution_counts_every_value(world: &World) {
    let tenant = world.tenant(1).await;
    let rows = input(world, &tenant).await;
    let get = async |path: &str| world.get(&tenant, &format!("/v1/attributes/{path}")).await;
    for (query, kind) in [("", None), ("&type=pump", Some("pump"))] {
        let answer = get(&format!("f/distribution?buckets=8{query}")).await.ok();
        let values: Vec<f64> = rows.iter().filter(|r| kind.is_none_or(|k| k == r.0)).map(|r| r.3).collect();
        assert_eq!(answer.body["count"], values.len());
        let buckets = answer.body["buckets"].as_array().unwrap();
        assert_eq!(buckets.len(), 8);
        let (least, greatest) = (0.0, 9.5);
        for (i, bucket) in buckets.iter().enumerate() {
            let (from, to) = (bucket["from"].as_f64().unwrap(), bucket["to"].as_f64().unwrap());
            let bound = |i: usize| least + (greatest - least) * i as f64 / 8.0;
            assert!((from - bound(i)).abs() < 1e-12 && (to - bound(i + 1)).abs() < 1e-12, "{bucket}");
            let inside = values.iter().filter(|v| **v >= from && (**v < to || i == 7 && **v <= to));
            assert_eq!(bucket["count"], inside.count(), "{bucket}");
        }
    }
    let answer = get("s/distribution?top=2").await.ok();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    rows.iter().for_each(|r| *counts.entry(r.4).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(text, n)| (std::cmp::Reverse(*n), *text));
    let expect: Vec<Json> = counts[..2].iter().map(|(v, n)| json!({"value": v, "count": n})).collect();
    assert_eq!(answer.body["top"], Json::from(expect));
    assert_eq!((&answer.body["count"], &answer.body["distinct"]), (&json!(67), &json!(3)));

    get("s/distribution?buckets=3").await.problem(400, Some("buckets"), "give top instead");
    get("i/distribution?top=3").await.problem(400, Some("top"), "give buckets instead");
    get("i/distribution?buckets=201").await.problem(400, Some("buckets"), "1 to 200");
    get("nix/distribution").await.problem(404, Some("name"), "nix");
    let empty = get("i/distribution?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z").await.ok();
    assert_eq!((&empty.body["count"], &empty.body["buckets"]), (&json!(0), &json!([])));
}

pub(crate) async fn figures_keep_to_their_guards(world: &World) {
    let tenant = world.tenant(1).await;
    world.take(tenant.id, "p", ago(10), &[("i", Value::Integer(3))]).await;
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z");
    let check = async |body: Json, field: &str, detail: &str| {
        world.ask(&tenant, "/v1/aggregates", &body).await.problem(400, Some(field), detail);
    };
    check(json!({"attributes": ["i"], "from": early, "to": late}), "from", "at most 30").await;
    check(json!({"attributes": ["i"], "from": late, "to": early}), "from", "is not before").await;
    check(json!({"attributes": ["i"], "from": "monday"}), "body", "RFC 3339").await;
    check(json!({"attributes": []}), "attributes", "name 1 to 50").await;
    check(json!({"attributes": ["i", "i"]}), "attributes", "twice").await;
    check(json!({"attributes": ["nix"]}), "attributes", "no attribute \"nix\"").await;
    check(json!({"attributes": ["i"], "aggregates": ["mode"]}), "aggregates", "none of count").await;
    check(json!({"attributes": ["i"], "aggregates": []}), "aggregates", "is empty").await;
    check(json!({"attributes": ["i"], "group_by": "moon"}), "body", "unknown variant").await;
    check(json!({"attributes": ["i"], "type": "\u{1}"}), "type", "control").await;
    let strong = world.ask(&tenant, "/v1/aggregates?consistency=strong", &json!({"attributes": ["i"]})).await;
    strong.problem(400, Some("consistency"), "none can be strong");
    let path = format!("/v1/attributes/i/distribution?from={early}&to={late}");
    world.get(&tenant, &path).await.problem(400, Some("from"), "at most 30");
    // Nothing is as young as this, and the answer does not pretend to be.
    let young = world.ask(&tenant, "/v1/aggregates?max_staleness=0s", &json!({"attributes": ["i"]})).await;
    young.problem(503, None, "older than max_staleness");
}
