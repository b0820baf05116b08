//! Attributes and how they are used.

use crate::world::{World, ago};
use eaves_model::Value;
use serde_json::{Value as Json, json};

pub(crate) async fn usage_is_told_by_attribute(world: &World) {
    let tenant = world.tenant(1).await;
    for i in 0..30_i64 {
        let values =
            [("temperature", Value::Float(20.0)), ("serial", Value::String(format!("s{i:09}").into()))];
        world.take(tenant.id, &format!("p{}", i % 10), ago(100 - i), &values).await;
    }
    let filter =
        json!({"filter": {"attribute": "temperature", "gt": 1}, "fields": ["temperature", "serial"]});
    for _ in 0..3 {
        world.search(&tenant, &filter).await.ok();
    }
    // Asked in vain, since it is not hot; and an entity, which names no attribute.
    world.search(&tenant, &json!({"filter": {"attribute": "serial", "eq": "s1"}})).await.problem(
        400,
        Some("filter.attribute"),
        "hot",
    );
    world.get(&tenant, "/v1/entities/p1").await.ok();
    world.get(&tenant, "/v1/entities/p1/history/serial").await.ok();

    let all = |body: &Json| {
        (body["attribute"]["writes"]["values"] == 30, body["attribute"]["queries"]["count"] == 5)
    };
    let serial = world
        .until(&tenant, "/v1/attributes/serial?consistency=strong", |a| all(&a.body) == (true, true))
        .await
        .ok();
    let serial = &serial.body["attribute"];
    assert_eq!(serial["queries"]["filters"], 1);
    assert_eq!(serial["queries"]["returns"], 4);
    assert!(serial["queries"]["mean_ms"].as_f64().unwrap() > 0.0);
    assert_eq!((&serial["hot"], &serial["type"]), (&json!(false), &json!("string")));
    let writes = &serial["writes"];
    assert_eq!(writes["value_bytes"], 10.0);
    assert_eq!(writes["change_ratio"], 1.0);
    assert!((9..=11).contains(&writes["entities"].as_u64().unwrap()), "{writes}");
    assert!((28..=32).contains(&writes["distinct_values"].as_u64().unwrap()), "{writes}");
    assert!(writes["last_at"].is_string() && writes["per_second"].as_f64().unwrap() > 0.0);

    let temperature = world.get(&tenant, "/v1/attributes/temperature?consistency=strong").await.ok();
    let temperature = &temperature.body["attribute"];
    assert_eq!(temperature["hot"], true);
    assert_eq!(temperature["queries"]["filters"], 3);
    assert_eq!(temperature["queries"]["count"], 3);
    assert_eq!(temperature["writes"]["change_ratio"], 0.0);
    assert_eq!(temperature["writes"]["distinct_values"], 1);
}

pub(crate) async fn a_list_has_pages_and_one_tenant(world: &World) {
    let (tenant, other) = (world.tenant(20).await, world.tenant(20).await);
    let names = ["a", "b/c", "d", "é"];
    for name in names {
        world.take(tenant.id, "p", ago(1), &[(name, Value::Integer(1))]).await;
    }
    world.take(other.id, "p", ago(1), &[("theirs", Value::Integer(1))]).await;
    let mut found = Vec::new();
    let mut path = "/v1/attributes?limit=3&consistency=strong".to_owned();
    loop {
        let answer = world.get(&tenant, &path).await.ok();
        let page = answer.body["attributes"].as_array().unwrap();
        found.extend(page.iter().map(|a| a["name"].as_str().unwrap().to_owned()));
        match answer.body["next_cursor"].as_str() {
            None => break,
            Some(cursor) => path = format!("/v1/attributes?limit=3&consistency=strong&cursor={cursor}"),
        }
    }
    found.sort();
    assert_eq!(found, names);
    let slash = world.get(&tenant, "/v1/attributes/b%2Fc?consistency=strong").await.ok();
    assert_eq!(slash.body["attribute"]["name"], "b/c");
    world.get(&tenant, "/v1/attributes/theirs").await.problem(404, Some("name"), "theirs");
    world.get(&tenant, "/v1/attributes?cursor=zzz").await.problem(400, Some("cursor"), "not a cursor");
    world.get(&tenant, "/v1/attributes?limit=0").await.problem(400, Some("limit"), "1 to 500");
}
