//! One shard: fetch ahead, share out among lanes, gather batches, deliver each lane's in
//! order, keep the checkpoint.

use super::checkpoint::Checkpoints;
use super::destination::{Destination, Discarded};
use super::lanes::{Progress, lane};
use super::rules::{Delivery, Step, Verdict, verdict};
use super::{Counters, MappingConfig, Record, Source, SourceError, Target, event};
use crate::backoff::Backoff;
use crate::lambda::{FunctionError, MAX_PAYLOAD};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pages fetched ahead of the function: enough to keep it busy, little to hold in memory.
const PAGES_AHEAD: usize = 2;
/// Parts of pages that wait for a lane that is held up, before the others wait with it.
const PARTS_AHEAD: usize = 16;
const PAGE: usize = 2_000;

/// What all pollers of a mapping share.
pub(super) struct Context<S, T, D> {
    pub(super) config: MappingConfig,
    pub(super) source: S,
    pub(super) target: T,
    pub(super) destination: D,
    pub(super) checkpoints: Mutex<Checkpoints>,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: CancellationToken,
}

/// Why a poller ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The mapping stops.
    Stopped,
    /// The shard is closed and was read to its end.
    Closed,
    /// The shard does not exist any more.
    Gone,
}

/// Reads one shard until it ends or the mapping stops.
pub(super) async fn poll<S: Source, T: Target, D: Destination>(
    context: Arc<Context<S, T, D>>,
    shard: String,
) -> (String, End) {
    let after = {
        let checkpoints = context.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        checkpoints.sequence(&shard).map(str::to_owned)
    };
    let at = Arc::new(Place { shard: shard.clone(), progress: Mutex::default() });
    let (pages, fetched) = mpsc::channel(PAGES_AHEAD);
    // Dropped with this poller, and with them what they do.
    let (mut fetching, mut lanes) = (JoinSet::new(), JoinSet::new());
    fetching.spawn(fetch(context.clone(), shard.clone(), after, pages));
    let mut queues = Vec::new();
    let factor = context.config.parallelization_factor.max(1);
    for _ in 0..factor {
        let ahead = if factor > 1 { PARTS_AHEAD } else { 1 };
        let (queue, queued) = mpsc::channel(ahead);
        queues.push(queue);
        lanes.spawn(take_in_order(context.clone(), at.clone(), queued));
    }
    share_out(fetched, queues, &at).await;
    while lanes.join_next().await.is_some() {}
    if context.stop.is_cancelled() {
        return (shard, End::Stopped);
    }
    let end = fetching.join_next().await;
    (shard, end.and_then(Result::ok).unwrap_or(End::Stopped))
}

/// A shard on its way through the lanes.
struct Place {
    shard: String,
    progress: Mutex<Progress>,
}

/// Gives each record to the lane of its partition key, until there are no more or the lanes
/// have stopped. A lane that is held up holds up the others once its queue is full: what is
/// fetched ahead stays bounded.
async fn share_out(
    mut fetched: mpsc::Receiver<Vec<Record>>,
    queues: Vec<mpsc::Sender<Vec<Record>>>,
    at: &Place,
) {
    while let Some(page) = fetched.recv().await {
        at.progress.lock().unwrap_or_else(PoisonError::into_inner).begun(&page);
        let mut parts: Vec<Vec<Record>> = queues.iter().map(|_| Vec::new()).collect();
        for record in page {
            parts[lane(&record.partition_key, queues.len())].push(record);
        }
        for (queue, part) in queues.iter().zip(parts) {
            if !part.is_empty() && queue.send(part).await.is_err() {
                return;
            }
        }
    }
}

/// Delivers what comes into a lane, batch after batch.
async fn take_in_order<S: Source, T: Target, D: Destination>(
    context: Arc<Context<S, T, D>>,
    at: Arc<Place>,
    mut queued: mpsc::Receiver<Vec<Record>>,
) {
    let mut pending = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            () = context.stop.cancelled() => return,
            () = gather(&mut queued, &mut pending, &context.config) => {}
        }
        let batch = cut(&mut pending, context.config.batch_size);
        if batch.is_empty() {
            return;
        }
        deliver(&context, &at, batch).await;
    }
}

/// Waits for records: at least one, then a full batch or the end of the window. None is
/// there afterwards only if there will be no more.
async fn gather(
    fetched: &mut mpsc::Receiver<Vec<Record>>,
    pending: &mut VecDeque<Record>,
    config: &MappingConfig,
) {
    if pending.is_empty() {
        match fetched.recv().await {
            Some(page) => pending.extend(page),
            None => return,
        }
    }
    let until = Instant::now() + config.batching_window;
    while pending.len() < config.batch_size {
        let page = if config.batching_window.is_zero() {
            fetched.try_recv().ok()
        } else {
            tokio::time::timeout_at(until, fetched.recv()).await.ok().flatten()
        };
        match page {
            Some(page) => pending.extend(page),
            None => return,
        }
    }
}

/// The next batch: as many records as asked for and as fit an event.
fn cut(pending: &mut VecDeque<Record>, batch_size: usize) -> Vec<Record> {
    let mut bytes = event::FRAME;
    let fits = pending.iter().take(batch_size).take_while(|record| {
        bytes += event::size(record);
        bytes <= MAX_PAYLOAD
    });
    // A record always fits: the stream's limit is far below the event's.
    let count = fits.count().max(1).min(pending.len());
    pending.drain(..count).collect()
}

