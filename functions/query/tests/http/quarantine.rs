//! A tenant's quarantine: its own, in pages; sent again once; given up.

use crate::world::{Answer, World, claims};
use axum::http::Method;
use eaves_codec::redrive;
use eaves_model::tenant::Tenant;
use serde_json::{Value as Json, json};

async fn write(world: &World, tenant: &Tenant, path: &str, body: &Json) -> Answer {
    let claims = Some(claims(tenant, "telemetry:write"));
    world.send(Method::POST, path, claims, &[("content-type", "application/json")], &body.to_string()).await
}

fn ids(answer: &Answer) -> Vec<i64> {
    answer.body["items"].as_array().unwrap().iter().map(|i| i["id"].as_i64().unwrap()).collect()
}

/// A payload with more digits than a double has.
fn reading(tenant: &Tenant) -> String {
    format!(
        r#"{{"tenant":"{}","entity":"p","observed_at":"2026-03-01T12:00:00Z","values":{{"t":12345678901234567890.10}}}}"#,
        tenant.name
    )
}

pub(crate) async fn rows_are_listed_in_pages_and_shown(world: &World) {
    let tenant = world.tenant(10).await;
    for _ in 0..5 {
        world.refuse(Some(tenant.id), "type_mismatch", reading(&tenant).as_bytes()).await;
    }
    let odd = world.refuse(Some(tenant.id), "undecodable", b"\xff\x00").await;
    let first = world.get(&tenant, "/v1/quarantine?limit=4").await.ok();
    assert_eq!(ids(&first)[0], odd);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = world.get(&tenant, &format!("/v1/quarantine?limit=4&cursor={cursor}")).await.ok();
    assert_eq!((ids(&second).len(), &second.body["next_cursor"]), (2, &Json::Null));
    let mut all = [ids(&first), ids(&second)].concat();
    all.dedup();
    assert_eq!(all.len(), 6);

    let of =
        async |query: &str| ids(&world.get(&tenant, &format!("/v1/quarantine?{query}")).await.ok()).len();
    assert_eq!(of("reason=undecodable").await, 1);
    assert_eq!(of("state=open&kind=record").await, 6);
    assert_eq!(of("state=dropped").await, 0);
    assert_eq!(of("attribute=t").await, 6);
    assert_eq!(of("attribute=_").await, 0);
    assert_eq!(of("until=2020-01-01T00:00:00Z").await, 0);
    assert_eq!(of("since=2020-01-01T00:00:00Z").await, 6);
    world.get(&tenant, "/v1/quarantine?state=lost").await.problem(400, Some("state"), "redriving");
    world.get(&tenant, "/v1/quarantine?cursor=x").await.problem(400, Some("cursor"), "next_cursor");

    let shown = world.get(&tenant, &format!("/v1/quarantine/{}", all[1])).await.ok();
    assert!(shown.text.contains("12345678901234567890.10"), "{}", shown.text);
    assert_eq!(shown.body["payload"]["entity"], "p");
    let shown = world.get(&tenant, &format!("/v1/quarantine/{odd}")).await.ok();
    assert_eq!((&shown.body["payload"], &shown.body["payload_base64"]), (&Json::Null, &json!("/wA=")));
    assert!(!shown.text.contains("token"), "the row's secret is nobody's: {}", shown.text);
    for none in ["/v1/quarantine/0", "/v1/quarantine/x", "/v1/quarantine/999999999"] {
        world.get(&tenant, none).await.problem(404, Some("id"), "no quarantine row");
    }
}

pub(crate) async fn a_redrive_puts_the_payload_with_its_frame(world: &World) {
    let tenant = world.tenant(10).await;
    let payload = reading(&tenant);
    let id = world.refuse(Some(tenant.id), "unknown_attribute", payload.as_bytes()).await;
    let path = format!("/v1/quarantine/{id}/redrive");
    // Twice: nobody knows here whether the first arrived.
    for times in 1..3 {
        let answer = write(world, &tenant, &path, &json!({})).await;
        assert_eq!((answer.status.as_u16(), &answer.body["sent"]), (202, &json!([id])), "{}", answer.text);
        let shown = world.get(&tenant, &format!("/v1/quarantine/{id}")).await.ok();
        assert_eq!(shown.body["item"]["state"], "redriving");
        assert_eq!(
            (&shown.body["item"]["changed_by"], &shown.body["item"]["attempts"]),
            (&json!("t"), &json!(times))
        );
    }
    let records = world.stream.of(&tenant);
    assert_eq!(records.len(), 2);
    assert_eq!(records[0], records[1], "one token, so that one of them takes effect");
    let (marker, sent) = redrive::unwrap(&records[0].data).unwrap();
    assert_eq!((marker.id, sent), (id, payload.as_bytes()));
}

