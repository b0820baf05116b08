//! The flush Lambda: staged values to history, every 100 ms for as long as it runs.

mod handler;
mod recovery;

use eaves_settings::{ProcessEnv, functions::Flush as Settings};
use eaves_store::flush::FlushStore;
use lambda_runtime::{LambdaEvent, run, service_fn};
use recovery::Recovery;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};

// Two threads: decoding and plugins of a replay must not hold up the flush.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), lambda_runtime::Error> {
    eaves_telemetry::init();
    let env = eaves_secrets::resolved(ProcessEnv).await?;
    let Settings { rhythm, replay } = Settings::read(&env)?;
    // A connection of its own for the heartbeat: it must not wait for a long flush.
    let flush = Arc::new(FlushStore::new(&replay.database));
    let beat = Arc::new(FlushStore::new(&replay.database));
    let recovery = Arc::new(Mutex::new(Recovery::new(&replay).await?));
    let (stop, stopped) = watch::channel(false);

    let serve = run(service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let (flush, beat, rhythm, stopped) = (flush.clone(), beat.clone(), rhythm.clone(), stopped.clone());
        let recovery = recovery.clone();
        async move {
            let deadline = event.context.deadline();
            handler::handle(&flush, &beat, recovery, &rhythm, deadline, stopped)
                .await
                .map_err(lambda_runtime::Error::from)
        }
    }));
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        done = serve => done,
        () = async {
            term.recv().await;
            // The running flush ends and its answer goes out.
            let _ = stop.send(true);
            tokio::time::sleep(Duration::from_millis(1500)).await;
        } => Ok(()),
    }
}
