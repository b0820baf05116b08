//! A tenant's own settings, and how it describes its attributes.

use crate::world::{Answer, World, ago, claims};
use axum::http::Method;
use eaves_model::tenant::Tenant;
use eaves_model::{Value, value::decimal};
use serde_json::{Value as Json, json};

async fn patch(world: &World, tenant: &Tenant, scope: &str, path: &str, body: &Json) -> Answer {
    world.send(Method::PATCH, path, Some(claims(tenant, scope)), &[], &body.to_string()).await
}

pub(crate) async fn an_attribute_is_described(world: &World) {
    let (tenant, other) = (world.tenant(5).await, world.tenant(5).await);
    for tenant in [&tenant, &other] {
        world.take(tenant.id, "p", ago(5), &[("t", Value::Float(1.5))]).await;
    }
    world.get(&tenant, "/v1/entities/p?consistency=strong").await.ok();
    let set = async |body: Json| patch(world, &tenant, "settings:write", "/v1/attributes/t", &body).await;
    let answer = set(json!({"unit": "°C", "description": "at the \"bearing\""})).await.ok();
    let told = &answer.body["attribute"];
    assert_eq!((&told["unit"], &told["description"]), (&json!("°C"), &json!("at the \"bearing\"")));
    // What is not given stays, and the next answer has the unit.
    let answer = set(json!({"description": ""})).await.ok();
    let told = &answer.body["attribute"];
    assert_eq!((&told["unit"], &told["description"]), (&json!("°C"), &json!("")));
    let entity = world.get(&tenant, "/v1/entities/p?consistency=strong").await.ok();
    assert_eq!(entity.body["entity"]["attributes"]["t"]["unit"], "°C");
    let theirs = world.get(&other, "/v1/attributes/t?consistency=strong").await.ok();
    assert_eq!(theirs.body["attribute"]["unit"], "", "another tenant's attribute");

    set(json!({})).await.problem(400, Some("body"), "changes nothing");
    set(json!({"unit": "x".repeat(65)})).await.problem(400, Some("unit"), "at most 64");
    set(json!({"description": "x".repeat(1001)})).await.problem(400, Some("description"), "at most 1000");
    set(json!({"unit": "\u{0}"})).await.problem(400, Some("unit"), "control characters");
    set(json!({"type": "integer"})).await.problem(400, Some("body"), "unknown field `type`");
    let path = "/v1/attributes/t?colour=red";
    let stray = patch(world, &tenant, "settings:write", path, &json!({"unit": "V"})).await;
    stray.problem(400, Some("colour"), "no such parameter; there are none here");
    let path = "/v1/attributes/nix";
    let none = patch(world, &tenant, "settings:write", path, &json!({"unit": "V"})).await;
    none.problem(404, Some("name"), "nix");
    let reader = patch(world, &tenant, "query:read telemetry:write", path, &json!({"unit": "V"})).await;
    reader.problem(403, None, "settings:write");
}

