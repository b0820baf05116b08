//! A tenant's entities by page and by name.

use crate::world::{World, ago};
use eaves_model::Value;
use serde_json::{Value as Json, json};

fn names(answer: &Json) -> Vec<&str> {
    answer["entities"].as_array().unwrap().iter().map(|e| e["external_id"].as_str().unwrap()).collect()
}

pub(crate) async fn a_list_is_stable_under_writes(world: &World) {
    let (tenant, other) = (world.tenant(20).await, world.tenant(20).await);
    let entities: Vec<(String, &str)> =
        (0..9).map(|i| (format!("e{}", (i * 5) % 9), if i % 3 == 0 { "valve" } else { "pump" })).collect();
    for (i, (name, kind)) in entities.iter().enumerate() {
        world.take_as(tenant.id, (name, kind), ago(60), &[("n", Value::Integer(i as i64))]).await;
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/entities?consistency=strong&limit=4{cursor}");
        let answer = world.get(&tenant, &path).await.ok();
        for entity in answer.body["entities"].as_array().unwrap() {
            let n = entity["attributes"]["n"]["value"].as_i64().unwrap();
            found.push((entity["external_id"].as_str().unwrap().to_owned(), n));
        }
        // What is written to entities of any page, and a new one, move nothing.
        for name in ["e0", "e8", "late"] {
            world.take(tenant.id, name, ago(120), &[("n", Value::Integer(-1))]).await;
        }
        match answer.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let mut expect: Vec<(String, i64)> =
        entities.iter().enumerate().map(|(i, (name, _))| (name.clone(), i as i64)).collect();
    expect.push(("late".to_owned(), -1));
    assert_eq!(found, expect);

    let valves = world.get(&tenant, "/v1/entities?consistency=strong&type=valve").await.ok();
    let expect: Vec<&str> =
        entities.iter().filter(|(_, kind)| *kind == "valve").map(|(name, _)| name.as_str()).collect();
    assert_eq!(names(&valves.body), expect);
    let none = world.get(&other, "/v1/entities?consistency=strong").await.ok();
    assert_eq!(names(&none.body), Vec::<&str>::new(), "another tenant's entities");
}

pub(crate) async fn fields_are_selected_hot_or_not(world: &World) {
    let (tenant, other) = (world.tenant(1).await, world.tenant(1).await);
    for (i, entity) in ["p", "q"].iter().enumerate() {
        let i = i as i64;
        world
            .take(tenant.id, entity, ago(90), &[("hot", Value::Integer(i)), ("cold", Value::Integer(0))])
            .await;
        world.take(tenant.id, entity, ago(60), &[("cold", Value::Integer(10 + i))]).await;
    }
    world.take(tenant.id, "q", ago(3600), &[("rare", Value::String("once".into()))]).await;
    let list = async |fields: &str| -> Vec<Json> {
        let answer = world.get(&tenant, &format!("/v1/entities?consistency=strong{fields}")).await.ok();
        answer.body["entities"].as_array().unwrap().iter().map(|e| e["attributes"].clone()).collect()
    };
    let value = |of: &Json| {
        of.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v["value"].clone())).collect::<Vec<_>>()
    };
    let shown =
        async |fields: &str| -> Vec<Vec<(String, Json)>> { list(fields).await.iter().map(value).collect() };
    let is = |name: &str, v: Json| (name.to_owned(), v);
    assert_eq!(shown("").await, [[is("hot", json!(0))], [is("hot", json!(1))]]);
    assert_eq!(shown("&fields=").await, [vec![], vec![]]);
    assert_eq!(
        shown("&fields=hot,cold,rare").await,
        [
            vec![is("cold", json!(10)), is("hot", json!(0))],
            vec![is("cold", json!(11)), is("hot", json!(1)), is("rare", json!("once"))]
        ]
    );
    // An hour ago is not within half an hour.
    assert_eq!(shown("&fields=rare&cold_within=30m").await, [vec![], vec![]]);
    let get = async |query: &str| world.get(&tenant, &format!("/v1/entities?{query}")).await;
    get("fields=nix").await.problem(400, Some("fields"), "no attribute \"nix\"");
    get("fields=hot,hot").await.problem(400, Some("fields"), "twice");
    get("fields=hot&cold_within=1y").await.problem(400, Some("cold_within"), "1h or 7d");
    get("cursor=zzz").await.problem(400, Some("cursor"), "not a cursor");
    get("limit=501").await.problem(400, Some("limit"), "1 to 500");
    get("sort=x").await.problem(400, Some("sort"), "no such parameter");
    world.get(&other, "/v1/entities?fields=cold").await.problem(400, Some("fields"), "no attribute \"cold\"");
}

pub(crate) async fn a_batch_answers_each_name(world: &World) {
    let (tenant, other) = (world.tenant(1).await, world.tenant(1).await);
    for (i, entity) in ["p", "q"].iter().enumerate() {
        let values = [("hot", Value::Integer(i as i64)), ("cold", Value::Float(0.5))];
        world.take(tenant.id, entity, ago(60), &values).await;
    }
    let path = "/v1/entities/batch?consistency=strong";
    let asked = json!({"external_ids": ["q", "none", "", "p", "q"], "fields": ["hot", "cold"]});
    let answer = world.ask(&tenant, path, &asked).await.ok();
    let items = answer.body["items"].as_array().unwrap();
    let shown: Vec<_> = items
        .iter()
        .map(|item| {
            let attributes = &item["entity"]["attributes"];
            (
                item["external_id"].as_str().unwrap(),
                attributes["hot"]["value"].as_i64(),
                attributes["cold"]["value"].as_f64(),
                item["reason"]["code"].as_str(),
            )
        })
        .collect();
    let expect = [
        ("q", Some(1), Some(0.5), None),
        ("none", None, None, Some("not_found")),
        ("", None, None, Some("bad_name")),
        ("p", Some(0), Some(0.5), None),
        ("q", None, None, Some("asked_twice")),
    ];
    assert_eq!(shown, expect);
    assert!(items[1]["reason"]["message"].as_str().unwrap().contains("\"none\""));

    // Eventual, too, for all that the replica may not have yet.
    let asked = json!({"external_ids": ["p", "q"]});
    let answer = world.ask(&tenant, "/v1/entities/batch", &asked).await.ok();
    assert!(
        answer.body["items"].as_array().unwrap().iter().all(|i| i["entity"].is_object()),
        "{}",
        answer.text
    );
    let theirs = world.ask(&other, path, &asked).await.ok();
    assert!(theirs.body["items"].as_array().unwrap().iter().all(|i| i["reason"]["code"] == "not_found"));

    let many: Vec<String> = (0..101).map(|i| i.to_string()).collect();
    for (body, field, detail) in [
        (json!({"external_ids": []}), "external_ids", "1 to 100"),
        (json!({"external_ids": many}), "external_ids", "101 names"),
        (json!({"external_ids": ["p"], "fields": ["nix"]}), "fields", "no attribute \"nix\""),
        (json!({"external_ids": ["p"], "cold_within": "x"}), "cold_within", "1h or 7d"),
        (json!({"ids": ["p"]}), "body", "unknown field"),
        (json!(["p"]), "body", "external_ids"),
    ] {
        world.ask(&tenant, path, &body).await.problem(400, Some(field), detail);
    }
}
