//! A tenant writes a plugin of its own, in each language, and brings it to life as
//! docs/plugins.md says: by the command line, in a folder outside the repository.

use crate::plugin_life::{refused, sent_until};
use crate::world::{World, at, said};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Output;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Over the highest temperature that a new project allows, 90.
const HOT: f64 = 95.5;

pub(crate) async fn a_plugin_in_rust_goes_all_the_way(w: &World) -> Result<()> {
    all_the_way(w, "rust").await
}

pub(crate) async fn a_plugin_in_c_goes_all_the_way(w: &World) -> Result<()> {
    all_the_way(w, "c").await
}

pub(crate) async fn a_plugin_in_assemblyscript_goes_all_the_way(w: &World) -> Result<()> {
    all_the_way(w, "assemblyscript").await
}

pub(crate) async fn a_plugin_in_typescript_goes_all_the_way(w: &World) -> Result<()> {
    all_the_way(w, "js").await
}

async fn all_the_way(w: &World, language: &str) -> Result<()> {
    let tenant = &*format!("author-{language}");
    for n in 0..15 {
        let value = if n < 10 { 20.0 } else { HOT };
        w.put(tenant, "boiler-1", temperature(tenant, "boiler-1", n, value)).await?;
    }
    let home = tempfile::tempdir()?;
    let component = authored(w, home.path(), language).await?;
    let told = eaves(w, tenant, &["push", &component.display().to_string()]).await?;
    ensure!(told.contains("Pushed limits 0.1.0"), "{told}");
    w.history(tenant, "boiler-1", "temperature", 15).await?;
    backtested(w, tenant).await?;
    in_shadow(w, tenant).await?;
    decides_and_is_rolled_back(w, tenant).await
}

fn temperature(tenant: &str, entity: &str, second: i64, value: f64) -> String {
    let at = at(second);
    format!(
        r#"{{"tenant":"{tenant}","entity":"{entity}","type":"boiler","observed_at":"{at}","values":{{"temperature":{value:?},"status":"online"}}}}"#
    )
}

/// A new project, built, tested and run on its sample; the component's file. All languages say the
/// same of the same values.
async fn authored(w: &World, home: &Path, language: &str) -> Result<PathBuf> {
    author(w, home, &["new", "limits", "--lang", language]).await?;
    let project = home.join("limits");
    let told = author(w, &project, &["build"]).await?;
    ensure!(told.contains("build/plugin.wasm"), "{told}");
    let told = author(w, &project, &["test"]).await?;
    ensure!(told.contains("limits 0.1.0: 7 of 7 cases passed."), "{told}");

    let told = author(w, &project, &["run", "sample.ndjson", "--json"]).await?;
    let lines: Vec<Value> = told.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let (summary, values) = lines.split_last().context("a summary")?;
    ensure!(summary["values"] == 9 && summary["accepted"] == 6, "{summary}");
    ensure!(summary["rejected"] == json!({"too_hot": 1, "unknown_state": 2}), "{summary}");
    let of = |value: Value| values.iter().find(|v| v["value"] == value).context("the value");
    let hot = of(json!(95.5))?;
    ensure!(hot["code"] == "too_hot" && hot["text"] == "95.5 is over 90", "{hot}");
    ensure!(of(json!(88.25))?["derived"] == json!({"near_limit": true}), "{told}");
    let foreign = of(json!("größer 🌡"))?;
    ensure!(foreign["text"] == "größer 🌡 is none of online, offline, fault", "{foreign}");
    let narrow = ["run", "sample.ndjson", "--changed", "--settings", r#"{"highest": 20}"#];
    let told = author(w, &project, &narrow).await?;
    ensure!(told.contains("too_hot 3"), "{told}");
    Ok(project.join("build/plugin.wasm"))
}

/// `eaves plugin …` on the author's machine: it knows of no platform, and compiling there does
/// not take the platform's processor.
async fn author(w: &World, folder: &Path, args: &[&str]) -> Result<String> {
    let mut command = tokio::process::Command::new("nice");
    command.args(["-n", "10"]).arg(w.program()).arg("plugin").args(args).current_dir(folder);
    if std::env::var_os("EAVES_TOOLS_DIR").is_none() {
        command.env("EAVES_TOOLS_DIR", format!("{ROOT}/.tools/plugins"));
    }
    // What the project depends on is compiled once, not in each run. Other variables of cargo
    // would make the project part of this build.
    command.env("CARGO_TARGET_DIR", format!("{ROOT}/target/authoring"));
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "EAVES_CC"] {
        command.env_remove(name);
    }
    told(args, &command.kill_on_drop(true).output().await?)
}