pub(crate) async fn an_attribute_is_made_before_its_first_value(world: &World) {
    let (tenant, other) = (world.tenant(5).await, world.tenant(5).await);
    let put = async |tenant: &Tenant, name: &str, body: Json| {
        let path = format!("/v1/attributes/{name}");
        let claims = Some(claims(tenant, "settings:write"));
        world.send(Method::PUT, &path, claims, &[], &body.to_string()).await
    };
    let body = json!({"type": "decimal", "unit": "kWh", "description": "Main meter"});
    let made = put(&tenant, "energy", body.clone()).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text);
    let told = &made.body["attribute"];
    assert_eq!(
        (&told["type"], &told["unit"], &told["hot"]),
        (&json!("decimal"), &json!("kWh"), &json!(true))
    );
    put(&tenant, "energy", body).await.ok();
    let again = put(&tenant, "energy", json!({"type": "decimal", "unit": ""})).await.ok();
    let told = &again.body["attribute"];
    assert_eq!((&told["unit"], &told["description"]), (&json!(""), &json!("Main meter")));
    // The first value is taken as what it was made as: 3 would have made an integer of it.
    let three = decimal("3").unwrap();
    world.take(tenant.id, "p", ago(5), &[("energy", Value::Decimal(three))]).await;
    let entity = world.get(&tenant, "/v1/entities/p?consistency=strong").await.ok();
    assert_eq!(entity.body["entity"]["attributes"]["energy"]["type"], "decimal");
    world.get(&other, "/v1/attributes/energy?consistency=strong").await.problem(404, Some("name"), "energy");

    let taken = put(&tenant, "energy", json!({"type": "float", "unit": "J"})).await;
    taken.problem(409, None, "is registered as decimal and stays so");
    let kept = world.get(&tenant, "/v1/attributes/energy?consistency=strong").await.ok();
    assert_eq!(
        (&kept.body["attribute"]["unit"], &kept.body["attribute"]["type"]),
        (&json!(""), &json!("decimal"))
    );
    put(&tenant, "e", json!({"type": "number"})).await.problem(400, Some("type"), "use string, integer");
    put(&tenant, "e", json!({"unit": "V"})).await.problem(400, Some("body"), "missing field `type`");
    put(&tenant, &"x".repeat(256), json!({"type": "float"})).await.problem(400, Some("name"), "255");
    let reader = Some(claims(&tenant, "query:read"));
    let refused = world.send(Method::PUT, "/v1/attributes/e", reader, &[], "{\"type\": \"float\"}").await;
    refused.problem(403, None, "settings:write");
}

pub(crate) async fn a_tenant_sees_and_changes_its_own_settings(world: &World) {
    let (tenant, other) = (world.tenant(7).await, world.tenant(8).await);
    let strong = "/v1/tenant?consistency=strong";
    let before = world.get(&tenant, strong).await.ok();
    let expect = json!({"name": tenant.name, "strict": false, "point_policy": "replace", "late": null,
        "ahead": null, "hot_limit": 7, "default_window_days": 7, "longest_window_days": 30});
    assert_eq!(before.body["tenant"], expect);

    let set = async |body: Json| patch(world, &tenant, "settings:write", "/v1/tenant", &body).await;
    let after =
        set(json!({"point_policy": "reject", "late": "30d:quarantine", "ahead": "10m:reject"})).await.ok();
    let mut expect = expect;
    (expect["point_policy"], expect["late"], expect["ahead"]) =
        (json!("reject"), json!("30d:quarantine"), json!("10m:reject"));
    assert_eq!(after.body["tenant"], expect);
    // Null takes a limit away, what is not given stays.
    (expect["late"], expect["strict"]) = (Json::Null, json!(true));
    assert_eq!(set(json!({"late": null, "strict": true})).await.ok().body["tenant"], expect);
    assert_eq!(world.get(&tenant, strong).await.ok().body["tenant"], expect);
    let theirs = world.get(&other, strong).await.ok();
    let theirs = &theirs.body["tenant"];
    assert_eq!((&theirs["name"], &theirs["strict"]), (&json!(other.name), &json!(false)), "another tenant's");

    set(json!({})).await.problem(400, Some("body"), "changes nothing");
    set(json!({"point_policy": "merge"})).await.problem(400, Some("point_policy"), "use replace");
    set(json!({"late": "soon"})).await.problem(400, Some("late"), "30d:quarantine");
    set(json!({"hot_limit": 1000})).await.problem(400, Some("body"), "unknown field `hot_limit`");
    set(json!({"strict": "yes"})).await.problem(400, Some("body"), "cannot be read");
    let reader = patch(world, &tenant, "query:read", "/v1/tenant", &json!({"strict": false})).await;
    reader.problem(403, None, "settings:write");
    let writer =
        world.send(Method::GET, "/v1/tenant", Some(claims(&tenant, "settings:write")), &[], "").await;
    writer.problem(403, None, "query:read");
}
