//! The write-through cache of hot entities in Redis.
//!
//! Ingest writes what it committed, readers fill in what they read; an entry is only ever
//! replaced by a newer one, decided inside Redis. The cache is never needed: every
//! operation ends within a fraction of a second, and after two failures in a row the
//! cache is left alone for a while ([`CacheError::Resting`]), so that Redis being away
//! costs latency and nothing else. It refuses to hold anything but latest values, and
//! answers nothing about other tenants: the tenant is part of every key.
//!
//! Start with [`Cache`].

mod connection;
mod entry;
mod rate;

pub use entry::{Entry, Named};
pub use rate::{Bucket, Rate, Taken, Wanted};

use connection::Connection;
use eaves_freshness::Breaker;
use eaves_model::{EntityId, TenantId};
use eaves_settings::Cache as Settings;
use rand::RngExt as _;
use redis::{ErrorKind, RedisError, Script, ServerErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for one answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(20);
/// Longest wait for a pipeline of writes.
const PIPELINE_TIMEOUT: Duration = Duration::from_millis(200);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);
/// Entries in one pipeline.
const PIPELINE: usize = 500;

/// Why the cache did not do what it was asked. Never a reason to fail a request.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The URL is none that a Redis client takes.
    #[error("EAVES_REDIS_URL is not a redis:// or rediss:// URL")]
    BadUrl(#[source] RedisError),
    /// The URL asks for a connection to anybody.
    #[error("EAVES_REDIS_URL has a #fragment, such as #insecure: certificates are always verified")]
    Unverified,
    /// A cluster is only verified against the system's authorities.
    #[error(
        "EAVES_REDIS_CA_FILE does not go with EAVES_REDIS_CLUSTER=true: name the file in SSL_CERT_FILE instead"
    )]
    ClusterAuthorities,
    /// The file of authorities cannot be read.
    #[error("EAVES_REDIS_CA_FILE={path:?} cannot be read")]
    Authorities {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A read failed.
    #[error("reading from the cache failed")]
    Read(#[source] RedisError),
    /// A write failed.
    #[error("writing to the cache failed")]
    Write(#[source] RedisError),
    /// No answer in time.
    #[error("the cache did not answer in time")]
    TimedOut,
    /// It failed a moment ago and is left alone for now.
    #[error("the cache failed a moment ago and is left alone for now")]
    Resting,
}

/// A connection to the cache; clones share it. Reconnects by itself.
#[derive(Clone)]
pub struct Cache {
    connection: Connection,
    breaker: Arc<Mutex<Breaker>>,
    script: Arc<Script>,
    take_script: Arc<Script>,
    ttl: Duration,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl Cache {
    /// Prepares the connection; the first use opens it, so that a cache that is away
    /// does not keep a function from starting. Needs a Tokio runtime.
    pub fn connect(settings: &Settings) -> Result<Self, CacheError> {
        let connection = Connection::prepare(settings)?;
        let script = Arc::new(Script::new(include_str!("set_if_newer.lua")));
        let take_script = Arc::new(Script::new(include_str!("take.lua")));
        Ok(Self { connection, breaker: Arc::default(), script, take_script, ttl: settings.ttl })
    }

    /// The entry of an entity, if there is one.
    pub async fn get(&self, tenant: TenantId, entity: EntityId) -> Result<Option<Entry>, CacheError> {
        let text: Option<String> = self.read(redis::cmd("GET").arg(entry::key(tenant, entity))).await?;
        Ok(text.and_then(|text| Entry::from_stored(tenant, entity, &text)))
    }

    /// Stores entries where none newer is there; returns how many were stored.
    pub async fn write_through(&self, entries: &[Entry]) -> Result<usize, CacheError> {
        let mut stored = 0;
        for chunk in entries.chunks(PIPELINE) {
            stored += self.write(self.store(chunk)).await?;
        }
        Ok(stored)
    }

    /// What the tenant's name for an entity stands for, if someone remembered it.
    pub async fn named(&self, tenant: TenantId, external_id: &str) -> Result<Option<Named>, CacheError> {
        let text: Option<String> =
            self.read(redis::cmd("GET").arg(entry::name_key(tenant, external_id))).await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Remembers what a name stands for.
    pub async fn remember(
        &self,
        tenant: TenantId,
        external_id: &str,
        named: &Named,
    ) -> Result<(), CacheError> {
        let text = serde_json::to_string(named).unwrap_or_default();
        let mut command = redis::cmd("SET");
        command.arg(entry::name_key(tenant, external_id)).arg(text).arg("EX").arg(self.seconds_to_live());
        self.write(self.connection.query::<()>(&command)).await
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<(), CacheError> {
        let _: String = self.read(&redis::cmd("PING")).await?;
        Ok(())
    }

    async fn store(&self, entries: &[Entry]) -> Result<usize, RedisError> {
        let commands: Vec<_> = entries
            .iter()
            .map(|entry| {
                let mut command = redis::cmd("EVALSHA");
                command
                    .arg(self.script.get_hash())
                    .arg(1)
                    .arg(entry::key(entry.tenant, entry.entity))
                    .arg(entry.to_stored())
                    .arg(entry.version)
                    .arg(entry.as_of.as_micros())
                    .arg(self.seconds_to_live());
                command
            })
            .collect();
        let stored: Vec<usize> = match self.connection.query_all(&commands).await {
            // A Redis that was restarted knows no scripts. Writing again what did get
            // through does no harm.
            Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.connection.load(&self.script).await?;
                self.connection.query_all(&commands).await?
            }
            other => other?,
        };
        Ok(stored.iter().sum())
    }

    /// Entries written together shall not expire together.
    fn seconds_to_live(&self) -> u64 {
        let seconds = self.ttl.as_secs().max(1);
        seconds + rand::rng().random_range(0..=seconds / 5)
    }

    async fn read<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, CacheError> {
        self.guarded(RESPONSE_TIMEOUT, CacheError::Read, self.connection.query(command)).await
    }

    async fn write<T>(&self, work: impl Future<Output = Result<T, RedisError>>) -> Result<T, CacheError> {
        self.guarded(PIPELINE_TIMEOUT, CacheError::Write, work).await
    }

    async fn guarded<T>(
        &self,
        limit: Duration,
        error: fn(RedisError) -> CacheError,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, CacheError> {
        let now = Instant::now();
        {
            let mut breaker = self.breaker();
            if !breaker.lets_through(now) {
                return Err(CacheError::Resting);
            }
            breaker.begin(now);
        }
        let done = match tokio::time::timeout(limit, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(e)) => Err(error(e)),
            Err(_) => Err(CacheError::TimedOut),
        };
        match &done {
            Ok(_) => self.breaker().succeeded(),
            Err(e) => {
                self.breaker().failed(Instant::now());
                tracing::debug!(error = %e, "cache.failed");
            }
        }
        done
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
