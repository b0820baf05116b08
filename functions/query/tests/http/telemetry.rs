//! Readings over HTTP.

use crate::world::{Answer, World};
use eaves_model::{Timestamp, tenant::Tenant};
use serde_json::{Value as Json, json};

const JSON: &str = "application/json";

fn reading(entity: &str, values: Json) -> Json {
    json!({"entity": entity, "type": "pump", "observed_at": Timestamp::now(), "values": values})
}

/// What ingest will make of the records of a tenant: entities with their numbers of values.
fn decoded(world: &World, tenant: &Tenant) -> Vec<(String, String, usize)> {
    let mut readings = Vec::new();
    for record in world.stream.of(tenant) {
        for item in eaves_codec::decode(&record.data, Timestamp::now()).items {
            for reading in item.outcome.unwrap() {
                let reading = reading.unwrap();
                assert_eq!(record.partition_key, format!("{}/{}", tenant.name, reading.entity));
                readings.push((reading.tenant.into(), reading.entity.into(), reading.values.len()));
            }
        }
    }
    readings.sort();
    readings
}

fn accepted(answer: &Answer) -> (u64, u64, u64) {
    assert_eq!(answer.status, 202, "{}", answer.text);
    let count = |name: &str| answer.body[name].as_u64().unwrap();
    (count("accepted_readings"), count("accepted_values"), count("rejected"))
}

pub(crate) async fn readings_go_to_the_stream_with_the_callers_tenant(world: &World) {
    let tenant = world.tenant(20).await;
    let one = reading("a", json!({"t": 1.5, "s": "on"}));
    assert_eq!(accepted(&world.post(&tenant, JSON, one.to_string()).await), (1, 2, 0));
    let pretty = serde_json::to_string_pretty(&json!([
        reading("b", json!({"t": 1})),
        reading("b", json!({"t": 2, "u": 3})),
        reading("c/1", json!({"t": 1})),
    ]));
    assert_eq!(
        accepted(&world.post(&tenant, "application/json; charset=utf-8", pretty.unwrap()).await),
        (3, 4, 0)
    );
    let mut named = reading("d", json!({"t": 1}));
    named["tenant"] = tenant.name.clone().into();
    let lines = format!("{named}\n\n{}\n", reading("e", json!({"t": 1})));
    assert_eq!(accepted(&world.post(&tenant, "application/x-ndjson", lines).await), (2, 2, 0));

    let of = |entity: &str, values: usize| (tenant.name.clone(), entity.to_owned(), values);
    assert_eq!(
        decoded(world, &tenant),
        [of("a", 2), of("b", 1), of("b", 2), of("c/1", 1), of("d", 1), of("e", 1)]
    );
    assert_eq!(world.stream.of(&tenant).len(), 5, "readings of one entity share a record");
}

pub(crate) async fn bad_readings_are_listed_with_their_place(world: &World) {
    let tenant = world.tenant(20).await;
    let mut undated = reading("b", json!({"t": 1}));
    undated["observed_at"] = "yesterday".into();
    let body = json!([reading("a", json!({"t": 1, "bad": [1]})), undated, 7, reading("", json!({"t": 1}))]);
    let answer = world.post(&tenant, JSON, body.to_string()).await;
    assert_eq!(accepted(&answer), (1, 1, 4));
    let rejections = answer.body["rejections"].as_array().unwrap();
    let fields: Vec<_> = rejections.iter().map(|r| r["field"].as_str().unwrap()).collect();
    assert_eq!(fields[..2], ["[0].values.bad", "[1].observed_at"], "{rejections:?}");
    assert!(fields[2].starts_with("[2]") && fields[3] == "[3].entity", "{rejections:?}");
    assert!(rejections.iter().all(|r| !r["code"].as_str().unwrap().is_empty()));

    // Nothing to accept: a problem with the fields of the one reading.
    let mut single = reading("a", json!({"t": 1}));
    single.as_object_mut().unwrap().remove("observed_at");
    let answer = world.post(&tenant, JSON, single.to_string()).await;
    answer.problem(400, None, "none of the 1 readings");
    assert_eq!(answer.body["errors"][0]["field"], "observed_at");
    let twice =
        format!("{{\"entity\":\"a\",\"tenant\":\"x\",\"tenant\":\"{}\",\"values\":{{}}}}", tenant.name);
    world.post(&tenant, JSON, twice).await.problem(400, None, "none");
}

pub(crate) async fn bad_bodies_are_refused(world: &World) {
    let (tenant, other) = (world.tenant(20).await, world.tenant(20).await);
    let mut foreign = reading("a", json!({"t": 1}));
    foreign["tenant"] = other.name.clone().into();
    let body = json!([reading("a", json!({"t": 1})), foreign]).to_string();
    world.post(&tenant, JSON, body.clone()).await.problem(403, Some("[1].tenant"), &other.name);
    let escaped = body.replace("\"tenant\"", "\"te\\u006eant\"");
    assert_ne!(world.post(&tenant, JSON, escaped).await.status, 202);
    assert!(world.stream.of(&tenant).is_empty() && world.stream.of(&other).is_empty());

    let good = reading("a", json!({"t": 1})).to_string();
    let curl_default = "application/x-www-form-urlencoded";
    world.post(&tenant, curl_default, good.clone()).await.problem(
        415,
        Some("Content-Type"),
        "application/json",
    );
    world.post(&tenant, JSON, "").await.problem(400, Some("body"), "is empty");
    world.post(&tenant, JSON, "[]").await.problem(400, Some("body"), "has 0 readings");
    world.post(&tenant, JSON, "{\"entity\":").await.problem(400, Some("body"), "is not JSON");
    world.post(&tenant, JSON, vec![0xff, 0xfe]).await.problem(400, Some("body"), "UTF-8");
    world.post(&tenant, JSON, "[".repeat(5000)).await.problem(400, Some("body"), "is not JSON");
    world.post(&tenant, JSON, vec![b' '; 5 * 1024 * 1024]).await.problem(413, None, "bytes");
}

pub(crate) async fn what_the_stream_refuses_is_told(world: &World) {
    let tenant = world.tenant(20).await;
    world.stream.refuse(format!("{}/full", tenant.name));
    let body = json!([reading("full", json!({"t": 1})), reading("free", json!({"t": 1, "u": 2}))]);
    let answer = world.post(&tenant, JSON, body.to_string()).await;
    assert_eq!(accepted(&answer), (1, 2, 1));
    assert_eq!(answer.body["rejections"][0]["field"], "[0]");
    assert_eq!(answer.body["rejections"][0]["code"], "not_sent");
    let answer = world.post(&tenant, JSON, reading("full", json!({"t": 1})).to_string()).await;
    answer.problem(503, None, "stream");
    assert!(!answer.header("retry-after").is_empty());
}
