//! Every endpoint of plugins, asked with what another tenant has.

use crate::plugin_life::{MOODY, level, put_in_force, upload};
use crate::world::{World, at};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

const THEIRS: &str = "sweep-theirs";
const OURS: &str = "sweep-ours";
/// In the settings, the events and the audit trail of one tenant, and nowhere else.
const MARK: &str = "for-their-eyes-only";

/// What a tenant sees of its own plugins: nothing of it may change by what others ask.
async fn seen(w: &World, backtest: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for path in ["", "/secret/versions", "/secret/backtest", &format!("/secret/backtest/{backtest}")] {
        let answer = w.admin(THEIRS, "GET", &format!("/v1/plugins{path}"), Value::Null).await?;
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text);
        all.push(answer.json);
    }
    Ok(all)
}

/// One tenant's names, versions, digests and backtests are nothing to another, whatever it asks.
pub(crate) async fn another_tenants_names_and_ids_find_nothing(w: &World) -> Result<()> {
    for tenant in [THEIRS, OURS] {
        w.execute(&format!("select tenant_create('{tenant}', false, 64)")).await?;
    }
    w.put(THEIRS, "tank-1", level(THEIRS, "tank-1", 1, 5.0)).await?;
    w.history(THEIRS, "tank-1", "level", 1).await?;
    let uploaded = upload(w, THEIRS, MOODY, "secret", "1.0.0").await?;
    let digest = uploaded["digest"].as_str().context("digest")?.to_owned();
    let settings = json!({"settings": {"max": 10}, "why": MARK});
    put_in_force(w, THEIRS, "secret@1.0.0", "activate", settings).await?;
    let body = json!({"version": "1.0.0", "settings": {"max": 3}, "from": at(-60), "to": at(60)});
    let asked = w.admin(THEIRS, "POST", "/v1/plugins/secret/backtest", body).await?;
    let id = asked.json["id"].as_str().context("id")?.to_owned();
    let path = format!("/v1/plugins/secret/backtest/{id}");
    w.until(90, "their backtest to be done", || async {
        Ok(w.admin(THEIRS, "GET", &path, Value::Null).await?.json["state"] == "done")
    })
    .await?;
    let before = seen(w, &id).await?;
    ensure!(json!(before).to_string().contains(&digest), "what is looked for can be seen by its owner");

    let description = w.admin(OURS, "GET", "/v1/plugins/openapi.json", Value::Null).await?.json;
    let paths = description["paths"].as_object().context("paths")?;
    let mut asked = 0;
    for (template, methods) in paths {
        let path = template.replace("{name}", "secret").replace("{version}", "1.0.0").replace("{id}", &id);
        for method in methods.as_object().context("methods")?.keys().map(|m| m.to_uppercase()) {
            let bodies = match method.as_str() {
                "GET" | "DELETE" => vec![Value::Null],
                _ => vec![
                    json!({}),
                    json!({"version": "1.0.0", "settings": {"max": 1}, "why": "mine"}),
                    json!({"digest": digest, "version": "1.0.0", "name": "secret"}),
                    json!({"upload": id, "readings": []}),
                ],
            };
            for query in ["".to_owned(), format!("?cursor={id}"), format!("?digest={digest}&version=1.0.0")] {
                for body in &bodies {
                    let answer = w.admin(OURS, &method, &format!("{path}{query}"), body.clone()).await?;
                    let what = format!("{method} {path}{query} {body}: {} {}", answer.status, answer.text);
                    ensure!(answer.status < 500, "{what}");
                    ensure!(!answer.text.contains(MARK), "{what}");
                    let done = answer.status < 300;
                    ensure!(!(done && answer.text.contains(&digest)), "{what}");
                    // A list of what is not there is empty; nothing can be done with it.
                    let acts = template.contains("{name}") && query.is_empty() && method != "GET";
                    ensure!(!(done && acts), "{what}");
                    asked += 1;
                }
            }
        }
    }
    ensure!(asked > 100, "{asked}");
    ensure!(seen(w, &id).await? == before, "what another tenant asked changed something");
    Ok(())
}
