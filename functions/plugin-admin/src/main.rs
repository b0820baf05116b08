//! Lambda entry point. One binary is three things: the HTTP API, the worker of backtests and
//! of plugins that are compiled anew, and
//! (as a process of its own, without environment) the compiler of uploads.

use eaves_fn_plugin_admin::{Context, backtest, recompile, router};
use eaves_plugin_host::{RunnerCommand, run_plugins};
use eaves_settings::ProcessEnv;
use eaves_telemetry::trace::Invocation;
use lambda_http::Adapter;
use lambda_http::request::LambdaRequest;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use std::process::ExitCode;
use std::sync::Arc;
use tower::Service as _;

fn main() -> ExitCode {
    // The compiler limits its own memory before it reads a byte: no runtime, no threads.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|a| a == "plugin") && args.next().is_some_and(|a| a == "compile-worker") {
        return eaves_plugin_host::compile_worker();
    }
    // Nor does what runs them for a backtest hold anything.
    if RunnerCommand::is_meant() {
        return run_plugins();
    }
    eaves_telemetry::init("eaves-plugin-admin");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            tracing::error!(error = %e, "plugin_admin.start_failed");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!(error = %e, "plugin_admin.failed");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Error> {
    let context = Arc::new(Context::start(&eaves_secrets::resolved(ProcessEnv).await?).await?);
    let http = Adapter::from(router(context.clone()));
    lambda_runtime::run(service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let (context, mut http) = (context.clone(), http.clone());
        let (id, xray) = (event.context.request_id.clone(), event.context.xray_trace_id.clone());
        let sender = event.payload["headers"]["traceparent"].as_str().map(str::to_owned);
        // Boxed: the futures below it are many layers deep.
        let work = Box::pin(async move {
            if let Some(ask) = backtest::Ask::from_event(&event.payload) {
                let deadline = event.context.deadline();
                return Ok::<_, Error>(backtest::serve(&context, &ask, deadline).await?);
            }
            if let Some(ask) = recompile::Recompile::from_event(&event.payload) {
                return Ok(recompile::serve(&context, &ask).await?);
            }
            let request: LambdaRequest = serde_json::from_value(event.payload)?;
            let answer = http.call(LambdaEvent::new(request, event.context)).await?;
            Ok(serde_json::to_value(answer)?)
        });
        async move {
            let (xray, sender) = (xray.as_deref(), sender.as_deref());
            let invocation = Invocation { function: "plugin-admin", request_id: &id, xray, sender };
            invocation.run(work).await
        }
    }))
    .await
}
