//! What is hot, decided by itself, by a tenant's plugin and by hand, through the real functions.

use crate::events::start;
use crate::world::{World, at, said};
use anyhow::{Context as _, Result, ensure};
use eaves_local::lambda::FunctionHost;
use serde_json::{Value, json};
use std::time::Duration;

const ENTITIES: usize = 3;

async fn eaves(w: &World, args: &[&str]) -> Result<String> {
    let output = w.eaves(args, "").await?;
    ensure!(output.status.success(), "eaves {}: {}", args.join(" "), said(&output));
    Ok(said(&output))
}

/// A tenant with `first`, which is hot, and `serial`, which is not; queries ask for `serial`.
async fn prepare(w: &World, tenant: &str) -> Result<()> {
    eaves(w, &["tenant", "create", tenant, "--hot-limit", "1"]).await?;
    for (values, last) in [(r#"{"first":1}"#, "first"), (r#"{"serial":"s7"}"#, "serial")] {
        for n in 0..ENTITIES {
            let at = at(0);
            let entity = format!("{tenant}-{n}");
            let reading = format!(
                r#"{{"tenant":"{tenant}","entity":"{entity}","observed_at":"{at}","values":{values}}}"#
            );
            w.put(tenant, &entity, reading).await?;
        }
        for n in 0..ENTITIES {
            w.history(tenant, &format!("{tenant}-{n}"), last, 1).await?;
        }
    }
    w.entity(tenant, &format!("{tenant}-0"), "first").await?;
    // There is room from now on.
    eaves(w, &["tenant", "set", tenant, "--hot-limit", "5"]).await?;
    for _ in 0..3 {
        let refused = w.search(tenant, json!({"attribute": "serial", "eq": "s7"})).await?;
        ensure!(refused.status == 400, "{} {}", refused.status, refused.text);
    }
    w.until(30, "the figures of serial", || async {
        let shown = w.get(tenant, "/v1/attributes/serial?consistency=strong").await?;
        let shown = &shown.json["attribute"];
        Ok(shown["queries"]["filters"].as_u64() > Some(0) && shown["writes"]["values"] == ENTITIES)
    })
    .await
}

/// An instance that lets attributes change as often as it runs, and decides for one tenant.
async fn deciding(w: &World) -> Result<FunctionHost> {
    start(w.hot_projection(), &[("EAVES_HOT_COOLDOWN_S", "0")]).await
}

async fn run(host: &FunctionHost, tenant: &str, changes: u64) -> Result<()> {
    run_with(host, tenant, changes, 0).await
}

async fn run_with(host: &FunctionHost, tenant: &str, changes: u64, failures: u64) -> Result<()> {
    let answer = host.invoke(&json!({"tenant": tenant})).await?;
    let wanted = json!({"tenants": 1, "changes": changes, "plugin_failures": failures, "skipped": 0});
    ensure!(answer == wanted, "{answer}, not {wanted}");
    Ok(())
}

async fn decisions(w: &World, tenant: &str) -> Result<Value> {
    let answer = w.get(tenant, "/v1/hot/decisions?consistency=strong").await?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text);
    Ok(answer.json)
}

/// What is under way is due at once, and maintain does it.
async fn fill(w: &World, tenant: &str) -> Result<()> {
    let due = "update hot_changes set requested_at = requested_at - interval '1 hour'
               where finished_at is null and cancelled_at is null";
    w.execute(due).await?;
    let maintain = start(w.maintain(), &[]).await?;
    maintain.invoke(&json!({})).await?;
    maintain.stop(Duration::from_secs(2)).await;
    // The platform's own maintain may have taken a part of it.
    let open = format!(
        "select count(*) from hot_changes c join tenants t using (tenant_id)
         where t.name = '{tenant}' and c.finished_at is null and c.cancelled_at is null"
    );
    w.until(30, "the changes to be through", || async { Ok(w.count(&open).await? == 0) }).await
}

pub(crate) async fn what_is_asked_for_becomes_hot(w: &World) -> Result<()> {
    let tenant = "asked";
    prepare(w, tenant).await?;
    let host = deciding(w).await?;
    run(&host, tenant, 1).await?;
    let told = decisions(w, tenant).await?;
    let decision = &told["decisions"][0];
    let what = [&decision["attribute"], &decision["change"], &decision["rule"], &decision["code"]];
    ensure!(what == ["serial", "promote", "default", "asked_for"], "{decision}");
    let seen = &decision["statistics"];
    ensure!(seen["filters_per_second"].as_f64() > Some(0.0) && seen["byte_budget"] == 1600, "{decision}");
    ensure!(told["last_run"]["changes"] == 1, "{told}");
    // It is on its way, and nothing else is wanted.
    run(&host, tenant, 0).await?;
    let refused = w.search(tenant, json!({"attribute": "serial", "eq": "s7"})).await?;
    ensure!(refused.status == 400 && refused.text.contains("not a hot attribute"), "{}", refused.text);
    let shown = eaves(w, &["hot", "changes", tenant]).await?;
    ensure!(shown.contains("serial") && shown.contains("waiting"), "{shown}");

    fill(w, tenant).await?;
    let entity = w.entity(tenant, "asked-1", "serial").await?;
    ensure!(entity.json["attributes"]["serial"]["value"] == "s7", "{}", entity.text);
    let found = w.search(tenant, json!({"attribute": "serial", "eq": "s7"})).await?;
    let count = found.json["entities"].as_array().map(Vec::len);
    ensure!(found.status == 200 && count == Some(ENTITIES), "{} {}", found.status, found.text);
    // Oscillating is for others: it is hot, it is asked for, and it stays.
    run(&host, tenant, 0).await?;
    let watched = eaves(w, &["hot", "changes", tenant, "--watch"]).await?;
    ensure!(watched.contains("Nothing is under way"), "{watched}");
    let shown = eaves(w, &["hot", "decisions", "--tenant", tenant]).await?;
    ensure!(shown.contains("promote") && shown.contains("the built-in rule"), "{shown}");
    host.stop(Duration::from_secs(2)).await;
    Ok(())
}

