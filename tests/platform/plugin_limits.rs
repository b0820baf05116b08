//! What a tenant's plugins may cost: set by the operator, kept to wherever they run.

use crate::plugin_life::{MOODY, let_through, level, put_in_force, refused, send_until, upload};
use crate::world::{World, said};
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use serde_json::{Value, json};

/// Half of what `MOODY` takes for an entity that it is told to eat on.
const SMALL: &str = "8388608";

/// `eaves plugin limits …` of a tenant that is there.
async fn limits(w: &World, tenant: &str, args: &[&str]) -> Result<(bool, String)> {
    let output = w.eaves(&[&["plugin", "limits", "--tenant", tenant], args].concat(), "").await?;
    Ok((output.status.success(), said(&output)))
}

async fn tenant(w: &World, name: &str) -> Result<()> {
    w.execute(&format!("select tenant_create('{name}', false, 64)")).await
}

/// They are shown and set by the operator, refused where they cannot be, and kept to at the next upload.
pub(crate) async fn the_operator_sets_them(w: &World) -> Result<()> {
    let (t, other) = ("limited", "limited-not");
    for name in [t, other] {
        tenant(w, name).await?;
    }
    let (good, shown) = limits(w, t, &[]).await?;
    ensure!(good && shown.contains("versions: 200\n"), "{shown}");
    ensure!(shown.contains("bytes of memory of a call: 67108864\n"), "{shown}");
    for (args, why) in [
        (["--memory-bytes", "1000"], "memory_bytes: 1000 is not from 1048576 to 67108864"),
        (["--memory-bytes", "67108865"], "memory_bytes: 67108865 is not from 1048576 to 67108864"),
        (["--ms-per-1000", "0"], "ms_per_1000: 0 is not from 1 to 10000"),
        (["--max-bytes", "100000000"], "max_bytes: 100000000 is over 67108864"),
    ] {
        let (good, told) = limits(w, t, &args).await?;
        ensure!(!good && told.contains(why), "{args:?}: {told}");
    }
    let args =
        ["--max-versions", "1", "--memory-bytes", SMALL, "--ms-per-1000", "20", "--why", "a small one"];
    let (good, told) = limits(w, t, &args).await?;
    ensure!(good && told.contains(&format!("bytes of memory of a call: {SMALL}\n")), "{told}");
    let policy = w.admin(t, "GET", "/v1/plugin-policy", Value::Null).await?.json;
    let told =
        [&policy["revision"], &policy["max_versions"], &policy["memory_bytes"], &policy["ms_per_1000"]];
    ensure!(json!(told) == json!([1, 1, 8_388_608, 20]), "{policy}");
    ensure!(policy["uploads_per_hour"] == 60, "what was not named stays: {policy}");
    let theirs = w.admin(other, "GET", "/v1/plugin-policy", Value::Null).await?.json;
    ensure!(theirs["max_versions"] == 200 && theirs["revision"] == 0, "{theirs}");

    upload(w, t, MOODY, "limits", "1.0.0").await?;
    let wasm = base64::engine::general_purpose::STANDARD.encode(std::fs::read(MOODY)?);
    for (name, version) in [("limits", "1.1.0"), ("another", "1.0.0")] {
        let body = json!({"name": name, "version": version, "wasm_base64": wasm});
        let answer = w.admin(t, "POST", "/v1/plugins", body).await?;
        let detail = answer.json["detail"].as_str().unwrap_or_default();
        ensure!(answer.status == 409 && detail.contains("has 1 versions, its limit"), "{}", answer.text);
    }
    // The one that it has may be brought again.
    upload(w, t, MOODY, "limits", "1.0.0").await?;
    upload(w, other, MOODY, "limits", "1.1.0").await?;
    let audit = w.admin(t, "GET", "/v1/plugins/limits/audit", Value::Null).await?;
    let entries = audit.json["entries"].as_array().context("entries")?;
    let entry = entries.iter().find(|e| e["action"] == "policy").context("the policy's entry")?;
    ensure!(entry["by"] == "operator" && entry["why"] == "a small one", "{entry}");
    Ok(())
}

