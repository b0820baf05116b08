//! Backtests that are disturbed, bounded, or need what was before.

use crate::plugin_life::{MOODY, PROMOTER, level, put_in_force, refused, send_until, sent_until, upload};
use crate::world::{Answer, World, at, said};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// Values of the history that the scenarios test on, a minute apart.
const VALUES: i64 = 40;

/// A tenant with a plugin and a history: half of it is over 19.5.
async fn tenant_with_history(w: &World, tenant: &str) -> Result<()> {
    w.execute(&format!("select tenant_create('{tenant}', false, 64)")).await?;
    for n in 0..VALUES {
        w.put(tenant, "tank-1", level(tenant, "tank-1", n * 60, n as f64)).await?;
    }
    w.history(tenant, "tank-1", "level", VALUES as usize).await?;
    upload(w, tenant, MOODY, "limits", "1.0.0").await.map(drop)
}

/// Asks for a backtest of what [`tenant_with_history`] has.
async fn ask(w: &World, tenant: &str, rate: u32) -> Result<String> {
    let body = json!({
        "version": "1.0.0", "settings": {"max": 19.5}, "from": at(-60), "to": at(3600), "max_values_per_s": rate,
    });
    asked(w, tenant, "limits", body).await
}

async fn asked(w: &World, tenant: &str, plugin: &str, body: Value) -> Result<String> {
    let answer = w.admin(tenant, "POST", &format!("/v1/plugins/{plugin}/backtest"), body).await?;
    ensure!(answer.status == 202, "{} {}", answer.status, answer.text);
    Ok(answer.json["id"].as_str().context("id")?.to_owned())
}

async fn job(w: &World, tenant: &str, plugin: &str, id: &str) -> Result<Value> {
    let path = format!("/v1/plugins/{plugin}/backtest/{id}");
    Ok(w.admin(tenant, "GET", &path, Value::Null).await?.json)
}

/// The backtest, once it is done.
async fn done(w: &World, tenant: &str, plugin: &str, id: &str) -> Result<Value> {
    w.until(90, "the backtest to be done", || async {
        let job = job(w, tenant, plugin, id).await?;
        ensure!(job["state"] != "failed" && job["state"] != "cancelled", "{job}");
        Ok(job["state"] == "done")
    })
    .await?;
    job(w, tenant, plugin, id).await
}

/// Waits until it is in the middle.
async fn under_way(w: &World, tenant: &str, id: &str) -> Result<()> {
    w.until(60, "the backtest to be under way", || async {
        let job = job(w, tenant, "limits", id).await?;
        let values = job["report"]["history"]["values"].as_i64().unwrap_or_default();
        ensure!(values < VALUES, "it was through before it could be disturbed: {job}");
        Ok(job["state"] == "running" && values > 0)
    })
    .await
}

/// It is cancelled while it runs: it says so, keeps what it had, and does nothing more.
pub(crate) async fn a_cancelled_one_stops(w: &World) -> Result<()> {
    let t = "backtest-cancelled";
    tenant_with_history(w, t).await?;
    let id = ask(w, t, 1).await?;
    under_way(w, t, &id).await?;
    let path = format!("/v1/plugins/limits/backtest/{id}/cancel");
    let cancelled = w.admin(t, "POST", &path, Value::Null).await?;
    ensure!(cancelled.json["state"] == "cancelled", "{} {}", cancelled.status, cancelled.text);
    // Its worker writes that, too, and no more than it had: a whole other one runs meanwhile.
    let whole = ask(w, t, 250_000).await?;
    let whole = done(w, t, "limits", &whole).await?;
    ensure!(whole["report"]["history"]["values"] == VALUES, "{whole}");
    let part = job(w, t, "limits", &id).await?;
    let values = part["report"]["history"]["values"].as_i64().context("values")?;
    ensure!(part["state"] == "cancelled" && values < VALUES, "{part}");
    ensure!(part["progress"].as_f64() < Some(1.0), "{part}");
    // Cancelling what is over changes nothing.
    let id = whole["id"].as_str().context("id")?;
    let late = w.admin(t, "POST", &format!("/v1/plugins/limits/backtest/{id}/cancel"), Value::Null).await?;
    ensure!(late.json["state"] == "done", "{} {}", late.status, late.text);
    Ok(())
}