pub(crate) async fn a_tenants_plugin_decides_and_a_pin_holds(w: &World) -> Result<()> {
    let tenant = "choosy";
    prepare(w, tenant).await?;
    // It wants what is filtered by, and nothing else.
    w.activate(tenant, "promoter", "1.0.0", r#"{"worth": 0.0000001}"#).await?;
    let pinned = w.admin(tenant, "PUT", "/v1/attributes/first/pin", json!({"pin": "hot"})).await?;
    ensure!(pinned.status == 200 && pinned.json["state"] == "hot", "{} {}", pinned.status, pinned.text);
    // Nothing has been decided yet: what would be.
    let simulated =
        ["hot", "simulate", "--tenant", tenant, "--plugin", "promoter", "--cooldown", "0", "--json"];
    let simulated: Value = serde_json::from_str(&eaves(w, &simulated).await?)?;
    let change = &simulated["changes"][0];
    ensure!(change["attribute"] == "serial" && change["code"] == "read_often", "{simulated}");
    ensure!(
        simulated["held"][0]["attribute"] == "first" && simulated["held"][0]["held"] == "pinned",
        "{simulated}"
    );
    let (before, after) = (&simulated["before"], &simulated["after"]);
    ensure!(before["attributes"] == 1 && after["attributes"] == 2, "{simulated}");
    ensure!(after["row_bytes"].as_f64() > before["row_bytes"].as_f64(), "{simulated}");
    ensure!(decisions(w, tenant).await?["last_run"].is_null(), "a simulation decided");
    let shown = w.eaves(&["hot", "simulate", "--tenant", tenant, "--plugin", "nobody"], "").await?;
    ensure!(
        !shown.status.success() && said(&shown).contains("no version of nobody is active"),
        "{}",
        said(&shown)
    );
    let host = deciding(w).await?;
    run(&host, tenant, 1).await?;
    let told = decisions(w, tenant).await?;
    let (decision, run_told) = (&told["decisions"][0], &told["last_run"]);
    let what = [&decision["attribute"], &decision["change"], &decision["rule"], &decision["code"]];
    ensure!(what == ["serial", "promote", "plugin", "read_often"], "{decision}");
    let digest = decision["plugin"]["digest"].as_str().context("the plugin's digest")?;
    ensure!(digest.len() == 64 && decision["plugin"]["name"] == "promoter", "{decision}");
    let held = &run_told["held"][0];
    ensure!(held["attribute"] == "first" && held["why"] == "pinned", "{run_told}");
    fill(w, tenant).await?;
    w.entity(tenant, "choosy-2", "serial").await?;
    // Without the pin it goes as the plugin wants.
    eaves(w, &["hot", "unpin", tenant, "first", "--reason", "not read any more"]).await?;
    run(&host, tenant, 1).await?;
    let told = decisions(w, tenant).await?;
    let decision = &told["decisions"][0];
    ensure!(decision["attribute"] == "first" && decision["code"] == "not_read", "{told}");
    ensure!(told["decisions"][1]["change"] == "unpin", "{told}");
    let path = "/v1/entities/choosy-2?consistency=strong";
    w.until(30, "first to be hidden", || async {
        let entity = w.get(tenant, path).await?;
        let shown = &entity.json["entity"]["attributes"];
        Ok(shown.get("first").is_none() && shown.get("serial").is_some())
    })
    .await?;
    // A pin by the command line, against the plugin.
    eaves(w, &["hot", "pin", tenant, "serial", "cold"]).await?;
    run(&host, tenant, 0).await?;
    let refused = w.eaves(&["hot", "promote", tenant, "serial"], "").await?;
    ensure!(!refused.status.success() && said(&refused).contains("pinned"), "{}", said(&refused));
    host.stop(Duration::from_secs(2)).await;
    Ok(())
}

pub(crate) async fn a_plugin_that_fails_costs_its_own_tenant_only(w: &World) -> Result<()> {
    let (trapping, endless, calm) = ("trapping", "endless", "calm");
    for tenant in [trapping, endless, calm] {
        prepare(w, tenant).await?;
    }
    w.activate(trapping, "promoter", "1.0.0", r#"{"fails": "trap"}"#).await?;
    w.activate(endless, "promoter", "1.0.0", r#"{"fails": "loop"}"#).await?;
    let host = deciding(w).await?;
    for tenant in [trapping, trapping, endless] {
        run_with(&host, tenant, 0, 1).await?;
    }
    // The same instance, for somebody else, right after.
    run(&host, calm, 1).await?;
    for (tenant, failures) in [(trapping, 2), (endless, 1)] {
        let told = decisions(w, tenant).await?;
        let all = told["decisions"].as_array().context("decisions")?;
        // Told once, and nothing was decided in its place.
        ensure!(all.len() == 1 && all[0]["change"] == "none" && all[0]["attribute"].is_null(), "{told}");
        ensure!(all[0]["code"] == "plugin_failed" && all[0]["plugin"]["name"] == "promoter", "{told}");
        ensure!(told["last_run"]["failures"] == failures, "{told}");
        ensure!(told["last_run"]["failure"].as_str().is_some_and(|why| !why.is_empty()), "{told}");
        let shown = w.get(tenant, "/v1/attributes/serial?consistency=strong").await?;
        let shown = &shown.json["attribute"];
        ensure!(shown["hot"] == false && shown["filling"] == false, "{shown}");
    }
    host.stop(Duration::from_secs(2)).await;
    Ok(())
}
