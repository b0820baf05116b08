//! The description, and answers measured against it.

use crate::world::{World, ago};
use eaves_model::Value;
use serde_json::{Value as Json, json};

pub(crate) async fn the_description_is_complete(world: &World) {
    let answer = world.send("GET".parse().unwrap(), "/openapi.json", None, &[], "").await.ok();
    let document = &answer.body;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["components"]["securitySchemes"]["jwt"]["scheme"], "bearer");
    let problem = &document["components"]["schemas"]["Problem"]["properties"];
    for property in ["type", "title", "status", "detail", "field", "errors"] {
        assert!(problem[property].is_object(), "{property}");
    }
    let paths = document["paths"].as_object().unwrap();
    let expect = [
        "/healthz",
        "/v1/admin/advice",
        "/v1/admin/entities",
        "/v1/aggregates",
        "/v1/attributes",
        "/v1/attributes/{name}",
        "/v1/attributes/{name}/demote",
        "/v1/attributes/{name}/distribution",
        "/v1/attributes/{name}/pin",
        "/v1/attributes/{name}/promote",
        "/v1/entities",
        "/v1/entities/batch",
        "/v1/entities/search",
        "/v1/entities/{external_id}",
        "/v1/entities/{external_id}/history",
        "/v1/entities/{external_id}/history/{attribute}",
        "/v1/entities/{external_id}/latest",
        "/v1/freshness",
        "/v1/hot/changes",
        "/v1/hot/decisions",
        "/v1/hot/simulate",
        "/v1/quarantine",
        "/v1/quarantine/redrive",
        "/v1/quarantine/{id}",
        "/v1/quarantine/{id}/drop",
        "/v1/quarantine/{id}/redrive",
        "/v1/telemetry",
        "/v1/tenant",
    ];
    let mut found: Vec<_> = paths.keys().map(String::as_str).collect();
    found.sort_unstable();
    assert_eq!(found, expect);
    for (path, item) in paths {
        for operation in item.as_object().unwrap().values() {
            if path != "/healthz" {
                assert!(operation["security"][0]["jwt"].is_array(), "{path}");
                assert!(operation["responses"]["401"].is_object(), "{path}");
            }
            // What changes something reads nothing.
            let changes = ["/promote", "/demote", "/pin"].iter().any(|end| path.ends_with(end));
            let data = ["/v1/entities", "/v1/attributes", "/v1/aggregates", "/v1/hot", "/v1/tenant"];
            if !changes && data.iter().any(|start| path.starts_with(start)) {
                let headers = operation["responses"]["200"]["headers"].as_object().unwrap();
                assert!(headers.len() >= 9, "{path}");
            }
        }
    }
    let mut references = Vec::new();
    collect(document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let page = world.send("GET".parse().unwrap(), "/docs", None, &[], "").await.ok();
    assert!(page.header("content-type").starts_with("text/html"));
}

fn collect<'a>(json: &'a Json, references: &mut Vec<&'a str>) {
    match json {
        Json::Object(members) => {
            references.extend(members.get("$ref").and_then(Json::as_str));
            members.values().for_each(|v| collect(v, references));
        }
        Json::Array(items) => items.iter().for_each(|v| collect(v, references)),
        _ => {}
    }
}

/// Checks types, required and undeclared properties of an answer.
fn check(document: &Json, schema: &Json, value: &Json, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return check(document, document.pointer(&reference[1..]).unwrap(), value, at);
    }
    if let Some(options) = schema["oneOf"].as_array() {
        let fitting = options.iter().find(|o| o["type"] != "null" || value.is_null());
        let null = options.iter().any(|o| o["type"] == "null");
        match value {
            Json::Null => assert!(null, "{at} is null"),
            _ => check(document, fitting.filter(|o| o["type"] != "null").unwrap_or(&options[1]), value, at),
        }
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Json::String(name) => vec![name],
        Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
        // Any value.
        _ => return,
    };
    let found = match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(n) if n.is_f64() => "number",
        Json::Number(_) if types.contains(&"number") => "number",
        Json::Number(_) => "integer",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    assert!(types.contains(&found), "{at} is {found}, not {types:?}");
    if let (Json::Object(members), Some(properties)) = (value, schema["properties"].as_object()) {
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(members.contains_key(required.as_str().unwrap()), "{at} lacks {required}");
        }
        for (name, member) in members {
            let schema = properties.get(name).unwrap_or_else(|| panic!("{at}.{name} is not described"));
            check(document, schema, member, &format!("{at}.{name}"));
        }
    } else if let Json::Object(members) = value {
        let inner = &schema["additionalProperties"];
        members.iter().for_each(|(name, member)| check(document, inner, member, &format!("{at}.{name}")));
    }
    for item in value.as_array().into_iter().flatten() {
        check(document, &schema["items"], item, &format!("{at}[]"));
    }
}

