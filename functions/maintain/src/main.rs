//! The maintain Lambda: partitions of the coming months, statistics, what is kept for a time only.

mod handler;

use eaves_cache::Cache;
use eaves_settings::{ProcessEnv, functions::Maintain as Settings};
use eaves_store::flush::FlushStore;
use eaves_telemetry::trace::Invocation;
use lambda_runtime::{LambdaEvent, run, service_fn};
use std::sync::Arc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    eaves_telemetry::init("eaves-maintain");
    let env = eaves_secrets::resolved(ProcessEnv).await?;
    let Settings { database, retention, cache } = Settings::read(&env)?;
    let store = Arc::new(FlushStore::new(&database));
    let cache = cache.as_ref().map(Cache::connect).transpose()?;
    run(service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let (store, cache) = (store.clone(), cache.clone());
        async move {
            let (id, xray) = (event.context.request_id.as_str(), event.context.xray_trace_id.as_deref());
            let invocation = Invocation { function: "maintain", request_id: id, xray, sender: None };
            invocation
                .run(handler::handle(&store, cache.as_ref(), &retention, event.context.deadline()))
                .await
                .map_err(lambda_runtime::Error::from)
        }
    }))
    .await
}
