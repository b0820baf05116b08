//! What an answer is for, and what it then says of itself.

use crate::world::{World, ago};
use eaves_model::{Timestamp, Value};
use serde_json::json;
use std::time::Duration;

const PURPOSES: [(&str, &str, f64); 8] = [
    ("critical", "eventual", 1.0),
    ("dashboard", "eventual", 5.0),
    ("operational", "eventual", 10.0),
    ("alerting", "eventual", 30.0),
    ("reporting", "analytics", 300.0),
    ("analytics", "analytics", 1800.0),
    ("historical", "analytics", 7200.0),
    ("compliance", "analytics", 86_400.0),
];

pub(crate) async fn a_purpose_brings_its_budget_wherever_something_is_read(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(3), &[("n", Value::Integer(1))]).await;
    world
        .until(&tenant, "/v1/entities/p", |a| a.header("x-data-source") != "primary" && a.status == 200)
        .await;
    for (purpose, level, target) in PURPOSES {
        let read = [
            ("GET", format!("/v1/entities/p?purpose={purpose}"), json!(null)),
            ("GET", format!("/v1/entities?purpose={purpose}"), json!(null)),
            ("POST", format!("/v1/entities/batch?purpose={purpose}"), json!({"external_ids": ["p"]})),
            (
                "POST",
                format!("/v1/entities/search?purpose={purpose}"),
                json!({"filter": {"attribute": "n", "eq": 1}}),
            ),
            ("GET", format!("/v1/entities/p/history/n?purpose={purpose}"), json!(null)),
            ("GET", format!("/v1/entities/p/history?attributes=n&purpose={purpose}"), json!(null)),
            ("GET", format!("/v1/entities/p/history?attributes=n&bucket=1h&purpose={purpose}"), json!(null)),
            ("GET", format!("/v1/entities/p/latest?attributes=n&purpose={purpose}"), json!(null)),
            ("POST", format!("/v1/aggregates?purpose={purpose}"), json!({"attributes": ["n"]})),
            ("GET", format!("/v1/attributes/n/distribution?purpose={purpose}"), json!(null)),
        ];
        for (method, path, body) in read {
            let answer = match method {
                "GET" => world.get(&tenant, &path).await,
                _ => world.ask(&tenant, &path, &body).await,
            }
            .ok();
            let told = &answer.body["metadata"]["freshness"];
            assert_eq!((&told["purpose"], &told["consistency"]), (&json!(purpose), &json!(level)), "{path}");
            assert_eq!(told["sla_target"].as_f64(), Some(target), "{path}");
            assert_eq!(answer.header("x-consistency-level"), level, "{path}");
            let reason = told["route_reason"].as_str().unwrap();
            let source = told["source"].as_str().unwrap();
            match purpose {
                "critical" => {
                    assert_eq!((source, reason), ("primary", "critical reads go to the primary"), "{path}")
                }
                _ if level == "analytics" => {
                    assert!(
                        source == "read-replica" && reason.starts_with("no OLAP store is attached; "),
                        "{path}"
                    );
                }
                _ => {}
            }
        }
    }
}

pub(crate) async fn contradictions_are_refused_with_both_names(world: &World) {
    let tenant = world.tenant(20).await;
    let refused = async |query: &str, field: &str, detail: &str| {
        let answer = world.get(&tenant, &format!("/v1/entities/p?{query}")).await;
        answer.problem(400, Some(field), detail);
    };
    refused("purpose=dashboard&consistency=strong", "purpose", "purpose=dashboard and consistency=strong")
        .await;
    refused("purpose=reporting&consistency=eventual", "purpose", "goes with consistency=analytics").await;
    refused("purpose=dashboard&max_staleness=60s", "purpose", "purpose=dashboard and max_staleness=60s")
        .await;
    refused("purpose=fun", "purpose", "critical, dashboard, operational").await;
    refused("consistency=weak", "consistency", "strong, eventual or analytics").await;
    let both = world.get(&tenant, "/v1/entities/p?purpose=critical&consistency=strong").await;
    both.problem(404, Some("external_id"), "p");
    let tighter = world.get(&tenant, "/v1/entities?purpose=dashboard&max_staleness=2s").await.ok();
    assert_eq!(tighter.body["metadata"]["freshness"]["sla_target"], 2.0);
    let strong = world.ask(&tenant, "/v1/aggregates?consistency=strong", &json!({"attributes": ["n"]})).await;
    strong.problem(400, Some("consistency"), "none can be strong");
}

