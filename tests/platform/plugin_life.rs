//! The life of a plugin version, through the real functions.

use crate::world::{World, at, said};
use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use serde_json::{Value, json};

/// The tests' plugin: rejects what is over `max`, crashes on entities named in `trap`.
pub(crate) const MOODY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins/moody.wasm");
pub(crate) const PROMOTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins/promoter.wasm");

/// A reading `second` seconds into the run's hour.
pub(crate) fn level(tenant: &str, entity: &str, second: i64, level: f64) -> String {
    let at = at(second);
    format!(
        r#"{{"tenant":"{tenant}","entity":"{entity}","observed_at":"{at}","values":{{"level":{level:?}}}}}"#
    )
}

pub(crate) async fn upload(w: &World, tenant: &str, file: &str, name: &str, version: &str) -> Result<Value> {
    let wasm = base64::engine::general_purpose::STANDARD.encode(std::fs::read(file)?);
    let body = json!({"name": name, "version": version, "wasm_base64": wasm, "why": "the test"});
    let answer = w.admin(tenant, "POST", "/v1/plugins", body).await?;
    ensure!(answer.status == 201, "{} {}", answer.status, answer.text);
    Ok(answer.json)
}

pub(crate) async fn put_in_force(
    w: &World,
    tenant: &str,
    version: &str,
    how: &str,
    body: Value,
) -> Result<Value> {
    let path = format!("/v1/plugins/{version}/{how}").replace('@', "/versions/");
    let answer = w.admin(tenant, "POST", &path, body).await?;
    ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text);
    Ok(answer.json)
}

/// Sends readings of new entities until `met` says so of six in a row: what is in force changes
/// in every instance by itself, a moment after the change, and six keys reach all shards.
pub(crate) async fn send_until<F>(
    w: &World,
    tenant: &str,
    prefix: &str,
    value: f64,
    met: impl FnMut(String) -> F,
) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    sent_until(w, prefix, |entity, n| level(tenant, entity, n, value), met).await
}

/// The same with readings that `reading` makes, of an entity and a second.
pub(crate) async fn sent_until<F>(
    w: &World,
    prefix: &str,
    reading: impl Fn(&str, i64) -> String,
    mut met: impl FnMut(String) -> F,
) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    let mut row = 0;
    for n in 1..400 {
        let entity = format!("{prefix}-{n}");
        // In company: a version that fails on whole batches is soon not asked any more.
        let records = [entity.clone(), format!("calm-{entity}")];
        let records = records.map(|e| (entity.clone(), reading(&e, n).into_bytes()));
        w.put_many(records.into()).await?;
        let mut good = false;
        for _ in 0..8 {
            tokio::time::sleep(std::time::Duration::from_millis(40)).await;
            good = met(entity.clone()).await?;
            if good {
                break;
            }
        }
        row = if good { row + 1 } else { 0 };
        if row == 6 {
            return Ok(());
        }
    }
    bail!("it did not come about; logs:\n{}", w.logs())
}

/// Whether a value of the entity was rejected for this reason.
pub(crate) async fn refused(w: &World, tenant: &str, entity: &str, reason: &str) -> Result<bool> {
    let query = format!(
        "select count(*) from quarantine q join tenants t using (tenant_id) where t.name = '{tenant}'
         and reason = '{reason}' and encode(payload, 'escape') like '%\"{entity}\"%'"
    );
    Ok(w.count(&query).await? > 0)
}

/// How the entity's value of `level` was let through: the version's label, and whether it judged.
pub(crate) async fn let_through(w: &World, tenant: &str, entity: &str) -> Result<Option<(String, bool)>> {
    let query = format!(
        "select max(p.version || case when p.validated then '' else '!' end || '/' || p.settings_digest)
         from entity_values_ts v join tenants t using (tenant_id)
         join entities e on e.entity_id = v.entity_id and e.tenant_id = v.tenant_id
         join plugin_versions p using (plugin_id)
         where t.name = '{tenant}' and e.external_id = '{entity}'"
    );
    let found = w.text(&query).await?;
    Ok(found.map(|text| {
        let version = text.split('/').next().unwrap_or_default();
        (version.trim_end_matches('!').to_owned(), !version.ends_with('!'))
    }))
}