/// Two administrators and a third one ask at once, each of another plugin: two backtests run, and the third is
/// told what to wait for. Who asks, and who cancels, is in the trail.
pub(crate) async fn a_tenant_has_two_at_once_over_all_its_plugins(w: &World) -> Result<()> {
    let (t, other) = ("backtest-many", "backtest-few");
    tenant_with_history(w, t).await?;
    for plugin in ["more", "most"] {
        upload(w, t, MOODY, plugin, "1.0.0").await?;
    }
    let body =
        json!({"version": "1.0.0", "from": at(-60), "to": at(3600), "max_values_per_s": 1, "why": "why not"});
    let ask = async |plugin: &'static str| -> Result<(&'static str, Answer)> {
        let path = format!("/v1/plugins/{plugin}/backtest");
        Ok((plugin, w.admin(t, "POST", &path, body.clone()).await?))
    };
    let (a, b, c) = tokio::join!(ask("limits"), ask("more"), ask("most"));
    let (taken, refused): (Vec<_>, Vec<_>) = [a?, b?, c?].into_iter().partition(|(_, a)| a.status == 202);
    ensure!(taken.len() == 2, "{:?}", refused.iter().map(|(_, a)| &a.text).collect::<Vec<_>>());
    let (waiting, told) = refused.first().context("a third one")?;
    ensure!(told.status == 429 && told.json["type"] == "/docs#too-many-backtests", "{}", told.text);
    let detail = told.json["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains("the tenant has 2 backtests under way"), "{detail}");
    let wait: u64 = told.header("retry-after")?.parse()?;
    ensure!((1..=60).contains(&wait), "{wait}");

    // Nobody else waits for that.
    w.execute(&format!("select tenant_create('{other}', false, 64)")).await?;
    upload(w, other, MOODY, "limits", "1.0.0").await?;
    let id = self::ask(w, other, 250_000).await?;
    done(w, other, "limits", &id).await?;

    // When one has stopped, the next one has its place.
    let (plugin, job) = taken.first().context("one that runs")?;
    let id = job.json["id"].as_str().context("id")?;
    let args = ["plugin", "backtest", "--tenant", t, "--name", *plugin, "--cancel", id];
    let cancelled = w.eaves(&[&args[..], &["--why", "the wrong one"]].concat(), "").await?;
    ensure!(cancelled.status.success(), "{}", said(&cancelled));
    let next = std::sync::Mutex::new(None);
    w.until(30, "the place of the cancelled one", || async {
        let (_, answer) = ask(*waiting).await?;
        ensure!(matches!(answer.status, 202 | 429), "{} {}", answer.status, answer.text);
        let good = answer.status == 202;
        *next.lock().map_err(|_| anyhow::anyhow!("poisoned"))? = good.then_some(answer);
        Ok(good)
    })
    .await?;
    let audit = w.admin(t, "GET", &format!("/v1/plugins/{plugin}/audit"), Value::Null).await?.json;
    for (n, action, why) in [(0, "backtest_cancel", "the wrong one"), (1, "backtest", "why not")] {
        let entry = &audit["entries"][n];
        ensure!(entry["action"] == action && entry["why"] == why && entry["by"] != "", "{audit}");
        ensure!(entry["version"] == "1.0.0" && entry["digest"] == audit["entries"][2]["digest"], "{audit}");
    }

    let next = next.into_inner().ok().flatten().context("the next one")?;
    for (plugin, answer) in [(*waiting, &next), (taken[1].0, &taken[1].1)] {
        let id = answer.json["id"].as_str().context("id")?;
        let path = format!("/v1/plugins/{plugin}/backtest/{id}/cancel");
        let wrong = w.admin(t, "POST", &path, json!({"reason": "unknown field"})).await?;
        ensure!(wrong.status == 400 && wrong.json["field"] == "reason", "{} {}", wrong.status, wrong.text);
        let cancelled = w.admin(t, "POST", &path, Value::Null).await?;
        ensure!(cancelled.json["state"] == "cancelled", "{} {}", cancelled.status, cancelled.text);
    }
    Ok(())
}

