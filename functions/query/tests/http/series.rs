//! Several attributes of an entity over time.

use crate::world::{World, ago, at};
use eaves_model::{Decimal, Timestamp, Value};
use serde_json::Value as Json;
use std::collections::BTreeMap;

const SECOND: i64 = 1_000_000;

/// Of an answer: attribute, time, value; per series in the order told.
fn points(answer: &Json) -> Vec<(String, String, i64)> {
    let mut points = Vec::new();
    for series in answer["series"].as_array().unwrap() {
        for point in series["points"].as_array().unwrap() {
            let name = series["attribute"].as_str().unwrap().to_owned();
            points.push((
                name,
                point["observed_at"].as_str().unwrap().to_owned(),
                point["value"].as_i64().unwrap(),
            ));
        }
    }
    points
}

pub(crate) async fn pages_of_several_attributes_cover_all_once(world: &World) {
    let (tenant, other) = (world.tenant(1).await, world.tenant(1).await);
    let start = ago(4000);
    let mut expect = Vec::new();
    for i in 0..20 {
        let time = start.plus_micros(i * SECOND);
        let mut values = vec![("a", Value::Integer(i))];
        if i % 3 == 0 {
            values.push(("b", Value::Integer(100 + i)));
        }
        world.take(tenant.id, "p", time, &values).await;
        for (name, value) in values {
            let Value::Integer(n) = value else { unreachable!() };
            expect.push((name.to_owned(), time.to_string(), n));
        }
    }
    expect.sort();
    for order in ["asc", "desc"] {
        let (mut found, mut page) = (Vec::new(), format!("order={order}"));
        loop {
            let path = format!("/v1/entities/p/history?attributes=b,a&consistency=strong&limit=7&{page}");
            let answer = world.get(&tenant, &path).await.ok();
            let names: Vec<_> =
                answer.body["series"].as_array().unwrap().iter().map(|s| s["attribute"].clone()).collect();
            assert_eq!(names, ["b", "a"], "in the order asked for");
            assert!(answer.body["metadata"]["count"].as_u64().unwrap() <= 7);
            found.extend(points(&answer.body));
            match answer.body["next_cursor"].as_str() {
                Some(next) => page = format!("cursor={next}"),
                None => break,
            }
        }
        let told: Vec<_> = found.iter().filter(|p| p.0 == "a").map(|p| p.2).collect();
        let mut sorted = told.clone();
        sorted.sort_unstable();
        if order == "desc" {
            sorted.reverse();
        }
        assert_eq!(told, sorted, "{order}");
        found.sort();
        assert_eq!(found, expect, "{order}");
    }
    let (from, to) = (start.plus_micros(3 * SECOND), start.plus_micros(6 * SECOND));
    let path =
        format!("/v1/entities/p/history?attributes=a,b&consistency=strong&from={from}&to={to}&order=asc");
    let answer = world.get(&tenant, &path).await.ok();
    let told: Vec<_> = points(&answer.body).into_iter().map(|p| p.2).collect();
    assert_eq!(told, [3, 4, 5, 103], "to is not included");

    world.take(other.id, "p", ago(1), &[("theirs", Value::Integer(1))]).await;
    let get = async |query: &str| world.get(&tenant, &format!("/v1/entities/p/history{query}")).await;
    get("").await.problem(400, Some("attributes"), "name 1 to 50");
    get("?attributes=a,a").await.problem(400, Some("attributes"), "twice");
    get("?attributes=a,theirs").await.problem(404, Some("attribute"), "\"theirs\"");
    get("?attributes=a&cursor=zzz").await.problem(400, Some("cursor"), "not a cursor");
    get("?attributes=a&from=2026-01-01T00:00:00Z").await.problem(400, Some("from"), "several windows");
    get("?attributes=a&aggregates=min").await.problem(400, Some("aggregates"), "bucket=5m");
    world.get(&other, "/v1/entities/p/history?attributes=a").await.problem(404, Some("attribute"), "\"a\"");
    world.get(&other, "/v1/entities/q/history?attributes=theirs").await.problem(
        404,
        Some("external_id"),
        "\"q\"",
    );
}

pub(crate) async fn pages_keep_to_their_window_while_values_come(world: &World) {
    let tenant = world.tenant(1).await;
    let start = ago(4000);
    let put = async |second: i64, name: &str, n: i64| {
        world.take(tenant.id, "p", start.plus_micros(second * SECOND), &[(name, Value::Integer(n))]).await;
    };
    let mut expect = Vec::new();
    for i in 0..9 {
        for (name, n) in [("a", i), ("b", 100 + i)] {
            put(10 * i, name, n).await;
            expect.push(n);
        }
    }
    let (mut told, mut page) = (Vec::new(), format!("order=desc&to={}", start.plus_micros(100 * SECOND)));
    loop {
        let path = format!("/v1/entities/p/history?attributes=a,b&consistency=strong&limit=5&{page}");
        let answer = world.get(&tenant, &path).await.ok();
        told.extend(points(&answer.body).into_iter().map(|p| p.2));
        let Some(next) = answer.body["next_cursor"].as_str() else { break };
        page = format!("cursor={next}");
        // After the window, and where the pages were already.
        put(110, "a", 1000).await;
        put(89, "b", 1001).await;
    }
    told.sort_unstable();
    expect.sort_unstable();
    assert_eq!(told, expect, "each once, and nothing that came meanwhile");
}

