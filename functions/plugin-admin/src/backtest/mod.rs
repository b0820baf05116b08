//! Backtests: a candidate and the active version judge stored values, and are compared.
//!
//! The worker is an asynchronous invocation. It reads history by stretches of time from the
//! replica, as the query role under row-level security, so that whole readings come together
//! as they came live; then the tenant's quarantine. A reading of which a part was refused is judged whole in
//! both, and each value counted once. After each second it writes how far it
//! is into the job's row and looks whether it was cancelled; when its own time is nearly over
//! it invokes itself again, which goes on from there.

mod assemble;
mod before;
mod compare;
mod pages;
mod refusals;
mod report;
mod run;

pub use report::Report;

use crate::context::Context;
use eaves_model::{TenantId, Timestamp};
use eaves_registry::{Job, RegistryError};
use run::Runner;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// How long a backtest has its places without a word of its worker. A step takes seconds, and what Lambda
/// hands out again comes within this.
pub(crate) const LEASE: Duration = Duration::from_secs(300);
/// How often the worker says that it is there.
const HOLD: Duration = Duration::from_secs(60);
/// Why one may not go on.
const NO_PLACE: &str =
    "its worker was away for so long that other backtests have its place: ask for it again";

/// Kept back from the invocation's time to write the state and to invoke again.
const MARGIN: Duration = Duration::from_secs(10);

/// Which backtest is to be worked on: the event of an asynchronous invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub id: String,
}

impl Ask {
    /// The ask in an event, if it is one and no HTTP request.
    pub fn from_event(event: &Value) -> Option<Self> {
        serde_json::from_value(event.get("eaves_backtest")?.clone()).ok()
    }

    /// The event.
    pub fn event(&self) -> Value {
        json!({ "eaves_backtest": self })
    }
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The candidate.
    pub(crate) version: String,
    /// Its settings.
    pub(crate) settings: String,
    /// First time taken.
    pub(crate) from: Timestamp,
    /// First time not taken any more.
    pub(crate) to: Timestamp,
    /// Most values a second.
    pub(crate) rate: u32,
    /// Most examples for each change.
    pub(crate) examples: u32,
}

/// Works on a backtest until it is over, cancelled, or the time is.
pub async fn serve(context: &Context, ask: &Ask, deadline: SystemTime) -> Result<Value, RegistryError> {
    let Some(mut job) = context.registry.job(ask.tenant, &ask.id).await? else {
        return Ok(json!({"state": "unknown"}));
    };
    if job.is_over() {
        // It may have been cancelled before anybody worked on it.
        leave(context, ask.tenant, &job).await;
        return Ok(json!({"state": job.state}));
    }
    if !context.registry.job_hold(ask.tenant, &mut job, LEASE).await? {
        return fail(context, ask, job, NO_PLACE.into()).await;
    }
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(MARGIN);
    job.state = "running".into();
    let outcome = match Runner::new(context, ask.tenant, job.clone()).await {
        Ok(runner) => runner.run(left).await,
        Err(why) => Err((job, why)),
    };
    let job = match outcome {
        Ok(job) => job,
        Err((job, why)) => return fail(context, ask, job, why).await,
    };
    match job.state.as_str() {
        "running" if context.start_backtest(ask).await.is_err() => {
            return fail(context, ask, job, "it could not be continued".into()).await;
        }
        "cancelled" => leave(context, ask.tenant, &job).await,
        _ => {}
    }
    Ok(json!({"state": job.state, "progress": job.progress}))
}

/// Writes that it failed, and why.
async fn fail(context: &Context, ask: &Ask, job: Job, why: String) -> Result<Value, RegistryError> {
    tracing::warn!(tenant.id = ask.tenant.0, backtest.id = ask.id, error = why, "backtest failed");
    let error = Some(why.chars().take(500).collect());
    let job = Job { state: "failed".into(), error, updated_at: Timestamp::now(), ..job };
    // Before it is told that it is over: who then asks for another one finds the place free.
    leave(context, ask.tenant, &job).await;
    context.registry.job_save(ask.tenant, &job).await?;
    Ok(json!({"state": job.state}))
}

/// Gives its places to others. If that cannot be, they end by themselves.
async fn leave(context: &Context, tenant: TenantId, job: &Job) {
    if let Err(e) = context.registry.job_leave(tenant, job).await {
        tracing::warn!(tenant.id = tenant.0, backtest.id = job.id, error = %e, "backtest.place_kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_request_is_no_backtest() {
        let ask = Ask { tenant: TenantId(7), id: "ab".into() };
        assert_eq!(Ask::from_event(&ask.event()), Some(ask));
        assert_eq!(Ask::from_event(&json!({"version": "2.0", "body": "{\"eaves_backtest\":{}}"})), None);
        assert_eq!(Ask::from_event(&json!({"eaves_backtest": {"tenant": "x"}})), None);
    }
}
