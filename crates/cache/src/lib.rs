//! The write-through cache of hot entities in Redis.
//!
//! Ingest writes what it committed, readers fill in what they read; an entry is only ever
//! replaced by a newer one, decided inside Redis. The cache is never needed: every
//! operation ends within a fraction of a second, and after two failures in a row the
//! cache is left alone for a while ([`CacheError::Resting`]), so that Redis being away
//! costs latency and nothing else. It refuses to hold anything but latest values, and
//! answers nothing about other tenants: the tenant is part of every key.
//!
//! Beside the entries it has what keeps readers from asking the database all at once ([`Lease`]), what is
//! asked for most, and announcements of changes ([`Listener`]).
//!
//! Start with [`Cache`].

mod asked;
mod connection;
mod entry;
mod lease;
mod listen;
mod quota;
mod rate;
mod tenant_rates;

pub use entry::{Entry, Named};
pub use lease::Lease;
pub use listen::{Heard, Listener};
pub use quota::Today;
pub use rate::{Bucket, Rate, Taken, Wanted};
pub use tenant_rates::{Class, RATE_HEADERS, Rates, Refusal, Standing};

use connection::Connection;
use eaves_freshness::Breaker;
use eaves_model::{EntityId, TenantId};
use eaves_settings::Cache as Settings;
use rand::RngExt as _;
use redis::{ErrorKind, RedisError, Script, ServerErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A pipeline of writes and a connection may take this many times what one answer may.
const PATIENCE: u32 = 10;
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
    release: Arc<Script>,
    subscriber: redis::Client,
    take_script: Arc<Script>,
    ttl: Duration,
    wait: Duration,
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
        let release = Arc::new(Script::new(include_str!("release.lua")));
        let (breaker, subscriber) = (Arc::default(), Connection::client(settings)?);
        let (ttl, wait) = (settings.ttl, settings.wait);
        Ok(Self { connection, breaker, script, release, take_script, subscriber, ttl, wait })
    }

    /// Tells `ear` of changes that writers announce, of tenants that [`Listener::heard`] is asked about.
    pub fn listen(&self, ear: impl Fn(Heard) + Send + Sync + 'static) -> Listener {
        Listener::start(self.subscriber.clone(), Arc::new(ear))
    }

    /// The entry of an entity, if there is one.
    pub async fn get(&self, tenant: TenantId, entity: EntityId) -> Result<Option<Entry>, CacheError> {
        let text: Option<String> = self.read(redis::cmd("GET").arg(entry::key(tenant, entity))).await?;
        Ok(text.and_then(|text| Entry::from_stored(tenant, entity, &text)))
    }

    /// The entries of entities of a tenant, as far as they are there.
    pub async fn get_many(&self, tenant: TenantId, entities: &[EntityId]) -> Result<Vec<Entry>, CacheError> {
        let mut found = Vec::with_capacity(entities.len());
        for chunk in entities.chunks(PIPELINE) {
            let command = |entity: &EntityId| {
                let mut command = redis::cmd("GET");
                command.arg(entry::key(tenant, *entity));
                command
            };
            let commands: Vec<_> = chunk.iter().map(command).collect();
            let texts: Vec<Option<String>> = self.write(self.connection.query_all(&commands)).await?;
            found.extend(
                chunk.iter().zip(texts).filter_map(|(e, text)| Entry::from_stored(tenant, *e, &text?)),
            );
        }
        Ok(found)
    }

    /// Stores what was just committed where nothing newer is there, and announces it to those who hold
    /// entries in memory; returns how many were stored.
    pub async fn write_through(&self, entries: &[Entry]) -> Result<usize, CacheError> {
        let mut stored = 0;
        for chunk in entries.chunks(PIPELINE) {
            stored += self.write(self.store(chunk, true)).await?;
        }
        Ok(stored)
    }

    /// Stores what was read where nothing newer is there; returns how many were stored.
    pub async fn fill(&self, entries: &[Entry]) -> Result<usize, CacheError> {
        let mut stored = 0;
        for chunk in entries.chunks(PIPELINE) {
            stored += self.write(self.store(chunk, false)).await?;
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

    async fn store(&self, entries: &[Entry], announce: bool) -> Result<usize, RedisError> {
        let mut commands: Vec<_> = entries
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
        let stores = commands.len();
        // Behind them: who hears of it finds what it is about. On a cluster another shard may be
        // slower; then an entry's own age bounds what is held.
        if announce {
            let mut tenants: Vec<TenantId> = entries.iter().map(|e| e.tenant).collect();
            tenants.sort_unstable();
            tenants.dedup();
            commands.extend(tenants.into_iter().map(|tenant| {
                let of_tenant = entries.iter().filter(|e| e.tenant == tenant);
                let mut command = redis::cmd("PUBLISH");
                command
                    .arg(entry::channel(tenant))
                    .arg(listen::announcement(of_tenant.map(|e| (e.entity, e.version))));
                command
            }));
        }
        let stored: Vec<usize> = match self.connection.query_all(&commands).await {
            // A Redis that was restarted knows no scripts. Writing again what did get
            // through does no harm.
            Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.connection.load(&self.script).await?;
                self.connection.query_all(&commands).await?
            }
            other => other?,
        };
        Ok(stored.iter().take(stores).sum())
    }

    /// Entries written together shall not expire together.
    fn seconds_to_live(&self) -> u64 {
        let seconds = self.ttl.as_secs().max(1);
        seconds + rand::rng().random_range(0..=seconds / 5)
    }

    async fn read<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, CacheError> {
        self.guarded(self.wait, CacheError::Read, self.connection.query(command)).await
    }

    async fn write<T>(&self, work: impl Future<Output = Result<T, RedisError>>) -> Result<T, CacheError> {
        self.guarded(self.wait * PATIENCE, CacheError::Write, work).await
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
            if !breaker.begin(now) {
                return Err(CacheError::Resting);
            }
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