pub(crate) async fn buckets_are_what_their_points_make(world: &World) {
    let (tenant, other) = (world.tenant(1).await, world.tenant(1).await);
    let start = ago(3000);
    let mut input: Vec<(Timestamp, i64, Decimal, f64)> = Vec::new();
    for i in 0..50_i64 {
        let time = start.plus_micros(i * 13 * SECOND);
        let whole = (1 << 60) + i * 7 % 11;
        let digits = Decimal::from_i128_with_scale(10_000_000_000_000_000_000 + i128::from(i * 5 % 7), 6);
        let float = (i % 9) as f64 / 4.0;
        let values =
            [("i", Value::Integer(whole)), ("d", Value::Decimal(digits)), ("f", Value::Float(float))];
        world.take(tenant.id, "p", time, &values).await;
        input.push((time, whole, digits, float));
    }
    world.take(tenant.id, "p", start, &[("s", Value::String("x".into()))]).await;
    world.take(other.id, "p", start, &[("i", Value::Integer(7))]).await;

    // A minute begins where the clock says so.
    let minute =
        |t: &Timestamp| Timestamp::from_micros(t.as_micros().div_euclid(60 * SECOND) * 60 * SECOND).unwrap();
    let mut expect: BTreeMap<Timestamp, Vec<(i64, Decimal, f64)>> = BTreeMap::new();
    for (time, whole, digits, float) in &input {
        expect.entry(minute(time)).or_default().push((*whole, *digits, *float));
    }
    let from = start.plus_micros(-SECOND);
    let path = format!("/v1/entities/p/history?attributes=i,d,f&bucket=1m&from={from}");
    let complete = |answer: &crate::world::Answer| {
        let series = answer.body["series"].as_array().into_iter().flatten();
        let buckets = series.flat_map(|s| s["buckets"].as_array().unwrap());
        buckets.map(|b| b["count"].as_i64().unwrap()).sum::<i64>() == 150
    };
    for consistency in ["strong", "eventual"] {
        let path = format!("{path}&consistency={consistency}");
        let answer = match consistency {
            "strong" => world.get(&tenant, &path).await.ok(),
            _ => world.until(&tenant, &path, complete).await,
        };
        assert_eq!(answer.body["metadata"]["bucket_seconds"], 60);
        let whole: Told = serde_json::from_str(&answer.text).unwrap();
        assert!(whole.series.iter().all(|s| s.buckets.len() == expect.len()), "{}", answer.text);
        for (i, (from, values)) in expect.iter().enumerate() {
            let [ints, decimals, floats] = [0, 1, 2].map(|s| &whole.series[s].buckets[i]);
            assert_eq!(ints.from, *from);
            let count = values.len() as i64;
            assert_eq!((ints.count, decimals.count, floats.count), (count, count, count));
            let of: Vec<i64> = values.iter().map(|v| v.0).collect();
            assert_eq!(ints.min.get(), of.iter().min().unwrap().to_string());
            assert_eq!(ints.max.get(), of.iter().max().unwrap().to_string());
            assert_eq!(
                (ints.first.get(), ints.last.get()),
                (&*of[0].to_string(), &*of[of.len() - 1].to_string())
            );
            let sum: Decimal = values.iter().map(|v| v.1).sum();
            let avg: Decimal = decimals.avg.get().parse().unwrap();
            assert!((avg - sum / Decimal::from(count)).abs() < Decimal::new(1, 9), "{avg}");
            assert_eq!(decimals.min.get(), values.iter().map(|v| v.1).min().unwrap().to_string());
            let mean = values.iter().map(|v| v.2).sum::<f64>() / count as f64;
            let told: f64 = floats.avg.get().parse().unwrap();
            assert!((told - mean).abs() < 1e-9, "{told} {mean}");
            assert!(floats.first.get().contains('.'), "a float looks like one: {}", floats.first.get());
        }
    }
    let some =
        world.get(&tenant, "/v1/entities/p/history?attributes=i&bucket=1h&aggregates=count,max").await.ok();
    let bucket = some.body["series"][0]["buckets"][0].as_object().unwrap();
    assert_eq!(bucket.keys().collect::<Vec<_>>(), ["count", "from", "max"]);

    let get =
        async |query: &str| world.get(&tenant, &format!("/v1/entities/p/history?attributes={query}")).await;
    get("i,s&bucket=1h").await.problem(400, Some("attributes"), "\"s\" is a string");
    get("i&bucket=1s&from=2026-03-01T00:00:00Z&to=2026-03-08T00:00:00Z").await.problem(
        400,
        Some("bucket"),
        "take bucket=61s",
    );
    get("i&bucket=61s&from=2026-03-01T00:00:00Z&to=2026-03-08T00:00:00Z").await.ok();
    // Without an end it reaches as far ahead as there is room for, and not less than to now.
    let open = get(&format!("i&bucket=1s&from={}", ago(3600))).await.ok();
    let end = at(open.body["metadata"]["to"].as_str().unwrap());
    assert!(end.seconds_since(ago(0)) > 3600.0, "{end}");
    let day = get(&format!("i&bucket=1s&from={}", ago(86_400))).await;
    day.problem(400, Some("bucket"), "take bucket=9s");
    get("i&bucket=5").await.problem(400, Some("bucket"), "5m, 1h");
    get("i&bucket=5m&limit=3").await.problem(400, Some("limit"), "does not go with bucket");
    get("i&bucket=5m&aggregates=median").await.problem(400, Some("aggregates"), "none of count");
    let theirs =
        world.get(&other, "/v1/entities/p/history?attributes=i&bucket=1h&consistency=strong").await.ok();
    let buckets = theirs.body["series"][0]["buckets"].as_array().unwrap();
    assert_eq!((buckets.len(), &buckets[0]["max"]), (1, &Json::from(7)), "another tenant's points");
}

