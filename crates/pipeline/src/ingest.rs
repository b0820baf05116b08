//! One shard's records through the write path.

use crate::assemble::{Output, assemble, register};
use crate::directory::Directory;
use crate::points;
use crate::report::Report;
use crate::rules::Rules;
use crate::source::{Reread, RereadError};
use crate::work::{Account, Origin, TenantWork};
use eaves_cache::{Cache, Entry};
use eaves_codec::decode;
use eaves_model::{Code, Position, Reading, Rejection, Timestamp, Value, WireValue};
use eaves_registry::RegistryError;
use eaves_store::StoreError;
use eaves_store::ingest::{Commit, CommitError, Guard, IngestStore};
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
                continue;
            }
            position = position.max(Some(at));
            fresh.push(record);
        }
        account.duplicates((records.len() - fresh.len()) as u64);
        let Some(position) = position else { return Ok(account.report) };
        if fresh.is_empty() {
            return Ok(account.report);
        }
        let Output { points, hot, guarded } = self.build(&fresh, &mut account, end).await?;
        let place = Commit {
            stream: &batch.stream,
            shard: &batch.shard,
            consumer: CONSUMER,
            expected: expected.as_ref(),
            position: &position,
            points: &points,
            hot: &[],
            ledger: &[],
            quarantine: &[],
        };
        let committed = if guarded.is_empty() {
            let (ledger, quarantine) = (&account.ledger(), &account.quarantine);
            self.store.commit(&Commit { hot: &hot, ledger, quarantine, ..place }).await
        } else {
            // What becomes of guarded points, and with them of hot rows, ledger and
            // quarantine, is decided inside the transaction.
            let which = points::guarded(&guarded);
            let account = &mut account;
            let settle = Box::new(|held| points::settle(&points, hot, &guarded, account, held));
            self.store.commit_guarded(&place, Guard { points: &which, settle }).await
        };
        let key = (batch.stream.clone(), batch.shard.clone());
        let committed = match committed {
            Ok(committed) => committed,
            Err(e) => {
                self.checkpoints.remove(&key);
                return Err(match e {
                    CommitError::CheckpointMoved { .. } => Interrupted::Moved,
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
        records: &[&Record],
        account: &mut Account,
        end: Instant,
    ) -> Result<Output, IngestError> {
        let by_tenant = self.decode(records, account).await?;
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

    async fn decode<'a>(
        &mut self,
        records: &[&'a Record],
        account: &mut Account,
    ) -> Result<Vec<TenantWork<'a>>, IngestError> {
        let now = Timestamp::now();
        let mut readings: Vec<(Origin<'a>, Reading)> = Vec::with_capacity(records.len());
        let mut refused = Vec::new();
        for record in records {
            let arrived = record.arrived.unwrap_or(now);
            for item in decode(&record.data, arrived).items {
                let origin = Origin { sequence: &record.sequence, sub: item.sub, arrived };
                match item.outcome {
                    Ok(found) => {
                        for reading in found {
                            match reading {
                                Ok(reading) => readings.push((origin, reading)),
                                Err(r) => refused.push((origin, r)),
                            }
                        }
                    }
                    Err(r) => refused.push((origin, r)),
                }
            }
        }
        let mut names: Vec<&str> = readings.iter().map(|(_, r)| &*r.tenant).collect();
        names.extend(refused.iter().filter_map(|(_, r)| r.tenant.as_deref()));
        names.sort_unstable();
        names.dedup();
        self.directory.load_tenants(&mut self.store, &names).await?;
        for (origin, r) in refused {
            // Even an unreadable record is its tenant's, if it says whose it is.
            let tenant = r.tenant.as_deref().and_then(|name| self.directory.tenant(name));
            account.quarantine(tenant.map(|t| t.id), origin, r.rejection, r.payload, None);
        }
        let mut index: HashMap<Box<str>, usize> = HashMap::new();
        let mut by_tenant: Vec<TenantWork<'a>> = Vec::new();
        for (origin, reading) in readings {
            if self.directory.tenant(&reading.tenant).is_none() {
                let text = format!("there is no tenant {:?}", reading.tenant);
                let why = Rejection::new(Code::UNKNOWN_TENANT, "tenant", text);
                account.quarantine(None, origin, why, payload(&reading), None);
                for (why, refused) in reading.refused {
                    account.quarantine(None, origin, why, refused.into_bytes(), None);
                }
                continue;
            }
            let at = *index.entry(reading.tenant.clone()).or_insert_with(|| {
                by_tenant.push(TenantWork { name: reading.tenant.clone(), readings: Vec::new() });
                by_tenant.len() - 1
            });
            by_tenant[at].readings.push((origin, reading));
        }
        Ok(by_tenant)
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

/// A reading as JSON again, for quarantine: what could not be taken can be sent again.
pub(crate) fn payload(reading: &Reading) -> Vec<u8> {
    let mut values = String::from("{");
    for (name, value) in &reading.values {
        push_key(&mut values, name);
        values.push_str(&wire_json(value));
    }
    values.push('}');
    envelope(&reading.tenant, &reading.entity, reading.entity_type.as_deref(), reading.observed_at, &values)
        .into_bytes()
}

/// Typed values of one entity and time as a reading's JSON.
pub(crate) fn reading_json<'v>(
    tenant: &str,
    entity: &str,
    observed_at: Timestamp,
    values: impl Iterator<Item = (&'v str, &'v Value)>,
) -> String {
    let mut json = String::from("{");
    for (name, value) in values {
        push_key(&mut json, name);
        value.write_json(&mut json);
    }
    json.push('}');
    envelope(tenant, entity, None, observed_at, &json)
}

/// A wire value as the JSON it came from.
pub(crate) fn wire_json(value: &WireValue) -> String {
    match value {
        WireValue::Boolean(b) => b.to_string(),
        WireValue::Text(s) => json_string(s),
        WireValue::Integer(i) => i.to_string(),
        WireValue::Number(n) => n.to_string(),
        WireValue::Typed(v) => {
            let mut inner = String::new();
            v.write_json(&mut inner);
            format!("{{\"type\":\"{}\",\"value\":{}}}", v.value_type(), quoted(&inner))
        }
    }
}

fn quoted(json: &str) -> String {
    if json.starts_with('"') { json.to_owned() } else { json_string(json) }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn push_key(json: &mut String, name: &str) {
    if json.len() > 1 {
        json.push(',');
    }
    json.push_str(&json_string(name));
    json.push(':');
}

fn envelope(tenant: &str, entity: &str, kind: Option<&str>, at: Timestamp, values: &str) -> String {
    let kind = kind.map(|k| format!("\"type\":{},", json_string(k))).unwrap_or_default();
    format!(
        "{{\"tenant\":{},\"entity\":{},{kind}\"observed_at\":\"{at}\",\"values\":{values}}}",
        json_string(tenant),
        json_string(entity),
    )
}
