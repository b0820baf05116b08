//! Answers: freshness told, searches, writes over HTTP, refusals.

use crate::world::{World, at, reading};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;

const HEADERS: [&str; 9] = [
    "x-data-source",
    "x-data-lag-seconds",
    "x-consistency-level",
    "x-freshness-tier",
    "x-data-freshness",
    "x-replication-lag",
    "x-cache-hit",
    "x-sla-met",
    "x-query-timestamp",
];

/// Each answer tells source, lag and tier, in headers and in the body alike.
pub(crate) async fn an_answer_tells_how_fresh_it_is(w: &World) -> Result<()> {
    w.put("acme", "fresh-1", reading("acme", "fresh-1", r#"{"level":1}"#)).await?;
    w.entity("acme", "fresh-1", "level").await?;
    for consistency in ["strong", "eventual"] {
        let answer = w.get("acme", &format!("/v1/entities/fresh-1?consistency={consistency}")).await?;
        for header in HEADERS {
            ensure!(answer.headers.contains_key(header), "no {header}: {:?}", answer.headers);
        }
        let told = &answer.json["metadata"]["freshness"];
        ensure!(answer.header("x-data-source")? == told["source"], "{told}");
        ensure!(answer.header("x-consistency-level")? == consistency, "{:?}", answer.headers);
        let lag: f64 = answer.header("x-data-lag-seconds")?.parse().context("x-data-lag-seconds")?;
        ensure!((0.0..60.0).contains(&lag), "lag {lag}");
        if consistency == "strong" {
            ensure!(answer.header("x-data-source")? == "primary", "{:?}", answer.headers);
        }
    }
    let freshness = w.get("acme", "/v1/freshness").await?;
    ensure!(freshness.status == 200, "{}", freshness.text);
    Ok(())
}

/// Equality, ranges, `in`, and, or, not: against the same search done by hand.
pub(crate) async fn a_search_finds_what_it_should(w: &World) -> Result<()> {
    for n in 0..20 {
        let state = ["on", "off"][n % 2];
        let values =
            format!(r#"{{"s_state":"{state}","s_load":{:?},"s_zone":"z{}"}}"#, n as f64 * 1.5, n % 3);
        w.put("acme", "search", reading("acme", &format!("s-{n:02}"), &values)).await?;
    }
    w.entity("acme", "s-19", "s_zone").await?;
    w.entity("acme", "s-18", "s_zone").await?;
    let check = async |filter: serde_json::Value, expected: Vec<usize>| -> Result<()> {
        let answer = w.search("acme", filter.clone()).await?;
        ensure!(answer.status == 200, "{filter}: {}", answer.text);
        let mut found: Vec<&str> = answer.json["entities"]
            .as_array()
            .context("entities")?
            .iter()
            .filter_map(|e| e["external_id"].as_str())
            .collect();
        found.sort_unstable();
        let expected: Vec<String> = expected.into_iter().map(|n| format!("s-{n:02}")).collect();
        ensure!(found == expected, "{filter}: found {found:?}, expected {expected:?}");
        Ok(())
    };
    let all = 0..20usize;
    let scope = json!({"attribute": "s_state", "in": ["on", "off"]});
    check(scope.clone(), all.clone().collect()).await?;
    check(json!({"attribute": "s_state", "eq": "on"}), all.clone().filter(|n| n % 2 == 0).collect()).await?;
    check(json!({"attribute": "s_load", "gte": 3, "lt": 9}), (2..6).collect()).await?;
    check(
        json!({"and": [{"attribute": "s_state", "eq": "on"}, {"attribute": "s_zone", "in": ["z0", "z1"]}]}),
        all.clone().filter(|n| n % 2 == 0 && n % 3 < 2).collect(),
    )
    .await?;
    check(
        json!({"and": [scope, {"not": {"or": [{"attribute": "s_load", "gt": 4.5}, {"attribute": "s_zone", "eq": "z0"}]}}]}),
        all.filter(|n| *n as f64 * 1.5 <= 4.5 && n % 3 != 0).collect(),
    )
    .await
}

/// POST /v1/telemetry: stamped with the caller's tenant, and refused piece by piece.
pub(crate) async fn readings_can_be_written_over_http(w: &World) -> Result<()> {
    let body = json!([
        {"entity": "posted-1", "observed_at": at(0), "values": {"posted_level": 7}},
        {"entity": "posted-2", "observed_at": "not a time", "values": {"posted_level": 7}},
    ]);
    let answer = w.post("globex", "/v1/telemetry", body).await?;
    ensure!(answer.status == 202, "{} {}", answer.status, answer.text);
    ensure!(answer.text.contains("observed_at"), "the refusal names no field: {}", answer.text);
    let posted = w.entity("globex", "posted-1", "posted_level").await?;
    ensure!(posted.json["attributes"]["posted_level"]["value"] == 7, "{}", posted.text);

    let foreign = json!({"tenant": "acme", "entity": "x", "observed_at": at(0), "values": {"a": 1}});
    let answer = w.post("globex", "/v1/telemetry", foreign).await?;
    ensure!((400..404).contains(&answer.status), "another tenant's name: {} {}", answer.status, answer.text);
    Ok(())
}

/// Bad requests are 4xx problems that name what is wrong; nothing is a 5xx.
pub(crate) async fn bad_requests_are_problems_that_name_the_field(w: &World) -> Result<()> {
    let history = "/v1/entities/pump-1/history/temperature";
    for (path, status, names) in [
        (format!("{history}?from=2026-01-01T00:00:00Z&to=2026-03-15T00:00:00Z"), 400, "at most 30"),
        (format!("{history}?from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z"), 400, "from"),
        (format!("{history}?from=tomorrow"), 400, "from"),
        (format!("{history}?limit=-1"), 400, "limit"),
        ("/v1/entities/pump-1?consistency=perfect".into(), 400, "consistency"),
        (format!("/v1/entities/{}", "e".repeat(300)), 400, "external_id"),
        ("/v1/entities/%00".into(), 404, ""),
        ("/v1/nothing".into(), 404, ""),
    ] {
        let answer = w.get("acme", &path).await?;
        ensure!(answer.status == status, "{path}: {} {}", answer.status, answer.text);
        ensure!(answer.text.contains(names), "{path}: no {names:?} in {}", answer.text);
        ensure!(
            answer.header("content-type")?.starts_with("application/problem+json"),
            "{path}: {:?}",
            answer.headers
        );
    }
    for filter in
        [json!({"attribute": "x"}), json!({"and": "y"}), json!([]), json!({"attribute": 7, "eq": 1})]
    {
        let answer = w.search("acme", filter.clone()).await?;
        ensure!(answer.status == 400, "{filter}: {} {}", answer.status, answer.text);
    }
    Ok(())
}

/// No token, a broken token, a token without the scope.
pub(crate) async fn nobody_reads_without_a_token(w: &World) -> Result<()> {
    for token in [None, Some("nonsense"), Some("eyJhbGciOiJub25lIn0.eyJ0ZW5hbnQiOiJhY21lIn0.")] {
        let answer = w.get_with(token, "/v1/entities/pump-1").await?;
        ensure!(answer.status == 401, "{token:?}: {} {}", answer.status, answer.text);
    }
    let write_only = w.token("acme", Some("telemetry:write")).await?;
    let answer = w.get_with(Some(&write_only), "/v1/entities/pump-1").await?;
    ensure!(answer.status == 403, "{} {}", answer.status, answer.text);
    for public in ["/healthz", "/openapi.json", "/docs"] {
        let answer = w.get_with(None, public).await?;
        ensure!(answer.status == 200, "{public}: {}", answer.status);
    }
    let openapi = w.get_with(None, "/openapi.json").await?;
    for path in ["/v1/entities/{external_id}", "/v1/entities/search", "/v1/telemetry", "/v1/freshness"] {
        ensure!(openapi.json["paths"][path].is_object(), "{path} is not described");
    }
    Ok(())
}
