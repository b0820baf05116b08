//! One invocation: file after file, until the files are as far as the log was at the beginning, or the
//! time is up.

use eaves_olap::load::{LoadError, Loader, Summary, Turn};
use eaves_telemetry::metrics::{self, Unit};
use std::time::{Duration, Instant, SystemTime};

/// Time left for the file at hand and the answer.
const MARGIN: Duration = Duration::from_secs(30);
/// How long an invocation goes on to the next file: the schedule starts another one every minute.
const RUN: Duration = Duration::from_secs(55);
/// Pause after a failure that may pass, so that a database that comes back is not run over.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// So many failures in a row end the invocation; the next one goes on.
const FAILURES: u32 = 5;

pub(crate) async fn handle(loader: &Loader, deadline: SystemTime) -> Result<Summary, LoadError> {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(MARGIN);
    let end = Instant::now() + left.min(RUN);
    let mut summary = Summary::default();
    let loaded = load(loader, end, &mut summary).await;
    tell(loader, &summary).await;
    loaded?;
    tracing::info!(
        olap.changes = summary.changes,
        olap.copied = summary.copied,
        olap.files = summary.files,
        olap.resyncs = summary.resyncs,
        "loaded"
    );
    Ok(summary)
}

async fn load(loader: &Loader, end: Instant, summary: &mut Summary) -> Result<(), LoadError> {
    loader.store.note_partitions().await?;
    let mut failures = 0;
    loop {
        match loader.turn(summary).await {
            Ok(Turn::CaughtUp) => {
                summary.caught_up = true;
                return Ok(());
            }
            Ok(Turn::More) => failures = 0,
            // Its watermark is read anew.
            Ok(Turn::Busy) => {
                summary.busy += 1;
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            Err(e) if e.may_pass() && failures < FAILURES => {
                failures += 1;
                summary.failures += 1;
                tracing::warn!(error = &e as &dyn std::error::Error, "a file was not loaded; trying again");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            Err(e) => return Err(e),
        }
        if Instant::now() >= end {
            return Ok(());
        }
    }
}

/// Writes metrics; their failure is none of the load.
async fn tell(loader: &Loader, summary: &Summary) {
    match loader.store.status().await {
        Ok(status) => metrics::emit(
            "olap-load",
            &[
                (metrics::OLAP_ROWS, Unit::Count, (summary.changes + summary.copied) as f64),
                (metrics::OLAP_RESYNCS, Unit::Count, summary.resyncs as f64),
                (metrics::OLAP_LAG_MS, Unit::Milliseconds, status.lag_seconds * 1000.0),
                (metrics::OLAP_SLOT_BYTES, Unit::Bytes, status.kept_bytes.unwrap_or_default()),
            ],
        ),
        Err(e) => tracing::warn!(error = &e as &dyn std::error::Error, "reading the load's status failed"),
    }
}
