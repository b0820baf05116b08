//! Who may ask what, and what answers where nothing is.

use crate::world::{World, claims};
use axum::http::Method;
use serde_json::json;

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
    bad.problem(400, Some("consistency"), "strong or eventual");
    let bad = world.get(&tenant, "/v1/entities/a?max_staleness=soon").await;
    bad.problem(400, Some("max_staleness"), "2s");
    let twice = world.get(&tenant, "/v1/entities/a?consistency=strong&consistency=eventual").await;
    twice.problem(400, Some("consistency"), "twice");
}
