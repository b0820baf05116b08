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
    // How many there are, whatever the page.
    let even = json!({"filter": {"attribute": "even", "eq": true}, "limit": 1, "count": true});
    let counted = world.search(&tenant, &even).await.ok();
    let told = &counted.body["metadata"];
    assert_eq!((names(&counted.body).len(), &told["total_count"]), (1, &json!(4)));
    assert_eq!(told["total_count_exact"], true);
    let ranged = json!({"filter": {"attribute": "n", "gt": 4}, "type": "pump", "count": true});
    assert_eq!(world.search(&tenant, &ranged).await.ok().body["metadata"]["total_count"], 2);
    let none = json!({"type": "valve", "count": true});
    assert_eq!(world.search(&tenant, &none).await.ok().body["metadata"]["total_count"], 0);
    assert_eq!(typed.body["metadata"].get("total_count"), None, "nobody asked");
}

pub(crate) async fn pages_move_nothing_while_values_come(world: &World) {
    for sort in [json!({}), json!({"by": "external_id", "order": "desc"}), json!({"attribute": "n"})] {
        let tenant = world.tenant(20).await;
        for i in 0..9_i64 {
            let (name, n) = (format!("e{i}"), (i * 5) % 9);
            let values = [("n", Value::Integer(n)), ("on", Value::Boolean(true))];
            world.take(tenant.id, &name, ago(60), &values).await;
        }
        let mut body = json!({"filter": {"attribute": "on", "eq": true}, "sort": sort, "limit": 4});
        let mut found: Vec<String> = Vec::new();
        loop {
            let answer = world.search(&tenant, &body).await.ok();
            found.extend(names(&answer.body).into_iter().map(str::to_owned));
            if answer.body["next_cursor"].is_null() {
                break;
            }
            body["cursor"] = answer.body["next_cursor"].clone();
            // Another value of one that was shown, which stays where it was; and one that matches no more.
            let shown = found[0].clone();
            world.take(tenant.id, &shown, ago(50), &[("m", Value::Integer(7))]).await;
            world.take(tenant.id, "e99", ago(50), &[("on", Value::Boolean(false))]).await;
        }
        let mut once = found.clone();
        once.sort();
        assert_eq!(once, (0..9).map(|i| format!("e{i}")).collect::<Vec<_>>(), "{sort}: {found:?}");
    }
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

/// Containment, a numeric range, a hot filter with the latest cold value, at least k of several.
pub(crate) async fn the_seeds_patterns(world: &World) {
    let (tenant, other) = (world.tenant(3).await, world.tenant(3).await);
    // What the filters below are computed from once more.
    let mut input = Vec::new();
    for i in 0..24_i64 {
        let status = ["online", "fault", "off"][(i % 3) as usize];
        let (region, priority) = (["eu", "us"][(i / 3 % 2) as usize], i % 7);
        let name = format!("e{i:02}");
        let hot = [
            ("status", Value::String(status.into())),
            ("region", Value::String(region.into())),
            ("priority", Value::Integer(priority)),
        ];
        world.take(tenant.id, &name, ago(30), &hot).await;
        // The older value would answer every question otherwise.
        let temperature = (i * 5 % 24) as f64 / 2.0;
        world.take(tenant.id, &name, ago(300), &[("temperature", Value::Float(99.0 - temperature))]).await;
        if i % 4 != 3 {
            world.take(tenant.id, &name, ago(60), &[("temperature", Value::Float(temperature))]).await;
        }
        let latest = if i % 4 != 3 { temperature } else { 99.0 - temperature };
        input.push((name, status, region, priority, latest));
    }
    let flushed = |a: &crate::world::Answer| a.body["count"] == 24 + 18;
    world.until(&tenant, "/v1/attributes/temperature/distribution", flushed).await;

    type Row = (String, &'static str, &'static str, i64, f64);
    let check = async |filter: Json, expect: &dyn Fn(&Row) -> bool| {
        let expect: Vec<&str> = input.iter().filter(|row| expect(row)).map(|row| row.0.as_str()).collect();
        assert!(!expect.is_empty() && expect.len() < 24, "{filter} tells nothing apart");
        let body = json!({"filter": filter, "fields": ["temperature", "status"]});
        let answer = world.ask(&tenant, "/v1/entities/search", &body).await.ok();
        assert_eq!(names(&answer.body), expect, "{filter}");
        for entity in answer.body["entities"].as_array().unwrap() {
            let row = input.iter().find(|row| row.0 == entity["external_id"]).unwrap();
            assert_eq!(entity["attributes"]["temperature"]["value"], row.4, "the latest value");
            assert_eq!(entity["attributes"]["status"]["value"], row.1);
        }
        answer
    };
    check(json!({"attribute": "status", "eq": "online"}), &|r| r.1 == "online").await;
    check(json!({"attribute": "priority", "gte": 2, "lt": 5}), &|r| (2..5).contains(&r.3)).await;
    check(json!({"attribute": "temperature", "gt": 9.5, "lte": 90}), &|r| r.4 > 9.5 && r.4 <= 90.0).await;
    let mixed =
        json!({"and": [{"attribute": "status", "eq": "online"}, {"attribute": "temperature", "gt": 5}]});
    let answer = check(mixed.clone(), &|r| r.1 == "online" && r.4 > 5.0).await;
    let lag: f64 = answer.header("x-data-lag-seconds").parse().unwrap();
    assert!(lag > 0.0, "history is as old as the flush: {lag}");
    let three = json!([{"attribute": "status", "eq": "fault"}, {"attribute": "region", "eq": "us"},
        {"attribute": "temperature", "lt": 6}]);
    for k in 1..=3 {
        let met = |r: &Row| usize::from(r.1 == "fault") + usize::from(r.2 == "us") + usize::from(r.4 < 6.0);
        check(json!({"at_least": {"k": k, "of": three}}), &|r| met(r) >= k).await;
    }
    // Only what was observed since: temperatures of one minute ago, and no older ones.
    let recent = json!({"filter": {"attribute": "temperature", "exists": true}, "cold_within": "2m"});
    let answer = world.ask(&tenant, "/v1/entities/search", &recent).await.ok();
    assert_eq!(names(&answer.body).len(), 18);

    // A strong search would lack what is not flushed, so it is refused.
    world.search(&tenant, &json!({"filter": mixed})).await.problem(
        400,
        Some("filter.and[1].attribute"),
        "consistency=strong",
    );
    let theirs = world.ask(&other, "/v1/entities/search", &json!({"filter": mixed})).await;
    theirs.problem(400, Some("filter.and[0].attribute"), "no attribute \"status\"");
    let theirs = world.ask(&other, "/v1/entities/search", &json!({"sort": {"by": "external_id"}})).await.ok();
    assert!(names(&theirs.body).is_empty(), "another tenant's entities");
}

pub(crate) async fn sorted_pages_keep_their_order(world: &World) {
    let tenant = world.tenant(2).await;
    let mut input = Vec::new();
    for i in 0..11_i64 {
        let (name, n) = (format!("e{:02}", i * 4 % 11), i * 3 % 5);
        let (n_value, other) = (("n", Value::Integer(n)), ("other", Value::Integer(1)));
        let cold = ("cold", Value::Integer(1));
        // The first two attributes are hot; one entity has only the other.
        let values = match i {
            0 => vec![n_value, other, cold],
            6 => vec![other, cold],
            _ => vec![n_value, cold],
        };
        world.take(tenant.id, &name, ago(5), &values).await;
        input.push((name, (i != 6).then_some(n), i));
    }
    let pages = async |sort: Json| -> Vec<String> {
        let mut body = json!({"sort": sort, "limit": 4});
        let mut found = Vec::new();
        loop {
            let answer = world.search(&tenant, &body).await.ok();
            found.extend(names(&answer.body).into_iter().map(str::to_owned));
            match &answer.body["next_cursor"] {
                Json::Null => return found,
                cursor => body["cursor"] = cursor.clone(),
            }
        }
    };
    type Found = (String, Option<i64>, i64);
    let by = |key: &dyn Fn(&Found) -> (bool, i64, i64)| -> Vec<String> {
        let mut all = input.clone();
        all.sort_by_key(|e| key(e));
        all.into_iter().map(|e| e.0).collect()
    };
    let mut names: Vec<String> = input.iter().map(|e| e.0.clone()).collect();
    names.sort();
    assert_eq!(pages(json!({"by": "external_id"})).await, names);
    names.reverse();
    assert_eq!(pages(json!({"by": "external_id", "order": "desc"})).await, names);
    assert_eq!(pages(json!({"order": "desc"})).await, by(&|e| (false, 0, -e.2)));
    assert_eq!(pages(json!({"attribute": "n"})).await, by(&|e| (e.1.is_none(), e.1.unwrap_or(0), e.2)));
    let expect = by(&|e| (e.1.is_none(), -e.1.unwrap_or(0), e.2));
    assert_eq!(pages(json!({"attribute": "n", "order": "desc"})).await, expect);

    let first = world.search(&tenant, &json!({"sort": {"attribute": "n"}, "limit": 2})).await.ok();
    let cursor = &first.body["next_cursor"];
    let check = async |body: Json, field: &str, detail: &str| {
        world.search(&tenant, &body).await.problem(400, Some(field), detail);
    };
    check(json!({"cursor": cursor}), "cursor", "another sort").await;
    check(json!({"sort": {"attribute": "cold"}}), "sort.attribute", "hot attribute").await;
    check(json!({"sort": {"attribute": "nix"}}), "sort.attribute", "no attribute \"nix\"").await;
    check(json!({"sort": {"attribute": ""}}), "sort.attribute", "is empty").await;
    check(json!({"sort": {"by": "external_id", "attribute": "n"}}), "sort", "leave one").await;
    check(json!({"sort": {"by": "size"}}), "body", "unknown variant").await;
    check(json!({"fields": ["nix"]}), "fields", "no attribute \"nix\"").await;
}