/// A backtest takes no more values a second than it was told, whatever the machine could do.
pub(crate) async fn the_rate_is_kept(w: &World) -> Result<()> {
    let t = "backtest-bounded";
    tenant_with_history(w, t).await?;
    let id = ask(w, t, 20).await?;
    let job = done(w, t, "limits", &id).await?;
    let report = &job["report"];
    ensure!(report["history"]["values"] == VALUES, "{job}");
    // By the worker's own clock: a slow machine makes both smaller.
    ensure!(report["took_ms"].as_i64() >= Some(VALUES * 1000 / 20), "{job}");
    ensure!(report["values_per_s"].as_f64() <= Some(20.0), "{job}");
    for rate in [0, 10_000_001] {
        let body = json!({"version": "1.0.0", "max_values_per_s": rate});
        let answer = w.admin(t, "POST", "/v1/plugins/limits/backtest", body).await?;
        ensure!(answer.status == 400 && answer.json["field"] == "max_values_per_s", "{}", answer.text);
    }
    Ok(())
}

/// The worker is killed in the middle: another goes on where it was, and what comes out is
/// what an undisturbed one says.
pub(crate) async fn a_killed_worker_is_replaced_and_the_figures_are_the_same(w: &World) -> Result<()> {
    let t = "backtest-killed";
    tenant_with_history(w, t).await?;
    let undisturbed = ask(w, t, 250_000).await?;
    let undisturbed = done(w, t, "limits", &undisturbed).await?;
    let id = ask(w, t, 4).await?;
    under_way(w, t, &id).await?;
    let restarts = w.platform.plugin_admin().restarts();
    // Which of the instances has it is the platform's affair.
    for pid in w.platform.plugin_admin().pids() {
        let killed = tokio::process::Command::new("kill").args(["-9", &pid.to_string()]).status().await?;
        ensure!(killed.success(), "kill -9 {pid}");
    }
    w.until(30, "the instances to be started again", || async {
        Ok(w.platform.plugin_admin().restarts() > restarts)
    })
    .await?;
    let resumed = done(w, t, "limits", &id).await?;
    ensure!(resumed["progress"] == 1.0, "{resumed}");
    for part in ["history", "quarantine", "untried", "attributes", "top_reasons"] {
        let (a, b) = (&undisturbed["report"][part], &resumed["report"][part]);
        ensure!(a == b, "{part} undisturbed: {a}, and after a killed worker: {b}");
    }
    ensure!(resumed["report"]["history"]["changed"] == json!({"accepted>rejected": 20}), "{resumed}");
    Ok(())
}

/// A rule that asks for previous values is given what history has before each value, also
/// what was before the backtest's time, and before what is in quarantine.
pub(crate) async fn previous_values_come_from_history(w: &World) -> Result<()> {
    let t = "backtest-before";
    w.execute(&format!("select tenant_create('{t}', false, 64)")).await?;
    for (second, value) in [(0, 10.0), (1800, 5.0), (3000, 1000.0)] {
        w.put(t, "meter", level(t, "meter", second, value)).await?;
    }
    w.history(t, "meter", "level", 3).await?;
    upload(w, t, PROMOTER, "grows", "1.0.0").await?;
    let settings = json!({"growing": ["level"]});
    let body = json!({"version": "1.0.0", "settings": settings, "from": at(600), "to": at(3600)});
    let id = asked(w, t, "grows", body).await?;
    let job = done(w, t, "grows", &id).await?;
    // 5 falls from 10, which is older than what is looked at.
    ensure!(
        job["report"]["history"]["candidate"] == json!({"accepted": 1, "derived": 1, "rejected:falls": 1}),
        "{job}"
    );

    // What is refused falls, too: the value before it is in history.
    upload(w, t, MOODY, "limits", "1.0.0").await?;
    put_in_force(w, t, "limits@1.0.0", "activate", json!({"settings": {"max": 100}})).await?;
    send_until(w, t, "new", 101.0, async |entity| refused(w, t, &entity, "above_max").await).await?;
    w.put(t, "meter", level(t, "meter", 3100, 500.0)).await?;
    w.until(20, "the refusal", || refused(w, t, "meter", "above_max")).await?;
    let body = json!({"version": "1.0.0", "settings": settings, "from": at(600)});
    let id = asked(w, t, "grows", body).await?;
    let job = done(w, t, "grows", &id).await?;
    let quarantine = &job["report"]["quarantine"]["candidate"];
    ensure!(quarantine["rejected:falls"] == 1, "{job}");
    Ok(())
}

