//! Lines, tables, compressed answers, and answers that the caller has already.

use crate::world::{Answer, World, ago, claims};
use axum::http::Method;
use eaves_model::tenant::Tenant;
use eaves_model::{Value, value::decimal};
use serde_json::{Value as Json, json};

async fn get(world: &World, tenant: &Tenant, path: &str, headers: &[(&str, &str)]) -> Answer {
    world.send(Method::GET, path, Some(claims(tenant, "query:read")), headers, "").await
}

/// A table as its rows.
fn table(answer: &Answer) -> Vec<Vec<String>> {
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    let reader =
        csv::ReaderBuilder::new().has_headers(false).from_reader(answer.text.as_bytes()).into_records();
    reader.map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

fn lines(answer: &Answer) -> Vec<Json> {
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert!(answer.text.is_empty() || answer.text.ends_with('\n'));
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) async fn history_as_lines_and_tables(world: &World) {
    let tenant = world.tenant(5).await;
    let texts = ["plain", "a, \"quoted\"\r\ncell", ""];
    let digits = ["12.3000000000000000000000001", "-0.50", "7"];
    for i in 0..3_usize {
        let values =
            [("s", Value::String(texts[i].into())), ("d", Value::Decimal(decimal(digits[i]).unwrap()))];
        world.take(tenant.id, "p", ago(30 - i as i64), &values).await;
    }
    let path = "/v1/entities/p/history/s?consistency=strong&order=asc&limit=2";
    let csv = get(world, &tenant, path, &[("accept", "text/csv")]).await.ok();
    let rows = table(&csv);
    assert_eq!(rows[0], ["observed_at", "value", "ingested_at"]);
    let told: Vec<_> = rows[1..].iter().map(|row| row[1].as_str()).collect();
    assert_eq!(told, texts[..2]);
    assert_eq!(csv.header("x-data-source"), "primary");
    // The next page, by the cursor in the header.
    let next = format!("{path}&cursor={}", csv.header("x-next-cursor"));
    let next = next.replace("&order=asc", "");
    let rest = get(world, &tenant, &next, &[("accept", "text/csv")]).await.ok();
    assert_eq!(table(&rest)[1][1], texts[2]);
    assert_eq!(rest.header("x-next-cursor"), "");

    let path = "/v1/entities/p/history?attributes=d,s&consistency=strong&order=asc";
    let csv = get(world, &tenant, path, &[("accept", "text/csv")]).await.ok();
    let rows = table(&csv);
    assert_eq!(rows[0], ["attribute", "observed_at", "value", "ingested_at"]);
    let told: Vec<_> = rows[1..].iter().map(|row| (row[0].as_str(), row[2].as_str())).collect();
    let expect: Vec<_> = digits.map(|d| ("d", d)).into_iter().chain(texts.map(|t| ("s", t))).collect();
    assert_eq!(told, expect, "with all digits");
    let ndjson = get(world, &tenant, path, &[("accept", "application/x-ndjson")]).await.ok();
    assert!(ndjson.text.contains("\"value\":12.3000000000000000000000001,"), "{}", ndjson.text);
    let told: Vec<_> = lines(&ndjson).iter().map(|l| l["attribute"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, ["d", "d", "d", "s", "s", "s"]);

    let path = "/v1/entities/p/history?attributes=d&consistency=strong&bucket=1d&aggregates=count,max";
    let rows = table(&get(world, &tenant, path, &[("accept", "text/csv")]).await.ok());
    assert_eq!(rows[0], ["attribute", "from", "count", "min", "max", "avg", "first", "last"]);
    let counts: i64 = rows[1..].iter().map(|row| row[2].parse::<i64>().unwrap()).sum();
    assert_eq!((counts, rows[1][3].as_str()), (3, ""));

    let refused = get(world, &tenant, path, &[("accept", "image/png")]).await;
    refused.problem(406, Some("Accept"), "text/csv");
    get(world, &tenant, "/v1/entities/p/history/s", &[("accept", "text/html, */*")]).await.ok();
}

pub(crate) async fn entities_as_lines_and_tables(world: &World) {
    let tenant = world.tenant(1).await;
    world
        .take(tenant.id, "p,1", ago(30), &[("hot", Value::Integer(1)), ("cold", Value::Boolean(true))])
        .await;
    world.take(tenant.id, "q", ago(30), &[("hot", Value::Integer(2))]).await;
    let path = "/v1/entities/search?consistency=strong";
    let search = async |body: Json, accept: &str| {
        let claims = Some(claims(&tenant, "query:read"));
        world.send(Method::POST, path, claims, &[("accept", accept)], &body.to_string()).await.ok()
    };
    let rows = table(&search(json!({"fields": ["cold", "hot"]}), "text/csv").await);
    let without_time: Vec<_> =
        rows.iter().map(|r| [&r[0], &r[1], &r[4], &r[5]].map(String::as_str)).collect();
    let expect =
        [["external_id", "type", "cold", "hot"], ["p,1", "pump", "true", "1"], ["q", "pump", "", "2"]];
    assert_eq!(without_time, expect);
    let found = lines(&search(json!({"limit": 1}), "application/x-ndjson").await);
    assert_eq!((found.len(), &found[0]["external_id"]), (1, &json!("p,1")));
    let list = get(world, &tenant, "/v1/entities?consistency=strong", &[("accept", "text/csv")]).await.ok();
    assert_eq!(table(&list)[2][4], "2");
    let other = world.tenant(1).await;
    let theirs = get(world, &other, "/v1/entities?consistency=strong", &[("accept", "text/csv")]).await.ok();
    assert_eq!(table(&theirs).len(), 1, "another tenant's entities");
}

pub(crate) async fn figures_attributes_and_batches_as_lines_and_tables(world: &World) {
    let tenant = world.tenant(5).await;
    for (i, n) in [1_i64, 2, 3, 3].into_iter().enumerate() {
        let values = [("n", Value::Integer(n)), ("s", Value::String(format!("a, {n}").into()))];
        world.take(tenant.id, "p", ago(60 - i as i64), &values).await;
    }
    // Figures are of what is flushed.
    world.until(&tenant, "/v1/attributes/s/distribution", |a: &Answer| a.body["count"] == 4).await;
    let send = async |method: Method, path: &str, body: &str, accept: &str| {
        let claims = Some(claims(&tenant, "query:read"));
        world.send(method, path, claims, &[("accept", accept)], body).await.ok()
    };
    let body = json!({"attributes": ["s", "n"], "aggregates": ["max", "count"]}).to_string();
    let rows = table(&send(Method::POST, "/v1/aggregates", &body, "text/csv").await);
    let expect = [
        ["attribute", "type", "unit", "entity_type", "max", "count"],
        ["s", "string", "", "", "", "4"],
        ["n", "integer", "", "", "3", "4"],
    ];
    assert_eq!(rows, expect, "figures in the order asked for");
    let found = lines(&send(Method::POST, "/v1/aggregates", &body, "application/x-ndjson").await);
    assert_eq!((found.len(), &found[1]["figures"]["max"]), (2, &json!(3)));

    let path = "/v1/attributes/n/distribution?buckets=2";
    let rows = table(&send(Method::GET, path, "", "text/csv").await);
    assert_eq!(rows[0], ["from", "to", "count"]);
    assert_eq!((rows[1][0].as_str(), rows[2][1].as_str(), rows.len()), ("1", "3", 3));
    let counts: i64 = rows[1..].iter().map(|row| row[2].parse::<i64>().unwrap()).sum();
    assert_eq!(counts, 4);
    let rows = table(&send(Method::GET, "/v1/attributes/s/distribution", "", "text/csv").await);
    assert_eq!(rows[..2], [["value", "count"], ["a, 3", "2"]]);
    let found = lines(&send(Method::GET, path, "", "application/x-ndjson").await);
    assert_eq!((found.len(), &found[0]["from"]), (2, &json!(1)));

    let first = send(Method::GET, "/v1/attributes?limit=1&consistency=strong", "", "text/csv").await;
    let rows = table(&first);
    assert_eq!((rows[0][0].as_str(), rows[1][0].as_str(), rows[1][1].as_str()), ("name", "n", "integer"));
    assert_eq!(rows[0].len(), rows[1].len());
    let next = format!("/v1/attributes?limit=1&consistency=strong&cursor={}", first.header("x-next-cursor"));
    let found = lines(&send(Method::GET, &next, "", "application/x-ndjson").await);
    assert_eq!((found.len(), &found[0]["name"]), (1, &json!("s")));

    let body = json!({"external_ids": ["nobody", "p"], "fields": ["n"]}).to_string();
    let path = "/v1/entities/batch?consistency=strong";
    let rows = table(&send(Method::POST, path, &body, "text/csv").await);
    assert_eq!(rows[0], ["reason", "external_id", "type", "version", "observed_at", "n"]);
    assert_eq!(rows[1], ["not_found", "nobody", "", "", "", ""]);
    assert_eq!((rows[2][0].as_str(), rows[2][1].as_str(), rows[2][5].as_str()), ("", "p", "3"));
    let found = lines(&send(Method::POST, path, &body, "application/x-ndjson").await);
    assert_eq!(
        (&found[0]["reason"]["code"], &found[1]["entity"]["external_id"]),
        (&json!("not_found"), &json!("p"))
    );
}

pub(crate) async fn large_answers_are_compressed_and_bounded(world: &World) {
    let tenant = world.tenant(1).await;
    for i in 0..70 {
        let text = "0123456789abcdef".repeat(4000);
        world.take(tenant.id, "p", ago(100 - i), &[("s", Value::String(text.into()))]).await;
    }
    let path = "/v1/entities/p/history/s?consistency=strong&limit=20";
    let plain = get(world, &tenant, path, &[]).await.ok();
    assert_eq!(plain.header("content-encoding"), "");
    let packed = get(world, &tenant, path, &[("accept-encoding", "br, gzip")]).await.ok();
    assert_eq!((packed.header("content-encoding"), packed.header("vary")), ("gzip", "accept"));
    assert_eq!(packed.body["points"], plain.body["points"]);
    let denser = get(world, &tenant, path, &[("accept-encoding", "gzip, zstd")]).await.ok();
    assert_eq!(denser.header("content-encoding"), "zstd");
    assert_eq!(denser.body["points"], plain.body["points"]);
    let refused = get(world, &tenant, path, &[("accept-encoding", "zstd;q=0, gzip;q=0.1")]).await.ok();
    assert_eq!(refused.header("content-encoding"), "gzip");
    let small = get(world, &tenant, "/v1/tenant", &[("accept-encoding", "gzip")]).await.ok();
    assert_eq!(small.header("content-encoding"), "");
    let path = "/v1/entities/p/history/s?consistency=strong";
    get(world, &tenant, path, &[]).await.problem(400, Some("limit"), "at most 4194304 are sent");
    // Far more than there is room for is not even held.
    let text = "0123456789abcdef".repeat(4000);
    let sql = format!(
        "insert into entity_values_ts (entity_id, observed_at, ingested_at, tenant_id, attribute_id, value)
         select e.entity_id, now() - n * interval '1 s' - interval '1 h', now(), e.tenant_id, a.attribute_id, '{text}'
         from generate_series(1, 600) n, entities e, attributes a
         where e.tenant_id = {0} and a.tenant_id = {0} and a.attribute_name = 's'",
        tenant.id
    );
    world.execute(&sql).await;
    get(world, &tenant, path, &[]).await.problem(400, Some("limit"), "more than 33554432 bytes");
}

pub(crate) async fn what_the_caller_has_is_not_sent_again(world: &World) {
    let tenant = world.tenant(2).await;
    world.take(tenant.id, "p", ago(30), &[("a", Value::Integer(1))]).await;
    let path = "/v1/entities/p?consistency=strong";
    let first = world.get(&tenant, path).await.ok();
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    for header in [tag.clone(), format!("\"x\", {tag}"), tag.trim_start_matches("W/").to_owned(), "*".into()]
    {
        let again = get(world, &tenant, path, &[("if-none-match", &header)]).await;
        assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{header}");
        assert_eq!(again.header("etag"), tag);
        assert_eq!(again.header("x-data-source"), "primary", "it still says how fresh that is");
    }
    world.take(tenant.id, "p", ago(20), &[("a", Value::Integer(2))]).await;
    let changed = get(world, &tenant, path, &[("if-none-match", &tag)]).await.ok();
    assert_eq!(changed.body["entity"]["attributes"]["a"]["value"], 2);
    assert_ne!(changed.header("etag"), tag);
}
