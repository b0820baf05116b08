//! What operators read across tenants.

use crate::world::{World, ago, claims, send};
use axum::http::Method;
use eaves_model::Value;
use serde_json::{Value as Json, json};

fn operator() -> Json {
    json!({"sub": "jane@example.org", "scope": "admin", "operator": "true"})
}

async fn ask(world: &World, claims: Json, path: &str) -> crate::world::Answer {
    world.send(Method::GET, path, Some(claims), &[], "").await
}

const WHY: &str = "reason=ticket%204711:%20no%20values";

pub(crate) async fn reads_across_tenants_are_noted_first(world: &World) {
    let (one, two) = (world.tenant(5).await, world.tenant(5).await);
    for tenant in [&one, &two] {
        for entity in ["across-1", "across-2"] {
            world.take(tenant.id, entity, ago(5), &[("t", Value::Float(1.5))]).await;
        }
    }
    let answer = ask(world, operator(), &format!("/v1/admin/entities?{WHY}&tenant={}", one.name)).await.ok();
    let entities = answer.body["entities"].as_array().unwrap();
    assert_eq!(entities.len(), 2);
    assert_eq!(entities[0]["tenant"], one.name);
    assert_eq!(entities[0]["attributes"], json!({"t": 1.5}));
    assert_eq!(answer.header("cache-control"), "no-store");
    // Of all tenants, by name, page by page.
    let path = format!("/v1/admin/entities?{WHY}&external_id=across-2&limit=1");
    let first = ask(world, operator(), &path).await.ok();
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = ask(world, operator(), &format!("{path}&cursor={cursor}")).await.ok();
    let whose = [&first, &second].map(|a| a.body["entities"][0]["tenant"].as_str().unwrap().to_owned());
    assert_eq!(whose, [one.name.clone(), two.name.clone()]);
    assert_eq!(second.body["next_cursor"], Json::Null);

    let reads = world.admin().await.admin_reads(3).await.unwrap();
    assert_eq!(reads.len(), 3);
    let of_one = &reads[2];
    assert_eq!((of_one.who.as_str(), of_one.what.as_str()), ("jane@example.org", "entities"));
    assert_eq!(
        (of_one.tenant.as_deref(), of_one.role.as_str()),
        (Some(one.name.as_str()), "eaves_superadmin")
    );
    assert_eq!(of_one.reason, "ticket 4711: no values");
    assert_eq!(reads[0].tenant, None);

    for (path, field, detail) in [
        ("/v1/admin/entities", "reason", "say why"),
        ("/v1/admin/entities?reason=short", "reason", "8 to 500"),
        ("/v1/admin/entities?reason=long%20enough&limit=501", "limit", "1 to 500"),
        ("/v1/admin/entities?reason=long%20enough&cursor=bCA3", "cursor", "not a cursor"),
        ("/v1/admin/entities?reason=long%20enough&why=x", "why", "no such parameter"),
    ] {
        ask(world, operator(), path).await.problem(400, Some(field), detail);
    }
    let path = format!("/v1/admin/entities?{WHY}&tenant=nobody");
    ask(world, operator(), &path).await.problem(404, Some("tenant"), "nobody");
    assert_eq!(world.admin().await.admin_reads(9).await.unwrap().len(), 3, "what was refused is no read");

    // Where the note cannot be written nothing is read.
    world
        .execute("alter table admin_reads add constraint broken check (who <> 'jane@example.org') not valid")
        .await;
    let path = format!("/v1/admin/entities?{WHY}&tenant={}", one.name);
    let unread = ask(world, operator(), &path).await;
    world.execute("alter table admin_reads drop constraint broken").await;
    unread.problem(503, None, "could not be noted");
    assert!(!unread.text.contains("across-1"), "{}", unread.text);
    ask(world, operator(), &path).await.ok();
}

pub(crate) async fn who_is_no_operator_reads_nothing(world: &World) {
    let tenant = world.tenant(5).await;
    let mut admin = claims(&tenant, "admin query:read");
    for path in ["/v1/admin/entities", "/v1/admin/advice"] {
        let path = format!("{path}?{WHY}");
        world.send(Method::GET, &path, None, &[], "").await.problem(401, None, "token");
        ask(world, admin.clone(), &path).await.problem(403, None, "operator=true");
        admin["operator"] = json!("false");
        ask(world, admin.clone(), &path).await.problem(403, None, "operator=true");
        let mut reader = operator();
        reader["scope"] = json!("query:read");
        ask(world, reader, &path).await.problem(403, None, "scope admin");
        let mut nameless = operator();
        nameless["sub"] = json!("");
        ask(world, nameless, &path).await.problem(403, None, "names nobody");
        // An operator's token is no tenant's.
        ask(world, operator(), "/v1/tenant").await.problem(401, None, "names no tenant");
        let without = world.instance(&[("EAVES_SUPERADMIN_USER", "")]);
        let off = send(&without, Method::GET, &path, Some(operator()), &[], "").await;
        off.problem(403, None, "not enabled here");
    }
}

pub(crate) async fn advice_names_what_is_worth_doing(world: &World) {
    let tenant = world.tenant(1).await;
    let values = [("hot", Value::Float(1.0)), ("often-asked", Value::Float(2.0))];
    world.take(tenant.id, "p", ago(5), &values).await;
    world.get(&tenant, "/v1/entities/p?consistency=strong").await.ok();
    let path = format!("/v1/admin/advice?{WHY}&slow_ms=1&least_filters=3");
    let body = json!({"filter": {"attribute": "often-asked", "gt": 1}});
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let advice = loop {
        world.ask(&tenant, "/v1/entities/search", &body).await.ok();
        let answer = ask(world, operator(), &path).await.ok();
        let all = answer.body["advice"].as_array().unwrap().clone();
        let ours = |a: &&Json| a["kind"] == "promote_attribute" && a["tenant"] == tenant.name;
        if let Some(found) = all.iter().find(ours) {
            break found.clone();
        }
        assert!(std::time::Instant::now() < deadline, "{}", answer.text);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!(advice["subject"], "often-asked");
    assert!(advice["figures"]["filters"].as_i64().unwrap() >= 3, "{advice}");
    let text = advice["advice"].as_str().unwrap();
    assert!(text.contains(&format!("eaves hot promote often-asked --tenant {}", tenant.name)), "{text}");
    // What is slow, and what reads all of history though it names the time; a window is no reason.
    for _ in 0..3 {
        world.execute_as_query("select 4711 as slow, pg_sleep(0.02)").await;
    }
    for condition in ["v.entity_id = 4711", "v.entity_id = 4712 and v.observed_at > now()"] {
        let sql = format!(
            "select max(v.observed_at) from entity_values_ts v where v.tenant_id = 0 and {condition}"
        );
        world.execute_as_query(&sql).await;
    }
    let answer = ask(world, operator(), &format!("/v1/admin/advice?{WHY}&slow_ms=10")).await.ok();
    let of = |text: &str| -> Vec<&str> {
        let all = answer.body["advice"].as_array().unwrap().iter();
        let named = all.filter(|a| a["subject"].as_str().unwrap().contains(text));
        named.map(|a| a["kind"].as_str().unwrap()).collect()
    };
    assert_eq!(of("as slow, pg_sleep"), ["slow_statement"], "{}", answer.text);
    assert_eq!(of("select max(v.observed_at) from"), ["no_time_filter"], "{}", answer.text);
    ask(world, operator(), &format!("/v1/admin/advice?{WHY}&slow_ms=0")).await.problem(
        400,
        Some("slow_ms"),
        "1 to",
    );
}
