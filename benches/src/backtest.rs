//! A backtest of a million stored values, through the function and the replica, beside
//! reading the same rows and nothing else.

use crate::plugin;
use crate::results::Figure;
use crate::rig::Rig;
use anyhow::{Context as _, Result, bail, ensure};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const TENANT: &str = "bench-backtest";
/// Entities × attributes × times.
const VALUES: u64 = 1000 * 10 * 100;

pub(crate) async fn measure(rig: &Rig) -> Result<Figure> {
    rig.tenant_with_rules(TENANT).await?;
    let db = rig.admin().await?;
    // History as a day's readings leave it: ten attributes, in the order of time.
    db.batch_execute(&format!(
        "insert into entities (tenant_id, external_id, entity_type)
           select tenant_id, 'dev-' || e, 'bench' from tenants, generate_series(1, 1000) e where name = '{TENANT}';
         insert into attributes (tenant_id, attribute_name, value_type, is_hot)
           select tenant_id, case a when 1 then 'temperature' else 'a' || a end, 'float', true
           from tenants, generate_series(1, 10) a where name = '{TENANT}';
         insert into entity_values_ts (tenant_id, entity_id, attribute_id, observed_at, ingested_at, value_float)
           select t.tenant_id, e.entity_id, a.attribute_id, now() - interval '23 hours' + n * interval '13 minutes',
                  now(), n
           from generate_series(1, 100) n, tenants t
           join entities e using (tenant_id) join attributes a using (tenant_id)
           where t.name = '{TENANT}';
         analyze entity_values_ts;"
    ))
    .await?;
    let began = Instant::now();
    let copy = format!(
        "copy (select v.* from entity_values_ts v join tenants t using (tenant_id) where t.name = '{TENANT}')
         to stdout (format binary)"
    );
    let bytes: usize = db.copy_out(&copy).await?.try_fold(0, async |sum, part| Ok(sum + part.len())).await?;
    ensure!(bytes > 0, "nothing was read");
    let read = VALUES as f64 / began.elapsed().as_secs_f64();
    rig.wait_replica().await?;

    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    let token = rig.token_for(TENANT, "plugins:write").await?;
    let url = format!("{}/v1/plugins/telemetry-rules/backtest", rig.http_url());
    let settings: Value = serde_json::from_str(plugin::SETTINGS)?;
    let body = json!({"version": "1.0.0", "settings": settings, "max_values_per_s": 10_000_000});
    let asked = http.post(&url).bearer_auth(&token).json(&body).send().await?;
    let asked: Value = asked.json().await?;
    let id = asked["id"].as_str().with_context(|| asked.to_string())?.to_owned();
    let end = Instant::now() + Duration::from_secs(300);
    let job = loop {
        let job: Value = http.get(format!("{url}/{id}")).bearer_auth(&token).send().await?.json().await?;
        match job["state"].as_str() {
            Some("done") => break job,
            Some("waiting" | "running") if Instant::now() < end => {}
            _ => bail!("{job}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let report = &job["report"];
    ensure!(report["history"]["values"] == VALUES, "{job}");
    let took = report["took_ms"].as_f64().context("took_ms")? / 1e3;
    let note = format!(
        "1,000,000 stored values, candidate and active version, page by page from the replica under row-level \
         security; {took:.1} s; plugin time {:.0} ms for both; baseline: COPY of the same rows",
        report["candidate"]["took_ms"].as_f64().unwrap_or_default()
            + report["active"]["took_ms"].as_f64().unwrap_or_default()
    );
    Ok(Figure::new("backtest_values_per_s", VALUES as f64 / took, "values/s", read, VALUES, note))
}
