//! An instance of ingest that a scenario has for itself, with a shard whose batches only the scenario makes.

use crate::events::{recorded, start};
use crate::plugin_life::let_through;
use crate::world::World;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use eaves_local::lambda::{FunctionConfig, FunctionHost};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) struct Instance {
    host: FunctionHost,
    shard: String,
    records: u64,
}

impl Instance {
    /// With the settings of the platform's, but that what is in force is looked up for each batch.
    pub(crate) async fn start(w: &World, shard: &str) -> Result<Self> {
        Self::of(w.ingest(), shard).await
    }

    pub(crate) async fn of(config: &FunctionConfig, shard: &str) -> Result<Self> {
        let mut config = config.clone();
        config.log_dir = config.log_dir.join(shard);
        let host = start(&config, &[("EAVES_PLUGIN_REFRESH_MS", "0")]).await?;
        Ok(Self { host, shard: shard.to_owned(), records: 0 })
    }

    /// Hands it readings as one batch, all of which it is to take.
    pub(crate) async fn take(&mut self, readings: &[String]) -> Result<()> {
        let mut event = recorded("ingest/kinesis.json")?;
        let template = event["Records"][0].clone();
        let number = template["kinesis"]["sequenceNumber"].as_str().context("sequenceNumber")?.to_owned();
        let mut records = Vec::new();
        for reading in readings {
            self.records += 1;
            let sequence = format!("{}{:016}", &number[..number.len() - 16], self.records);
            let mut record = template.clone();
            record["eventID"] = json!(format!("{}:{sequence}", self.shard));
            record["kinesis"]["sequenceNumber"] = json!(sequence);
            record["kinesis"]["data"] = json!(base64::engine::general_purpose::STANDARD.encode(reading));
            record["kinesis"]["approximateArrivalTimestamp"] =
                json!(jiff::Timestamp::now().as_second() as f64);
            records.push(record);
        }
        event["Records"] = json!(records);
        let answer = self.host.invoke(&event).await?;
        ensure!(answer["batchItemFailures"] == json!([]), "{answer}; log:\n{}", self.log()?);
        Ok(())
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.host.pid().context("the instance does not run")
    }

    /// The process that runs its plugins.
    pub(crate) fn runner(&self) -> Result<u32> {
        let children = children(self.pid()?)?;
        ensure!(children.len() == 1, "the instance has started {children:?}");
        Ok(children[0])
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> Result<String> {
        let (_, log) = self.host.instances().into_iter().next().context("no instance")?;
        std::fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))
    }

    /// Stops it. It has not been started again meanwhile: whatever it was given, it lived.
    pub(crate) async fn stop(self) -> Result<()> {
        let restarts = self.host.restarts();
        self.host.stop(Duration::from_secs(2)).await;
        ensure!(restarts == 0, "the instance was started again {restarts} times");
        Ok(())
    }
}

/// The processes that a process has started and that are still there.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    // The kernel keeps them by the thread that started them.
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let listed = std::fs::read_to_string(task?.path().join("children"))?;
        for child in listed.split_whitespace() {
            children.push(child.parse()?);
        }
    }
    Ok(children)
}

/// What a version cost and decided in a role; null if it did nothing in that.
pub(crate) async fn figures(w: &World, tenant: &str, role: &str, version: &str) -> Result<Value> {
    let answer = w.admin(tenant, "GET", "/v1/plugins/limits/metrics", Value::Null).await?;
    let all = answer.json["versions"].as_array().with_context(|| answer.text.clone())?;
    let found = all.iter().find(|v| v["role"] == role && v["version"] == version);
    Ok(found.cloned().unwrap_or_default())
}

/// The messages of a plugin's events of a kind, the newest first.
pub(crate) async fn events(w: &World, tenant: &str, kind: &str) -> Result<Vec<String>> {
    let answer = w.admin(tenant, "GET", "/v1/plugins/limits/events", Value::Null).await?;
    let all = answer.json["events"].as_array().with_context(|| answer.text.clone())?;
    let of_kind = all.iter().filter(|e| e["kind"] == kind);
    Ok(of_kind.map(|e| e["message"].as_str().unwrap_or_default().to_owned()).collect())
}

/// What became of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in history, and judged or not.
    Taken { validated: bool },
    /// It is in quarantine: `record` if its reading was put aside, `value` if it was rejected.
    Refused { kind: String, reason: String, message: String },
}

/// Waits until it is known what became of the entity's only value: it is in one place.
pub(crate) async fn fate(w: &World, tenant: &str, entity: &str) -> Result<Fate> {
    let query = format!(
        "select max(kind || '|' || reason || '|' || message) from quarantine q join tenants t using (tenant_id)
         where t.name = '{tenant}' and encode(payload, 'escape') like '%\"{entity}\"%'"
    );
    let mut found = Vec::new();
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while found.is_empty() {
        ensure!(std::time::Instant::now() < end, "{entity} of {tenant} is nowhere; logs:\n{}", w.logs());
        if let Some((_, validated)) = let_through(w, tenant, entity).await? {
            found.push(Fate::Taken { validated });
        }
        if let Some(row) = w.text(&query).await? {
            let mut parts = row.splitn(3, '|').map(str::to_owned);
            let (kind, reason, message) = (parts.next(), parts.next(), parts.next());
            let [kind, reason, message] = [kind, reason, message].map(Option::unwrap_or_default);
            found.push(Fate::Refused { kind, reason, message });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(found.len() == 1, "{entity} of {tenant} is in two places: {found:?}");
    Ok(found.remove(0))
}

/// Makes sure that a failure policy was applied to the entity's value, because of this.
pub(crate) async fn treated(
    w: &World,
    (tenant, entity): (&str, &str),
    policy: &str,
    (reason, says): (&str, &str),
) -> Result<()> {
    let fate = fate(w, tenant, entity).await?;
    let good = match (policy, &fate) {
        ("accept", Fate::Taken { validated }) => !validated,
        ("quarantine", Fate::Refused { kind, reason: why, message })
        | ("reject", Fate::Refused { kind, reason: why, message }) => {
            let wanted = if policy == "reject" { "value" } else { "record" };
            kind == wanted && why == reason && message.contains(says)
        }
        _ => false,
    };
    ensure!(good, "{policy} of {entity} of {tenant}: {fate:?} is not {reason}: {says}");
    Ok(())
}
