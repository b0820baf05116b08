//! What is hot, decided by somebody of the tenant.

use crate::world::{Answer, World, ago, claims};
use eaves_model::Value;
use eaves_model::tenant::Tenant;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

async fn ask(world: &World, tenant: &Tenant, method: &str, path: &str, body: &Json) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let claims = claims(tenant, "query:read plugins:write");
    world.send(method.parse().unwrap(), path, Some(claims), &[], &body).await
}

fn has(answer: &Answer, attribute: &str) -> bool {
    answer.body["entity"]["attributes"].get(attribute).is_some()
}

pub(crate) async fn what_is_filling_is_hidden_until_it_is_filled(world: &World) {
    // One attribute becomes hot by itself.
    let tenant = world.tenant(1).await;
    for i in 0..4_i64 {
        let values = [("first", Value::Integer(i)), ("serial", Value::Integer(i))];
        world.take(tenant.id, &format!("p{i}"), ago(100), &values).await;
    }
    let filter = json!({"filter": {"attribute": "serial", "gte": 0}});
    let field = Some("filter.attribute");
    world.search(&tenant, &filter).await.problem(400, field, "not a hot attribute");

    let why = json!({"reason": "searched by support"});
    let promoted = ask(world, &tenant, "POST", "/v1/attributes/serial/promote", &why).await.ok();
    assert_eq!(promoted.body, json!({"attribute": "serial", "state": "filling"}));
    // A live value goes into the projection at once, and the others are not there yet: whoever
    // read it there now would miss three entities.
    world.take(tenant.id, "p0", ago(1), &[("first", Value::Integer(7)), ("serial", Value::Integer(7))]).await;
    let entity = world.get(&tenant, "/v1/entities/p0?consistency=strong").await.ok();
    assert!(has(&entity, "first") && !has(&entity, "serial"), "{}", entity.text);
    world.search(&tenant, &filter).await.problem(400, field, "not a hot attribute");
    let all = world.search(&tenant, &json!({})).await.ok();
    assert!(!all.text.contains("serial"), "{}", all.text);
    let history = world.get(&tenant, "/v1/entities/p3/history/serial?consistency=strong").await.ok();
    assert_eq!(history.body["points"].as_array().unwrap().len(), 1);
    let shown = world.get(&tenant, "/v1/attributes/serial?consistency=strong").await.ok();
    let shown = &shown.body["attribute"];
    assert_eq!((&shown["hot"], &shown["filling"], &shown["pin"]), (&json!(false), &json!(true), &Json::Null));
    let changes = world.get(&tenant, "/v1/hot/changes?consistency=strong").await.ok();
    let change = &changes.body["changes"][0];
    assert_eq!((&change["attribute"], &change["state"]), (&json!("serial"), &json!("waiting")));
    assert_eq!((&change["requested_by"], &change["reason"]), (&json!("t"), &json!("searched by support")));
    assert_eq!(change["seconds_left"], Json::Null);

    // History answers, from the first part to the last, as soon as it has what was taken.
    world.asked_long_ago(&tenant).await;
    let eventually = "/v1/entities/search";
    let seven = json!({"filter": {"attribute": "serial", "eq": 7}});
    let due = Instant::now() + Duration::from_secs(30);
    while world.ask(&tenant, eventually, &seven).await.ok().body["entities"] == json!([]) {
        assert!(Instant::now() < due, "p0 is not found");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let names = |answer: &Answer| -> Vec<String> {
        let entities = answer.body["entities"].as_array().unwrap();
        entities.iter().map(|e| e["external_id"].as_str().unwrap().to_owned()).collect()
    };
    let by = |op: &str, value: i64| json!({"filter": {"attribute": "serial", op: value}});
    let wanted = [
        ("gte", 0, vec!["p0", "p1", "p2", "p3"]),
        ("eq", 7, vec!["p0"]),
        ("eq", 0, vec![]),
        ("gt", 1, vec!["p0", "p2", "p3"]),
    ];
    for entities in [0, 2, 1_000] {
        if entities > 0 {
            world.fill_step(entities).await;
        }
        for (op, value, expect) in &wanted {
            let found = world.ask(&tenant, eventually, &by(op, *value)).await.ok();
            assert_eq!(names(&found), *expect, "{entities} {op} {value}");
        }
        let entity = world.get(&tenant, "/v1/entities/p3?consistency=strong").await.ok();
        assert!(!has(&entity, "serial"), "{}", entity.text);
        if entities == 2 {
            let told = world.get(&tenant, "/v1/hot/changes?consistency=strong&attribute=serial").await.ok();
            let change = &told.body["changes"][0];
            assert_eq!((&change["entities"], &change["of_entities"]), (&json!(2), &json!(4)));
            assert!(change["seconds_left"].is_number(), "{change}");
        }
    }

    world.fill().await;
    let found = world.search(&tenant, &filter).await.ok();
    assert_eq!(found.body["entities"].as_array().unwrap().len(), 4, "{}", found.text);
    let path = "/v1/entities/p0?consistency=strong";
    let entity = world.until(&tenant, path, |a| has(a, "serial")).await;
    assert_eq!(entity.body["entity"]["attributes"]["serial"]["value"], 7);

    // And out of it again: searches at once, answers of entities within ten seconds, long before
    // the values are gone from the rows.
    let demoted = ask(world, &tenant, "POST", "/v1/attributes/serial/demote", &Json::Null).await.ok();
    assert_eq!(demoted.body["state"], "cold");
    world.search(&tenant, &filter).await.problem(400, field, "not a hot attribute");
    world.until(&tenant, path, |a| has(a, "first") && !has(a, "serial")).await;
    world.fill().await;
}

pub(crate) async fn a_pin_is_set_kept_and_taken_away(world: &World) {
    let tenant = world.tenant(1).await;
    let values = [("first", Value::Integer(1)), ("b/c", Value::Integer(1))];
    world.take(tenant.id, "p", ago(1), &values).await;
    let pin = |to: &str| json!({"pin": to, "reason": "read by the dashboard"});
    let path = "/v1/attributes/b%2Fc/pin";
    let pinned = ask(world, &tenant, "PUT", path, &pin("hot")).await.ok();
    assert_eq!(pinned.body, json!({"attribute": "b/c", "state": "filling"}));
    ask(world, &tenant, "POST", "/v1/attributes/b%2Fc/demote", &Json::Null).await.problem(
        409,
        None,
        "pinned to be always hot",
    );
    let shown = world.get(&tenant, "/v1/attributes/b%2Fc?consistency=strong").await.ok();
    assert_eq!(shown.body["attribute"]["pin"], "hot");
    ask(world, &tenant, "PUT", path, &pin("cold")).await.ok();
    ask(world, &tenant, "POST", "/v1/attributes/b%2Fc/promote", &Json::Null).await.problem(
        409,
        None,
        "never hot",
    );
    let free = ask(world, &tenant, "DELETE", &format!("{path}?reason=done"), &Json::Null).await.ok();
    assert_eq!(free.body["state"], "cold");

    let answer = world.get(&tenant, "/v1/hot/decisions?consistency=strong&limit=2").await.ok();
    let told: Vec<_> = answer.body["decisions"].as_array().unwrap().iter().map(|d| &d["change"]).collect();
    assert_eq!(told, ["unpin", "pin_cold"]);
    let newest = &answer.body["decisions"][0];
    assert_eq!(
        (&newest["rule"], &newest["by"], &newest["reason"]),
        (&json!("hand"), &json!("t"), &json!("done"))
    );
    assert_eq!(newest["statistics"]["pin"], "cold");
    assert_eq!(answer.body["last_run"], Json::Null);
    let cursor = answer.body["next_cursor"].as_str().unwrap();
    let rest = format!("/v1/hot/decisions?consistency=strong&cursor={cursor}&attribute=b%2Fc");
    let rest = world.get(&tenant, &rest).await.ok();
    assert_eq!(rest.body["decisions"][0]["change"], "pin_hot");
    assert_eq!(
        (rest.body["decisions"].as_array().unwrap().len(), &rest.body["next_cursor"]),
        (1, &Json::Null)
    );
    // Nobody else sees it.
    let other = world.tenant(1).await;
    let theirs = world.get(&other, "/v1/hot/decisions?consistency=strong").await.ok();
    assert_eq!(theirs.body["decisions"], json!([]));
    world.fill().await;
}

pub(crate) async fn who_may_not_and_what_is_wrong_is_told(world: &World) {
    let tenant = world.tenant(1).await;
    world.take(tenant.id, "p", ago(1), &[("a", Value::Integer(1))]).await;
    for (method, path) in [
        ("POST", "/v1/attributes/a/promote"),
        ("POST", "/v1/attributes/a/demote"),
        ("PUT", "/v1/attributes/a/pin"),
        ("DELETE", "/v1/attributes/a/pin"),
    ] {
        let reads = Some(claims(&tenant, "query:read telemetry:write"));
        let refused = world.send(method.parse().unwrap(), path, reads, &[], "{\"pin\": \"hot\"}").await;
        refused.problem(403, None, "plugins:write, admin");
        world.send(method.parse().unwrap(), path, None, &[], "").await.problem(401, None, "token");
        let path = path.replace("/a/", "/none/");
        let body = json!({"pin": "hot"});
        let body = if method == "PUT" { &body } else { &Json::Null };
        ask(world, &tenant, method, &path, body).await.problem(404, Some("name"), "\"none\"");
    }
    let long = "x".repeat(1001);
    for (method, path, body, field, detail) in [
        ("PUT", "pin", json!({"pin": "warm"}), "pin", "neither hot nor cold"),
        ("PUT", "pin", Json::Null, "pin", "is missing"),
        ("PUT", "pin", json!({}), "body", "missing field `pin`"),
        ("PUT", "pin", json!({"pin": "hot", "why": "x"}), "body", "unknown field"),
        ("POST", "promote", json!([]), "body", "send an object"),
        ("POST", "promote", json!({"reason": long}), "reason", "at most 1000"),
        ("POST", "demote", json!({"reason": "a\u{0}b"}), "reason", "at most 1000"),
        ("POST", "demote", json!({"reason": 7}), "body", "expected a string"),
    ] {
        let path = format!("/v1/attributes/a/{path}");
        ask(world, &tenant, method, &path, &body).await.problem(400, Some(field), detail);
    }
    let wrong = world.get(&tenant, "/v1/hot/decisions?cursor=zzz").await;
    wrong.problem(400, Some("cursor"), "not a cursor");
    world.get(&tenant, "/v1/hot/changes?state=open").await.problem(400, Some("state"), "no such parameter");
    // Nothing of it changed anything.
    let changes = world.get(&tenant, "/v1/hot/changes?consistency=strong").await.ok();
    assert_eq!(changes.body["changes"], json!([]));
}