/// Two seconds after an activation or a rollback was answered every value is judged by what is in force then,
/// whichever instance reads it: what is sent after that is refused or let through without an exception.
pub(crate) async fn a_change_holds_everywhere_after_two_seconds(w: &World) -> Result<()> {
    /// Enough keys to reach every shard several times.
    const ENTITIES: usize = 24;
    let t = "punctual";
    w.execute(&format!("select tenant_create('{t}', false, 64)")).await?;
    upload(w, t, MOODY, "limits", "1.0.0").await?;
    upload(w, t, MOODY, "limits", "1.1.0").await?;
    // Every instance has judged for the tenant before: what is remembered has to go, not only to be fetched.
    let strict = json!({"settings": {"max": 19.5}});
    put_in_force(w, t, "limits@1.0.0", "activate", strict).await?;
    send_until(w, t, "known", 50.0, async |entity| refused(w, t, &entity, "above_max").await).await?;
    let changes = [
        ("limits@1.1.0", "activate", json!({"settings": {"max": 100}}), true),
        ("limits", "rollback", json!({}), false),
        ("limits@1.1.0", "activate", json!({"settings": {"max": 50}}), true),
    ];
    for (round, (version, how, body, is_taken)) in changes.into_iter().enumerate() {
        put_in_force(w, t, version, how, body).await?;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let entities: Vec<String> = (0..ENTITIES).map(|n| format!("r{round}-{n}")).collect();
        let records = entities.iter().map(|e| (e.clone(), level(t, e, 1, 50.0).into_bytes()));
        w.put_many(records.collect()).await?;
        let taken = format!(
            "select count(*) from entity_values_ts v join tenants t using (tenant_id)
             join entities e on e.entity_id = v.entity_id and e.tenant_id = v.tenant_id
             where t.name = '{t}' and e.external_id like 'r{round}-%'"
        );
        let put_aside = format!(
            "select count(*) from quarantine q join tenants t using (tenant_id) where t.name = '{t}'
             and reason = 'above_max' and encode(payload, 'escape') like '%\"r{round}-%'"
        );
        let decided = async || Ok::<_, anyhow::Error>((w.count(&taken).await?, w.count(&put_aside).await?));
        w.until(30, "all to be decided", || async {
            let (taken, put_aside) = decided().await?;
            Ok(taken + put_aside >= ENTITIES as i64)
        })
        .await?;
        let expected = if is_taken { (ENTITIES as i64, 0) } else { (0, ENTITIES as i64) };
        let found = decided().await?;
        ensure!(found == expected, "{version} {how}: {found:?} taken and refused, not {expected:?}");
    }
    Ok(())
}

