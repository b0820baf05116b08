//! One entity.

use crate::world::{World, ago, at};
use eaves_model::{Value, value::decimal};
use serde_json::json;

pub(crate) async fn values_come_back_with_all_their_digits(world: &World) {
    let tenant = world.tenant(20).await;
    let name = "Halle 3/Pumpe №7";
    let path = "/v1/entities/Halle%203%2FPumpe%20%E2%84%967";
    let values = [
        ("count", Value::Integer(i64::MAX)),
        ("price", Value::Decimal(decimal("12.3000000000000000000000001").unwrap())),
        ("cost", Value::Decimal(decimal("1.50").unwrap())),
        ("temperature", Value::Float(72.0)),
        ("tiny", Value::Float(5e-324)),
        ("armed", Value::Boolean(true)),
        ("note", Value::String("\"quoted\" ü \u{1F600}".into())),
        ("since", Value::Timestamp(at("2026-01-02T03:04:05.000006Z"))),
    ];
    world.take(tenant.id, name, at("2026-03-01T12:00:00.25Z"), &values).await;
    for consistency in ["strong", "eventual"] {
        let path = format!("{path}?consistency={consistency}");
        let answer = world.until(&tenant, &path, |a| a.status == 200).await;
        for digits in ["9223372036854775807", "12.3000000000000000000000001", "1.50"] {
            assert!(
                answer.text.contains(&format!("\"value\":{digits},")),
                "{consistency} {digits}: {}",
                answer.text
            );
        }
        let entity = &answer.body["entity"];
        assert_eq!(entity["external_id"], name);
        assert_eq!(entity["type"], "pump");
        assert!(entity["version"].as_i64() > Some(0), "{entity}");
        assert_eq!(entity["observed_at"], "2026-03-01T12:00:00.25Z");
        let attributes = &entity["attributes"];
        assert_eq!(attributes["temperature"]["value"], 72.0);
        assert_eq!(attributes["tiny"]["value"].as_f64(), Some(5e-324));
        assert_eq!(
            attributes["armed"],
            json!({"value": true, "type": "boolean", "unit": "", "observed_at": "2026-03-01T12:00:00.25Z"})
        );
        assert_eq!(attributes["note"]["value"], "\"quoted\" ü \u{1F600}");
        assert_eq!(attributes["since"]["value"], "2026-01-02T03:04:05.000006Z");
        assert_eq!(attributes["price"]["type"], "decimal");
        assert_eq!(attributes["count"]["type"], "integer");
    }
}

pub(crate) async fn the_headers_say_what_the_metadata_says(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(1), &[("t", Value::Float(1.5))]).await;
    let strong = world.get(&tenant, "/v1/entities/p?consistency=strong").await.ok();
    let eventual = world.until(&tenant, "/v1/entities/p", |a| a.status == 200).await;
    for answer in [&strong, &eventual] {
        let told = &answer.body["metadata"]["freshness"];
        assert_eq!(told["source"], answer.header("x-data-source"));
        assert_eq!(told["tier"], answer.header("x-freshness-tier"));
        assert_eq!(told["consistency"], answer.header("x-consistency-level"));
        assert_eq!(told["sla_met"].to_string(), answer.header("x-sla-met"));
        let lag: f64 = answer.header("x-data-lag-seconds").parse().unwrap();
        assert_eq!(told["lag_seconds"].as_f64(), Some(lag));
        assert!(answer.header("x-query-timestamp").parse::<eaves_model::Timestamp>().is_ok());
        assert!(["true", "false"].contains(&answer.header("x-cache-hit")));
        assert!(!answer.header("x-data-freshness").is_empty());
        assert!(!told["route_reason"].as_str().unwrap().is_empty());
    }
    let told = &strong.body["metadata"]["freshness"];
    assert_eq!((told["source"].as_str(), told["lag_seconds"].as_f64()), (Some("primary"), Some(0.0)));
    assert_eq!((told["sla_target"].as_f64(), told["sla_met"].as_bool()), (Some(1.0), Some(true)));
    assert_eq!(eventual.body["metadata"]["freshness"]["sla_target"], 10.0);
    assert!(!eventual.header("x-replication-lag").is_empty());
}

pub(crate) async fn an_eventual_read_fills_the_cache_and_is_answered_from_it(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(2), &[("t", Value::Float(1.5))]).await;
    // A replica may know the entity a moment before it knows the value, and fills that in.
    let filled = |a: &crate::world::Answer| {
        a.header("x-cache-hit") == "true" && a.body["entity"]["attributes"]["t"]["value"] == 1.5
    };
    let cached = world.until(&tenant, "/v1/entities/p", filled).await;
    assert_eq!(cached.header("x-data-source"), "cache");
    assert!(cached.body["metadata"]["freshness"]["route_reason"].as_str().unwrap().contains("under 5 s"));

    // A strong read goes past the cache, and what the cache says of its age stays true.
    world.take(tenant.id, "p", ago(1), &[("t", Value::Float(2.5))]).await;
    let strong = world.get(&tenant, "/v1/entities/p?consistency=strong").await.ok();
    assert_eq!(strong.body["entity"]["attributes"]["t"]["value"], 2.5);
    // The strong read has put the newer version there.
    let cached = world.until(&tenant, "/v1/entities/p", |a| a.header("x-cache-hit") == "true").await;
    assert_eq!(cached.body["entity"]["attributes"]["t"]["value"], 2.5);
    // A bound of nothing goes past the cache too.
    let bounded = world.get(&tenant, "/v1/entities/p?max_staleness=0s").await.ok();
    assert_eq!(bounded.header("x-data-source"), "primary");
}

pub(crate) async fn two_tenants_with_the_same_names_never_mix(world: &World) {
    let (a, b) = (&world.tenant(20).await, &world.tenant(20).await);
    world.take(a.id, "p", ago(1), &[("t", Value::String(a.name.as_str().into()))]).await;
    world.take(b.id, "p", ago(1), &[("t", Value::String(b.name.as_str().into()))]).await;
    world.take(a.id, "only-a", ago(1), &[("t", Value::String(a.name.as_str().into()))]).await;
    world.get(b, "/v1/entities/only-a?consistency=strong").await.problem(404, Some("external_id"), "only-a");

    let mut running = Vec::new();
    for i in 0..400 {
        let tenant = if i % 2 == 0 { a } else { b };
        let path = [
            "/v1/entities/p?consistency=strong",
            "/v1/entities/p",
            "/v1/entities/p/history/t?consistency=strong",
        ][i % 3];
        running.push(async move {
            let answer = world.until(tenant, path, |a| a.status == 200).await;
            assert!(answer.text.contains(&format!("\"{}\"", tenant.name)), "{}", answer.text);
            let other = if i % 2 == 0 { b } else { a };
            assert!(!answer.text.contains(&format!("\"{}\"", other.name)), "{}", answer.text);
        });
    }
    futures_util::future::join_all(running).await;
}
