//! Plugins after the engine has changed.

use crate::plugin_life::{let_through, level, put_in_force, refused};
use crate::plugin_many::rule;
use crate::world::World;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use serde_json::{Value, json};

/// What a version was compiled to is for another engine: it is compiled anew, once, without an
/// upload; its tenant's readings wait in the stream meanwhile, and are judged by it.
pub(crate) async fn an_artefact_of_another_engine_is_compiled_anew(w: &World) -> Result<()> {
    let t = "engine-changed";
    w.execute(&format!("select tenant_create('{t}', false, 64)")).await?;
    let wasm = base64::engine::general_purpose::STANDARD.encode(rule(10.0, 1_000_001)?);
    let body = json!({"name": "limits", "version": "1.0.0", "wasm_base64": wasm});
    let up = w.admin(t, "POST", "/v1/plugins", body).await?;
    ensure!(up.status == 201, "{} {}", up.status, up.text);
    put_in_force(w, t, "limits@1.0.0", "activate", json!({})).await?;
    let digest = up.json["digest"].as_str().unwrap_or_default();
    let (config, artefacts) = (w.plugin_config()?, w.artefacts(digest).await?);
    ensure!(artefacts.len() == 1, "{} artefacts", artefacts.len());
    for (url, artefact) in artefacts {
        let other = config.of_another_engine(&artefact).context("stamp the artefact")?;
        w.put_artefact(&url, other).await?;
    }

    // Six keys reach all shards: every instance finds the wrong artefact.
    let records = |n: i64| {
        let key = format!("{t}/{n}");
        let over = level(t, &format!("over-{n}"), n, 50.0).into_bytes();
        [(key.clone(), over), (key, level(t, &format!("under-{n}"), n, 5.0).into_bytes())]
    };
    w.put_many((0..6).flat_map(records).collect()).await?;
    for n in 0..6 {
        let over = &*format!("over-{n}");
        w.until(90, "the reading to be judged", || refused(w, t, over, "above_max")).await?;
        w.entity(t, &format!("under-{n}"), "level").await?;
    }
    w.until(20, "the value in history", || async {
        Ok(let_through(w, t, "under-0").await? == Some(("1.0.0".to_owned(), true)))
    })
    .await?;
    let unjudged = "select count(*) from quarantine q join tenants t using (tenant_id)
        where t.name = 'engine-changed' and reason <> 'above_max'";
    ensure!(w.count(unjudged).await? == 0, "a reading fell to the failure policy");

    // Who changes what is in force meanwhile has it at once.
    put_in_force(w, t, "limits@1.0.0", "activate", json!({"on_failure": "accept"})).await?;
    let audit = w.admin(t, "GET", "/v1/plugins/limits/audit", Value::Null).await?;
    let trail: Vec<&str> = audit.json["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .rev()
        .filter_map(|e| e["action"].as_str())
        .collect();
    ensure!(trail == ["upload", "check", "activate", "recompile", "activate"], "{}", audit.text);
    Ok(())
}
