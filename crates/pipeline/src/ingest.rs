//! One shard's records through the write path.

use crate::assemble::{Output, assemble, register};
use crate::decode::{Source, readings};
use crate::directory::Directory;
use crate::report::Report;
use crate::rules::Rules;
use crate::source::{Reread, RereadError};
use crate::work::Account;
use eaves_cache::{Cache, Entry};
use eaves_model::{Position, Timestamp};
use eaves_registry::RegistryError;
use eaves_store::StoreError;
use eaves_store::ingest::{Commit, CommitError, IngestStore};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The consumer's name in `ingest_checkpoints`: a second one would keep its own place.
pub const CONSUMER: &str = "ingest";
/// Most records read again at a time while recovering.
const REREAD_RECORDS: usize = 500;
/// How often a batch is started over because another instance moved the checkpoint.
const MAX_RESTARTS: u32 = 5;
/// Most time one tenant's plugin may take for its part of a batch.
const PLUGIN_TIME: Duration = Duration::from_secs(2);

/// One record of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Kinesis sequence number.
    pub sequence: String,
    /// The record's bytes.
    pub data: Vec<u8>,
    /// When the stream took it. The ledger counts by this, so it must be the same whenever
    /// the record is read.
    pub arrived: Timestamp,
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
    /// The stream, while reading a shard again.
    #[error("replay the shard")]
    Reread(#[from] RereadError),
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
    store: IngestStore,
    rules: Rules,
    cache: Option<Cache>,
    stream: R,
    directory: Directory,
    /// Where each shard's checkpoint stood when this instance last looked.
    checkpoints: HashMap<(String, String), Option<Position>>,
}

impl<R: Reread> Ingest<R> {
    /// A write path over its stores.
    pub fn new(store: IngestStore, rules: Rules, cache: Option<Cache>, stream: R) -> Self {
        Self { store, rules, cache, stream, directory: Directory::new(), checkpoints: HashMap::new() }
    }

    /// Takes a batch: afterwards each of its records is in the database (as values, as
    /// rejections, in quarantine or skipped as a duplicate) exactly once.
    pub async fn process(&mut self, batch: &ShardBatch, time: Duration) -> Result<Report, IngestError> {
        let end = Instant::now() + time;
        let mut replay = Report::default();
        let Some(first) = batch.records.first() else { return Ok(replay) };
        let until = Position::whole(&first.sequence)?;
        for _ in 0..MAX_RESTARTS {
            let expected = self.ready(&batch.stream, &batch.shard, &until, &mut replay, end).await?;
            match self.take(batch, &batch.records, expected, end).await {
                Ok(mut report) => {
                    report.add(&replay);
                    return Ok(report);
                }
                Err(Interrupted::Moved) => {}
                Err(Interrupted::StagingLost) => replay.staging_lost = true,
                Err(Interrupted::Failed(e)) => {
                    // What this instance remembers may be what is wrong.
                    self.checkpoints.clear();
                    return Err(e);
                }
            }
        }
        Err(IngestError::Contended { shard: batch.shard.clone() })
    }

    /// The shard's checkpoint, after any replay that is due.
    ///
    /// Checkpoints are committed asynchronously: a crash may take the last ones with it, so
    /// where the checkpoint stands does not say how far the shard had come. What is in hand
    /// does: the stream has delivered everything before `until` already.
    async fn ready(
        &mut self,
        stream: &str,
        shard: &str,
        until: &Position,
        replay: &mut Report,
        end: Instant,
    ) -> Result<Option<Position>, IngestError> {
        let key = (stream.to_owned(), shard.to_owned());
        if let Some(position) = self.checkpoints.get(&key) {
            return Ok(position.clone());
        }
        loop {
            let mut checkpoint = self.store.checkpoint(stream, shard, CONSUMER).await?;
            if !checkpoint.epoch_current {
                tracing::warn!(stream.name = stream, shard.id = shard, "staging was emptied; replaying");
                replay.staging_lost = true;
                // Identifiers registered just before a failover may be gone with it.
                self.directory.forget();
                checkpoint = self.store.rewind_until(stream, shard, CONSUMER, until).await?;
            }
            let position = checkpoint.position;
            let Some(until) = checkpoint.replay_to else {
                self.checkpoints.insert(key, position.clone());
                return Ok(position);
            };
            let records = self.stream.after(stream, shard, position.as_ref(), REREAD_RECORDS).await?;
            if records.is_empty() {
                // The stream keeps nothing more up to there.
                self.store.end_replay(stream, shard, CONSUMER).await?;
                continue;
            }
            let batch = ShardBatch { stream: stream.to_owned(), shard: shard.to_owned(), records };
            match self.take(&batch, &batch.records, position, end).await {
                Ok(report) => {
                    replay.replayed += report.records;
                    replay.add(&Report { records: 0, ..report });
                }
                Err(Interrupted::Failed(e)) => return Err(e),
                Err(Interrupted::Moved | Interrupted::StagingLost) => {}
            }
            self.checkpoints.remove(&key);
            tracing::info!(shard.id = shard, replay.until = %until, "replayed a part");
        }
    }

