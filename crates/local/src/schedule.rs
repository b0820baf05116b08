//! The schedules: what EventBridge does for the functions that run by the clock.

use crate::backoff::Backoff;
use crate::lambda::{FunctionError, FunctionHost};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinHandle;

/// When a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rhythm {
    /// Again as soon as it has answered, but not more often than this.
    Endlessly(Duration),
    /// At once, and then with this pause.
    Every(Duration),
}

/// A running schedule. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Schedule {
    task: JoinHandle<()>,
}

impl Schedule {
    pub(crate) fn start(function: FunctionHost, rhythm: Rhythm) -> Self {
        Self { task: tokio::spawn(run(function, rhythm)) }
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(function: FunctionHost, rhythm: Rhythm) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let called = tokio::time::Instant::now();
        match function.invoke(&event(function.name())).await {
            Ok(_) => {
                backoff.reset();
                match rhythm {
                    Rhythm::Endlessly(least) => tokio::time::sleep_until(called + least).await,
                    Rhythm::Every(pause) => tokio::time::sleep(pause).await,
                }
            }
            Err(FunctionError::Stopping) => return,
            Err(e) => {
                tracing::warn!(function.name = function.name(), error = %e, "scheduled call failed");
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

fn event(name: &str) -> serde_json::Value {
    json!({
        "version": "0",
        "id": uuid::Uuid::new_v4().to_string(),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": crate::lambda::ACCOUNT,
        "time": jiff::Timestamp::now().to_string(),
        "region": crate::endpoints::REGION,
        "resources": [format!("arn:aws:scheduler:::schedule/default/{name}")],
        "detail": "{}",
    })
}