/// `eaves plugin …` of the tenant, on the platform.
async fn eaves(w: &World, tenant: &str, args: &[&str]) -> Result<String> {
    let args: Vec<&str> = ["plugin"].iter().chain(args).chain(&["--tenant", tenant]).copied().collect();
    told(&args, &w.eaves(&args, "").await?)
}

fn told(args: &[&str], output: &Output) -> Result<String> {
    ensure!(output.status.success(), "eaves {}: {}", args.join(" "), said(output));
    Ok(String::from_utf8(output.stdout.clone())?)
}

/// On what was stored before there was a plugin: a third of it would be rejected.
async fn backtested(w: &World, tenant: &str) -> Result<()> {
    let args = ["backtest", "--name", "limits", "--version", "0.1.0", "--since", "3h", "--json"];
    let job: Value = serde_json::from_str(&eaves(w, tenant, &args).await?)?;
    let report = &job["report"];
    ensure!(job["state"] == "done" && report["history"]["values"] == 30, "{job}");
    ensure!(report["history"]["changed"] == json!({"accepted>rejected": 5}), "{job}");
    ensure!(report["top_reasons"][0]["code"] == "too_hot", "{job}");
    ensure!(report["limits"]["passed"] == true, "{job}");
    Ok(())
}

/// Live values are judged without effect.
async fn in_shadow(w: &World, tenant: &str) -> Result<()> {
    eaves(w, tenant, &["shadow", "--name", "limits", "--version", "0.1.0"]).await?;
    sent_until(
        w,
        "shadowed",
        |entity, n| temperature(tenant, entity, n, HOT),
        async |_| {
            let metrics = eaves(w, tenant, &["metrics", "--name", "limits", "--json"]).await?;
            let metrics: Value = serde_json::from_str(&metrics)?;
            let all = metrics["versions"].as_array().context("versions")?;
            let differs = |v: &Value| v["changes"]["accepted>rejected"].as_u64() > Some(0);
            Ok(all.iter().any(|v| v["role"] == "shadow" && differs(v)))
        },
    )
    .await?;
    w.entity(tenant, "shadowed-1", "temperature").await.map(drop)
}