    /// Writes records on top of the checkpoint `expected`.
    async fn take(
        &mut self,
        batch: &ShardBatch,
        records: &[Record],
        expected: Option<Position>,
        end: Instant,
    ) -> Result<Report, Interrupted> {
        let mut account = Account::default();
        account.report.records = records.len() as u64;
        let mut position = expected.clone();
        let mut fresh = Vec::with_capacity(records.len());
        for record in records {
            let at = Position::whole(&record.sequence).map_err(IngestError::from)?;
            if expected.as_ref().is_some_and(|done| at <= *done) {
                account.redelivered(record.arrived);
                continue;
            }
            position = position.max(Some(at));
            fresh.push(record);
        }
        let Some(position) = position else { return Ok(account.report) };
        if fresh.is_empty() {
            return Ok(account.report);
        }
        let source = Source { stream: &batch.stream, shard: &batch.shard };
        let output = self.build(source, &fresh, &mut account, end).await?;
        let (ledger, redrives) = (account.ledger(), account.settled());
        let commit = Commit {
            stream: &batch.stream,
            shard: &batch.shard,
            consumer: CONSUMER,
            expected: expected.as_ref(),
            position: &position,
            points: &output.points,
            hot: &output.hot,
            ledger: &ledger,
            quarantine: &account.quarantine,
            redrives: &redrives,
        };
        let key = (batch.stream.clone(), batch.shard.clone());
        let committed = match self.store.commit(&commit).await {
            Ok(committed) => committed,
            Err(e) => {
                self.checkpoints.remove(&key);
                return Err(match e {
                    CommitError::CheckpointMoved { .. } | CommitError::RedriveSettled => Interrupted::Moved,
                    CommitError::StagingLost { .. } => Interrupted::StagingLost,
                    CommitError::Store(e) => Interrupted::Failed(e.into()),
                });
            }
        };
        self.checkpoints.insert(key, Some(position));
        if let Some(cache) = &mut self.cache {
            let entries: Vec<Entry> =
                committed.hot.into_iter().map(|h| entry(h, committed.ingested_at)).collect();
            if let Err(e) = cache.write_through(&entries).await {
                account.report.cache_failures += 1;
                tracing::warn!(error = &e as &dyn std::error::Error, "cache write failed");
            }
        }
        Ok(account.report)
    }

    /// Decodes records and asks each tenant's plugin about its readings.
    async fn build(
        &mut self,
        source: Source<'_>,
        records: &[&Record],
        account: &mut Account,
        end: Instant,
    ) -> Result<Output, IngestError> {
        let by_tenant = readings(&mut self.directory, &mut self.store, source, records, account).await?;
        let mut output = Output::default();
        for work in by_tenant {
            let Some(tenant) = self.directory.tenant(&work.name).cloned() else { continue };
            let active = self.rules.active(tenant.id).await?;
            register(&mut self.directory, &mut self.store, &tenant, &work).await?;
            // A quarter of what is left: the database and other tenants need their part.
            let time = PLUGIN_TIME.min(end.saturating_duration_since(Instant::now()) / 4);
            let (directory, store) = (&mut self.directory, &mut self.store);
            assemble(directory, store, &tenant, active.as_ref(), work, time, account, &mut output).await?;
        }
        Ok(output)
    }
}

/// Why a write did not go through as it was begun.
enum Interrupted {
    Moved,
    StagingLost,
    Failed(IngestError),
}

impl From<IngestError> for Interrupted {
    fn from(e: IngestError) -> Self {
        Self::Failed(e)
    }
}

fn entry(hot: eaves_store::ingest::HotState, as_of: Timestamp) -> Entry {
    Entry {
        tenant: hot.tenant,
        entity: hot.entity,
        version: hot.version,
        attrs_json: hot.attrs_json,
        times_json: hot.times_json,
        as_of,
    }
}
