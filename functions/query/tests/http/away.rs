//! Parts that are slow or away. These cases come last: they break things.

use crate::world::{World, ago, claims, send};
use axum::http::Method;
use eaves_model::Value;
use futures_util::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};

pub(crate) async fn a_paused_replica_is_left_for_the_primary(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(9), &[("n", Value::Integer(1))]).await;
    let path = "/v1/entities/p/history/n";
    world.until(&tenant, path, |a| a.header("x-data-source") == "read-replica").await;
    world.replicates(false).await;
    world.take(tenant.id, "p", ago(8), &[("n", Value::Integer(2))]).await;
    let bounded = format!("{path}?max_staleness=1s");
    // Many at once wait for one connection: some are under way when the lag passes the bound.
    loop {
        let answers = join_all((0..16).map(|_| world.get(&tenant, &bounded))).await;
        let primary = answers.iter().filter(|a| a.header("x-data-source") == "primary");
        for answer in primary.clone() {
            assert_eq!(answer.body["points"].as_array().unwrap().len(), 2);
            let reason = answer.body["metadata"]["freshness"]["route_reason"].as_str().unwrap();
            assert!(reason.contains("replica lag is") && reason.contains("not under 1 s"), "{reason}");
        }
        if primary.count() == answers.len() {
            break;
        }
    }
    // The default bound is reached later; until then the replica's age is told.
    let answer = world.until(&tenant, path, |a| a.header("x-data-source") == "primary").await;
    assert_eq!(answer.body["points"].as_array().unwrap().len(), 2);
    // Measured again, a moment apart from what the route was chosen by.
    let behind = |a: &crate::world::Answer| a.body["replicas"][0]["lag_seconds"].as_f64() >= Some(5.0);
    let shown = world.until(&tenant, "/v1/freshness", behind).await;
    assert_eq!(shown.body["replicas"][0]["tier"], "NEAR_REALTIME");
    world.replicates(true).await;
    world.until(&tenant, path, |a| a.header("x-data-source") == "read-replica").await;
}

pub(crate) async fn a_stopped_replica_is_left_alone_until_it_answers(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(9), &[("n", Value::Integer(1))]).await;
    let path = "/v1/entities/p/history/n";
    world.until(&tenant, path, |a| a.header("x-data-source") == "read-replica").await;
    world.replica.lock().await.stop().await.unwrap();
    for _ in 0..4 {
        let answer = world.get(&tenant, path).await.ok();
        assert_eq!(answer.header("x-data-source"), "primary");
        let reason = answer.body["metadata"]["freshness"]["route_reason"].as_str().unwrap();
        assert!(reason.contains("no replica can answer"), "{reason}");
    }
    let shown = world.get(&tenant, "/v1/freshness").await.ok();
    let replica = &shown.body["replicas"][0];
    assert_eq!(
        (&replica["available"], &replica["breaker"]),
        (&json!(false), &json!("open")),
        "{}",
        shown.text
    );
    world.replica.lock().await.restart().await.unwrap();
    // One read finds out, and those after it go there again.
    world.until(&tenant, path, |a| a.header("x-data-source") == "read-replica").await;
    let shown = world.get(&tenant, "/v1/freshness").await.ok();
    assert_eq!(shown.body["replicas"][0]["breaker"], "closed", "{}", shown.text);
}

