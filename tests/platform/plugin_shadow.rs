//! Shadows in the real ingest: hostile ones, and what is compared.

use crate::instance::{Instance, events, figures};
use crate::plugin_life::{MOODY, level, put_in_force, upload};
use crate::world::{World, at};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::time::Instant;

const DEW_POINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins/dew-point.wasm");

/// Tenants, with what their shadows are told.
fn shadows() -> [(&'static str, Value); 3] {
    [
        ("shadow-traps", json!({"trap": ""})),
        ("shadow-spins", json!({"spin": ""})),
        ("shadow-calm", json!({"max": 5})),
    ]
}

/// How many values a tenant has in history that its active version let through, and how many in all.
async fn in_history(w: &World, tenant: &str) -> Result<(i64, i64)> {
    let all = format!(
        "select count(*) from entity_values_ts v join tenants t using (tenant_id)
         left join plugin_versions p using (plugin_id) where t.name = '{tenant}'"
    );
    let judged = w.count(&format!("{all} and p.version = '1.0.0' and p.validated")).await?;
    Ok((judged, w.count(&all).await?))
}

/// A shadow that crashes and one that never comes to an end, beside a good one: live values are taken as if
/// there were none, the good one sees each batch, the failures are counted and told, and after a few
/// batches nobody waits for them any more.
pub(crate) async fn a_hostile_shadow_costs_a_few_batches_and_nobody_else(w: &World) -> Result<()> {
    for (t, settings) in shadows() {
        w.execute(&format!("select tenant_create('{t}', false, 64)")).await?;
        upload(w, t, MOODY, "limits", "1.0.0").await?;
        upload(w, t, MOODY, "limits", "2.0.0").await?;
        put_in_force(w, t, "limits@1.0.0", "activate", json!({"settings": {"max": 100}})).await?;
        put_in_force(w, t, "limits@2.0.0", "shadow", json!({"settings": settings})).await?;
    }
    let (traps, spins, calm) = ("shadow-traps", "shadow-spins", "shadow-calm");
    let mut instance = Instance::start(w, "shardId-000000009994").await?;
    let mut sent: i64 = 0;
    // One value that the good shadow would reject, and one that it would not.
    let mut send = async |instance: &mut Instance| -> Result<i64> {
        sent += 1;
        let two = |(t, _)| [(1.0, "low"), (50.0, "high")].map(|(value, name)| level(t, name, sent, value));
        instance.take(&shadows().into_iter().flat_map(two).collect::<Vec<_>>()).await?;
        Ok(sent)
    };
    let began = loop {
        let began = Instant::now();
        let sent = send(&mut instance).await?;
        let opened = async |t| Ok::<_, anyhow::Error>(!events(w, t, "breaker_opened").await?.is_empty());
        if opened(traps).await? && opened(spins).await? {
            break began;
        }
        ensure!(sent < 12, "hostile shadows are asked again and again; log:\n{}", instance.log()?);
    };
    let before = (figures(w, traps, "shadow", "2.0.0").await?, figures(w, spins, "shadow", "2.0.0").await?);
    for _ in 0..5 {
        send(&mut instance).await?;
    }
    // After a pause each is tried again, once.
    let probes = began.elapsed().as_secs() / 10;
    for (t, before, kind) in [(traps, before.0, "trapped"), (spins, before.1, "deadline")] {
        let after = figures(w, t, "shadow", "2.0.0").await?;
        let number = |figures: &Value, name: &str| figures[name].as_u64().unwrap_or_default();
        // A batch of two readings on which it crashes takes three calls.
        let more = number(&after, "calls") - number(&before, "calls");
        ensure!(more <= 3 * probes, "{t}: batches still pay for it: {before}, then {after}");
        ensure!(number(&after, "skipped") + probes >= number(&before, "skipped") + 5, "{t}: {after}");
        ensure!(number(&after["failures"], kind) >= 5, "{t}: {after}");
        ensure!(number(&after["changes"], "accepted>failed") >= 10, "{t}: {after}");
        let told = events(w, t, "breaker_opened").await?;
        ensure!(told.len() == 1 && told[0].contains("version 2.0.0 keeps failing"), "{told:?}");
        ensure!(told[0].contains("as a shadow it is not asked meanwhile"), "{told:?}");
    }
    let sent = send(&mut instance).await?;
    // The good one has seen all of it.
    let seen = figures(w, calm, "shadow", "2.0.0").await?;
    ensure!(seen["skipped"] == 0 && seen["values"] == 2 * sent, "{sent} batches: {seen}");
    ensure!(seen["changes"] == json!({"accepted>rejected": sent}), "{sent} batches: {seen}");
    ensure!(events(w, calm, "breaker_opened").await?.is_empty(), "{seen}");
    // Live values: all taken, by the active version, each once.
    for (t, _) in shadows() {
        w.until(20, "all values in history", || async { Ok(in_history(w, t).await?.1 >= 2 * sent) }).await?;
        let (judged, all) = in_history(w, t).await?;
        ensure!((judged, all) == (2 * sent, 2 * sent), "{t}: {judged} of {all}, and {} were sent", 2 * sent);
        let refused = format!(
            "select count(*) from quarantine q join tenants t using (tenant_id) where t.name = '{t}'"
        );
        ensure!(w.count(&refused).await? == 0, "{t}: a value was put aside");
        let live = figures(w, t, "active", "1.0.0").await?;
        ensure!(live["verdicts"] == json!({"accepted": 2 * sent}), "{t}: {live}");
        ensure!(live["failures"] == json!({}), "{t}: {live}");
    }
    instance.stop().await
}

/// A candidate that derives another value of the same attribute: backtest and shadow say so, show both, and
/// of one that derives the same they say nothing.
pub(crate) async fn what_is_derived_is_compared(w: &World) -> Result<()> {
    const ROOMS: i64 = 4;
    let t = "shadow-derives";
    w.execute(&format!("select tenant_create('{t}', false, 64)")).await?;
    for version in ["1.0.0", "2.0.0"] {
        upload(w, t, DEW_POINT, "limits", version).await?;
    }
    put_in_force(w, t, "limits@1.0.0", "activate", json!({"settings": {"digits": 2}})).await?;
    put_in_force(w, t, "limits@2.0.0", "shadow", json!({"settings": {"digits": 0}})).await?;
    let mut instance = Instance::start(w, "shardId-000000009993").await?;
    let room = |n: i64| {
        let (at, values) = (at(n), r#"{"temperature":25.0,"relative_humidity":60.0}"#);
        format!(r#"{{"tenant":"{t}","entity":"room-{n}","observed_at":"{at}","values":{values}}}"#)
    };
    instance.take(&(0..ROOMS).map(room).collect::<Vec<_>>()).await?;
    let changed = json!({"accepted>accepted": ROOMS});
    let shown = |example: &Value| -> Result<()> {
        let word = |key: &str| example[key].as_str().unwrap_or_default();
        // By the formula it is 16.69.
        ensure!(word("before").starts_with(r#"derived {"dew_point":16.6"#), "{example}");
        ensure!(word("after") == r#"derived {"dew_point":17.0}"#, "{example}");
        ensure!(word("attribute") == "temperature" && word("value") == "25.0", "{example}");
        Ok(())
    };
    let seen = figures(w, t, "shadow", "2.0.0").await?;
    ensure!(seen["changes"] == changed, "{seen}");
    shown(seen["samples"].get(0).context("no sample")?)?;

    for n in 0..ROOMS {
        w.history(t, &format!("room-{n}"), "dew_point", 1).await?;
    }
    for (digits, expected) in [(0, changed), (2, json!({}))] {
        let settings = json!({"digits": digits}).to_string();
        let args = ["plugin", "backtest", "--tenant", t, "--name", "limits", "--version", "2.0.0"];
        let args: Vec<&str> =
            args.into_iter().chain(["--since", "3h", "--settings", &settings, "--json"]).collect();
        let done = w.eaves(&args, "").await?;
        ensure!(done.status.success(), "{}", crate::world::said(&done));
        let job: Value = serde_json::from_slice(&done.stdout)?;
        let history = &job["report"]["history"];
        ensure!(history["changed"] == expected, "{digits} digits: {job}");
        ensure!(history["candidate"]["derived"] == ROOMS, "{digits} digits: {job}");
        if digits == 0 {
            shown(history["examples"]["accepted>accepted"].get(0).context("no example")?)?;
        }
    }
    instance.stop().await
}
