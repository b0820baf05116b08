//! Reads that must have what a write put on the stream. What a case posts has the sequence number
//! that it commits next (`doubles::Memory`).

use crate::world::{World, ago, claims};
use axum::http::Method;
use eaves_model::Value;
use eaves_model::tenant::Tenant;
use serde_json::json;
use std::time::{Duration, Instant};

/// Posts a reading; the token of the answer. It is on the stream, and nothing more.
async fn posted(world: &World, tenant: &Tenant, value: i64) -> String {
    let body =
        json!({"entity": "p", "type": "pump", "observed_at": ago(1).to_string(), "values": {"n": value}});
    let answer = world.post(tenant, "application/json", body.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let token = answer.body["token"].as_str().unwrap().to_owned();
    assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{token}");
    token
}

/// Ingest takes it.
async fn taken(world: &World, tenant: &Tenant, value: i64) {
    world.take(tenant.id, "p", ago(1), &[("n", Value::Integer(value))]).await;
}

pub(crate) async fn a_read_waits_for_what_its_token_names(world: &World) {
    let tenant = world.tenant(20).await;
    let token = posted(world, &tenant, 1).await;
    // Neither the entity nor the attribute is registered: that is no reason to say so.
    for path in
        ["/v1/entities/p?", "/v1/entities/p/history/n?", "/v1/entities?fields=n&", "/v1/attributes/n?"]
    {
        let answer = world.get(&tenant, &format!("{path}token={token}&wait=0s")).await;
        answer.problem(503, None, "on its way and was waited for 0 s");
        assert_eq!(answer.body["type"], "/docs#not-yet");
        assert_eq!(answer.header("retry-after"), "1");
    }
    let began = Instant::now();
    let path = format!("/v1/entities/p?token={token}&wait=10s");
    let reading = world.get(&tenant, &path);
    let taking = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        taken(world, &tenant, 1).await;
    };
    let (answer, ()) = futures_util::future::join(reading, taking).await;
    assert_eq!(answer.ok().body["entity"]["attributes"]["n"]["value"], 1);
    assert!(began.elapsed() >= Duration::from_millis(150) && began.elapsed() < Duration::from_secs(10));

    // From then on it is no more than a parameter, by whatever way it comes.
    let search = json!({"filter": {"attribute": "n", "eq": 1}});
    let batch = json!({"external_ids": ["p"]});
    for (path, body) in [("/v1/entities/search", search), ("/v1/entities/batch", batch)] {
        let headers = [("x-consistency-token", token.as_str())];
        let claims = Some(claims(&tenant, "query:read"));
        let answer = world.send(Method::POST, path, claims, &headers, &body.to_string()).await.ok();
        assert!(answer.text.contains("\"value\":1,"), "{}", answer.text);
    }
    for path in [
        "/v1/entities/p/history/n",
        "/v1/entities/p/history?attributes=n",
        "/v1/entities/p/latest?attributes=n",
    ] {
        let and = if path.contains('?') { '&' } else { '?' };
        let answer = world.get(&tenant, &format!("{path}{and}token={token}")).await.ok();
        assert!(answer.text.contains("\"value\":1"), "{}", answer.text);
    }
}

pub(crate) async fn a_source_that_lacks_it_is_not_asked(world: &World) {
    let tenant = world.tenant(20).await;
    taken(world, &tenant, 1).await;
    world.until(&tenant, "/v1/entities/p/history/n", |a| a.header("x-data-source") == "read-replica").await;
    world.until(&tenant, "/v1/entities/p", |a| a.header("x-cache-hit") == "true").await;
    // Replica and cache are young enough for whoever has no token, and old.
    world.replicates(false).await;
    let token = posted(world, &tenant, 2).await;
    taken(world, &tenant, 2).await;
    for path in ["/v1/entities/p", "/v1/entities/p/history/n", "/v1/entities/p/latest?attributes=n"] {
        let and = if path.contains('?') { '&' } else { '?' };
        let answer = world.get(&tenant, &format!("{path}{and}token={token}&max_staleness=60s")).await.ok();
        assert_eq!(answer.header("x-data-source"), "primary", "{path}");
        assert!(answer.text.contains("\"value\":2"), "{path}: {}", answer.text);
    }
    // That read has put it into the cache, and what was true after the token was reached has it.
    let path = format!("/v1/entities/p?token={token}&max_staleness=60s");
    let cached = world.until(&tenant, &path, |a| a.header("x-cache-hit") == "true").await;
    assert_eq!(cached.body["entity"]["attributes"]["n"]["value"], 2);
    world.replicates(true).await;
    let path = format!("/v1/entities/p/history/n?token={token}");
    let replica = world.until(&tenant, &path, |a| a.header("x-data-source") == "read-replica").await;
    assert_eq!(replica.body["points"][0]["value"], 2);
}