pub(crate) async fn servers_that_say_nothing_cost_a_bounded_time(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(9), &[("n", Value::Integer(1))]).await;
    // It takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let get = async |instance: &axum::Router, path: &str| {
        let began = Instant::now();
        let answer = send(instance, Method::GET, path, Some(claims(&tenant, "query:read")), &[], "").await;
        (answer, began.elapsed())
    };
    let path = "/v1/entities/p/history/n";
    let instance = world.instance(&[("EAVES_REPLICA_PORT", &port)]);
    for _ in 0..2 {
        let (answer, took) = get(&instance, path).await;
        assert_eq!(answer.ok().header("x-data-source"), "primary");
        assert!(took < Duration::from_secs(7), "{took:?}");
    }
    let (answer, took) = get(&instance, path).await;
    assert_eq!(answer.ok().header("x-data-source"), "primary");
    assert!(took < Duration::from_secs(1), "it is left alone by now: {took:?}");

    let instance = world.instance(&[("EAVES_DB_PORT", &port)]);
    let (answer, took) = get(&instance, &format!("{path}?consistency=strong")).await;
    answer.problem(504, None, "the time of the request is used up");
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
    assert!(took < Duration::from_secs(15), "{took:?}");
    let (answer, took) = get(&instance, &format!("{path}?consistency=strong")).await;
    answer.problem(503, None, "strong read takes no other source");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let (answer, _) = get(&instance, path).await;
    assert_eq!(answer.ok().header("x-data-source"), "read-replica");
}

pub(crate) async fn a_table_that_somebody_holds_is_a_504(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(9), &[("n", Value::Integer(1))]).await;
    let path = "/v1/entities/p?consistency=strong";
    world.get(&tenant, path).await.ok();
    let hold = "begin; lock table entities in access exclusive mode; select pg_sleep(8); rollback";
    let read = world.until(&tenant, path, |a| a.status == 504);
    let (answer, ()) = tokio::join!(read, world.execute(hold));
    answer.problem(504, None, "did not answer in it");
    world.get(&tenant, path).await.ok();
}

pub(crate) async fn redis_away_costs_nothing_but_time(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(9), &[("n", Value::Integer(1))]).await;
    world.until(&tenant, "/v1/entities/p", |a| a.header("x-cache-hit") == "true").await;
    world.redis.lock().unwrap().stop();
    let began = Instant::now();
    for _ in 0..20 {
        let answer = world.get(&tenant, "/v1/entities/p").await.ok();
        assert_eq!(answer.header("x-cache-hit"), "false");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let shown = world.get(&tenant, "/v1/freshness").await.ok();
    assert_eq!(shown.body["cache"]["reachable"], false);
}

pub(crate) async fn with_the_primary_away_strong_is_503_and_eventual_tells_the_truth(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(9), &[("n", Value::Integer(1))]).await;
    let path = "/v1/entities/p";
    world.until(&tenant, path, |a| a.header("x-data-source") == "read-replica").await;
    world.primary.lock().await.stop().await.unwrap();

    let strong = world.get(&tenant, "/v1/entities/p?consistency=strong").await;
    strong.problem(503, None, "strong read takes no other source");
    assert!(strong.header("retry-after").parse::<u64>().is_ok());
    assert!(
        !strong.text.contains("127.0.0.1") && !strong.text.to_lowercase().contains("connection"),
        "{}",
        strong.text
    );

    let away = |a: &crate::world::Answer| {
        a.status == 200
            && a.body["metadata"]["freshness"]["route_reason"].as_str().unwrap().contains("primary is away")
    };
    let eventual = world.until(&tenant, path, away).await;
    assert_eq!(eventual.header("x-data-source"), "read-replica");
    let lag: f64 = eventual.header("x-data-lag-seconds").parse().unwrap();
    assert!(lag >= 5.0, "{lag}");
    assert_eq!(eventual.body["entity"]["attributes"]["n"]["value"], 1);
    let bounded = world.get(&tenant, "/v1/entities/p?max_staleness=2s").await;
    bounded.problem(503, None, "older than max_staleness");
    let shown = world.get(&tenant, "/v1/freshness").await.ok();
    assert_eq!(shown.body["primary"]["available"], false);
    assert_eq!(shown.body["replica"]["available"], true);
    assert!(shown.body["staging"].is_null());

    world.primary.lock().await.restart().await.unwrap();
    world.until(&tenant, "/v1/entities/p?consistency=strong", |a| a.status == 200).await;
}
