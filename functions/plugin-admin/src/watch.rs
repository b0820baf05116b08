//! `GET /v1/plugins/{name}/metrics`, `…/events` and `…/audit`

use crate::caller::Caller;
use crate::context::Context;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{Path, Query, State};
use eaves_model::Timestamp;
use eaves_store::read::PluginHour;
use eaves_telemetry::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// What a version cost and decided.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct MetricsBody {
    /// The version.
    version: String,
    /// SHA-256 of the component, in hex.
    digest: String,
    /// `active`, `fallback` (in place of a version that kept failing) or `shadow`.
    role: String,
    /// Calls.
    calls: u64,
    /// Values that it was asked about.
    values: u64,
    /// Failed calls: `trapped`, `deadline`, `memory`, `bad_answer`, `failed`, `settings`.
    failures: BTreeMap<String, u64>,
    /// Batches that a shadow did not see because there was no time for it, or because it kept failing.
    skipped: u64,
    /// Most memory of a call, in bytes; 0 if it was not measured.
    memory_peak: u64,
    /// Values by verdict.
    verdicts: BTreeMap<String, u64>,
    /// A shadow's verdicts that differ from the active version's.
    changes: BTreeMap<String, u64>,
    /// Some of those values.
    #[schema(value_type = Vec<serde_json::Value>)]
    samples: Vec<Value>,
    /// Microseconds per 1,000 values, half of the calls.
    p50_us: Option<f64>,
    /// 95 % of the calls.
    p95_us: Option<f64>,
    /// 99 % of the calls.
    p99_us: Option<f64>,
}

/// The figures of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MetricsList {
    /// Whole hours from this one on.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// By version and role. Instances write every two seconds: what is younger may be missing.
    versions: Vec<MetricsBody>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Since {
    hours: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Most {
    limit: Option<u32>,
}

/// Calls, values, verdicts by reason, failures, times and memory of a plugin's versions.
#[utoipa::path(
    get, path = "/v1/plugins/{name}/metrics", tag = "plugins", security(("jwt" = ["plugins:read"])),
    params(
        ("name" = String, Path, description = "The plugin", example = "limits"),
        ("hours" = Option<u32>, Query, description = "How far back, 24 if left out", minimum = 1, maximum = 744),
    ),
    responses((status = 200, description = "The figures", body = MetricsList))
)]
pub(crate) async fn metrics(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    caller: Caller,
    since: Result<Query<Since>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<MetricsList>, Problem> {
    caller.reads()?;
    let hours = match since {
        Ok(Query(since)) => since.hours.unwrap_or(24),
        Err(e) => return Err(Problem::bad_parameter("hours", e.to_string())),
    };
    if !(1..=744).contains(&hours) {
        return Err(Problem::bad_parameter("hours", format!("{hours} is not from 1 to 744")));
    }
    let since = Timestamp::now().plus_micros(-i64::from(hours) * 3_600_000_000);
    let rows = context.primary.plugin_metrics(caller.tenant, &name, since).await?;
    Ok(Json(MetricsList { since, versions: summed(rows) }))
}

fn summed(rows: Vec<PluginHour>) -> Vec<MetricsBody> {
    let mut by: Vec<(MetricsBody, Histogram)> = Vec::new();
    for row in rows {
        let known = by.iter().position(|(m, _)| m.digest == row.digest && m.role == row.role);
        let at = known.unwrap_or_else(|| {
            let body = MetricsBody {
                version: row.version.clone(),
                digest: row.digest.clone(),
                role: row.role.clone(),
                ..MetricsBody::default()
            };
            by.push((body, Histogram::default()));
            by.len() - 1
        });
        let (sum, times) = &mut by[at];
        let f = &row.figures;
        let number = |key: &str| f[key].as_u64().unwrap_or_default();
        sum.calls += number("calls");
        sum.values += number("values");
        sum.skipped += number("skipped");
        sum.memory_peak = sum.memory_peak.max(number("memory_peak"));
        add(&mut sum.failures, &f["failures"]);
        add(&mut sum.verdicts, &f["verdicts"]);
        add(&mut sum.changes, &f["changes"]);
        // The latest hour comes first.
        let room = 20usize.saturating_sub(sum.samples.len());
        sum.samples.extend(f["samples"].as_array().into_iter().flatten().rev().take(room).cloned());
        times.add(&Histogram::from_pairs(pairs(&f["times"])));
    }
    let finish = |(mut body, times): (MetricsBody, Histogram)| {
        let quantile = |q| times.quantile(q).map(|us| (us * 10.0).round() / 10.0);
        (body.p50_us, body.p95_us, body.p99_us) = (quantile(0.5), quantile(0.95), quantile(0.99));
        body
    };
    by.into_iter().map(finish).collect()
}

fn pairs(map: &Value) -> impl Iterator<Item = (&str, u64)> {
    map.as_object().into_iter().flatten().filter_map(|(k, v)| Some((k.as_str(), v.as_u64()?)))
}

fn add(sum: &mut BTreeMap<String, u64>, map: &Value) {
    for (key, count) in pairs(map) {
        *sum.entry(key.to_owned()).or_default() += count;
    }
}

/// Something that happened to a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventBody {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `breaker_opened`, `breaker_closed` or `unavailable`.
    kind: String,
    /// The version.
    version: String,
    /// SHA-256 of the component, in hex.
    digest: String,
    /// In words.
    message: String,
}

