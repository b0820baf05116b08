//! Search over hot attributes.

use crate::world::{World, ago, at};
use eaves_model::{Value, value::decimal};
use serde_json::{Value as Json, json};

fn names(answer: &Json) -> Vec<&str> {
    answer["entities"].as_array().unwrap().iter().map(|e| e["external_id"].as_str().unwrap()).collect()
}

pub(crate) async fn filters_find_what_they_describe(world: &World) {
    let (tenant, other) = (world.tenant(20).await, world.tenant(20).await);
    for (name, status, temperature, price, since) in [
        ("p1", "online", 60.0, "10.000000000000000000001", "2026-01-01T00:00:00Z"),
        ("p2", "online", 80.0, "10.000000000000000000002", "2026-02-01T00:00:00Z"),
        ("p3", "fault", 90.0, "11", "2026-03-01T00:00:00Z"),
    ] {
        let values = [
            ("status", Value::String(status.into())),
            ("temperature", Value::Float(temperature)),
            ("price", Value::Decimal(decimal(price).unwrap())),
            ("since", Value::Timestamp(at(since))),
            ("armed", Value::Boolean(name == "p2")),
        ];
        world.take(tenant.id, name, ago(1), &values).await;
    }
    world.take(tenant.id, "p4", ago(1), &[("note", Value::String("it's \\ \"odd\" {} [] --".into()))]).await;
    world.take(other.id, "x1", ago(1), &[("status", Value::String("online".into()))]).await;

    let check = async |filter: Json, expect: &[&str]| {
        let answer = world.search(&tenant, &json!({"filter": filter})).await.ok();
        assert_eq!(names(&answer.body), expect, "{filter}");
        assert_eq!(answer.header("x-data-source"), "primary");
    };
    let raw = |text: &str| serde_json::from_str::<Json>(text).unwrap();
    check(json!({"attribute": "status", "eq": "online"}), &["p1", "p2"]).await;
    check(json!({"attribute": "status", "in": ["fault", "gone"]}), &["p3"]).await;
    check(json!({"attribute": "temperature", "gt": 60, "lte": 90}), &["p2", "p3"]).await;
    check(json!({"attribute": "temperature", "eq": 60}), &["p1"]).await;
    check(json!({"attribute": "armed", "eq": true}), &["p2"]).await;
    check(json!({"attribute": "since", "gte": "2026-02-01T01:00:00+01:00"}), &["p2", "p3"]).await;
    check(json!({"attribute": "note", "exists": true}), &["p4"]).await;
    check(json!({"attribute": "note", "eq": "it's \\ \"odd\" {} [] --"}), &["p4"]).await;
    check(json!({"not": {"attribute": "status", "eq": "online"}}), &["p3", "p4"]).await;
    check(
        json!({"and": [{"attribute": "status", "eq": "online"}, {"or": [
            {"attribute": "temperature", "lt": 70}, {"attribute": "armed", "eq": true}]}]}),
        &["p1", "p2"],
    )
    .await;
    check(raw("{\"attribute\": \"status\", \"eq\": \"x' or true --\"}"), &[]).await;
    // Beyond the digits of a float.
    let body = r#"{"filter": {"attribute": "price", "gt": 10.000000000000000000001, "lt": 11}}"#;
    let claims = Some(crate::world::claims(&tenant, "query:read"));
    let answer = world
        .send(axum::http::Method::POST, "/v1/entities/search?consistency=strong", claims, &[], body)
        .await;
    assert_eq!(names(&answer.ok().body), ["p2"]);
    // Eventual: the replica.
    let claims = Some(crate::world::claims(&tenant, "query:read"));
    let body = r#"{"filter": {"attribute": "status", "eq": "online"}}"#;
    let answer = world.send(axum::http::Method::POST, "/v1/entities/search", claims, &[], body).await.ok();
    assert!(["read-replica", "primary"].contains(&answer.header("x-data-source")));
}

pub(crate) async fn pages_and_fields(world: &World) {
    let tenant = world.tenant(20).await;
    for i in 0..7 {
        let values =
            [("n", Value::Integer(i)), ("even", Value::Boolean(i % 2 == 0)), ("m", Value::Integer(0))];
        world.take(tenant.id, &format!("e{i}"), ago(1), &values).await;
    }
    let mut body = json!({"limit": 3, "fields": ["n"]});
    let mut seen = Vec::new();
    loop {
        let answer = world.search(&tenant, &body).await.ok();
        for entity in answer.body["entities"].as_array().unwrap() {
            let attributes = entity["attributes"].as_object().unwrap();
            assert_eq!(attributes.keys().collect::<Vec<_>>(), ["n"]);
            assert_eq!(attributes["n"]["type"], "integer");
            seen.push(attributes["n"]["value"].as_i64().unwrap());
        }
        match &answer.body["next_cursor"] {
            Json::Null => break,
            cursor => body["cursor"] = cursor.clone(),
        }
    }
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
    let typed = world.search(&tenant, &json!({"type": "pump", "limit": 500})).await.ok();
    assert_eq!(names(&typed.body).len(), 7);
    let typed = world.search(&tenant, &json!({"type": "valve"})).await.ok();
    assert!(names(&typed.body).is_empty());
}

pub(crate) async fn what_cannot_be_searched_is_named(world: &World) {
    let tenant = world.tenant(1).await;
    let values = [("hot", Value::Float(1.0)), ("cold", Value::Float(1.0))];
    world.take(tenant.id, "p", ago(1), &values).await;
    let check = async |body: Json, field: &str, detail: &str| {
        world.search(&tenant, &body).await.problem(400, Some(field), detail);
    };
    let filter = |f: Json| json!({"filter": f});
    check(filter(json!({"attribute": "nix", "eq": 1})), "filter.attribute", "no attribute \"nix\"").await;
    check(
        filter(json!({"and": [{"attribute": "hot", "eq": 1}, {"attribute": "cold", "eq": 1}]})),
        "filter.and[1].attribute",
        "not a hot attribute",
    )
    .await;
    check(filter(json!({"attribute": "hot", "eq": "x"})), "filter.attribute", "another type").await;
    check(filter(json!({"attribute": "hot", "like": 1})), "filter.like", "no comparison").await;
    check(json!({"filter": [], "limit": 1}), "filter", "is not a filter").await;
    check(json!({"limit": 0}), "limit", "1 to 500").await;
    check(json!({"cursor": "zzz"}), "cursor", "not a cursor").await;
    check(json!({"filtre": {}}), "body", "unknown field `filtre`").await;
    check(json!([]), "body", "cannot be read").await;
    let large = json!({"fields": ["x".repeat(200_000)]});
    world.search(&tenant, &large).await.problem(413, None, "131072 bytes");
}
