//! All streams, and what every operation shares.

use super::KinesisConfig;
use super::error::ApiError;
use super::faults::Faults;
use super::shard::{Shard, shard_id, shard_index};
use super::snapshot;
use super::stream::{Stream, too_many_shards};
use crate::lambda::ACCOUNT;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long iterators and page tokens live, as AWS documents it.
const LIFETIME_MS: u64 = 5 * 60 * 1000;

/// The state behind the socket.
///
/// A panic while a lock is held leaves state that is still whole: every change of it is a
/// handful of moves. So poisoned locks are taken all the same.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) config: KinesisConfig,
    pub(super) faults: Faults,
    lifetime_ms: AtomicU64,
    streams: RwLock<BTreeMap<String, Arc<Mutex<Stream>>>>,
    /// Held while streams or shards come and go, and while that is written down.
    changing: Mutex<()>,
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

impl Service {
    pub(super) fn new(config: KinesisConfig, streams: Vec<Stream>) -> Self {
        let streams = streams.into_iter().map(|s| (s.name.clone(), Arc::new(Mutex::new(s))));
        Self {
            config,
            faults: Faults::default(),
            lifetime_ms: AtomicU64::new(LIFETIME_MS),
            streams: RwLock::new(streams.collect()),
            changing: Mutex::new(()),
        }
    }

    pub(super) fn lifetime_ms(&self) -> u64 {
        self.lifetime_ms.load(Ordering::Relaxed)
    }

    pub(super) fn set_lifetime_ms(&self, ms: u64) {
        self.lifetime_ms.store(ms, Ordering::Relaxed);
    }

    /// The account as messages name it.
    pub(super) fn place() -> String {
        format!("account {ACCOUNT}")
    }

    pub(super) fn arn(&self, stream: &str) -> String {
        format!("arn:aws:kinesis:{}:{ACCOUNT}:stream/{stream}", self.config.region)
    }

    /// All streams, by name.
    pub(super) fn streams(&self) -> Vec<Arc<Mutex<Stream>>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Does something with a stream, after forgetting what its retention has passed.
    pub(super) fn with<T>(
        &self,
        name: &str,
        act: impl FnOnce(&mut Stream, u64) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let found = self.streams.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let Some(stream) = found else { return Err(no_such_stream(name)) };
        let mut stream = lock(&stream);
        let now = now_ms();
        stream.trim(now);
        act(&mut stream, now)
    }

    /// Like [`Service::with`], for changes that outlive the process and open `more` shards
    /// more than they close.
    pub(super) fn change<T>(
        &self,
        name: &str,
        more: u32,
        act: impl FnOnce(&mut Stream, u64) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_shards(more)?;
        let done = self.with(name, act)?;
        self.note(&changing);
        Ok(done)
    }

    /// Adds an empty stream; false if there is one of that name.
    pub(super) fn create(&self, name: &str, shards: u32) -> Result<bool, ApiError> {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.names().iter().any(|n| n == name) {
            return Ok(false);
        }
        self.check_shards(shards)?;
        let stream = Stream::new(name, shards, self.config.stream_bytes, now_ms());
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.insert(name.to_owned(), Arc::new(Mutex::new(stream)));
        drop(streams);
        self.note(&changing);
        Ok(true)
    }

    pub(super) fn delete(&self, name: &str) -> Result<(), ApiError> {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.remove(name).ok_or_else(|| no_such_stream(name))?;
        drop(streams);
        self.note(&changing);
        Ok(())
    }

    /// Whether the account may have that many shards more.
    fn check_shards(&self, more: u32) -> Result<(), ApiError> {
        if more == 0 {
            return Ok(());
        }
        let current: u32 = self.streams().iter().map(|s| lock(s).open_shards()).sum();
        let limit = self.config.shard_limit;
        if current.saturating_add(more) > limit {
            return Err(too_many_shards(current, limit));
        }
        Ok(())
    }

    /// Writes down which streams and shards there are, if there is a folder for it.
    fn note(&self, _changing: &MutexGuard<'_, ()>) {
        let Some(folder) = &self.config.state_dir else { return };
        if let Err(e) = snapshot::save_shards(folder, &self.streams()) {
            tracing::error!(error = %e, "which streams and shards there are could not be written down");
        }
    }

    /// Writes everything down, records too, if there is a folder for it.
    pub(super) fn save(&self) -> std::io::Result<()> {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.note(&changing);
        match &self.config.state_dir {
            Some(folder) => snapshot::save_records(folder, &self.streams()),
            None => Ok(()),
        }
    }
}

/// A stream's state.
pub(super) fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn no_such_stream(name: &str) -> ApiError {
    ApiError::not_found(format!("Stream {name} under {} not found.", Service::place()))
}

/// The shard of that name.
pub(super) fn shard<'a>(stream: &'a Stream, id: &str) -> Result<&'a Shard, ApiError> {
    shard_index(id).and_then(|index| stream.shards.get(&index)).ok_or_else(|| no_such_shard(stream, id))
}

pub(super) fn no_such_shard(stream: &Stream, id: &str) -> ApiError {
    let (name, place) = (&stream.name, Service::place());
    ApiError::not_found(format!("Shard {id} in stream {name} under {place} does not exist"))
}

/// A shard as the API describes it.
pub(super) fn describe(shard: &Shard) -> serde_json::Value {
    let mut numbers = serde_json::json!({ "StartingSequenceNumber": shard.start().to_string() });
    if let Some(closed) = shard.closed {
        numbers["EndingSequenceNumber"] = closed.sequence.to_string().into();
    }
    let mut described = serde_json::json!({
        "ShardId": shard.id(),
        "HashKeyRange": hash_key_range(shard),
        "SequenceNumberRange": numbers,
    });
    for (name, parent) in [("ParentShardId", shard.parent), ("AdjacentParentShardId", shard.adjacent)] {
        if let Some(parent) = parent {
            described[name] = shard_id(parent).into();
        }
    }
    described
}

pub(super) fn hash_key_range(shard: &Shard) -> serde_json::Value {
    serde_json::json!({
        "StartingHashKey": shard.range.start.to_string(),
        "EndingHashKey": shard.range.end.to_string(),
    })
}
