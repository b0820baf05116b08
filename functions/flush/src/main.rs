//! The flush Lambda: staged values to history, every 100 ms for as long as it runs.

mod handler;
mod recovery;

use eaves_plugin_host::{RunnerCommand, run_plugins};
use eaves_settings::{ProcessEnv, functions::Flush as Settings};
use eaves_store::flush::FlushStore;
use eaves_telemetry::trace::Invocation;
use lambda_runtime::{LambdaEvent, run, service_fn};
use recovery::Recovery;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};

fn main() -> Result<ExitCode, lambda_runtime::Error> {
    // The same program runs the plugins of a replay, in a process that holds nothing: before
    // any thread is started or file opened.
    if RunnerCommand::is_meant() {
        return Ok(run_plugins());
    }
    serve().map(|()| ExitCode::SUCCESS)
}

// Two threads: decoding and plugins of a replay must not hold up the flush.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn serve() -> Result<(), lambda_runtime::Error> {
    eaves_telemetry::init("eaves-flush");
    let env = eaves_secrets::resolved(ProcessEnv).await?;
    let Settings { rhythm, replay } = Settings::read(&env)?;
    // A connection of its own for the heartbeat: it must not wait for a long flush.
    let flush = Arc::new(FlushStore::new(&replay.database));
    let beat = Arc::new(FlushStore::new(&replay.database));
    let recovery = Arc::new(Mutex::new(Recovery::new(&replay).await?));
    let (stop, stopped) = watch::channel(false);

    let served = run(service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let (flush, beat, rhythm, stopped) = (flush.clone(), beat.clone(), rhythm.clone(), stopped.clone());
        let recovery = recovery.clone();
        async move {
            let deadline = event.context.deadline();
            let (id, xray) = (event.context.request_id.as_str(), event.context.xray_trace_id.as_deref());
            let invocation = Invocation { function: "flush", request_id: id, xray, sender: None };
            invocation
                .run(handler::handle(&flush, &beat, recovery, &rhythm, deadline, stopped))
                .await
                .map_err(lambda_runtime::Error::from)
        }
    }));
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        done = served => done,
        () = async {
            term.recv().await;
            // The running flush ends and its answer goes out.
            let _ = stop.send(true);
            tokio::time::sleep(Duration::from_millis(1500)).await;
        } => Ok(()),
    }
}
