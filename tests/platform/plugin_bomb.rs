//! A component that is dear to compile, uploaded while other tenants' values come. (Case 16 of the faults.)

use crate::plugin_life::level;
use crate::world::World;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

/// 30 KB in which nothing is too many for the scan before compiling. Each loop hands on each local: what
/// the compiler has to keep track of are the loops times the locals.
fn bomb() -> Result<Vec<u8>> {
    const LOCALS: usize = 1_900;
    const LOOPS: usize = 1_500;
    let add = |i: usize| format!("local.get {i} local.get {} i32.add local.set {i} ", i + 1);
    let text = format!(
        "(component (core module (func (local {}) {}{}{})))",
        "i32 ".repeat(LOCALS),
        "loop ".repeat(LOOPS),
        (0..LOCALS - 1).map(add).collect::<String>(),
        "local.get 0 br_if 0 end ".repeat(LOOPS)
    );
    let bomb = wat::parse_str(&text).context("the bomb's text")?;
    let counted = eaves_plugin_host::scan::scan(&bomb, &eaves_plugin_host::scan::ScanLimits::default());
    counted.context("it is to pass what is counted before compiling")?;
    Ok(bomb)
}

/// The worker is stopped at one of its limits, which the refusal names; meanwhile another tenant's
/// values are taken as ever.
pub(crate) async fn a_bomb_is_refused_and_ingest_goes_on(w: &World) -> Result<()> {
    let (bomber, calm) = ("bomber", "bombed-beside");
    for t in [bomber, calm] {
        w.execute(&format!("select tenant_create('{t}', false, 64)")).await?;
    }
    // Known to ingest before it begins.
    w.put(calm, "tank", level(calm, "tank", 0, 1.0)).await?;
    w.history(calm, "tank", "level", 1).await?;
    let body = json!({
        "name": "bomb", "version": "1.0.0",
        "wasm_base64": base64::engine::general_purpose::STANDARD.encode(bomb()?),
    });
    let answered = AtomicBool::new(false);
    let upload = async {
        let answer = w.admin(bomber, "POST", "/v1/plugins", body).await;
        answered.store(true, Ordering::Relaxed);
        answer
    };
    let values = async {
        let (mut sent, mut taken_meanwhile) = (1, 0);
        while !answered.load(Ordering::Relaxed) {
            let entity = format!("tank-{sent}");
            w.put(calm, &entity, level(calm, &entity, sent, 1.0)).await?;
            sent += 1;
            w.entity(calm, &entity, "level").await?;
            taken_meanwhile += i64::from(!answered.load(Ordering::Relaxed));
        }
        Ok::<_, anyhow::Error>((sent, taken_meanwhile))
    };
    let (upload, values) = tokio::join!(upload, values);
    let (upload, (sent, taken_meanwhile)) = (upload?, values?);
    ensure!(upload.status == 422, "{} {}", upload.status, upload.text);
    let named = ["more than 10 s of processor time", "more than 1024 MiB of memory", "was stopped after 20s"];
    ensure!(named.iter().any(|limit| upload.text.contains(limit)), "no limit is named: {}", upload.text);
    ensure!(taken_meanwhile >= 3, "{taken_meanwhile} values were taken while it was compiled");
    let rows = format!(
        "select count(*) from entity_values_ts v join tenants t using (tenant_id) where t.name = '{calm}'"
    );
    w.until(20, "all values in history", || async { Ok(w.count(&rows).await? >= sent) }).await?;
    ensure!(w.count(&rows).await? == sent, "{} rows of {sent} values", w.count(&rows).await?);

    let listed = w.admin(bomber, "GET", "/v1/plugins/bomb/versions", Value::Null).await?;
    let version = &listed.json["versions"][0];
    ensure!(version["state"] == "refused", "{}", listed.text);
    ensure!(named.iter().any(|limit| listed.text.contains(limit)), "{}", listed.text);
    let activated = w.admin(bomber, "POST", "/v1/plugins/bomb/versions/1.0.0/activate", json!({})).await?;
    ensure!(activated.status == 409, "{} {}", activated.status, activated.text);
    Ok(())
}
