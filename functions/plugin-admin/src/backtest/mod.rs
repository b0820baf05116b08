//! Backtests: a candidate and the active version judge stored values, and are compared.
//!
//! The worker is an asynchronous invocation. It reads history by stretches of time from the
//! replica, as the query role under row-level security, so that whole readings come together
//! as they came live; then the tenant's quarantine. After each second it writes how far it
//! is into the job's row and looks whether it was cancelled; when its own time is nearly over
//! it invokes itself again, which goes on from there.

mod before;
mod compare;
mod pages;
mod refusals;
mod report;
mod run;

pub use report::Report;

use crate::context::Context;
use eaves_model::{TenantId, Timestamp};
use eaves_registry::RegistryError;
use run::Runner;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

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
        return Ok(json!({"state": job.state}));
    }
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(MARGIN);
    job.state = "running".into();
    let outcome = match Runner::new(context, ask.tenant, job.clone()).await {
        Ok(runner) => runner.run(left).await,
        Err(why) => Err((job, why)),
    };
    let job = match outcome {
        Ok(job) => job,
        Err((mut job, why)) => {
            tracing::warn!(tenant.id = ask.tenant.0, backtest.id = ask.id, error = why, "backtest failed");
            job.state = "failed".into();
            job.error = Some(why.chars().take(500).collect());
            job.updated_at = Timestamp::now();
            context.registry.job_save(ask.tenant, &job).await?;
            job
        }
    };
    if job.state == "running" && context.start_backtest(ask).await.is_err() {
        let error = Some("it could not be continued".into());
        let job = eaves_registry::Job { state: "failed".into(), error, ..job };
        context.registry.job_save(ask.tenant, &job).await?;
        return Ok(json!({"state": "failed"}));
    }
    Ok(json!({"state": job.state, "progress": job.progress}))
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