/// Events of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventList {
    /// The newest first.
    events: Vec<EventBody>,
}

/// What happened to a plugin's versions in the instances that run them.
#[utoipa::path(
    get, path = "/v1/plugins/{name}/events", tag = "plugins", security(("jwt" = ["plugins:read"])),
    params(
        ("name" = String, Path, description = "The plugin", example = "limits"),
        ("limit" = Option<u32>, Query, description = "Most events, 100 if left out", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "The events", body = EventList))
)]
pub(crate) async fn events(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    caller: Caller,
    most: Result<Query<Most>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<EventList>, Problem> {
    caller.reads()?;
    let found = context.primary.plugin_events(caller.tenant, &name, limit(most)?).await?;
    let event = |e: eaves_store::read::PluginEvent| EventBody {
        at: e.at,
        kind: e.kind,
        version: e.version,
        digest: e.digest,
        message: e.message,
    };
    Ok(Json(EventList { events: found.into_iter().map(event).collect() }))
}

/// A change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditBody {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `upload`, `check`, `refuse`, `activate`, `shadow`, `shadow_end`, `rollback`,
    /// `deactivate`, `policy`, `recompile`, `recompile_failed`, `backtest` or `backtest_cancel`.
    action: String,
    /// Who.
    by: String,
    /// Why.
    why: String,
    /// The version.
    version: String,
    /// SHA-256 of the component, in hex.
    digest: String,
    /// SHA-256 of the settings, in hex; empty where none were involved.
    settings_digest: String,
    /// The tenant's revision afterwards, where it changed.
    revision: Option<u64>,
}

/// The audit trail of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditList {
    /// The newest first.
    entries: Vec<AuditBody>,
}

/// Who changed what about a plugin, when and why.
#[utoipa::path(
    get, path = "/v1/plugins/{name}/audit", tag = "plugins", security(("jwt" = ["plugins:read"])),
    params(
        ("name" = String, Path, description = "The plugin", example = "limits"),
        ("limit" = Option<u32>, Query, description = "Most entries, 100 if left out", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "The changes", body = AuditList))
)]
pub(crate) async fn audit(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    caller: Caller,
    most: Result<Query<Most>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<AuditList>, Problem> {
    caller.reads()?;
    let found = context.registry.audit(caller.tenant, Some(&name), limit(most)? as usize).await?;
    let entry = |e: eaves_registry::AuditEntry| AuditBody {
        at: e.at,
        action: e.action,
        by: e.by,
        why: e.why,
        version: e.version,
        digest: e.digest,
        settings_digest: e.settings_digest,
        revision: e.revision,
    };
    Ok(Json(AuditList { entries: found.into_iter().map(entry).collect() }))
}

fn limit(most: Result<Query<Most>, axum::extract::rejection::QueryRejection>) -> Result<u32, Problem> {
    let most = most.map_err(|e| Problem::bad_parameter("limit", e.to_string()))?.0.limit.unwrap_or(100);
    if (1..=1000).contains(&most) {
        return Ok(most);
    }
    Err(Problem::bad_parameter("limit", format!("{most} is not from 1 to 1000")))
}
