//! One invocation: the flush loop, and beside it the heartbeat and the replay of idle shards.

use crate::recovery::Recovery;
use eaves_settings::Flush;
use eaves_store::StoreError;
use eaves_store::flush::FlushStore;
use eaves_telemetry::metrics::{self, Unit};
use eaves_telemetry::{span, trace};
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Mutex, watch};
use tracing::Instrument as _;

/// Time left for the last flush and the answer.
const MARGIN: Duration = Duration::from_secs(3);
/// Pause between two heartbeats.
const BEAT: Duration = Duration::from_millis(200);
/// Pause after a failure, so that a database that comes back is not run over.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// How often metrics are written.
const METRICS: Duration = Duration::from_secs(10);
/// How often what was counted of attributes is taken into their statistics.
const STATISTICS: Duration = Duration::from_secs(5);
/// A leaf with fewer rows can wait for the next turn: each flush has a fixed cost.
const WORTH_ANOTHER: u64 = 20_000;

/// What an invocation did.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// Rows moved to history.
    rows: u64,
    /// Flushes that moved any.
    flushes: u64,
    /// Times another flush was at work.
    busy: u64,
    /// Heartbeats written.
    beats: u64,
    /// Records read again from the stream.
    replayed: u64,
    /// Failures that may pass.
    failures: u64,
}

pub(crate) async fn handle(
    flush: &FlushStore,
    beat: &FlushStore,
    recovery: Arc<Mutex<Recovery>>,
    rhythm: &Flush,
    deadline: SystemTime,
    stopped: watch::Receiver<bool>,
) -> Result<Summary, StoreError> {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(MARGIN);
    let end = Instant::now() + left.min(rhythm.run_for);
    let replay = {
        let stopped = stopped.clone();
        let replaying = async move { recovery.lock().await.run_until(end, stopped).await };
        tokio::spawn(replaying.instrument(span!("replay")))
    };
    let (flushed, beats) = tokio::join!(
        flush_until(flush, rhythm.interval, end, stopped.clone()),
        beat_until(beat, end, stopped)
    );
    // A replay that panicked has said so; what it had begun is rolled back.
    let replayed = replay.await.unwrap_or_default();
    let summary = Summary { beats, replayed, ..flushed? };
    tracing::info!(
        flush.rows = summary.rows,
        flush.flushes = summary.flushes,
        flush.replayed = summary.replayed,
        flush.failures = summary.failures,
        "flushed"
    );
    Ok(summary)
}

async fn flush_until(
    store: &FlushStore,
    interval: Duration,
    end: Instant,
    mut stopped: watch::Receiver<bool>,
) -> Result<Summary, StoreError> {
    let mut summary = Summary::default();
    let mut told = (Instant::now(), 0);
    let mut folded = None;
    while Instant::now() < end && !*stopped.borrow() {
        let (turn, began) = (Instant::now(), SystemTime::now());
        let pause = match store.stage_flush(1).await {
            Ok(Some(rows)) => {
                summary.rows += rows;
                summary.flushes += u64::from(rows > 0);
                // Ten turns a second find nothing, and are worth no span.
                if rows > 0 {
                    trace::past("flush", began, &[("rows", i64::try_from(rows).unwrap_or(i64::MAX))]);
                }
                if rows >= WORTH_ANOTHER { Duration::ZERO } else { interval }
            }
            Ok(None) => {
                summary.busy += 1;
                interval
            }
            Err(e) if e.is_retryable() => {
                summary.failures += 1;
                tracing::warn!(error = &e as &dyn std::error::Error, "a flush failed; trying again");
                AFTER_FAILURE
            }
            Err(e) => return Err(e),
        };
        if folded.is_none_or(|at: Instant| at.elapsed() >= STATISTICS) {
            fold(store).await;
            folded = Some(Instant::now());
        }
        if told.0.elapsed() >= METRICS {
            tell(store, summary.rows - told.1).await;
            told = (Instant::now(), summary.rows);
        }
        let wait = pause.saturating_sub(turn.elapsed());
        // Ends early on a stop. A sender that is gone cannot stop us; the deadline does.
        let _ = tokio::time::timeout(wait, stopped.wait_for(|stop| *stop)).await;
    }
    tell(store, summary.rows - told.1).await;
    Ok(summary)
}

async fn beat_until(store: &FlushStore, end: Instant, mut stopped: watch::Receiver<bool>) -> u64 {
    let mut beats = 0;
    while Instant::now() < end && !*stopped.borrow() {
        let turn = Instant::now();
        let pause = match store.heartbeat().await {
            Ok(()) => {
                beats += 1;
                BEAT
            }
            Err(e) => {
                tracing::warn!(error = &e as &dyn std::error::Error, "a heartbeat failed");
                AFTER_FAILURE
            }
        };
        let wait = pause.saturating_sub(turn.elapsed());
        let _ = tokio::time::timeout(wait, stopped.wait_for(|stop| *stop)).await;
    }
    beats
}

/// Statistics can wait for the next time; the flush cannot.
async fn fold(store: &FlushStore) {
    if let Err(e) = store.fold_statistics().await {
        tracing::warn!(error = &e as &dyn std::error::Error, "folding statistics failed");
    }
}

/// Writes metrics; their failure is none of the flush.
async fn tell(store: &FlushStore, rows: u64) {
    match store.backlog().await {
        Ok(backlog) => metrics::emit(
            "flush",
            &[
                (metrics::ROWS_FLUSHED, Unit::Count, rows as f64),
                (metrics::STAGING_BACKLOG, Unit::Count, backlog.staged_rows as f64),
                (metrics::FLUSH_LAG_MS, Unit::Milliseconds, backlog.oldest_staged_seconds * 1000.0),
                (metrics::STREAM_LOSSES, Unit::Count, backlog.losses as f64),
            ],
        ),
        Err(e) => tracing::warn!(error = &e as &dyn std::error::Error, "reading the backlog failed"),
    }
}
