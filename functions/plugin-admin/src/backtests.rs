//! `/v1/plugins/{name}/backtest`: ask for backtests, watch them, cancel them.

use crate::backtest::{Ask, LEASE, Request};
use crate::body;
use crate::caller::Caller;
use crate::context::Context;
use crate::force;
use crate::plugins::version;
use crate::problem::Problem;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use eaves_model::Timestamp;
use eaves_registry::Job;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest stretch of time of a backtest, in days.
const MOST_DAYS: i64 = 366;
/// Values a second, if nothing is said: what the replica does not notice much.
const RATE: u32 = 250_000;

/// What is to be tried on what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BacktestBody {
    /// The candidate.
    #[schema(example = "1.1.0")]
    version: String,
    /// Its settings. Left out: those that the plugin has in force, or else none.
    #[schema(value_type = Option<serde_json::Value>)]
    settings: Option<Box<RawValue>>,
    /// Or the number of settings that the plugin has had.
    settings_version: Option<u64>,
    /// First time taken, RFC 3339; 24 hours ago if left out.
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// First time not taken any more; now if left out.
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Most values a second, 250,000 if left out.
    max_values_per_s: Option<u32>,
    /// Most example values for each change, 10 if left out, at most 100.
    examples: Option<u32>,
    /// Why, for the audit trail.
    why: Option<String>,
}

/// Why a backtest is to stop.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelBody {
    /// Why, for the audit trail.
    why: Option<String>,
}

/// A backtest.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BacktestAnswer {
    /// Its number.
    id: String,
    /// The plugin.
    name: String,
    /// `waiting`, `running`, `done`, `cancelled` or `failed`.
    state: String,
    /// From 0 to 1.
    progress: f64,
    /// Why it failed.
    error: Option<String>,
    /// Who asked.
    by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    asked_at: Timestamp,
    /// When its last step ended.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// What came out so far: see docs/plugins.md.
    #[schema(value_type = serde_json::Value)]
    report: Value,
}

impl From<Job> for BacktestAnswer {
    fn from(j: Job) -> Self {
        Self {
            id: j.id,
            name: j.name,
            state: j.state,
            progress: j.progress,
            error: j.error,
            by: j.by,
            asked_at: j.asked_at,
            updated_at: j.updated_at,
            report: j.report,
        }
    }
}

/// A plugin's backtests.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BacktestList {
    /// The newest first.
    backtests: Vec<BacktestAnswer>,
}

/// Runs a candidate over stored history and quarantine beside the active version. Nothing is
/// changed; the answer comes at once, the report when it is done. A tenant has at most two backtests under
/// way, over all its plugins, and all tenants together six.
#[utoipa::path(
    post, path = "/v1/plugins/{name}/backtest", tag = "plugins", security(("jwt" = ["plugins:write"])),
    params(("name" = String, Path, description = "The plugin", example = "limits")),
    request_body = BacktestBody,
    responses(
        (status = 202, description = "It has been started", body = BacktestAnswer),
        (status = 400, description = "The body is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such version", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The version is not checked", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The plugin does not take the settings", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "As many backtests are under way as may be, of the tenant (`too-many-backtests`) or of the platform (`backtests-full`); or the tenant's rate limit is reached or its quota of the day used up", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_backtest(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    caller: Caller,
    bytes: Bytes,
) -> Result<(StatusCode, Json<BacktestAnswer>), Problem> {
    caller.writes()?;
    let body: BacktestBody = body::json(&bytes)?;
    let candidate = version(&context, caller.tenant, &name, &body.version).await?;
    let (text, number) = (body.settings.as_deref(), body.settings_version);
    let settings = force::settings(&context, caller.tenant, &name, text, number).await?;
    force::check_settings(&context, caller.tenant, &candidate, &settings).await?;
    let now = Timestamp::now();
    let to = body.to.unwrap_or(now);
    let from = body.from.unwrap_or_else(|| to.plus_micros(-86_400_000_000));
    if from >= to {
        return Err(Problem::bad_body("from", format!("{from} is not before {to}")));
    }
    if to.as_micros() - from.as_micros() > MOST_DAYS * 86_400_000_000 {
        return Err(Problem::bad_body("from", format!("is over {MOST_DAYS} days before {to}")));
    }
    let rate = body.max_values_per_s.unwrap_or(RATE);
    if !(1..=10_000_000).contains(&rate) {
        return Err(Problem::bad_body("max_values_per_s", format!("{rate} is not from 1 to 10000000")));
    }
    let examples = body.examples.unwrap_or(10);
    if examples > 100 {
        return Err(Problem::bad_body("examples", format!("{examples} is over 100")));
    }
    let why = body::why(body.why)?;
    let request =
        Request { version: candidate.version.clone(), settings: settings.clone(), from, to, rate, examples };
    let request = serde_json::to_value(&request).unwrap_or_default();
    let job = Job::new(&candidate, &settings, &caller.subject, request);
    let registry = &context.registry;
    let job = registry.job_start(caller.tenant, job, &why, LEASE).await?;
    if let Err(problem) = context.start_backtest(&Ask { tenant: caller.tenant, id: job.id.clone() }).await {
        registry.job_leave(caller.tenant, &job).await?;
        let error = Some("its worker could not be started".into());
        registry.job_save(caller.tenant, &Job { state: "failed".into(), error, ..job }).await?;
        return Err(problem);
    }
    Ok((StatusCode::ACCEPTED, Json(job.into())))
}

/// A plugin's backtests.
#[utoipa::path(
    get, path = "/v1/plugins/{name}/backtest", tag = "plugins", security(("jwt" = ["plugins:read"])),
    params(("name" = String, Path, description = "The plugin", example = "limits")),
    responses((status = 200, description = "The backtests", body = BacktestList))
)]
pub(crate) async fn list_backtests(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    caller: Caller,
) -> Result<Json<BacktestList>, Problem> {
    caller.reads()?;
    let jobs = context.registry.jobs(caller.tenant, &name).await?;
    Ok(Json(BacktestList { backtests: jobs.into_iter().take(50).map(Into::into).collect() }))
}

