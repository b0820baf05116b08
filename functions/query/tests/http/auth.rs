//! Who may ask what, and what answers where nothing is.

use crate::world::{World, ago, claims};
use axum::http::Method;
use eaves_model::Value;
use serde_json::{Value as Json, json};

const PATHS: [(&str, &str); 10] = [
    ("GET", "/v1/entities/a"),
    ("GET", "/v1/entities/a/history/b"),
    ("POST", "/v1/entities/search"),
    ("POST", "/v1/telemetry"),
    ("GET", "/v1/freshness"),
    ("GET", "/v1/quarantine"),
    ("GET", "/v1/quarantine/1"),
    ("POST", "/v1/quarantine/1/redrive"),
    ("POST", "/v1/quarantine/1/drop"),
    ("POST", "/v1/quarantine/redrive"),
];

pub(crate) async fn a_request_without_verified_claims_is_401(world: &World) {
    // Whatever a client sends by itself is no claim.
    let forged = [
        ("authorization", "Bearer eyJhbGciOiJub25lIn0.eyJ0ZW5hbnQiOiJhY21lIn0."),
        ("x-tenant", "acme"),
        ("content-type", "application/json"),
    ];
    for (method, path) in PATHS {
        let method: Method = method.parse().unwrap();
        let answer = world.send(method.clone(), path, None, &forged, "{}").await;
        answer.problem(401, None, "token");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let nameless = world.send(method, path, Some(json!({"sub": "x"})), &forged, "{}").await;
        nameless.problem(401, None, "names no tenant");
    }
}

pub(crate) async fn the_tenant_comes_from_the_claims_alone(world: &World) {
    let tenant = world.tenant(10).await;
    let other = world.tenant(10).await;
    let unknown = json!({"tenant": "nobody", "scope": "query:read"});
    world.send(Method::GET, "/v1/freshness", Some(unknown), &[], "").await.problem(
        403,
        None,
        "not registered",
    );
    let mixed = json!({"tenant": tenant.name, "tenant_id": other.id.to_string(), "scope": "query:read"});
    world.send(Method::GET, "/v1/freshness", Some(mixed), &[], "").await.problem(
        403,
        None,
        "different tenants",
    );
    let by_name = json!({"tenant": tenant.name, "scope": "query:read"});
    world.send(Method::GET, "/v1/freshness", Some(by_name), &[], "").await.ok();
    world.get(&tenant, "/v1/entities/a?tenant=other").await.problem(400, Some("tenant"), "no such parameter");
}

pub(crate) async fn scopes_are_kept_apart(world: &World) {
    let tenant = world.tenant(10).await;
    let headers = [("content-type", "application/json")];
    for (method, path) in PATHS {
        let method: Method = method.parse().unwrap();
        let (wrong, needed) = match path {
            path if path == "/v1/telemetry" || path.ends_with("/redrive") || path.ends_with("/drop") => {
                ("query:read admin", "telemetry:write")
            }
            _ => ("telemetry:write", "query:read"),
        };
        let answer = world.send(method, path, Some(claims(&tenant, wrong)), &headers, "{}").await;
        answer.problem(403, None, needed);
    }
}

pub(crate) async fn unknown_routes_methods_and_names_are_problems(world: &World) {
    let tenant = world.tenant(10).await;
    world.get(&tenant, "/v2/entities").await.problem(404, None, "/v2/entities");
    let answer =
        world.send(Method::DELETE, "/v1/entities/a", Some(claims(&tenant, "query:read")), &[], "").await;
    answer.problem(405, None, "DELETE");
    assert!(answer.header("allow").contains("GET"), "{:?}", answer.headers);

    world.get(&tenant, "/v1/entities/nothing").await.problem(404, Some("external_id"), "nothing");
    let long = format!("/v1/entities/{}", "ä".repeat(256).replace('ä', "%C3%A4"));
    world.get(&tenant, &long).await.problem(400, Some("external_id"), "255");
    world.get(&tenant, "/v1/entities/%FF").await.problem(400, Some("path"), "UTF-8");
    world.get(&tenant, "/v1/entities/a%00b").await.problem(400, Some("external_id"), "control");
    let bad = world.get(&tenant, "/v1/entities/a?consistency=quantum").await;
    bad.problem(400, Some("consistency"), "strong, eventual or analytics");
    let bad = world.get(&tenant, "/v1/entities/a?max_staleness=soon").await;
    bad.problem(400, Some("max_staleness"), "2s");
    let twice = world.get(&tenant, "/v1/entities/a?consistency=strong&consistency=eventual").await;
    twice.problem(400, Some("consistency"), "twice");
}

/// All operations of the description: method, path as it is described, scopes of which one is enough.
fn operations() -> Vec<(Method, String, Vec<String>)> {
    let document = serde_json::to_value(eaves_fn_query::document()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse() else { continue };
            let alternatives = operation["security"].as_array().into_iter().flatten();
            let scopes = alternatives.filter_map(|s| s["jwt"][0].as_str().map(str::to_owned)).collect();
            all.push((method, path.clone(), scopes));
        }
    }
    all
}

/// The path with names that exist, or an id.
fn filled(path: &str, entity: &str, attribute: &str, id: &str) -> String {
    path.replace("{external_id}", entity)
        .replace("{attribute}", attribute)
        .replace("{name}", attribute)
        .replace("{id}", id)
}

