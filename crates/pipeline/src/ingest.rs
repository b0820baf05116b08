//! One shard's records through the write path.

use crate::assemble::{Asking, Output, assemble, register};
use crate::decode::{Part, Sorted, readings};
use crate::directory::Directory;
use crate::points;
use crate::replay::Ahead;
use crate::report::Report;
use crate::retry::Backoff;
use crate::rules::Rules;
use crate::shadow;
use crate::source::{Reread, RereadError};
use crate::work::Account;
use eaves_cache::{Cache, Entry};
use eaves_model::delivery::is_duplicate;
use eaves_model::{Position, TenantId, Timestamp};
use eaves_registry::RegistryError;
use eaves_store::StoreError;
use eaves_store::ingest::{Commit, CommitError, Guard, IngestStore, ShardPlace};
use eaves_telemetry::{span, trace};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tracing::{Instrument as _, Span};

/// The consumer's name in `ingest_checkpoints`: a second one would keep its own place.
pub const CONSUMER: &str = "ingest";
/// Values after which a transaction takes no further piece: some 20 MB in memory, and a
/// second or two of the database's time.
const VALUES_AT_ONCE: usize = 100_000;
/// How long a database that is away is waited for before the batch is handed back.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a batch is started over because another instance moved the checkpoint.
const MAX_RESTARTS: u32 = 5;
/// Most time one tenant's plugin may take for its part of a batch.
const PLUGIN_TIME: Duration = Duration::from_secs(2);

/// Tenants of a transaction that have spans of their own: a trace does not grow with them.
const TRACED_TENANTS: usize = 16;

/// One record of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Kinesis sequence number.
    pub sequence: String,
    /// The record's bytes.
    pub data: Vec<u8>,
    /// When the stream took it, to the second: by this, and not by the clock at hand, a
    /// value is late or ahead, so that a replay hours later decides the same. `None` if
    /// the stream does not say.
    pub arrived: Option<Timestamp>,
}

/// Consecutive records of one shard, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardBatch {
    /// The stream's name.
    pub stream: String,
    /// The shard's identifier.
    pub shard: String,
    /// The records.
    pub records: Vec<Record>,
}

