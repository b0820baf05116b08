//! The ingest Lambda: Kinesis batches to staging and hot projection.

mod handler;

use eaves_pipeline::{Ingest, Rules};
use eaves_plugin_host::{Host, HostConfig, RunnerCommand, run_plugins};
use eaves_registry::Registry;
use eaves_settings::{Cache, Postgres, ProcessEnv, Registry as RegistrySettings};
use eaves_store::ingest::IngestStore;
use eaves_stream::Kinesis;
use lambda_runtime::{LambdaEvent, run, service_fn};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::Mutex;

fn main() -> Result<ExitCode, lambda_runtime::Error> {
    // The same program runs the tenants' plugins, in a process that holds nothing: before any
    // thread is started or file opened.
    if RunnerCommand::is_meant() {
        return Ok(run_plugins());
    }
    serve().map(|()| ExitCode::SUCCESS)
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), lambda_runtime::Error> {
    eaves_telemetry::init();
    let env = ProcessEnv;
    let registry_settings = RegistrySettings::read(&env)?;
    let host = Host::isolated(
        HostConfig::new(registry_settings.signing_key.expose())?,
        RunnerCommand::this_program()?,
    )?;
    let aws = aws_config::load_from_env().await;
    let registry = Registry::connect(&aws, &registry_settings).await?;
    let rules = Rules::new(host, registry, registry_settings.refresh);
    let cache = Cache::read(&env)?.map(|settings| eaves_cache::Cache::connect(&settings)).transpose()?;
    // Connects with the first batch: a database that is away hands batches back, and does
    // not keep the function from starting.
    let store = IngestStore::new(&Postgres::primary(&env)?);
    let stream = Kinesis::new(&aws);
    // One batch at a time per instance, as Lambda calls it; the lock only says so.
    let ingest = Arc::new(Mutex::new(Ingest::new(store, rules, cache, stream)));
    run(service_fn(move |event: LambdaEvent<_>| {
        let ingest = ingest.clone();
        async move { handler::handle(&mut *ingest.lock().await, event).await }
    }))
    .await
}