pub(crate) async fn many_are_redriven_by_a_filter(world: &World) {
    let tenant = world.tenant(10).await;
    for reason in ["unknown_attribute", "unknown_attribute", "undecodable"] {
        world.refuse(Some(tenant.id), reason, reading(&tenant).as_bytes()).await;
    }
    let path = "/v1/quarantine/redrive";
    let dry = write(world, &tenant, path, &json!({"reason": "unknown_attribute", "dry_run": true})).await;
    assert_eq!((&dry.body["found"], &dry.body["sent"]), (&json!(2), &json!([])), "{}", dry.text);
    assert!(world.stream.of(&tenant).is_empty());
    let sent = write(world, &tenant, path, &json!({"reason": "unknown_attribute", "limit": 50})).await;
    assert_eq!(sent.body["sent"].as_array().unwrap().len(), 2, "{}", sent.text);
    assert_eq!(world.stream.of(&tenant).len(), 2);
    // What is under way is left alone.
    let again = write(world, &tenant, path, &json!({"reason": "unknown_attribute"})).await;
    assert_eq!((&again.body["found"], &again.body["sent"]), (&json!(0), &json!([])));
    write(world, &tenant, path, &json!({"resaon": "x"})).await.problem(400, Some("body"), "resaon");
    write(world, &tenant, path, &json!({"limit": 0})).await.problem(400, Some("limit"), "1 to 100");
}

pub(crate) async fn a_dropped_row_keeps_its_trace_and_not_its_payload(world: &World) {
    let tenant = world.tenant(10).await;
    let id = world.refuse(Some(tenant.id), "undecodable", b"{").await;
    let path = format!("/v1/quarantine/{id}/drop");
    let answer = write(world, &tenant, &path, &json!({"why": "a test"})).await.ok();
    assert_eq!(answer.body["state"], "dropped");
    let shown = world.get(&tenant, &format!("/v1/quarantine/{id}")).await.ok();
    assert_eq!((&shown.body["payload"], &shown.body["payload_base64"]), (&Json::Null, &Json::Null));
    assert_eq!(shown.body["item"]["changed_why"], "a test");
    write(world, &tenant, &path, &json!({})).await.problem(409, None, "dropped already");
    let redrive = format!("/v1/quarantine/{id}/redrive");
    write(world, &tenant, &redrive, &json!({})).await.problem(409, None, "dropped already");
}

pub(crate) async fn nobody_sees_or_moves_anothers_rows(world: &World) {
    let (tenant, other) = (world.tenant(10).await, world.tenant(10).await);
    let theirs = world.refuse(Some(other.id), "undecodable", reading(&other).as_bytes()).await;
    let nobodys = world.refuse(None, "unknown_tenant", b"{}").await;
    assert!(ids(&world.get(&tenant, "/v1/quarantine").await.ok()).is_empty());
    for id in [theirs, nobodys] {
        world.get(&tenant, &format!("/v1/quarantine/{id}")).await.problem(
            404,
            Some("id"),
            "no quarantine row",
        );
        for what in ["redrive", "drop"] {
            let path = format!("/v1/quarantine/{id}/{what}");
            write(world, &tenant, &path, &json!({})).await.problem(404, Some("id"), "no quarantine row");
        }
    }
    let all = write(world, &tenant, "/v1/quarantine/redrive", &json!({})).await;
    assert_eq!((&all.body["found"], &all.body["sent"]), (&json!(0), &json!([])));
    assert!(world.stream.of(&other).is_empty() && world.stream.of(&tenant).is_empty());
    let shown = world.get(&other, &format!("/v1/quarantine/{theirs}")).await.ok();
    assert_eq!(shown.body["item"]["state"], "open");
}