pub(crate) async fn what_is_only_in_history_waits_for_the_flush(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(60), &[("n", Value::Integer(1))]).await;
    let figures = json!({"attributes": ["n"], "aggregates": ["count"]});
    world.flushes(false);
    let token = posted(world, &tenant, 2).await;
    taken(world, &tenant, 2).await;
    // Staging has it, and figures are made of history alone.
    let strong = world.get(&tenant, &format!("/v1/entities/p/history/n?token={token}")).await.ok();
    assert_eq!((strong.header("x-data-source"), &strong.body["points"][0]["value"]), ("primary", &json!(2)));
    let path = format!("/v1/aggregates?token={token}&wait=100ms");
    world.ask(&tenant, &path, &figures).await.problem(503, None, "waited for 0.1 s");
    let path = format!("/v1/aggregates?token={token}&wait=10s");
    let reading = world.ask(&tenant, &path, &figures);
    let flushing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.flushes(true);
    };
    let (answer, ()) = futures_util::future::join(reading, flushing).await;
    assert!(answer.ok().text.contains("\"count\":2"));
}

pub(crate) async fn tokens_that_are_none_are_named(world: &World) {
    let (tenant, other) = (world.tenant(20).await, world.tenant(20).await);
    taken(world, &tenant, 1).await;
    let token = posted(world, &tenant, 2).await;
    let foreign = posted(world, &other, 2).await;
    taken(world, &tenant, 2).await;
    for bad in ["", "x", &token[1..], &foreign, &format!("{token}%20")] {
        let answer = world.get(&tenant, &format!("/v1/entities/p?token={bad}")).await;
        answer.problem(400, Some("token"), "is not a token that a write of this tenant returned");
    }
    let (path, claim) = ("/v1/entities/p", || Some(claims(&tenant, "query:read")));
    let header = |token| [("x-consistency-token", token)];
    let answer = world.send(Method::GET, path, claim(), &header("nonsense"), "").await;
    answer.problem(400, Some("x-consistency-token"), "is not a token");
    let both = format!("{path}?token={token}");
    world.send(Method::GET, &both, claim(), &header(&foreign), "").await.problem(
        400,
        Some("token"),
        "another",
    );
    world.send(Method::GET, &both, claim(), &header(&token), "").await.ok();
    for (query, field, detail) in [
        ("wait=2s".to_owned(), "wait", "goes with token"),
        (format!("token={token}&wait=11s"), "wait", "at most 10s"),
        (format!("token={token}&wait=soon"), "wait", "not a duration"),
    ] {
        world.get(&tenant, &format!("{path}?{query}")).await.problem(400, Some(field), detail);
    }
    // Where nothing is read it is a parameter like any other that is not known.
    let tenant_path = format!("/v1/quarantine?token={token}");
    world.get(&tenant, &tenant_path).await.problem(400, Some("token"), "no such parameter");
    world.send(Method::GET, &both, None, &[], "").await.problem(401, None, "token");
}

pub(crate) async fn a_token_goes_on_with_the_next_write(world: &World) {
    let tenant = world.tenant(20).await;
    taken(world, &tenant, 1).await;
    let first = posted(world, &tenant, 2).await;
    let body = json!({"entity": "q", "observed_at": ago(1).to_string(), "values": {"n": 3}}).to_string();
    let (claim, headers) = (Some(claims(&tenant, "telemetry:write")), [("content-type", "application/json")]);
    let path = format!("/v1/telemetry?token={first}");
    let both = world.send(Method::POST, &path, claim.clone(), &headers, &body).await;
    assert_eq!(both.status, 202, "{}", both.text);
    // The same shard: of two records the later one stands for both.
    assert_eq!(both.body["token"].as_str(), Some(first.as_str()));
    let bad = world.send(Method::POST, "/v1/telemetry?token=x", claim, &headers, &body).await;
    bad.problem(400, Some("token"), "is not a token");
}
