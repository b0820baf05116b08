//! What an instance has: clients, and what it remembers.

use crate::flight::Flights;
use crate::guard::Guards;
use crate::held::Held;
use crate::memory::{Memory, Recall};
use crate::problem::Problem;
use crate::request::MOST_AT_ONCE;
use crate::sources::{Server, Sources};
use crate::stream::{Kinesis, Stream};
use crate::token::Tokens;
use crate::told::Told;
use crate::usage::Usage;
use crate::warm::Warm;
use eaves_cache::{Cache, CacheError, Named, Rates};
use eaves_model::TenantId;
use eaves_model::tenant::Tenant;
use eaves_settings::functions::Query as Settings;
use eaves_settings::{SettingsError, Vars};
use eaves_store::read::Reader;
use eaves_store::superadmin::Superadmin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Longest statement of a query. API Gateway gives up after 30 s, and a request may try
/// more than one source.
const STATEMENT_LIMIT: Duration = Duration::from_secs(5);

/// Why the function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or wrong.
    #[error("the settings are incomplete")]
    Settings(#[from] SettingsError),
    /// The cache's settings cannot be used.
    #[error("the cache cannot be used")]
    Cache(#[from] CacheError),
}

/// What an instance has.
pub struct Context {
    pub(crate) sources: Sources,
    pub(crate) cache: Option<Cache>,
    pub(crate) held: Option<Held>,
    pub(crate) flights: Flights,
    pub(crate) warm: Warm,
    pub(crate) told: Told,
    pub(crate) tokens: Tokens,
    pub(crate) stream: Arc<dyn Stream>,
    pub(crate) memory: Memory,
    pub(crate) usage: Usage,
    /// Places for requests that are worked on.
    pub(crate) places: Semaphore,
    pub(crate) guards: Guards,
    pub(crate) rates: Rates,
    /// For operators' reads across tenants, where they are enabled.
    pub(crate) superadmin: Option<Superadmin>,
}

impl Context {
    /// From the environment. Nothing needs to answer yet but the settings.
    pub async fn start(vars: &impl Vars) -> Result<Self, StartError> {
        let aws = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let settings = Settings::read(vars)?;
        let kinesis = Kinesis::new(aws_sdk_kinesis::Client::new(&aws), settings.stream.name.clone());
        Self::of(&settings, Arc::new(kinesis))
    }

    /// From the environment, with a stream of the caller's.
    pub fn with_stream(vars: &impl Vars, stream: Arc<dyn Stream>) -> Result<Self, StartError> {
        Self::of(&Settings::read(vars)?, stream)
    }

    fn of(settings: &Settings, stream: Arc<dyn Stream>) -> Result<Self, StartError> {
        let primary = server(&settings.primary);
        let replicas = settings.replicas.iter().map(server).collect();
        let cache = settings.cache.as_ref().map(Cache::connect).transpose()?;
        let limit = limit(&settings.primary);
        let sources = Sources::new(primary, replicas, cache.is_some(), limit);
        Ok(Self {
            sources,
            held: cache.as_ref().map(Held::new),
            cache,
            flights: Flights::default(),
            warm: Warm::default(),
            told: Told::default(),
            tokens: Tokens::new(&settings.stream.name),
            stream,
            memory: Memory::new(),
            usage: Usage::default(),
            guards: Guards::new(settings.cost_limit),
            rates: Rates::new(settings.rates, settings.quotas),
            superadmin: settings.superadmin.as_ref().map(Superadmin::new),
            places: Semaphore::new(MOST_AT_ONCE),
        })
    }

    /// How many reads were sent to a database, for tests.
    #[doc(hidden)]
    pub fn database_reads(&self) -> u64 {
        self.sources.reads.load(Ordering::Relaxed)
    }

    /// How many requests were told to come back, and how many answers missed their budget, for tests.
    #[doc(hidden)]
    pub fn shed_and_missed(&self) -> (u64, u64) {
        self.told.shed_and_missed()
    }

    /// The tenant of this name, if it is registered.
    pub(crate) async fn tenant(&self, name: &str) -> Result<Option<Tenant>, Problem> {
        let old = match self.memory.tenant(name) {
            Recall::Fresh(tenant) => return Ok(Some(tenant)),
            Recall::Old(tenant) => Some(tenant),
            Recall::Nothing => None,
        };
        let mut answered = false;
        for server in self.sources.any() {
            match self.sources.look_up(server, server.reader.tenant(name)).await {
                Ok(Some(tenant)) => {
                    self.memory.remember_tenant(tenant.clone());
                    return Ok(Some(tenant));
                }
                // A replica may not know it yet.
                Ok(None) => answered = true,
                Err(e) if e.is_away() => server.note::<()>(&Err(e)),
                Err(e) => return Err(e.into()),
            }
        }
        match (old, answered) {
            (_, true) => Ok(None),
            (Some(tenant), false) => Ok(Some(tenant)),
            (None, false) => Err(Problem::unavailable("no database answers", Duration::from_secs(1))),
        }
    }

    /// What the tenant's name for an entity stands for, from memory or the cache.
    pub(crate) async fn named(&self, tenant: TenantId, external_id: &str) -> Option<Named> {
        if let Some(named) = self.memory.entity(tenant, external_id) {
            return Some(named);
        }
        let named = self.cache.as_ref()?.named(tenant, external_id).await.ok()??;
        self.memory.remember_entity(tenant, external_id, named.clone());
        Some(named)
    }

    /// Remembers what a name stands for, here and in the cache.
    pub(crate) async fn remember_named(&self, tenant: TenantId, external_id: &str, named: Named) {
        if self.memory.entity(tenant, external_id).as_ref() == Some(&named) {
            return;
        }
        if let Some(cache) = &self.cache {
            // The cache being away only costs the next reader time.
            drop(cache.remember(tenant, external_id, &named).await);
        }
        self.memory.remember_entity(tenant, external_id, named);
    }
}

fn server(settings: &eaves_settings::Postgres) -> Server {
    Server::new(Reader::new(settings, limit(settings)))
}

fn limit(settings: &eaves_settings::Postgres) -> Duration {
    settings.statement_timeout.min(STATEMENT_LIMIT)
}