/// Why a batch could not be taken now. Nothing of it was written (parts of a replay
/// before it may have been); the stream is to deliver it again.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The database.
    #[error("write the batch")]
    Store(#[from] StoreError),
    /// The plugin registry.
    #[error("find the tenant's plugin")]
    Registry(#[from] RegistryError),
    /// No plugin can be run just now.
    #[error("ask the tenant's plugin: {0}")]
    Plugins(String),
    /// The stream, while reading a shard again.
    #[error("replay the shard")]
    Reread(#[from] RereadError),
    /// The function's time is nearly over. What was done is kept.
    #[error("the time for shard {shard} is over; what was read so far is kept")]
    OutOfTime {
        /// The shard.
        shard: String,
    },
    /// No records where there should be some.
    #[error("a batch without records")]
    Empty,
    /// A sequence number that is none.
    #[error("read the event")]
    Sequence(#[from] eaves_model::position::BadSequence),
    /// Other instances kept moving the shard's checkpoint.
    #[error("the checkpoint of shard {shard} moved {MAX_RESTARTS} times while a batch was written")]
    Contended {
        /// The shard.
        shard: String,
    },
}

/// The write path of one function instance.
pub struct Ingest<R> {
    pub(crate) store: IngestStore,
    rules: Rules,
    cache: Option<Cache>,
    pub(crate) stream: R,
    pub(crate) directory: Directory,
    /// Where each shard's checkpoint stood when this instance last looked.
    pub(crate) checkpoints: HashMap<ShardPlace, Option<Position>>,
    /// Values after which a transaction takes no further piece.
    values_at_once: usize,
}

impl<R: Reread> Ingest<R> {
    /// How many tenants' versions in force kept failing and are not asked by this instance.
    pub fn open_breakers(&self) -> usize {
        self.rules.open_breakers()
    }

    /// A write path over its stores.
    pub fn new(store: IngestStore, rules: Rules, cache: Option<Cache>, stream: R) -> Self {
        Self {
            store,
            rules,
            cache,
            stream,
            directory: Directory::new(),
            checkpoints: HashMap::new(),
            values_at_once: VALUES_AT_ONCE,
        }
    }

    /// With another bound on the values that one transaction takes.
    #[must_use]
    pub fn values_at_once(self, values: usize) -> Self {
        Self { values_at_once: values.max(1), ..self }
    }

    /// Takes a batch: afterwards each of its records is in the database (as values, as
    /// rejections, in quarantine or skipped as a duplicate) exactly once.
    ///
    /// A database that does not answer is tried again for a while with growing pauses;
    /// then, and when `time` is over, the batch is handed back with what was done kept.
    pub async fn process(&mut self, batch: &ShardBatch, time: Duration) -> Result<Report, IngestError> {
        let end = Instant::now() + time;
        let mut report = Report::default();
        let place = ShardPlace {
            stream: batch.stream.clone(),
            shard: batch.shard.clone(),
            consumer: CONSUMER.to_owned(),
        };
        let Some(first) = batch.records.first() else { return Ok(report) };
        let first = Position::whole(&first.sequence)?;
        let mut pauses = Backoff::new(end.min(Instant::now() + PATIENCE));
        let mut restarts = 0;
        while restarts < MAX_RESTARTS {
            let done = match self.ready(&place, Ahead::Batch(&first), &mut report, end).await {
                Ok(expected) => {
                    Box::pin(self.take_all(&place, &batch.records, expected, &mut report, end)).await
                }
                Err(e) => Err(Interrupted::Failed(e)),
            };
            match done {
                Ok(position) => {
                    self.checkpoints.insert(place, position);
                    self.tell(&report).await;
                    return Ok(report);
                }
                Err(Interrupted::Moved) => restarts += 1,
                Err(Interrupted::StagingLost) => {
                    report.staging_lost = true;
                    restarts += 1;
                }
                Err(Interrupted::Failed(e)) => {
                    // What this instance remembers may be what is wrong.
                    self.checkpoints.clear();
                    if !pauses.again(&e).await {
                        return Err(e);
                    }
                }
            }
        }
        Err(IngestError::Contended { shard: batch.shard.clone() })
    }

    /// What plugins cost and decided, once in a while.
    pub(crate) async fn tell(&self, report: &Report) {
        self.rules.meter.write_after(report.accepted + report.rejected, &self.store).await;
    }

    /// Writes all of `records`, in as many transactions as it takes. Answers with the
    /// checkpoint afterwards.
    pub(crate) async fn take_all(
        &mut self,
        place: &ShardPlace,
        mut records: &[Record],
        mut expected: Option<Position>,
        report: &mut Report,
        end: Instant,
    ) -> Result<Option<Position>, Interrupted> {
        while !records.is_empty() {
            if Instant::now() >= end {
                return Err(Interrupted::Failed(IngestError::OutOfTime { shard: place.shard.clone() }));
            }
            let taken = self.take(place, records, expected.as_ref(), end).await?;
            report.add(&taken.report);
            expected = taken.position;
            let done = |r: &Record| {
                Position::whole(&r.sequence).is_ok_and(|at| is_duplicate(expected.as_ref(), &at))
            };
            records = &records[records.partition_point(done)..];
        }
        Ok(expected)
    }

    /// Writes records on top of the checkpoint `expected`: as many as one transaction should
    /// hold, to the middle of an aggregated record if need be. Answers with the checkpoint
    /// afterwards.
    pub(crate) async fn take(
        &mut self,
        place: &ShardPlace,
        records: &[Record],
        expected: Option<&Position>,
        end: Instant,
    ) -> Result<Taken, Interrupted> {
        let mut account = Account::new(place.consumer != CONSUMER);
        let mut fresh = Vec::with_capacity(records.len());
        for record in records {
            let at = Position::whole(&record.sequence).map_err(IngestError::from)?;
            if is_duplicate(expected, &at) {
                account.redelivered(record.arrived.unwrap_or_else(Timestamp::now));
            } else {
                fresh.push((at, record));
            }
        }
        account.report.records = (records.len() - fresh.len()) as u64;
        if fresh.is_empty() {
            return Ok(Taken { report: account.report, position: expected.cloned() });
        }
        let (Output { points, hot, guarded, seen }, position) =
            self.build(place, &fresh, expected, &mut account, end).await?;
        let at = Commit {
            stream: &place.stream,
            shard: &place.shard,
            consumer: &place.consumer,
            expected,
            position: &position,
            points: &points,
            hot: &[],
            ledger: &[],
            quarantine: &[],
            redrives: &[],
        };
        let writing = span!("commit", points = points.len(), hot_rows = hot.len(), guarded = guarded.len());
        let committed = if guarded.is_empty() {
            let (ledger, quarantine, redrives) = (&account.ledger(), &account.quarantine, &account.settled());
            let commit = Commit { hot: &hot, ledger, quarantine, redrives, ..at };
            self.store.commit(&commit).instrument(writing).await
        } else {
            // What becomes of guarded points, and with them of hot rows, ledger and
            // quarantine, is decided inside the transaction.
            let which = points::guarded(&guarded);
            let account = &mut account;
            let settle = Box::new(|held| points::settle(&points, hot, &guarded, account, held));
            self.store.commit_guarded(&at, Guard { points: &which, settle }).instrument(writing).await
        };
        let committed = match committed {
            Ok(committed) => committed,
            Err(e) => {
                self.checkpoints.remove(place);
                return Err(match e {
                    CommitError::CheckpointMoved { .. } | CommitError::RedriveSettled => Interrupted::Moved,
                    CommitError::StagingLost { .. } => Interrupted::StagingLost,
                    CommitError::Store(e) => Interrupted::Failed(e.into()),
                });
            }
        };
        if let Some(cache) = &mut self.cache {
            // An operator's replay reads records that the shard's own checkpoint is beyond.
            let taken = (place.consumer == CONSUMER).then(|| (place.shard.clone(), position.clone()));
            let hot = committed.hot.into_iter();
            let entries: Vec<Entry> = hot.map(|h| entry(h, committed.ingested_at, taken.as_ref())).collect();
            let writing = span!("cache", entries = entries.len());
            if let Err(e) = cache.write_through(&entries).instrument(writing).await {
                account.report.cache_failures += 1;
                tracing::warn!(error = &e as &dyn std::error::Error, "cache write failed");
            }
        }
        shadow::look_on(&mut self.rules, seen);
        Ok(Taken { report: account.report, position: Some(position) })
    }

    /// Decodes records and asks each tenant's plugin about its readings. The position is
    /// that of the last piece in the output.
    async fn build(
        &mut self,
        place: &ShardPlace,
        records: &[(Position, &Record)],
        expected: Option<&Position>,
        account: &mut Account,
        end: Instant,
    ) -> Result<(Output, Position), IngestError> {
        let part = Part { records, expected, values: self.values_at_once };
        let decoding = span!("decode", stream = place.stream, shard = place.shard, records = records.len());
        let Sorted { by_tenant, reached, senders } =
            readings(&mut self.directory, &mut self.store, place, part, account).instrument(decoding).await?;
        trace::link(&senders);
        let mut output = Output::default();
        let known = |name: &str| self.directory.tenant(name).map(|t| t.id);
        let tenants: Vec<TenantId> = by_tenant.iter().filter_map(|w| known(&w.name)).collect();
        self.rules.refresh(&tenants).instrument(span!("rules", tenants = tenants.len())).await?;
        // What is read again was seen by shadows when it was live.
        let newest = records.last().and_then(|(_, r)| r.arrived);
        let shadows = place.consumer == CONSUMER && shadow::has_time(end, newest);
        for (done, work) in by_tenant.into_iter().enumerate() {
            let Some(tenant) = self.directory.tenant(&work.name).cloned() else { continue };
            let span_of = |traced: fn(&str) -> Span| {
                if done < TRACED_TENANTS { traced(&tenant.name) } else { Span::none() }
            };
            let naming = span_of(|tenant| span!("ids", tenant));
            let registered = register(&mut self.directory, &mut self.store, &tenant, &work);
            registered.instrument(naming).await?;
            let judging = span_of(|tenant| span!("plugin", tenant));
            // Of half of what is left an equal share: the database needs its part, and a
            // tenant with a slow plugin costs the others nothing of theirs.
            let sharing = u32::try_from(tenants.len().saturating_sub(done)).unwrap_or(u32::MAX).max(1);
            let time = PLUGIN_TIME.min(end.saturating_duration_since(Instant::now()) / 2 / sharing);
            let meter = self.rules.meter.clone();
            let force = self.rules.of(tenant.id).instrument(judging.clone()).await?;
            let asking = force.map(|force| Asking { force, meter: &meter, time, shadows });
            let (directory, store) = (&mut self.directory, &mut self.store);
            let assembled = assemble(directory, store, &tenant, asking, work, account, &mut output);
            assembled.instrument(judging).await?;
        }
        Ok((output, reached))
    }
}

/// What one transaction took.
pub(crate) struct Taken {
    pub(crate) report: Report,
    /// The checkpoint afterwards.
    pub(crate) position: Option<Position>,
}

/// Why a write did not go through as it was begun.
pub(crate) enum Interrupted {
    Moved,
    StagingLost,
    Failed(IngestError),
}

impl From<IngestError> for Interrupted {
    fn from(e: IngestError) -> Self {
        Self::Failed(e)
    }
}

fn entry(hot: eaves_store::ingest::HotState, as_of: Timestamp, taken: Option<&(String, Position)>) -> Entry {
    Entry {
        tenant: hot.tenant,
        entity: hot.entity,
        version: hot.version,
        attrs_json: hot.attrs_json,
        times_json: hot.times_json,
        as_of,
        taken: taken.cloned(),
    }
}