/// Delivers a batch until all of it is taken or discarded, or the mapping stops.
async fn deliver<S: Source, T: Target, D: Destination>(
    context: &Context<S, T, D>,
    at: &Place,
    batch: Vec<Record>,
) {
    let shard = at.shard.as_str();
    let stop = &context.stop;
    let mut pause = Backoff::new(Duration::from_millis(50), context.config.longest_retry_pause);
    let mut delivery = Delivery::new(batch, context.config.rules.clone());
    let counters = &context.counters;
    while !stop.is_cancelled() {
        let outcome = match delivery.step(now_ms()) {
            Step::Done => return,
            Step::Discard { records, condition, invocations } => {
                let discarded =
                    Discarded { config: &context.config, shard, records: &records, condition, invocations };
                let arn = context.target.arn();
                if let Err(e) = context.destination.keep(discarded.key(), discarded.document(&arn)).await {
                    // Keeping it is the promise: the shard waits until it can be kept.
                    tracing::error!(shard.id = shard, error = %e, "the on-failure destination does not answer");
                    delivery.put_back(records, invocations);
                    wait(stop, pause.next()).await;
                    continue;
                }
                tracing::error!(
                    shard.id = shard,
                    records = records.len(),
                    condition = condition.name(),
                    "records discarded"
                );
                counters.discarded.fetch_add(records.len() as u64, Ordering::Relaxed);
                advance(context, at, &records);
                continue;
            }
            Step::Invoke(records) => invoke(context, shard, records).await,
        };
        let verdict = match outcome {
            Outcome::Answered(verdict) => verdict,
            Outcome::NotCalled => {
                wait(stop, pause.next()).await;
                continue;
            }
            Outcome::Stopping => return,
        };
        counters.invocations.fetch_add(1, Ordering::Relaxed);
        let taken = delivery.answered(verdict);
        counters.records.fetch_add(taken.len() as u64, Ordering::Relaxed);
        advance(context, at, &taken);
        if verdict == Verdict::Taken {
            pause.reset();
        } else {
            counters.failures.fetch_add(1, Ordering::Relaxed);
            wait(stop, pause.next()).await;
        }
    }
}

/// What came of calling the function.
enum Outcome {
    Answered(Verdict),
    NotCalled,
    Stopping,
}

async fn invoke<S: Source, T: Target, D: Destination>(
    context: &Context<S, T, D>,
    shard: &str,
    records: &[Record],
) -> Outcome {
    let event = event::encode(&context.config, shard, records);
    match context.target.invoke(event).await {
        Ok(answer) if context.config.rules.report_item_failures => {
            let verdict = verdict(&answer, records);
            if verdict != Verdict::Taken {
                tracing::warn!(
                    shard.id = shard,
                    records = records.len(),
                    ?verdict,
                    "records are delivered again"
                );
            }
            Outcome::Answered(verdict)
        }
        Ok(_) => Outcome::Answered(Verdict::Taken),
        Err(FunctionError::Stopping) => Outcome::Stopping,
        // Splitting helps against an event that is too large; nothing else would.
        Err(e) if e.before_invocation() && !matches!(e, FunctionError::TooLarge(_)) => {
            tracing::warn!(shard.id = shard, error = %e, "the function was not called");
            Outcome::NotCalled
        }
        Err(e) => {
            tracing::warn!(shard.id = shard, records = records.len(), error = %e, "the function failed");
            Outcome::Answered(Verdict::Failed)
        }
    }
}

fn advance<S, T, D>(context: &Context<S, T, D>, at: &Place, records: &[Record]) {
    // Held while the checkpoint is written: of two lanes the later one must not be overtaken.
    let mut progress = at.progress.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(reached) = progress.done(records) else { return };
    let mut checkpoints = context.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(e) = checkpoints.advance(&at.shard, &reached) {
        // The function has the records; after a restart they come once more.
        tracing::error!(shard.id = at.shard, error = %e, "the checkpoint could not be kept");
    }
}

/// Fetches pages ahead until the shard ends or nobody wants them any more.
async fn fetch<S: Source, T: Target, D: Destination>(
    context: Arc<Context<S, T, D>>,
    shard: String,
    mut after: Option<String>,
    pages: mpsc::Sender<Vec<Record>>,
) -> End {
    let source = &context.source;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    // A stream at rest is asked less: a shard answers five calls a second, and recovery may
    // want some of them.
    let mut idle = Backoff::new(Duration::from_millis(50), Duration::from_millis(200));
    let mut iterator: Option<String> = None;
    loop {
        let from = match iterator.take() {
            Some(iterator) => Ok(iterator),
            None => source.iterator(&shard, after.as_deref()).await,
        };
        let page = match from {
            Ok(from) => source.records(&from, PAGE).await,
            Err(e) => Err(e),
        };
        match page {
            Ok(page) => {
                backoff.reset();
                let empty = page.records.is_empty();
                if let Some(last) = page.records.last() {
                    after = Some(last.sequence.clone());
                    if pages.send(page.records).await.is_err() {
                        return End::Stopped;
                    }
                }
                let Some(next) = page.next else { return End::Closed };
                iterator = Some(next);
                if empty {
                    tokio::time::sleep(idle.next()).await;
                } else {
                    idle.reset();
                }
            }
            Err(SourceError::Gone) => return End::Gone,
            Err(SourceError::IteratorExpired) => {}
            Err(SourceError::Failed(text)) => {
                tracing::warn!(shard.id = shard, error = text, "records could not be read");
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

async fn wait(stop: &CancellationToken, pause: Duration) {
    // Being stopped only ends the pause early.
    drop(tokio::time::timeout(pause, stop.cancelled()).await);
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
