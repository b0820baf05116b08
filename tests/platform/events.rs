//! The recorded events of `tests/events/`, answered by the real binaries over the Runtime
//! API: what `sam local invoke -e` does with Docker.

use crate::authorizer;
use crate::world::World;
use anyhow::{Context as _, Result, ensure};
use eaves_local::lambda::{FunctionConfig, FunctionHost};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("events")
}

pub(crate) fn recorded(name: &str) -> Result<Value> {
    let path = folder().join(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// An instance of its own, with the settings of the platform's.
pub(crate) async fn start(config: &FunctionConfig, more: &[(&str, &str)]) -> Result<FunctionHost> {
    let mut config = config.clone();
    config.instances = 1;
    config.log_dir = config.log_dir.join("recorded");
    config.env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Ok(FunctionHost::spawn(config).await?)
}

/// Every event is answered, in the order in which a user would try them.
pub(crate) async fn every_recorded_event_is_answered(w: &World) -> Result<()> {
    let mut left: BTreeSet<String> = BTreeSet::new();
    for function in std::fs::read_dir(folder())? {
        let function = function?;
        for event in std::fs::read_dir(function.path())? {
            let name = event?.file_name();
            left.insert(format!("{}/{}", function.file_name().to_string_lossy(), name.to_string_lossy()));
        }
    }
    let mut take = |name: &str| -> Result<Value> {
        ensure!(left.remove(name), "tests/events/{name} is not there, or was taken twice");
        recorded(name)
    };

    let ingest = start(w.ingest(), &[]).await?;
    let batch = take("ingest/kinesis.json")?;
    let answer = ingest.invoke(&batch).await?;
    ensure!(answer["batchItemFailures"] == serde_json::json!([]), "{answer}");
    // Delivered again, as Kinesis may: nothing is handed back, nothing counted anew.
    let again = ingest.invoke(&batch).await?;
    ensure!(again["batchItemFailures"] == serde_json::json!([]), "{again}");
    let quarantined = "select count(*) from quarantine where shard = 'shardId-000000009999'";
    ensure!(w.count(quarantined).await? == 1, "the record that is no reading is put aside once");

    // The platform's own flush works beside this one: only one of them at a time.
    let flush = start(w.flush(), &[("EAVES_FLUSH_RUN_S", "1")]).await?;
    let answer = flush.invoke(&take("flush/schedule.json")?).await?;
    ensure!(answer["beats"].as_u64().is_some_and(|beats| beats > 0), "{answer}");
    ensure!(answer["failures"] == 0, "{answer}");
    let rows = "select count(*) from entity_values_ts v join entities e using (tenant_id, entity_id)
                where e.external_id in ('recorded-1', 'recorded-2')";
    w.until(20, "the values in history", || async { Ok(w.count(rows).await? == 4) }).await?;

    let maintain = start(w.maintain(), &[]).await?;
    maintain.invoke(&take("maintain/schedule.json")?).await?;
    let next_month = "select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid
                      where i.inhparent = 'entity_values_ts'::regclass
                      and pg_get_expr(c.relpartbound, c.oid) like '%' ||
                          to_char(date_trunc('month', now()) + interval '1 month', 'YYYY-MM') || '-01%TO%'";
    ensure!(w.count(next_month).await? == 1, "there is no partition for the next month");

    let hot = start(w.hot_projection(), &[]).await?;
    let answer = hot.invoke(&take("hot-projection/schedule.json")?).await?;
    // All are younger than a day: decided for, and left as they are.
    ensure!(answer["changes"] == 0 && answer["plugin_failures"] == 0, "{answer}");

    // The platform's own loader works beside this one: a watermark lets only one of them write.
    let olap = start(w.olap_load(), &[]).await?;
    let answer = olap.invoke(&take("olap-load/schedule.json")?).await?;
    ensure!(answer["caught_up"] == true, "{answer}");

    let query = start(w.query(), &[]).await?;
    let answer = query.invoke(&take("query/entity.json")?).await?;
    ensure!(answer["statusCode"] == 200, "{answer}");
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default())?;
    let attributes = &body["entity"]["attributes"];
    ensure!(attributes["recorded_temperature"]["value"] == 73.25, "{body}");
    ensure!(attributes["recorded_status"]["value"] == "online", "{body}");
    for (name, status) in
        [("query/telemetry.json", 202), ("query/health.json", 200), ("query/without-token.json", 401)]
    {
        let answer = query.invoke(&take(name)?).await?;
        ensure!(answer["statusCode"] == status, "{name}: {answer}");
    }
    w.entity("acme", "recorded-3", "recorded_temperature").await?;

    let admin = start(w.plugin_admin(), &[]).await?;
    let answer = admin.invoke(&take("plugin-admin/policy.json")?).await?;
    ensure!(answer["statusCode"] == 200, "{answer}");
    let policy: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default())?;
    ensure!(policy["require_signature"] == false && policy["max_bytes"].is_u64(), "{policy}");
    let refused = admin.invoke(&take("plugin-admin/not-allowed.json")?).await?;
    ensure!(refused["statusCode"] == 403, "{refused}");
    // Asynchronous ones, of jobs that nobody made: answered as such, and no HTTP request. What comes of
    // those that there are is in plugin_backtest.rs and plugin_engine.rs.
    for name in ["plugin-admin/backtest.json", "plugin-admin/compile.json"] {
        let answer = admin.invoke(&take(name)?).await?;
        ensure!(answer == serde_json::json!({"state": "unknown"}), "{name}: {answer}");
    }

    // Its token is unsigned; with one of the platform's issuer in its place it is let in.
    let keys = format!("{}/.well-known/jwks.json", w.platform.endpoints().api_url);
    let authorizer = start(&authorizer::config(w, &keys), &[]).await?;
    let answer = authorizer.invoke(&take("authorizer/request.json")?).await?;
    ensure!(answer == serde_json::json!({"isAuthorized": false, "context": {}}), "{answer}");
    let token = w.token("acme", None).await?;
    let answer = authorizer.invoke(&authorizer::event(&token)?).await?;
    ensure!(answer["isAuthorized"] == true && answer["context"]["tenant"] == "acme", "{answer}");

    ensure!(left.is_empty(), "nobody answered {left:?}");
    for host in [ingest, flush, maintain, hot, olap, query, admin, authorizer] {
        host.stop(Duration::from_secs(2)).await;
    }
    Ok(())
}
