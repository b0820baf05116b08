//! Who writes reads it back: tokens from the answer of a write to the answer of a read.

use crate::world::{World, at, reading, said};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Posts a value and returns the token of the answer.
async fn post(w: &World, entity: &str, second: i64, value: i64) -> Result<String> {
    let body =
        json!({"entity": entity, "type": "test", "observed_at": at(second), "values": {"tok_level": value}});
    let answer = w.post("globex", "/v1/telemetry", body).await?;
    ensure!(answer.status == 202, "{} {}", answer.status, answer.text);
    Ok(answer.json["token"].as_str().context("a token")?.to_owned())
}

/// Write, read, write, read: each read has what was just written, wherever it is answered from.
pub(crate) async fn a_read_has_what_was_just_written(w: &World) -> Result<()> {
    let mut sources = std::collections::BTreeMap::<String, usize>::new();
    let mut token = String::new();
    for n in 1..=30 {
        token = post(w, "tok-1", n, n).await?;
        let paths = [
            "/v1/entities/tok-1?wait=10s",
            "/v1/entities/tok-1?wait=10s&consistency=strong",
            "/v1/entities/tok-1/history/tok_level?limit=1&wait=10s",
        ];
        let path = format!("{}&token={token}", paths[n as usize % 3]);
        let answer = w.get("globex", &path).await?;
        ensure!(answer.status == 200, "{n} {path}: {} {}", answer.status, answer.text);
        let entity = &answer.json["entity"]["attributes"]["tok_level"]["value"];
        let value = entity.as_i64().or(answer.json["points"][0]["value"].as_i64());
        ensure!(value == Some(n), "{n} {path}: {}", answer.text);
        *sources.entry(answer.header("x-data-source")?.to_owned()).or_default() += 1;
    }
    // By the header for what has a body; and from each source, once it has it.
    let search = json!({"filter": {"attribute": "tok_level", "eq": 30}});
    let path = format!("/v1/entities/search?token={token}&wait=10s");
    let found = w.post("globex", &path, search).await?;
    ensure!(found.status == 200 && found.text.contains("tok-1"), "{}", found.text);
    for (path, source) in
        [("/v1/entities/tok-1?", "cache"), ("/v1/entities/tok-1/history/tok_level?limit=1&", "read-replica")]
    {
        let path = format!("{path}token={token}");
        w.until(30, &format!("an answer from {source}"), || async {
            let answer = w.get("globex", &path).await?;
            ensure!(answer.status == 200 && answer.text.contains("\"value\":30,"), "{path}: {}", answer.text);
            anyhow::Ok(answer.header("x-data-source")? == source)
        })
        .await?;
    }
    // Another tenant's token is none.
    let foreign = w.get("acme", &format!("/v1/entities/tok-1?token={token}")).await?;
    ensure!(foreign.status == 400 && foreign.json["field"] == "token", "{}", foreign.text);
    Ok(())
}

/// The same by the command line.
pub(crate) async fn the_command_line_hands_it_on(w: &World) -> Result<()> {
    let line = reading("acme", "tok-cli", r#"{"tok_cli":7}"#);
    let sent = w.eaves(&["send", "--tenant", "acme", "--token"], &line).await?;
    ensure!(sent.status.success(), "{}", said(&sent));
    let token = String::from_utf8(sent.stdout)?.trim().to_owned();
    let args =
        ["query", "entity", "tok-cli", "--tenant", "acme", "--after", &token, "--wait", "10s", "--json"];
    let asked = w.eaves(&args, "").await?;
    ensure!(asked.status.success(), "{}", said(&asked));
    let json: serde_json::Value = serde_json::from_slice(&asked.stdout)?;
    ensure!(json["entity"]["attributes"]["tok_cli"]["value"] == 7, "{json}");
    Ok(())
}

/// With ingest standing still a read says that it does not have it yet, and has it when it goes on.
pub(crate) async fn what_is_not_there_yet_is_told(w: &World) -> Result<()> {
    let token = post(w, "tok-2", 1, 1).await?;
    let path = |token: &str, wait: &str| format!("/v1/entities/tok-2?token={token}&wait={wait}");
    let first = w.get("globex", &path(&token, "10s")).await?;
    ensure!(first.status == 200, "{}", first.text);

    let held = w.hold_ingest().await?;
    let token = post(w, "tok-2", 2, 2).await?;
    let began = Instant::now();
    let refused = w.get("globex", &path(&token, "500ms")).await?;
    ensure!(refused.status == 503 && refused.json["type"] == "/docs#not-yet", "{}", refused.text);
    ensure!(refused.header("retry-after")? == "1" && began.elapsed() >= Duration::from_millis(500));
    // Who does not ask for it gets the old one, and is told how old that may be.
    let old = w.get("globex", "/v1/entities/tok-2").await?;
    ensure!(old.json["entity"]["attributes"]["tok_level"]["value"] == 1, "{}", old.text);
    let token_for = w.token("globex", None).await?;
    let path = path(&token, "8s");
    let reading = w.get_with(Some(&token_for), &path);
    let letting = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(held);
    };
    let (answer, ()) = futures_util::future::join(reading, letting).await;
    let answer = answer?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text);
    ensure!(answer.json["entity"]["attributes"]["tok_level"]["value"] == 2, "{}", answer.text);
    Ok(())
}

/// A Redis that answers nobody costs some milliseconds, and is used again when it does.
pub(crate) async fn a_silent_redis_only_costs_time(w: &World) -> Result<()> {
    let token = post(w, "tok-3", 1, 1).await?;
    let path = format!("/v1/entities/tok-3?token={token}&wait=10s");
    let cached = || async {
        let answer = w.get("globex", &path).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text);
        anyhow::Ok(answer.header("x-cache-hit")? == "true")
    };
    w.until(30, "an answer from the cache", cached).await?;
    let url = reqwest::Url::parse(&w.platform.endpoints().redis_url)?;
    let address = (url.host_str().context("a host")?.to_owned(), url.port().context("a port")?);
    let mut redis = tokio::net::TcpStream::connect(address).await?;
    redis.write_all(b"CLIENT PAUSE 3000 ALL\r\n").await?;
    let mut answer = [0; 3];
    redis.read_exact(&mut answer).await?;
    ensure!(&answer == b"+OK", "{answer:?}");
    let mut slowest = Duration::ZERO;
    for n in 2..12 {
        let token = post(w, "tok-3", n, n).await?;
        let began = Instant::now();
        let answer = w.get("globex", &format!("/v1/entities/tok-3?token={token}&wait=10s")).await?;
        slowest = slowest.max(began.elapsed());
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text);
        ensure!(answer.json["entity"]["attributes"]["tok_level"]["value"] == n, "{}", answer.text);
    }
    ensure!(slowest < Duration::from_secs(10), "with Redis silent a read took {slowest:?}");
    w.until(30, "an answer from the cache again", cached).await
}
