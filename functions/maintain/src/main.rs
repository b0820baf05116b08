//! The maintain Lambda: partitions of the coming months, statistics.

mod handler;

use eaves_settings::{ProcessEnv, functions::Maintain as Settings};
use eaves_store::flush::FlushStore;
use lambda_runtime::{LambdaEvent, run, service_fn};
use std::sync::Arc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    eaves_telemetry::init();
    let env = eaves_secrets::resolved(ProcessEnv).await?;
    let store = Arc::new(FlushStore::new(&Settings::read(&env)?.database));
    run(service_fn(move |_: LambdaEvent<serde_json::Value>| {
        let store = store.clone();
        async move { handler::handle(&store).await.map_err(lambda_runtime::Error::from) }
    }))
    .await
}
