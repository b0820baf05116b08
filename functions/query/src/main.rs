//! Lambda entry point: settings, clients, router.

use eaves_fn_query::{Context, router};
use eaves_settings::ProcessEnv;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    eaves_telemetry::init();
    let env = eaves_secrets::resolved(ProcessEnv).await?;
    let context = Context::start(&env).await.inspect_err(|e| {
        tracing::error!(error = format!("{e:#}"), "query.start_failed");
    })?;
    lambda_http::run(router(Arc::new(context))).await
}