/// A plugin that takes more memory than its tenant's may, and less than anybody's: it is stopped, the
/// reading is treated as its tenant said, and another tenant's same plugin with the same settings judges.
pub(crate) async fn memory_over_a_tenants_limit_costs_that_tenant(w: &World) -> Result<()> {
    let (small, free) = ("memory-small", "memory-free");
    for name in [small, free] {
        tenant(w, name).await?;
        upload(w, name, MOODY, "limits", "1.0.0").await?;
        let body = json!({"settings": {"eat": "eat"}, "on_failure": "reject"});
        put_in_force(w, name, "limits@1.0.0", "activate", body).await?;
    }
    let judged = async |tenant: &str, entity: String| -> Result<bool> {
        Ok(let_through(w, tenant, &entity).await? == Some(("1.0.0".to_owned(), true)))
    };
    send_until(w, free, "eat", 1.0, async |entity| judged(free, entity).await).await?;
    // Nothing is activated anew: a limit holds from when it is set.
    let (good, told) = limits(w, small, &["--memory-bytes", SMALL]).await?;
    ensure!(good, "{told}");
    send_until(w, small, "eat", 1.0, async |entity| refused(w, small, &entity, "plugin_failed").await)
        .await?;

    // One key, hence one batch for both.
    let names = [(small, "eat-shared"), (free, "eat-shared"), (small, "calm-shared"), (free, "calm-shared")];
    let record =
        |(tenant, entity): (&str, &str)| ("memory/k".to_owned(), level(tenant, entity, 1, 1.0).into_bytes());
    w.put_many(names.map(record).into()).await?;
    for (tenant, entity) in [(free, "eat-shared"), (free, "calm-shared"), (small, "calm-shared")] {
        w.entity(tenant, entity, "level").await?;
    }
    w.until(20, "the reading to be rejected", || refused(w, small, "eat-shared", "plugin_failed")).await?;
    let said = w
        .text(
            "select max(kind || ' ' || field || ': ' || message) from quarantine q join tenants t using (tenant_id)
             where t.name = 'memory-small' and encode(payload, 'escape') like '%\"eat-shared\"%'",
        )
        .await?;
    let wanted = format!("value values.level: the plugin needs more than {SMALL} bytes of memory");
    ensure!(said.as_deref() == Some(&*wanted), "{said:?}");
    let theirs =
        "select count(*) from quarantine q join tenants t using (tenant_id) where t.name = 'memory-free'";
    ensure!(w.count(theirs).await? == 0, "another tenant's values were refused");
    w.until(20, "the failure in the figures", || async {
        let metrics = w.admin(small, "GET", "/v1/plugins/limits/metrics", Value::Null).await?.json;
        Ok(metrics["versions"][0]["failures"]["memory"].as_u64() > Some(0))
    })
    .await?;

    let (good, told) = limits(w, small, &["--memory-bytes", "33554432"]).await?;
    ensure!(good, "{told}");
    send_until(w, small, "eat-more", 1.0, async |entity| judged(small, entity).await).await
}

/// The operator gives a tenant less time: that is what a plugin without end is stopped after.
pub(crate) async fn time_over_a_tenants_limit_is_not_given(w: &World) -> Result<()> {
    let t = "hurried";
    tenant(w, t).await?;
    upload(w, t, MOODY, "limits", "1.0.0").await?;
    let (good, told) = limits(w, t, &["--ms-per-1000", "25"]).await?;
    ensure!(good, "{told}");
    put_in_force(w, t, "limits@1.0.0", "activate", json!({"settings": {"spin": "spin"}})).await?;
    send_until(w, t, "spin", 1.0, async |entity| refused(w, t, &entity, "plugin_failed").await).await?;
    let longest = "select coalesce(max(substring(message from 'stopped after ([0-9.]+)ms')::float8), 0)::text
        from quarantine q join tenants t using (tenant_id) where t.name = 'hurried'";
    let longest: f64 = w.text(longest).await?.context("the longest")?.parse()?;
    ensure!(longest > 0.0 && longest <= 25.0, "a call was stopped after {longest} ms");
    Ok(())
}
