//! The ingest Lambda: Kinesis batches to staging and hot projection.

mod handler;

use eaves_pipeline::{Compiler, Ingest, Rules};
use eaves_plugin_host::{Host, HostConfig, RunnerCommand, run_plugins};
use eaves_registry::Registry;
use eaves_settings::{ProcessEnv, functions::Ingest as Settings};
use eaves_store::ingest::IngestStore;
use eaves_stream::Kinesis;
use eaves_telemetry::trace::Invocation;
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
    eaves_telemetry::init("eaves-ingest");
    let env = eaves_secrets::resolved(ProcessEnv).await?;
    let settings = Settings::read(&env)?;
    let config = HostConfig::new(settings.registry.signing_key.expose())?;
    let host = Host::isolated(config, RunnerCommand::this_program()?)?;
    let aws = aws_config::load_from_env().await;
    let registry = Registry::connect(&aws, &settings.registry).await?;
    let compiler = Compiler::new(aws_sdk_lambda::Client::new(&aws), &settings.registry.compiler);
    let rules = Rules::new(host, registry, settings.registry.refresh).compiled_by(compiler);
    let cache = settings.cache.as_ref().map(eaves_cache::Cache::connect).transpose()?;
    // Connects with the first batch: a database that is away hands batches back, and does
    // not keep the function from starting.
    let store = IngestStore::new(&settings.database);
    let stream = Kinesis::new(&aws);
    // One batch at a time per instance, as Lambda calls it; the lock only says so.
    let ingest = Arc::new(Mutex::new(Ingest::new(store, rules, cache, stream)));
    run(service_fn(move |event: LambdaEvent<_>| {
        let ingest = ingest.clone();
        async move {
            let (id, xray) = (event.context.request_id.clone(), event.context.xray_trace_id.clone());
            let xray = xray.as_deref();
            let invocation = Invocation { function: "ingest", request_id: &id, xray, sender: None };
            invocation.run(async move { handler::handle(&mut *ingest.lock().await, event).await }).await
        }
    }))
    .await
}
