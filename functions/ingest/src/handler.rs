//! A Kinesis event in, the records that are to be delivered again out.

use aws_lambda_events::event::kinesis::KinesisEvent;
use aws_lambda_events::event::streams::{KinesisBatchItemFailure, KinesisEventResponse};
use eaves_pipeline::{Ingest, Record, Report, Reread, ShardBatch, arrival};
use eaves_telemetry::metrics::{self, Unit};
use eaves_telemetry::trace;
use lambda_runtime::{Error, LambdaEvent};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Kept back from Lambda's time limit to answer and to write the cache.
const MARGIN: Duration = Duration::from_secs(2);

/// Takes the event's records. A failure that may pass is answered with the first record
/// of the shard's batch that was not written, so that the stream delivers from there.
pub(crate) async fn handle<R: Reread>(
    ingest: &mut Ingest<R>,
    event: LambdaEvent<KinesisEvent>,
) -> Result<KinesisEventResponse, Error> {
    let started = Instant::now();
    let time = left(event.context.deadline).saturating_sub(MARGIN);
    let mut response = KinesisEventResponse::default();
    let mut total = Report::default();
    for batch in batches(event.payload)? {
        // Boxed: the futures below it are many layers deep.
        match Box::pin(ingest.process(&batch, time)).await {
            Ok(report) => total.add(&report),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::error!(
                    stream.name = batch.stream,
                    shard.id = batch.shard,
                    error,
                    "batch handed back"
                );
                trace::failed(&error);
                // The whole batch: nothing of it was written. Records below the
                // checkpoint are skipped when they come again.
                let mut failure = KinesisBatchItemFailure::default();
                failure.item_identifier = batch.records.first().map(|r| r.sequence.clone());
                response.batch_item_failures.push(failure);
            }
        }
    }
    report(&total, response.batch_item_failures.len(), ingest.open_breakers(), started.elapsed());
    Ok(response)
}

fn left(deadline_ms: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(deadline_ms).saturating_sub(now)
}

/// The event's records by shard. Lambda sends one shard per event; a test or a hand-made
/// event may send more.
fn batches(event: KinesisEvent) -> Result<Vec<ShardBatch>, Error> {
    let mut batches: Vec<ShardBatch> = Vec::new();
    for record in event.records {
        let id = record.event_id.unwrap_or_default();
        let (shard, _) =
            id.split_once(':').ok_or_else(|| format!("eventID {id:?} is not <shard>:<sequence>"))?;
        let arn = record.event_source_arn.unwrap_or_default();
        let (_, stream) =
            arn.rsplit_once('/').ok_or_else(|| format!("eventSourceARN {arn:?} names no stream"))?;
        let known = batches.iter().position(|b| b.shard == shard && b.stream == stream);
        let at = known.unwrap_or_else(|| {
            batches.push(ShardBatch { stream: stream.into(), shard: shard.into(), records: Vec::new() });
            batches.len() - 1
        });
        let arrived = arrival(record.kinesis.approximate_arrival_timestamp.timestamp());
        let data = record.kinesis.data.0;
        batches[at].records.push(Record { sequence: record.kinesis.sequence_number, data, arrived });
    }
    Ok(batches)
}

fn report(total: &Report, handed_back: usize, breakers_open: usize, took: Duration) {
    let count = |n: u64| n as f64;
    let mut values = vec![
        (metrics::VALUES_ACCEPTED, Unit::Count, count(total.accepted)),
        (metrics::VALUES_REJECTED, Unit::Count, count(total.rejected)),
        (metrics::RECORDS_QUARANTINED, Unit::Count, count(total.quarantined)),
        (metrics::RECORDS_DUPLICATE, Unit::Count, count(total.duplicates)),
        (metrics::BATCHES_HANDED_BACK, Unit::Count, handed_back as f64),
        (metrics::PLUGIN_FAILURES, Unit::Count, count(total.plugin_failures)),
        (metrics::PLUGIN_BREAKERS_OPEN, Unit::Count, breakers_open as f64),
        (metrics::CACHE_FAILURES, Unit::Count, count(total.cache_failures)),
        (metrics::INGEST_MS, Unit::Milliseconds, took.as_secs_f64() * 1e3),
    ];
    if total.staging_lost || total.replayed > 0 {
        values.push((metrics::STAGING_LOST, Unit::Count, f64::from(u8::from(total.staging_lost))));
        values.push((metrics::RECORDS_REPLAYED, Unit::Count, count(total.replayed)));
    }
    metrics::emit("ingest", &values);
}