pub(crate) async fn answers_are_as_described(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(1), &[("t", Value::Float(1.5)), ("s", Value::String("on".into()))]).await;
    let document = serde_json::to_value(eaves_fn_query::document()).unwrap();
    let reading = json!({"entity": "p", "observed_at": ago(1), "values": {"t": 1, "bad": null}});
    let batch = json!({"external_ids": ["p", "none"]});
    // Figures are of what is flushed.
    world.until(&tenant, "/v1/attributes/t/distribution", |a| a.body["count"] == 1).await;
    let decide = async |method: &str, path: &str, body: &str| {
        let claims = Some(crate::world::claims(&tenant, "plugins:write"));
        world.send(method.parse().unwrap(), path, claims, &[], body).await
    };
    let answers = [
        (decide("POST", "/v1/attributes/t/demote", "").await, "/v1/attributes/{name}/demote", "post"),
        (decide("POST", "/v1/attributes/t/promote", "[]").await, "/v1/attributes/{name}/promote", "post"),
        (
            decide("PUT", "/v1/attributes/t/pin", "{\"pin\":\"cold\"}").await,
            "/v1/attributes/{name}/pin",
            "put",
        ),
        (decide("POST", "/v1/attributes/t/promote", "").await, "/v1/attributes/{name}/promote", "post"),
        (decide("DELETE", "/v1/attributes/t/pin", "").await, "/v1/attributes/{name}/pin", "delete"),
        (decide("DELETE", "/v1/attributes/none/pin", "").await, "/v1/attributes/{name}/pin", "delete"),
        (world.get(&tenant, "/v1/hot/changes?consistency=strong").await, "/v1/hot/changes", "get"),
        (world.get(&tenant, "/v1/hot/decisions?consistency=strong").await, "/v1/hot/decisions", "get"),
        (world.get(&tenant, "/v1/entities/p?consistency=strong").await, "/v1/entities/{external_id}", "get"),
        (
            world.get(&tenant, "/v1/entities/p/history/t?consistency=strong").await,
            "/v1/entities/{external_id}/history/{attribute}",
            "get",
        ),
        (world.search(&tenant, &json!({})).await, "/v1/entities/search", "post"),
        (world.get(&tenant, "/v1/entities?consistency=strong").await, "/v1/entities", "get"),
        (world.ask(&tenant, "/v1/entities/batch", &batch).await, "/v1/entities/batch", "post"),
        (world.ask(&tenant, "/v1/entities/batch", &json!({})).await, "/v1/entities/batch", "post"),
        (
            world.get(&tenant, "/v1/entities/p/history?attributes=t,s").await,
            "/v1/entities/{external_id}/history",
            "get",
        ),
        (
            world.get(&tenant, "/v1/entities/p/history?attributes=t&bucket=5m&consistency=strong").await,
            "/v1/entities/{external_id}/history",
            "get",
        ),
        (
            world.get(&tenant, "/v1/entities/p/latest?attributes=t&consistency=strong").await,
            "/v1/entities/{external_id}/latest",
            "get",
        ),
        (
            world.ask(&tenant, "/v1/aggregates", &json!({"attributes": ["t", "s"]})).await,
            "/v1/aggregates",
            "post",
        ),
        (world.ask(&tenant, "/v1/aggregates", &json!({"attributes": []})).await, "/v1/aggregates", "post"),
        (
            world.get(&tenant, "/v1/attributes/t/distribution").await,
            "/v1/attributes/{name}/distribution",
            "get",
        ),
        (
            world.get(&tenant, "/v1/attributes/s/distribution").await,
            "/v1/attributes/{name}/distribution",
            "get",
        ),
        (world.get(&tenant, "/v1/attributes").await, "/v1/attributes", "get"),
        (world.get(&tenant, "/v1/attributes/t").await, "/v1/attributes/{name}", "get"),
        (world.get(&tenant, "/v1/attributes/none").await, "/v1/attributes/{name}", "get"),
        (world.simulate(&tenant, &json!({"promote": ["t"]})).await, "/v1/hot/simulate", "post"),
        (world.simulate(&tenant, &json!({"share": 2})).await, "/v1/hot/simulate", "post"),
        (world.get(&tenant, "/v1/tenant").await, "/v1/tenant", "get"),
        (world.get(&tenant, "/v1/freshness").await, "/v1/freshness", "get"),
        (world.get(&tenant, "/healthz").await, "/healthz", "get"),
        (world.post(&tenant, "application/json", reading.to_string()).await, "/v1/telemetry", "post"),
        (world.get(&tenant, "/v1/entities/none").await, "/v1/entities/{external_id}", "get"),
        (world.get(&tenant, "/v1/entities/p?x=1").await, "/v1/entities/{external_id}", "get"),
    ];
    for (answer, path, method) in answers {
        let described = &document["paths"][path][method]["responses"][answer.status.as_str()]["content"];
        let media = answer.header("content-type");
        let schema = &described[media]["schema"];
        assert!(schema.is_object(), "{path} {} {media} is not described", answer.status);
        check(&document, schema, &answer.body, path);
    }
}

pub(crate) async fn freshness_shows_every_part(world: &World) {
    let tenant = world.tenant(20).await;
    let fresh = |a: &crate::world::Answer| {
        a.body["replica"]["lag_seconds"].as_f64().is_some_and(|lag| lag < 5.0)
            && a.body["flush"]["lag_seconds"].as_f64().is_some_and(|lag| lag < 5.0)
    };
    let answer = world.until(&tenant, "/v1/freshness", fresh).await;
    assert_eq!(answer.body["primary"]["available"], true);
    assert_eq!(answer.body["replica"]["available"], true);
    assert_eq!(answer.body["cache"]["reachable"], true);
    assert!(answer.body["staging"]["backlog_rows"].is_i64());
    assert!(answer.body["flush"]["last_at"].is_string());
    assert!(!answer.text.contains("shard"), "the stream's shards are nobody's business: {}", answer.text);
}