pub(crate) async fn each_endpoint_wants_the_scope_that_its_description_names(world: &World) {
    let tenant = world.tenant(10).await;
    let all = ["telemetry:write", "query:read", "plugins:write", "settings:write", "admin"];
    let headers = [("content-type", "application/json")];
    let mut checked = 0;
    for (method, path, scopes) in operations() {
        if scopes.is_empty() {
            assert_eq!(path, "/healthz", "{path} is open to all");
            continue;
        }
        let path = filled(&path, "a", "b", "1");
        let ask =
            async |claims: Option<Json>| world.send(method.clone(), &path, claims, &headers, "{}").await;
        assert_eq!(ask(None).await.status, 401, "{method} {path}");
        for scope in all {
            let mut claims = claims(&tenant, scope);
            claims["operator"] = json!("true");
            let answer = ask(Some(claims)).await;
            let refused = answer.status == 403;
            assert_eq!(
                refused,
                !scopes.iter().any(|s| s == scope),
                "{method} {path} with {scope}: {}",
                answer.text
            );
            assert_ne!(answer.status, 401, "{method} {path}");
            checked += 1;
        }
        // Nothing like a scope, and none at all.
        for scope in ["", "QUERY:READ", "query", "query:read:all", "*"] {
            let answer = ask(Some(claims(&tenant, scope))).await;
            assert_eq!(answer.status, 403, "{method} {path} with {scope:?}: {}", answer.text);
        }
    }
    assert!(checked >= 140, "{checked}");
}

/// Every endpoint with another tenant's names, ids and cursors.
pub(crate) async fn no_endpoint_shows_what_another_tenant_has(world: &World) {
    const MARK: &str = "for-their-eyes-only";
    let (theirs, ours) = (world.tenant(10).await, world.tenant(10).await);
    for n in 0..3 {
        let values = [("their-attribute", Value::String(MARK.into())), ("n", Value::Integer(n))];
        world.take(theirs.id, &format!("their-entity-{n}"), ago(30 - n), &values).await;
        world.take(theirs.id, "their-entity", ago(30 - n), &values).await;
    }
    let id = world.refuse(Some(theirs.id), "bad_shape", MARK.as_bytes()).await.to_string();
    let scope = "telemetry:write query:read plugins:write settings:write admin";
    // Cursors of theirs, as strangers could find them.
    let mut cursors = vec![id.clone()];
    for path in [
        "/v1/entities?consistency=strong&limit=1",
        "/v1/entities/their-entity/history/their-attribute?consistency=strong&limit=1",
        "/v1/entities/their-entity/history?attributes=n,their-attribute&consistency=strong&limit=1",
        "/v1/attributes?consistency=strong&limit=1",
    ] {
        let answer = world.get(&theirs, path).await.ok();
        cursors.push(answer.body["next_cursor"].as_str().unwrap().to_owned());
    }
    let mut asked = 0;
    for (method, path, _) in operations().into_iter().filter(|(_, path, _)| path.starts_with("/v1/")) {
        let path = filled(&path, "their-entity", "their-attribute", &id);
        let bodies = [
            json!({}),
            json!({"external_ids": ["their-entity"], "fields": ["their-attribute"]}),
            json!({"filter": {"attribute": "their-attribute", "eq": MARK}}),
            json!({"attributes": ["their-attribute"]}),
            json!({"promote": ["their-attribute"]}),
            json!({"ids": [id.parse::<i64>().unwrap()], "why": "mine"}),
        ];
        let bodies: Vec<String> = match method {
            Method::GET | Method::DELETE => vec![String::new()],
            _ => bodies.iter().map(Json::to_string).collect(),
        };
        let mut paths = vec![path.clone(), format!("{path}?attributes=their-attribute")];
        paths.extend(cursors.iter().map(|cursor| format!("{path}?cursor={cursor}")));
        for path in &paths {
            for body in &bodies {
                let claims = Some(claims(&ours, scope));
                let answer = world
                    .send(method.clone(), path, claims, &[("content-type", "application/json")], body)
                    .await;
                assert!(answer.status.as_u16() < 500, "{method} {path} {body}: {}", answer.text);
                // A body that names the mark gets it back where it is refused.
                let echoed = body.contains(MARK) && !answer.status.is_success();
                assert!(echoed || !answer.text.contains(MARK), "{method} {path} {body}: {}", answer.text);
                asked += 1;
            }
        }
    }
    assert!(asked > 200, "{asked}");
    // And nothing of theirs is changed.
    let row = world.get(&theirs, &format!("/v1/quarantine/{id}")).await.ok();
    assert_eq!(
        row.body["item"]["state"].as_str().or(row.body["state"].as_str()),
        Some("open"),
        "{}",
        row.text
    );
    let attribute = world.get(&theirs, "/v1/attributes/their-attribute?consistency=strong").await.ok();
    assert_eq!(
        (&attribute.body["attribute"]["hot"], &attribute.body["attribute"]["pin"]),
        (&json!(true), &Json::Null)
    );
    assert!(world.stream.of(&theirs).is_empty(), "a record of theirs was sent by another tenant");
}