pub(crate) async fn headers_for_caches_and_clocks(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(3), &[("n", Value::Integer(1))]).await;
    let strong = world.get(&tenant, "/v1/entities/p?consistency=strong").await.ok();
    assert_eq!((strong.header("cache-status"), strong.header("age")), ("eaves; fwd=request", ""));
    let list = world.get(&tenant, "/v1/entities").await.ok();
    assert_eq!(list.header("cache-status"), "eaves; fwd=bypass");
    let hit = world.until(&tenant, "/v1/entities/p", |a| a.header("x-cache-hit") == "true").await;
    let told = &hit.body["metadata"]["freshness"];
    let lag = told["lag_seconds"].as_f64().unwrap();
    let age: f64 = hit.header("age").parse().unwrap();
    assert!(age >= lag && age < lag + 1.0, "{age} {lag}");
    let ttl: f64 = hit.header("cache-status").strip_prefix("eaves; hit; ttl=").unwrap().parse().unwrap();
    assert!(ttl <= 5.0 - lag && ttl > 3.0 - lag, "{ttl} {lag}");
    let shown = match told["tier"].as_str().unwrap() {
        "REALTIME" => ("🟢", "Real-time"),
        _ => ("🟡", "Near real-time"),
    };
    assert_eq!((&told["indicator"], &told["ui_state"]), (&json!(shown.0), &json!(shown.1)));
    let as_of: Timestamp = told["as_of"].as_str().unwrap().parse().unwrap();
    let queried: Timestamp = hit.header("x-query-timestamp").parse().unwrap();
    // The lag is told in milliseconds, rounded up.
    assert!(queried.seconds_since(as_of) >= lag - 0.001, "it claims no more than the lag does");
    for answer in [&strong, &list, &hit] {
        let timing = answer.header("server-timing");
        let source = answer.header("x-data-source");
        assert!(timing.contains(&format!("source;desc=\"{source}\"")), "{timing}");
        let part = |name: &str| {
            let entry = timing.split(", ").find_map(|e| e.strip_prefix(&format!("{name};dur=")));
            entry.unwrap().parse::<f64>().unwrap()
        };
        assert!(part("total") >= part("route") && part("total") > 0.0, "{timing}");
        assert!(part("db") > 0.0 || source == "cache", "{timing}");
    }
    // Nothing young enough is there: nothing at all, or an entry that is older than the bound.
    world.take(tenant.id, "a:b", ago(3), &[("n", Value::Integer(1))]).await;
    let miss = world.until(&tenant, "/v1/entities/a:b", |a| a.status == 200).await;
    assert_eq!((miss.header("cache-status"), miss.header("age")), ("eaves; fwd=miss", ""));
    let hit = world.until(&tenant, "/v1/entities/a:b", |a| a.header("x-cache-hit") == "true").await;
    assert!(hit.header("cache-status").starts_with("eaves; hit; ttl="));
    let stale = world.get(&tenant, "/v1/entities/a:b?max_staleness=1ms").await.ok();
    assert_eq!((stale.header("cache-status"), stale.header("x-cache-hit")), ("eaves; fwd=stale", "false"));
    // The age of what the cache last answered with goes on.
    let age = |shown: &crate::world::Answer| shown.body["cache"]["last_entry_age_seconds"].as_f64().unwrap();
    let first = world.get(&tenant, "/v1/freshness").await.ok();
    let later = world.until(&tenant, "/v1/freshness", |shown| age(shown) > age(&first)).await;
    assert!(age(&later) - age(&first) < 30.0, "{} {}", age(&first), age(&later));
    // Refused before anything is read, and still timed.
    let wrong = world.get(&tenant, "/v1/entities/p?purpose=fun").await;
    assert!(wrong.header("server-timing").contains("total;dur="));
}

pub(crate) async fn lag_moves_while_nothing_is_written(world: &World) {
    let tenant = world.tenant(20).await;
    let first = world.get(&tenant, "/v1/freshness").await.ok();
    let beats = |a: &crate::world::Answer| a.body["primary"]["heartbeats"].as_i64();
    let later = world.until(&tenant, "/v1/freshness", |a| beats(a) > beats(&first)).await;
    assert_ne!(later.body["primary"]["position"], first.body["primary"]["position"]);
    let moved = |a: &crate::world::Answer| a.body["replica"]["position"] != first.body["replica"]["position"];
    let later = world.until(&tenant, "/v1/freshness", moved).await;
    assert_eq!(later.body["replica"]["state"], "replaying");
    assert_eq!(later.body["replicas"].as_array().unwrap().len(), 1);
    assert_eq!(later.body["primary"]["followers"][0]["state"], "streaming");
    assert_eq!(later.body["primary"]["breaker"], "closed");

    // Held up, it tells so, and its lag grows with the clock.
    world.replicates(false).await;
    let paused = world.until(&tenant, "/v1/freshness", |a| a.body["replica"]["state"] == "paused").await;
    let lag = |a: &crate::world::Answer| a.body["replica"]["lag_seconds"].as_f64().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let later = world.get(&tenant, "/v1/freshness").await.ok();
    assert!(lag(&later) >= lag(&paused) + 0.3, "{} {}", lag(&paused), lag(&later));
    world.replicates(true).await;
    world.until(&tenant, "/v1/freshness", |a| lag(a) < 1.0).await;
}