/// A backtest's progress and report.
#[utoipa::path(
    get, path = "/v1/plugins/{name}/backtest/{id}", tag = "plugins", security(("jwt" = ["plugins:read"])),
    params(
        ("name" = String, Path, description = "The plugin", example = "limits"),
        ("id" = String, Path, description = "The backtest"),
    ),
    responses(
        (status = 200, description = "The backtest", body = BacktestAnswer),
        (status = 404, description = "There is no such backtest", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_backtest(
    State(context): State<Arc<Context>>,
    Path((name, id)): Path<(String, String)>,
    caller: Caller,
) -> Result<Json<BacktestAnswer>, Problem> {
    caller.reads()?;
    Ok(Json(job(&context, &caller, &name, &id).await?.into()))
}

/// Stops a backtest with its next step; another can take its place then.
#[utoipa::path(
    post, path = "/v1/plugins/{name}/backtest/{id}/cancel", tag = "plugins",
    security(("jwt" = ["plugins:write"])),
    params(
        ("name" = String, Path, description = "The plugin", example = "limits"),
        ("id" = String, Path, description = "The backtest"),
    ),
    request_body = Option<CancelBody>,
    responses(
        (status = 200, description = "The backtest", body = BacktestAnswer),
        (status = 404, description = "There is no such backtest", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel_backtest(
    State(context): State<Arc<Context>>,
    Path((name, id)): Path<(String, String)>,
    caller: Caller,
    bytes: Bytes,
) -> Result<Json<BacktestAnswer>, Problem> {
    caller.writes()?;
    let body: CancelBody = body::json(&bytes)?;
    let why = body::why(body.why)?;
    let found = job(&context, &caller, &name, &id).await?;
    if !found.is_over() {
        context.registry.job_cancel(caller.tenant, &found, &caller.subject, &why).await?;
    }
    Ok(Json(job(&context, &caller, &name, &id).await?.into()))
}

async fn job(context: &Context, caller: &Caller, name: &str, id: &str) -> Result<Job, Problem> {
    let plain = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let found = if plain { context.registry.job(caller.tenant, id).await? } else { None };
    let shown: String = id.chars().take(40).collect();
    let missing = || Problem::not_found("id", format!("there is no backtest {shown:?} of {name}"));
    found.filter(|j| j.name == name).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use eaves_registry::{PLATFORM_BACKTESTS, TENANT_BACKTESTS};

    /// Backtests are invocations of the function that answers uploads and activations, too.
    #[test]
    fn backtests_leave_room_for_everything_else() {
        let template = include_str!("../../../sam-template.yaml");
        let (_, function) = template.split_once("\n  PluginAdminFunction:").unwrap();
        let (_, reserved) = function.split_once("ReservedConcurrentExecutions: ").unwrap();
        let reserved: u8 = reserved.lines().next().unwrap().trim().parse().unwrap();
        assert!(PLATFORM_BACKTESTS + 4 <= reserved, "{PLATFORM_BACKTESTS} of {reserved}");
        const { assert!(TENANT_BACKTESTS < PLATFORM_BACKTESTS, "one tenant would have all places") };
    }
}