/// First with wide settings; then with its own, when hot values are rejected and the tenant sees
/// why; then back.
async fn decides_and_is_rolled_back(w: &World, tenant: &str) -> Result<()> {
    let decide = ["decide", "--name", "limits", "--version", "0.1.0", "--json", "--settings"];
    let with = |settings: &'static str| [&decide[..], &[settings]].concat();
    eaves(w, tenant, &with(r#"{"highest": 200}"#)).await?;
    let standing: Value = serde_json::from_str(&eaves(w, tenant, &with("{}")).await?)?;
    ensure!(standing["active"]["version"] == "0.1.0" && standing["shadow"].is_null(), "{standing}");
    sent_until(
        w,
        "hot",
        |entity, n| temperature(tenant, entity, n, HOT),
        async |entity| refused(w, tenant, &entity, "too_hot").await,
    )
    .await?;

    let args = ["quarantine", "list", "--tenant", tenant, "--reason", "too_hot", "--json"];
    let items: Value = serde_json::from_str(&told(&args, &w.eaves(&args, "").await?)?)?;
    let item = &items[0];
    ensure!(item["field"] == "values.temperature", "{items}");
    ensure!(item["message"].as_str().is_some_and(|why| why.contains("95.5 is over 90")), "{items}");
    ensure!(item["plugin_digest"] == standing["active"]["digest"], "{item}, {standing}");

    let back = eaves(w, tenant, &["rollback", "--name", "limits", "--why", "too narrow", "--json"]).await?;
    let back: Value = serde_json::from_str(&back)?;
    ensure!(back["active"]["settings"] == json!({"highest": 200}), "{back}");
    sent_until(
        w,
        "back",
        |entity, n| temperature(tenant, entity, n, HOT),
        async |entity| {
            let answer = w.get(tenant, &format!("/v1/entities/{entity}?consistency=strong")).await?;
            Ok(answer.json["entity"]["attributes"]["temperature"]["value"] == HOT)
        },
    )
    .await?;

    let audit = eaves(w, tenant, &["audit", "--name", "limits", "--json"]).await?;
    let audit: Value = serde_json::from_str(&audit)?;
    let entries = audit["entries"].as_array().context("entries")?;
    let trail: Vec<_> = entries.iter().rev().filter_map(|e| e["action"].as_str()).collect();
    ensure!(
        trail == ["upload", "check", "backtest", "shadow", "activate", "activate", "rollback"],
        "{audit}"
    );
    ensure!(entries[0]["why"] == "too narrow", "{audit}");
    Ok(())
}

/// Rules by settings alone. Wrong ones are refused with their path, and nothing is uploaded.
pub(crate) async fn the_standard_plugin_needs_no_code(w: &World) -> Result<()> {
    let t = "uncoded";
    let home = tempfile::tempdir()?;
    let file = home.path().join("rules.json");
    let path = file.display().to_string();
    let push = ["plugin", "push", "--standard", "--tenant", t, "--settings", &path, "--activate"];
    let rules = |per: &str| json!({"attributes": {"temperature": {"max": 90, "max_rate": {"change": 5, "per": per}}}});
    std::fs::write(&file, rules("soon").to_string())?;
    let refused_push = w.eaves(&push, "").await?;
    let why = said(&refused_push);
    ensure!(!refused_push.status.success(), "wrong settings were taken: {why}");
    ensure!(why.contains("attributes.temperature.max_rate.per"), "{why}");
    let list = eaves(w, t, &["list"]).await?;
    ensure!(list.contains("has no plugins"), "{list}");

    std::fs::write(&file, rules("1m").to_string())?;
    let told = told(&push, &w.eaves(&push, "").await?)?;
    ensure!(told.contains("It is active for uncoded."), "{told}");
    sent_until(
        w,
        "hot",
        |entity, n| temperature(t, entity, n, HOT),
        async |entity| refused(w, t, &entity, "above_range").await,
    )
    .await?;

    // The same over HTTP, once it is there.
    let wrong = json!({"settings": rules("soon")});
    let (name, version) = first_of(&eaves(w, t, &["list"]).await?)?;
    // What an operator pushed says which settings it takes.
    let pushed = w.admin(t, "GET", &format!("/v1/plugins/{name}/versions"), Value::Null).await?.json;
    ensure!(pushed["versions"][0]["settings_schema"].is_object(), "{pushed}");
    let path = format!("/v1/plugins/{name}/versions/{version}/activate");
    let answer = w.admin(t, "POST", &path, wrong).await?;
    ensure!(answer.status == 422, "{} {}", answer.status, answer.text);
    ensure!(answer.text.contains("attributes.temperature.max_rate.per"), "{}", answer.text);

    // A tenant brings it itself, under its own name or another; either way it says which settings it takes.
    let told = eaves(w, t, &["upload", "--standard"]).await?;
    ensure!(told.contains(&format!("{name} {version} is active")), "{told}");
    let told = eaves(w, t, &["upload", "--standard", "--name", "rules", "--version", "7.0.0"]).await?;
    ensure!(told.contains("rules 7.0.0 is checked"), "{told}");
    let schema = include_str!("../../plugins/standard/src/settings.schema.json");
    let schema: Value = serde_json::from_str(schema)?;
    for (name, version) in [(&*name, &*version), ("rules", "7.0.0")] {
        let found = w.admin(t, "GET", &format!("/v1/plugins/{name}/versions"), Value::Null).await?.json;
        let found = &found["versions"][0];
        ensure!(found["version"] == version && found["settings_schema"] == schema, "{found}");
    }
    Ok(())
}

/// Name and version in the first row of `eaves plugin list`.
fn first_of(list: &str) -> Result<(String, String)> {
    let row = list.lines().nth(1).with_context(|| format!("no row: {list}"))?;
    let mut words = row.split_whitespace().map(str::to_owned);
    words.next().zip(words.next()).with_context(|| format!("no name and version: {row}"))
}
