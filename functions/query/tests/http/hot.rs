//! What a rule would change.

use crate::world::{World, ago};
use eaves_model::Value;
use serde_json::{Value as Json, json};

pub(crate) async fn a_simulation_says_what_would_change_and_changes_nothing(world: &World) {
    // One attribute becomes hot by itself.
    let tenant = world.tenant(1).await;
    for i in 0..10 {
        let values =
            [("first", Value::Integer(i)), ("serial", Value::Integer(i)), ("site", Value::Integer(i))];
        world.take(tenant.id, &format!("p{i}"), ago(1), &values).await;
    }
    for _ in 0..4 {
        world.search(&tenant, &json!({"filter": {"attribute": "serial", "eq": 1}})).await;
    }
    world
        .until(&tenant, "/v1/attributes/serial?consistency=strong", |a| {
            a.body["attribute"]["queries"]["filters"] == 4
        })
        .await;
    world
        .until(&tenant, "/v1/attributes/first?consistency=strong", |a| {
            a.body["attribute"]["writes"]["values"] == 10
        })
        .await;

    // All are young.
    let answer = world.simulate(&tenant, &json!({})).await.ok();
    assert_eq!(answer.body["changes"], json!([]));
    assert_eq!(answer.body["byte_budget"], 1600);
    assert_eq!(answer.header("x-data-source"), "primary");

    // With room for two.
    let answer = world.simulate(&tenant, &json!({"cooldown_seconds": 0, "most": 2})).await.ok();
    let change = &answer.body["changes"][0];
    assert_eq!((&change["attribute"], &change["change"]), (&json!("serial"), &json!("promote")));
    assert!(change["reason"].as_str().unwrap().contains("100.0 % of the demand"), "{change}");
    let (before, after) = (&answer.body["before"], &answer.body["after"]);
    assert_eq!((&before["attributes"], &after["attributes"]), (&json!(1), &json!(2)));
    assert_eq!((&before["demand_share"], &after["demand_share"]), (&json!(0.0), &json!(1.0)));
    assert!(after["row_bytes"].as_f64() > before["row_bytes"].as_f64());
    let amplification = |o: &Json| (o["write_amplification"].as_f64().unwrap() * 3.0).round();
    assert_eq!((amplification(before), amplification(after)), (4.0, 5.0));

    // With room for one, what nobody asks for leaves.
    let answer = world.simulate(&tenant, &json!({"cooldown_seconds": 0})).await.ok();
    let changes: Vec<_> =
        answer.body["changes"].as_array().unwrap().iter().map(|c| (&c["change"], &c["attribute"])).collect();
    assert_eq!(changes, [(&json!("demote"), &json!("first")), (&json!("promote"), &json!("serial"))]);

    // By hand; and nothing has changed.
    let answer = world.simulate(&tenant, &json!({"promote": ["site"], "demote": ["first"]})).await.ok();
    assert_eq!(answer.body["changes"][1]["code"], "by_hand");
    assert_eq!(answer.body["after"]["attributes"], 1);
    let first = world.get(&tenant, "/v1/attributes/first?consistency=strong").await.ok();
    assert_eq!(first.body["attribute"]["hot"], true);
}

pub(crate) async fn settings_out_of_range_are_refused(world: &World) {
    let tenant = world.tenant(1).await;
    world.take(tenant.id, "p", ago(1), &[("a", Value::Integer(1))]).await;
    for (body, field, detail) in [
        (json!({"share": 1.5}), "share", "0 to 1"),
        (json!({"hysteresis": 0.5}), "hysteresis", "1 to 100"),
        (json!({"cooldown_seconds": -1}), "cooldown_seconds", "-1 is not"),
        (json!({"most": 1001}), "most", "0 to 1000"),
        (json!({"byte_budget": 100_001}), "byte_budget", "0 to 100000"),
        (json!({"promote": ["none"]}), "promote", "no attribute \"none\""),
        (json!({"promote": ["a"], "demote": ["a"]}), "promote", "twice"),
        (json!({"shares": 1}), "body", "unknown field"),
        (json!([]), "body", "send an object"),
    ] {
        world.simulate(&tenant, &body).await.problem(400, Some(field), detail);
    }
}
