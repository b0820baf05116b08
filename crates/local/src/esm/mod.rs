//! The event source mapping from a Kinesis stream to a function, with AWS Lambda's rules.
//!
//! One poller per shard, which delivers as many batches at a time as the parallelisation factor
//! says, each partition key in order; parents before their children. [`rules`] decides,
//! [`poller`] does.

pub mod checkpoint;
pub mod destination;
pub mod event;
pub mod kinesis;
mod lanes;
pub mod poller;
pub mod rules;
pub mod shards;

use crate::backoff::Backoff;
use crate::lambda::{FunctionError, FunctionHost};
use bytes::Bytes;
use checkpoint::Checkpoints;
use destination::Destination;
use poller::{Context, End};
use rules::Rules;
use shards::{Lineage, Shard};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// How often the stream is asked for new shards.
const DISCOVERY: Duration = Duration::from_secs(1);

/// A stream that can be read shard by shard.
pub trait Source: Send + Sync + 'static {
    /// The shards the stream has.
    fn shards(&self) -> impl Future<Output = Result<Vec<Shard>, SourceError>> + Send;
    /// An iterator that starts after a sequence number, or at the oldest record.
    fn iterator(
        &self,
        shard: &str,
        after: Option<&str>,
    ) -> impl Future<Output = Result<String, SourceError>> + Send;
    /// The records at an iterator.
    fn records(&self, iterator: &str, limit: usize)
    -> impl Future<Output = Result<Page, SourceError>> + Send;
}

/// One record of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its sequence number.
    pub sequence: String,
    /// Its partition key.
    pub partition_key: String,
    /// Its bytes.
    pub data: Bytes,
    /// When it arrived, milliseconds since 1970.
    pub arrived_ms: u64,
}

impl rules::Sequenced for Record {
    fn sequence(&self) -> &str {
        &self.sequence
    }
    fn arrived_ms(&self) -> u64 {
        self.arrived_ms
    }
}

/// What an iterator gave.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The records, in order. May be empty before the end of the shard.
    pub records: Vec<Record>,
    /// Where to go on; `None` at the end of a closed shard.
    pub next: Option<String>,
}

/// Why a stream could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The iterator is too old.
    #[error("the shard iterator has expired")]
    IteratorExpired,
    /// The shard or the stream does not exist.
    #[error("the shard does not exist")]
    Gone,
    /// Anything that may pass: throttling, a broken connection.
    #[error("{0}")]
    Failed(String),
}

/// A function that can be called with an event.
pub trait Target: Send + Sync + 'static {
    /// Calls it.
    fn invoke(&self, event: Bytes) -> impl Future<Output = Result<Bytes, FunctionError>> + Send;
    /// Its ARN.
    fn arn(&self) -> String;
}

impl Target for FunctionHost {
    fn invoke(&self, event: Bytes) -> impl Future<Output = Result<Bytes, FunctionError>> + Send {
        self.invoke_bytes(event)
    }
    fn arn(&self) -> String {
        self.config().arn()
    }
}

/// The mapping's settings, under AWS's names.
#[derive(Debug, Clone)]
pub struct MappingConfig {
    /// Name of the stream.
    pub stream: String,
    /// Region in ARNs and events.
    pub region: String,
    /// `BatchSize`.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`. Zero delivers what is there at once.
    pub batching_window: Duration,
    /// `ParallelizationFactor`, 1 to 10: batches of a shard that are delivered at a time. Only
    /// with 1 does Eaves' own promise hold: see `docs/delivery.md`.
    pub parallelization_factor: usize,
    /// The failure settings.
    pub rules: Rules,
    /// Pauses between deliveries that fail grow up to this.
    pub longest_retry_pause: Duration,
}

impl MappingConfig {
    /// The settings of the SAM template, but without waiting for a batch to fill up.
    pub fn new(stream: impl Into<String>, region: impl Into<String>) -> Self {
        Self {
            stream: stream.into(),
            region: region.into(),
            batch_size: 500,
            batching_window: Duration::ZERO,
            parallelization_factor: 1,
            rules: Rules {
                report_item_failures: true,
                bisect: true,
                max_retries: Some(10_000),
                max_age: None,
            },
            longest_retry_pause: Duration::from_secs(2),
        }
    }

    /// The stream's ARN.
    pub fn stream_arn(&self) -> String {
        format!("arn:aws:kinesis:{}:{}:stream/{}", self.region, crate::lambda::ACCOUNT, self.stream)
    }
}

/// What a mapping has done since it was started.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) records: AtomicU64,
    pub(crate) invocations: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) discarded: AtomicU64,
}

/// A snapshot of a mapping's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Records the function took.
    pub records: u64,
    /// Calls of the function.
    pub invocations: u64,
    /// Calls that failed, wholly or in part.
    pub failures: u64,
    /// Records sent to the on-failure destination.
    pub discarded: u64,
}

/// A running event source mapping. Dropping it stops it.
#[derive(Debug)]
pub struct Mapping {
    stop: CancellationToken,
    task: JoinHandle<()>,
    counters: Arc<Counters>,
}

impl Mapping {
    /// Starts to read the stream.
    pub fn start<S: Source, T: Target, D: Destination>(
        config: MappingConfig,
        source: S,
        target: T,
        destination: D,
        checkpoints: Checkpoints,
    ) -> Self {
        let stop = CancellationToken::new();
        let counters = Arc::new(Counters::default());
        let context = Arc::new(Context {
            config,
            source,
            target,
            destination,
            checkpoints: Mutex::new(checkpoints),
            counters: counters.clone(),
            stop: stop.clone(),
        });
        Self { stop, task: tokio::spawn(run(context)), counters }
    }

    /// What it has done.
    pub fn stats(&self) -> Stats {
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let c = &self.counters;
        Stats {
            records: read(&c.records),
            invocations: read(&c.invocations),
            failures: read(&c.failures),
            discarded: read(&c.discarded),
        }
    }

    /// Stops after the invocations under way, waiting for them at most `grace`.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(grace, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Finds shards and keeps a poller on each that may be read.
async fn run<S: Source, T: Target, D: Destination>(context: Arc<Context<S, T, D>>) {
    let stop = &context.stop;
    let mut pollers = JoinSet::new();
    let mut lineage = Lineage::default();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    while !stop.is_cancelled() {
        let pause = match context.source.shards().await {
            Ok(listed) => {
                backoff.reset();
                lineage.list(listed);
                let checkpoints = context.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
                for shard in lineage.start(&checkpoints) {
                    pollers.spawn(poller::poll(context.clone(), shard));
                }
                DISCOVERY
            }
            Err(e) => {
                tracing::warn!(stream.name = context.config.stream, error = %e, "shards could not be listed");
                backoff.next()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
            Some(ended) = pollers.join_next() => {
                if let Ok((shard, end)) = ended {
                    finished(&context, &shard, end);
                    lineage.ended(&shard);
                }
            }
        }
    }
    while pollers.join_next().await.is_some() {}
}

fn finished<S, T, D>(context: &Context<S, T, D>, shard: &str, end: End) {
    match end {
        End::Stopped => return,
        End::Closed => tracing::info!(shard.id = shard, "shard read to its end"),
        End::Gone => {
            tracing::error!(shard.id = shard, "shard is gone: records of it that were not read yet are lost");
        }
    }
    let mut checkpoints = context.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(e) = checkpoints.close(shard) {
        tracing::error!(shard.id = shard, error = %e, "the checkpoint could not be kept");
    }
}

#[cfg(test)]
mod tests;