/// Uploaded, checked, backtested on stored history, in shadow beside live values, active,
/// superseded, rolled back; two administrators at once; and what the trail says of it.
pub(crate) async fn from_upload_to_rollback(w: &World) -> Result<()> {
    let t = "lively";
    for n in 0..40 {
        w.put(t, "tank-1", level(t, "tank-1", n, n as f64)).await?;
    }
    w.history(t, "tank-1", "level", 40).await?;

    let version = upload(w, t, MOODY, "limits", "1.0.0").await?;
    ensure!(version["state"] == "checked", "{version}");
    let rubbish = json!({"name": "limits", "version": "0.9.0", "wasm_base64": "AGFzbQ0AAQA="});
    let answer = w.admin(t, "POST", "/v1/plugins", rubbish).await?;
    ensure!(answer.status == 422 && answer.json["field"] == "wasm", "{} {}", answer.status, answer.text);
    let wrong = json!({"settings": {"maximum": 3}});
    let answer = w.admin(t, "POST", "/v1/plugins/limits/versions/1.0.0/activate", wrong).await?;
    ensure!(answer.status == 422, "{} {}", answer.status, answer.text);

    // On the history there is: half of it would be rejected.
    let args = ["plugin", "backtest", "--tenant", t, "--name", "limits", "--version", "1.0.0"];
    let args: Vec<&str> = args
        .into_iter()
        .chain(["--since", "3h", "--settings", r#"{"max":19.5}"#, "--why", "ticket 3", "--json"])
        .collect();
    let done = w.eaves(&args, "").await?;
    ensure!(done.status.success(), "{}", said(&done));
    let job: Value = serde_json::from_slice(&done.stdout)?;
    let report = &job["report"];
    ensure!(job["state"] == "done" && report["history"]["values"] == 40, "{job}");
    ensure!(report["history"]["changed"] == json!({"accepted>rejected": 20}), "{job}");
    ensure!(report["top_reasons"][0]["code"] == "above_max", "{job}");
    ensure!(
        report["attributes"]["level"]
            == json!({"hot": true, "rejected": 20, "taken": 0, "replaced": 0, "derived": 0}),
        "{job}"
    );
    ensure!(report["limits"]["passed"] == true, "{job}");
    ensure!(report["candidate"]["memory_peak"].as_u64() > Some(0), "{job}");

    // Beside live values: told, without effect.
    put_in_force(w, t, "limits@1.0.0", "shadow", json!({"settings": {"max": 19.5}})).await?;
    send_until(w, t, "shadowed", 50.0, async |_| {
        let metrics = w.admin(t, "GET", "/v1/plugins/limits/metrics", Value::Null).await?;
        let all = metrics.json["versions"].as_array().context("versions")?.clone();
        Ok(all.iter().any(|v| v["role"] == "shadow" && v["changes"]["accepted>rejected"].as_u64() > Some(0)))
    })
    .await?;
    w.entity(t, "shadowed-1", "level").await?;

    // It decides.
    let standing = put_in_force(w, t, "limits@1.0.0", "activate", json!({"why": "backtest is fine"})).await?;
    ensure!(standing["active"]["settings"] == json!({"max": 19.5}), "{standing}");
    ensure!(standing["shadow"].is_null(), "{standing}");
    send_until(w, t, "active", 50.0, async |entity| refused(w, t, &entity, "above_max").await).await?;

    // What it cost and said, a moment later.
    w.until(20, "the active version's figures", || async {
        let metrics = w.admin(t, "GET", "/v1/plugins/limits/metrics", Value::Null).await?;
        let all = metrics.json["versions"].as_array().context("versions")?.clone();
        let Some(of) = all.iter().find(|v| v["role"] == "active") else { return Ok(false) };
        let figure = |name: &str| of[name].as_f64().with_context(|| format!("{name}: {of}"));
        let (p50, p95, p99) = (figure("p50_us")?, figure("p95_us")?, figure("p99_us")?);
        ensure!(0.0 < p50 && p50 <= p95 && p95 <= p99 && p99.is_finite(), "{of}");
        ensure!(figure("memory_peak")? >= 65_536.0, "a page of memory at least: {of}");
        let values = figure("values")?;
        ensure!(figure("calls")? >= 1.0 && of["failures"] == json!({}), "{of}");
        Ok(values >= 6.0 && of["verdicts"] == json!({ "rejected:above_max": values as u64 }))
    })
    .await?;

    // Wider settings; a second administrator who has not seen them is told.
    upload(w, t, MOODY, "limits", "1.1.0").await?;
    put_in_force(w, t, "limits@1.1.0", "activate", json!({"settings": {"max": 100}})).await?;
    let late = json!({"settings": {"max": 1}, "expected_revision": standing["revision"]});
    let answer = w.admin(t, "POST", "/v1/plugins/limits/versions/1.0.0/activate", late).await?;
    ensure!(answer.status == 409, "{} {}", answer.status, answer.text);
    send_until(w, t, "wider", 50.0, async |entity| {
        Ok(let_through(w, t, &entity).await?.is_some_and(|(version, _)| version == "1.1.0"))
    })
    .await?;

    let back = put_in_force(w, t, "limits", "rollback", json!({"why": "too wide"})).await?;
    ensure!(back["active"]["version"] == "1.0.0" && back["active"]["settings"]["max"] == 19.5, "{back}");
    send_until(w, t, "back", 50.0, async |entity| refused(w, t, &entity, "above_max").await).await?;
    let answer = w.admin(t, "POST", "/v1/plugins/limits/rollback", json!({})).await?;
    ensure!(answer.status == 409, "there is nothing before the first one: {}", answer.text);

    let versions = w.admin(t, "GET", "/v1/plugins/limits/versions", Value::Null).await?;
    let states: Vec<String> = versions.json["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|v| format!("{} {}", v["version"].as_str().unwrap_or(""), v["state"].as_str().unwrap_or("")))
        .collect();
    ensure!(states == ["1.1.0 rolled_back", "0.9.0 refused", "1.0.0 active"], "{states:?}");
    let audit = w.eaves(&["plugin", "audit", "--tenant", t, "--name", "limits", "--json"], "").await?;
    let audit: Value = serde_json::from_slice(&audit.stdout)?;
    let trail: Vec<&str> = audit["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .rev()
        .filter_map(|e| e["action"].as_str())
        .collect();
    let expected = [
        "upload", "check", "upload", "refuse", "backtest", "shadow", "activate", "upload", "check",
        "activate", "rollback",
    ];
    ensure!(trail == expected, "{audit}");
    let asked = &audit["entries"][expected.len() - 5];
    ensure!(asked["why"] == "ticket 3" && asked["version"] == "1.0.0" && asked["by"] != "", "{asked}");
    ensure!(asked["digest"] == version["digest"] && asked["settings_digest"] != "", "{asked}");
    ensure!(audit["entries"][0]["why"] == "too wide", "{audit}");

    // Nobody else's business.
    let foreign = w.admin("globex", "GET", "/v1/plugins/limits/versions", Value::Null).await?;
    ensure!(foreign.status == 404, "{} {}", foreign.status, foreign.text);
    let scope = w.post(t, "/v1/plugins/limits/rollback", json!({})).await?;
    ensure!(scope.status == 403, "{} {}", scope.status, scope.text);
    Ok(())
}

/// Plugins of the same name and version of two tenants: each decides for its own.
pub(crate) async fn two_tenants_have_plugins_of_one_name(w: &World) -> Result<()> {
    for (tenant, max) in [("same-a", 10), ("same-b", 1000)] {
        upload(w, tenant, MOODY, "limits", "1.0.0").await?;
        put_in_force(w, tenant, "limits@1.0.0", "activate", json!({"settings": {"max": max}})).await?;
    }
    send_until(w, "same-a", "x", 50.0, async |entity| refused(w, "same-a", &entity, "above_max").await)
        .await?;
    w.put("same-b", "x-1", level("same-b", "x-1", 1, 50.0)).await?;
    w.entity("same-b", "x-1", "level").await?;
    ensure!(!refused(w, "same-b", "x-1", "above_max").await?, "the other tenant's settings were used");
    Ok(())
}

/// A poisoned reading first, in the middle and last of a batch: only it is put aside, and the
/// shard goes on. By the tenant's policy it is taken with a mark, or rejected.
pub(crate) async fn a_poisoned_reading_is_treated_by_policy(w: &World) -> Result<()> {
    let t = "poisoned";
    upload(w, t, MOODY, "limits", "1.0.0").await?;
    for (policy, round) in [("quarantine", "q"), ("accept", "a"), ("reject", "r")] {
        let body = json!({"settings": {"trap": "poison"}, "on_failure": policy});
        let standing = put_in_force(w, t, "limits@1.0.0", "activate", body).await?;
        ensure!(standing["active"]["on_failure"] == policy, "{standing}");
        // Until the policy is known everywhere.
        let mark = w.quarantine_mark().await?;
        send_until(w, t, &format!("poison-{round}"), 1.0, async |entity| match policy {
            "accept" => Ok(let_through(w, t, &entity).await?.is_some_and(|(_, validated)| !validated)),
            policy => {
                let kind = if policy == "reject" { "value" } else { "record" };
                let query = format!(
                    "select count(*) from quarantine where quarantine_id > {mark} and kind = '{kind}'
                     and reason = 'plugin_failed' and encode(payload, 'escape') like '%\"{entity}\"%'"
                );
                Ok(w.count(&query).await? > 0)
            }
        })
        .await?;
        for place in [0usize, 4, 9] {
            let name = |n: usize| {
                if n == place { format!("poison-{round}{place}") } else { format!("good-{round}{place}-{n}") }
            };
            // One key: one shard, one batch.
            let records = (0..10).map(|n| ("poisoned/k".to_owned(), level(t, &name(n), 1, 1.0).into_bytes()));
            w.put_many(records.collect()).await?;
            for n in (0..10).filter(|n| *n != place) {
                w.entity(t, &name(n), "level").await?;
            }
            let taken = w
                .count(&format!(
                    "select count(*) from entity_jsonb h join entities e using (tenant_id, entity_id)
                 where e.external_id = '{}'",
                    name(place)
                ))
                .await?;
            ensure!((taken == 1) == (policy == "accept"), "{policy}, place {place}: {taken}");
            if policy != "accept" {
                ensure!(refused(w, t, &name(place), "plugin_failed").await?, "{policy}, place {place}");
            }
        }
    }
    let marked = "select coalesce(sum(count), 0)::int8 from (select * from ingest_ledger union all
        select minute, tenant_id, stream, shard, outcome, reason, count from staging_ledger) l
        join tenants t using (tenant_id) where t.name = 'poisoned' and outcome = 'accepted' and reason = 'unvalidated'";
    ensure!(w.count(marked).await? >= 3, "the ledger does not say what was taken unvalidated");
    Ok(())
}

/// A version that fails on everything: its breaker opens, the last good version decides, and
/// the tenant can see it.
pub(crate) async fn a_failing_version_gives_way_to_the_last_good_one(w: &World) -> Result<()> {
    let t = "breaking";
    upload(w, t, MOODY, "limits", "1.0.0").await?;
    put_in_force(w, t, "limits@1.0.0", "activate", json!({"settings": {}})).await?;
    upload(w, t, MOODY, "limits", "2.0.0").await?;
    // Every name begins with nothing.
    put_in_force(w, t, "limits@2.0.0", "activate", json!({"settings": {"trap": ""}})).await?;
    send_until(w, t, "until-open", 1.0, async |_| {
        let events = w.admin(t, "GET", "/v1/plugins/limits/events", Value::Null).await?;
        let all = events.json["events"].as_array().context("events")?.clone();
        Ok(all.iter().any(|e| e["kind"] == "breaker_opened" && e["version"] == "2.0.0"))
    })
    .await?;
    // Of each instance: which one gets it is the stream's affair.
    send_until(w, t, "after", 1.0, async |entity| {
        Ok(let_through(w, t, &entity)
            .await?
            .is_some_and(|(version, validated)| version == "1.0.0" && validated))
    })
    .await?;
    w.until(20, "the figures of both", || async {
        let metrics = w.admin(t, "GET", "/v1/plugins/limits/metrics", Value::Null).await?;
        let all = metrics.json["versions"].as_array().context("versions")?.clone();
        let has = |role: &str, version: &str| {
            all.iter().any(|v| v["role"] == role && v["version"] == version && v["calls"].as_u64() > Some(0))
        };
        let trapped =
            all.iter().any(|v| v["role"] == "active" && v["failures"]["trapped"].as_u64() > Some(0));
        Ok(has("active", "2.0.0") && has("fallback", "1.0.0") && trapped)
    })
    .await?;
    // Its administrator wants signatures: what has none does not decide by this way either.
    let publishers = json!({"ci": "0".repeat(64)});
    let strict = json!({"require_signature": true, "publishers": publishers, "expected_revision": 0});
    let set = w.admin(t, "PUT", "/v1/plugin-policy", strict).await?;
    ensure!(set.status == 200, "{} {}", set.status, set.text);
    send_until(w, t, "strict", 1.0, async |entity| refused(w, t, &entity, "plugin_failed").await).await
}

/// A plugin that asks for it sees the value before this one, from the hot projection.
pub(crate) async fn a_previous_value_is_seen(w: &World) -> Result<()> {
    let t = "growing";
    upload(w, t, PROMOTER, "grows", "1.0.0").await?;
    put_in_force(w, t, "grows@1.0.0", "activate", json!({"settings": {"growing": ["level"]}})).await?;
    // Each entity's second reading falls.
    let mut n = 0;
    w.until(60, "a falling value to be rejected", || {
        n += 1;
        async move {
            let entity = format!("meter-{n}");
            w.put(t, &entity, level(t, &entity, 1, 10.0)).await?;
            w.entity(t, &entity, "level").await?;
            w.put(t, &entity, level(t, &entity, 2, 5.0)).await?;
            w.put(t, &entity, level(t, &entity, 3, 12.0)).await?;
            w.until(20, "the third value", || async {
                let e = w.entity(t, &entity, "level").await?;
                Ok(e.json["attributes"]["level"]["value"] == 12.0)
            })
            .await?;
            refused(w, t, &entity, "falls").await
        }
    })
    .await
}

/// A plugin that never comes to an end: its tenant's readings are put aside, everybody else's
/// in the same records come through.
pub(crate) async fn a_plugin_without_end_costs_its_own_tenant_only(w: &World) -> Result<()> {
    let t = "spinning";
    upload(w, t, MOODY, "limits", "1.0.0").await?;
    put_in_force(w, t, "limits@1.0.0", "activate", json!({"settings": {"spin": "s"}})).await?;
    send_until(w, t, "spin", 1.0, async |entity| refused(w, t, &entity, "plugin_failed").await).await?;
    // One key, hence one batch for both.
    let both = |n: usize| {
        let (tenant, entity) =
            if n.is_multiple_of(2) { (t, format!("spun-{n}")) } else { ("globex", format!("calm-{n}")) };
        ("spinning/k".to_owned(), level(tenant, &entity, 1, 1.0).into_bytes())
    };
    w.put_many((0..20).map(both).collect()).await?;
    for n in (1..20).step_by(2) {
        w.entity("globex", &format!("calm-{n}"), "level").await?;
    }
    for n in (0..20).step_by(2) {
        let entity = format!("spun-{n}");
        w.until(20, "the spinning tenant's reading in quarantine", || {
            refused(w, t, &entity, "plugin_failed")
        })
        .await?;
    }
    let metrics = w.admin(t, "GET", "/v1/plugins/limits/metrics", Value::Null).await?;
    ensure!(metrics.json["versions"][0]["failures"]["deadline"].as_u64() > Some(0), "{}", metrics.text);
    Ok(())
}

/// A plugin is upgraded between a batch's first try and its replay: each value is in one place,
/// and what it names is the version that decided about it there. (Case 12 of the faults.)
pub(crate) async fn a_replay_names_the_version_that_decided(w: &World) -> Result<()> {
    let t = "upgraded";
    upload(w, t, MOODY, "limits", "1.0.0").await?;
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins/telemetry-rules.wasm");
    let two = upload(w, t, rules, "limits", "2.0.0").await?;
    put_in_force(w, t, "limits@1.0.0", "activate", json!({"settings": {"max": 100}})).await?;
    send_until(w, t, "one", 1.0, async |entity| {
        Ok(let_through(w, t, &entity).await?.is_some_and(|(version, _)| version == "1.0.0"))
    })
    .await?;
    let held = w.hold_the_flush().await?;
    for (entity, value) in [("low", 5.0), ("high", 50.0)] {
        w.put(t, "same-key", level(t, entity, 1, value)).await?;
        w.entity(t, entity, "level").await?;
    }
    let narrower = json!({"settings": {"attributes": {"level": {"max": 10}}}});
    put_in_force(w, t, "limits@2.0.0", "activate", narrower).await?;
    send_until(w, t, "two", 50.0, async |entity| refused(w, t, &entity, "above_range").await).await?;
    // What is staged is gone, and read again from the stream.
    w.kill_a_backend().await?;
    drop(held);
    w.history(t, "low", "level", 1).await?;
    w.until(30, "the replayed value to be refused", || refused(w, t, "high", "above_range")).await?;
    // The other one is in history with the next flush.
    w.until(30, "the replayed value in history", || async { Ok(let_through(w, t, "low").await?.is_some()) })
        .await?;
    let low = let_through(w, t, "low").await?;
    ensure!(low == Some(("2.0.0".to_owned(), true)), "the replayed value names {low:?}");
    let query = "select count(*) from entity_values_ts v join entities e using (tenant_id, entity_id)
                 join tenants t using (tenant_id) where t.name = 'upgraded' and e.external_id = 'high'";
    ensure!(w.count(query).await? == 0, "the value is in history and in quarantine");
    let digest = w
        .text(
            "select max(plugin_digest) from quarantine q join tenants t using (tenant_id)
        where t.name = 'upgraded' and encode(payload, 'escape') like '%\"high\"%'",
        )
        .await?;
    ensure!(digest.as_deref() == two["digest"].as_str(), "{digest:?} is not {}", two["digest"]);
    Ok(())
}
