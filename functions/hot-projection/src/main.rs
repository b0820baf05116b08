//! The hot-projection Lambda: decides for each tenant which attributes are hot, by the tenant's
//! plugin or the built-in rule. What follows from it is done by maintain.

mod handler;
mod opinion;
mod record;

use eaves_plugin_host::{Host, HostConfig, RunnerCommand, run_plugins};
use eaves_registry::Registry;
use eaves_settings::{ProcessEnv, functions::HotProjection as Settings};
use eaves_store::read::Reader;
use eaves_telemetry::trace::Invocation;
use handler::Deciding;
use lambda_runtime::{LambdaEvent, run, service_fn};
use opinion::Plugins;
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
    eaves_telemetry::init("eaves-hot-projection");
    let env = eaves_secrets::resolved(ProcessEnv).await?;
    let settings = Settings::read(&env)?;
    let config = HostConfig::new(settings.registry.signing_key.expose())?;
    let host = Host::isolated(config, RunnerCommand::this_program()?)?;
    let aws = aws_config::load_from_env().await;
    let registry = Registry::connect(&aws, &settings.registry).await?;
    let primary = Reader::new(&settings.primary, settings.primary.statement_timeout);
    let plugins = Plugins::new(host, registry);
    // One invocation at a time per instance, as Lambda calls it; the lock only says so.
    let deciding = Arc::new(Mutex::new(Deciding { primary, plugins, cooldown: settings.cooldown }));
    run(service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let deciding = deciding.clone();
        async move {
            let (id, xray) = (event.context.request_id.clone(), event.context.xray_trace_id.clone());
            let xray = xray.as_deref();
            let invocation = Invocation { function: "hot-projection", request_id: &id, xray, sender: None };
            let work = async move { handler::handle(&mut *deciding.lock().await, &event).await };
            invocation.run(work).await.map_err(lambda_runtime::Error::from)
        }
    }))
    .await
}
