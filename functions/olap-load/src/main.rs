//! The olap-load Lambda: changes of history from the replication slot to Parquet files.

mod handler;

use eaves_olap::archive::Archive;
use eaves_olap::load::Loader;
use eaves_settings::{ProcessEnv, functions::OlapLoad as Settings};
use eaves_store::olap::OlapStore;
use eaves_telemetry::trace::Invocation;
use lambda_runtime::{LambdaEvent, run, service_fn};
use std::sync::Arc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    eaves_telemetry::init("eaves-olap-load");
    let env = eaves_secrets::resolved(ProcessEnv).await?;
    let Settings { database, bucket } = Settings::read(&env)?;
    let aws = aws_config::load_from_env().await;
    let archive = Archive::new(&aws, &bucket)?;
    let loader = Arc::new(Loader { store: OlapStore::new(&database), archive });
    run(service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let loader = loader.clone();
        async move {
            let (id, xray) = (event.context.request_id.as_str(), event.context.xray_trace_id.as_deref());
            let invocation = Invocation { function: "olap-load", request_id: id, xray, sender: None };
            let deadline = event.context.deadline();
            invocation.run(handler::handle(&loader, deadline)).await.map_err(lambda_runtime::Error::from)
        }
    }))
    .await
}