/// Of a reading whose value was refused the rest is in history: a rule on whole readings, for a type of
/// entity, says in a backtest of either what it said live, and a stricter one what it would have said.
pub(crate) async fn a_reading_refused_in_part_is_judged_whole(w: &World) -> Result<()> {
    let t = "backtest-whole";
    w.execute(&format!("select tenant_create('{t}', false, 64)")).await?;
    let upload = ["plugin", "upload", "--tenant", t, "--standard", "--name", "rules", "--version", "1.0.0"];
    let uploaded = w.eaves(&upload, "").await?;
    ensure!(uploaded.status.success(), "{}", said(&uploaded));
    let rules =
        |required: &[&str]| json!({"attributes": {"level": {"max": 100}}, "required": {"pump": required}});
    let live = rules(&["level", "flow"]);
    put_in_force(w, t, "rules@1.0.0", "activate", json!({"settings": live})).await?;
    let reading = |entity: &str, second: i64, level: f64| {
        let at = at(second);
        format!(
            r#"{{"tenant":"{t}","entity":"{entity}","type":"pump","observed_at":"{at}","values":{{"level":{level:?},"flow":2.5}}}}"#
        )
    };
    let high = async |entity: String| refused(w, t, &entity, "above_range").await;
    sent_until(w, "early", |entity, n| reading(entity, n, 500.0), high).await?;
    // Of these four `level` is refused twice, and all else is taken.
    for (second, level) in [(2000, 500.0), (2001, 50.0), (2002, 501.0), (2003, 51.0)] {
        w.put(t, "pump-1", reading("pump-1", second, level)).await?;
    }
    w.history(t, "pump-1", "flow", 4).await?;
    let staged = format!(
        "select count(*) from entity_values_ingest i join tenants t using (tenant_id) where t.name = '{t}'"
    );
    w.until(20, "all to be in history", || async { Ok(w.count(&staged).await? == 0) }).await?;

    // The quarantine of that time is all there is: it was put aside just now.
    let backtest = async |settings: Value| {
        let body = json!({"version": "1.0.0", "settings": settings, "from": at(2000)});
        let id = asked(w, t, "rules", body).await?;
        Ok::<_, anyhow::Error>(done(w, t, "rules", &id).await?["report"].clone())
    };
    let report = backtest(live).await?;
    let history = &report["history"];
    ensure!(history["values"] == 6 && history["candidate"] == json!({"accepted": 6}), "{report}");
    ensure!(history["active"] == history["candidate"] && history["changed"] == json!({}), "{report}");
    ensure!(report["more_refused"] == false, "{report}");
    let refused =
        report["quarantine"]["values"].as_u64().filter(|n| *n >= 8).context("all that was refused")?;
    let all = json!({ "rejected:above_range": refused });
    ensure!(report["quarantine"]["candidate"] == all && report["quarantine"]["active"] == all, "{report}");

    // One with a wider bound takes what was refused, since the rest of the reading is there.
    let mut wider = rules(&["level", "flow"]);
    wider["attributes"]["level"]["max"] = json!(1000);
    let report = backtest(wider).await?;
    ensure!(report["quarantine"]["candidate"] == json!({ "accepted": refused }), "{report}");
    ensure!(report["attributes"]["level"]["taken"] == refused, "{report}");

    // One that wants more refuses all of it.
    let report = backtest(rules(&["level", "pressure"])).await?;
    ensure!(report["history"]["candidate"] == json!({"rejected:missing_attribute": 6}), "{report}");
    ensure!(
        report["quarantine"]["candidate"] == json!({ "rejected:missing_attribute": refused }),
        "{report}"
    );
    Ok(())
}