/// An answer with its digits.
#[derive(serde::Deserialize)]
struct Told {
    series: Vec<ToldSeries>,
}

#[derive(serde::Deserialize)]
struct ToldSeries {
    buckets: Vec<ToldBucket>,
}

#[derive(serde::Deserialize)]
struct ToldBucket {
    from: Timestamp,
    count: i64,
    min: Box<serde_json::value::RawValue>,
    max: Box<serde_json::value::RawValue>,
    avg: Box<serde_json::value::RawValue>,
    first: Box<serde_json::value::RawValue>,
    last: Box<serde_json::value::RawValue>,
}

pub(crate) async fn the_latest_values_before_a_time(world: &World) {
    let (tenant, other) = (world.tenant(1).await, world.tenant(1).await);
    let start = ago(500);
    for i in 0..10_i64 {
        let name = if i % 2 == 0 { "hot" } else { "cold" };
        world.take(tenant.id, "p", start.plus_micros(i * SECOND), &[(name, Value::Integer(i))]).await;
    }
    world.take(tenant.id, "q", start, &[("elsewhere", Value::Boolean(true))]).await;
    world.take(other.id, "p", start, &[("hot", Value::Integer(-1))]).await;
    let latest = async |query: &str| -> Json {
        let path = format!("/v1/entities/p/latest?attributes=hot,cold,elsewhere&consistency=strong{query}");
        world.get(&tenant, &path).await.ok().body
    };
    let now = latest("").await;
    assert_eq!(
        (&now["attributes"]["hot"]["value"], &now["attributes"]["cold"]["value"]),
        (&8.into(), &9.into())
    );
    assert_eq!(now["without"], serde_json::json!(["elsewhere"]));
    for i in 0..10_i64 {
        let before = start.plus_micros(i * SECOND);
        let then = latest(&format!("&before={before}")).await;
        for (name, odd) in [("hot", 0), ("cold", 1)] {
            // The last one of this name that is not later.
            let expect = (0..=i).rev().find(|n| n % 2 == odd);
            let told = &then["attributes"][name];
            assert_eq!(told["value"].as_i64(), expect, "{name} at {i}");
            if let Some(n) = expect {
                assert_eq!(at(told["observed_at"].as_str().unwrap()), start.plus_micros(n * SECOND));
            }
        }
    }
    let none = latest("&before=2001-01-01T00:00:00Z").await;
    assert_eq!(none["attributes"], serde_json::json!({}));
    let theirs = world.get(&other, "/v1/entities/p/latest?attributes=hot&consistency=strong").await.ok();
    assert_eq!(theirs.body["attributes"]["hot"]["value"], -1, "another tenant's value");
    world.get(&other, "/v1/entities/p/latest?attributes=cold").await.problem(404, Some("attribute"), "cold");
    world.get(&tenant, "/v1/entities/p/latest").await.problem(400, Some("attributes"), "name 1 to 50");
    world.get(&tenant, "/v1/entities/p/latest?attributes=hot&before=now").await.problem(
        400,
        Some("before"),
        "3339",
    );
}
