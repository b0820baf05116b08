//! What an instance has: clients, the plugin host, and what it remembers.

use crate::backtest::Ask;
use crate::problem::Problem;
use eaves_cache::{CacheError, Rates};
use eaves_model::TenantId;
use eaves_model::tenant::TenantLimits;
use eaves_plugin_host::{BadKey, Host, HostConfig, Plugin, RunnerCommand};
use eaves_registry::{Registry, RegistryError, Version};
use eaves_settings::functions::PluginAdmin as Settings;
use eaves_settings::{Postgres, SettingsError, Vars};
use eaves_store::read::{ReadError, Reader};
use quick_cache::sync::Cache;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest statement: a page of a backtest may take a while, on the replica.
const STATEMENT_LIMIT: Duration = Duration::from_secs(20);
/// How long a tenant is believed without looking again.
const TENANT_FOR: Duration = Duration::from_secs(60);

/// How long a tenant's own limits are.
const LIMITS_FOR: Duration = Duration::from_secs(10);

/// Why the function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or wrong.
    #[error("the settings are incomplete: {0}")]
    Settings(#[from] SettingsError),
    /// The signing key is none.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The plugin host does not start.
    #[error("the plugin host does not start: {0}")]
    Host(#[from] eaves_plugin_host::StartError),
    /// The registry cannot be used.
    #[error("the plugin registry cannot be used: {0}")]
    Registry(#[from] RegistryError),
    /// The cache's settings cannot be used.
    #[error("the cache cannot be used: {0}")]
    Cache(#[from] CacheError),
    /// The program's own path is not known.
    #[error("the running program is not to be found: {0}")]
    Program(#[from] std::io::Error),
}

/// Starts the worker of a backtest and does not wait for it.
pub trait Invoker: Send + Sync {
    /// Hands it the event. The error is a sentence for the log.
    fn invoke<'a>(
        &'a self,
        event: serde_json::Value,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;
}

/// An asynchronous invocation of a Lambda function.
pub struct Lambda {
    client: aws_sdk_lambda::Client,
    function: String,
}

impl Lambda {
    /// Of the function with this name.
    pub fn new(client: aws_sdk_lambda::Client, function: impl Into<String>) -> Self {
        Self { client, function: function.into() }
    }
}

impl Invoker for Lambda {
    fn invoke<'a>(
        &'a self,
        event: serde_json::Value,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        Box::pin(async move {
            let payload = aws_sdk_lambda::primitives::Blob::new(event.to_string());
            let call = self.client.invoke().function_name(&self.function).payload(payload);
            let call = call.invocation_type(aws_sdk_lambda::types::InvocationType::Event);
            call.send().await.map(drop).map_err(|e| e.into_service_error().to_string())
        })
    }
}

/// What an instance has.
pub struct Context {
    pub(crate) registry: Registry,
    pub(crate) host: Host,
    /// The primary: what was just written is to be seen.
    pub(crate) primary: Reader,
    /// For what reads much.
    pub(crate) replica: Option<Reader>,
    invoker: Box<dyn Invoker>,
    /// What compiles uploads: this program, called for that.
    pub(crate) compiler: PathBuf,
    tenants: Cache<Box<str>, (TenantId, Instant)>,
    /// Where rates and quotas are counted for all instances.
    pub(crate) counted: Option<eaves_cache::Cache>,
    pub(crate) rates: Rates,
    own_limits: Cache<TenantId, (TenantLimits, Instant)>,
}

impl Context {
    /// From the environment. Nothing needs to answer yet but the settings.
    pub async fn start(vars: &impl Vars) -> Result<Self, StartError> {
        let settings = Settings::read(vars)?;
        let config = HostConfig::new(settings.registry.signing_key.expose())?;
        let host = Host::isolated(config, RunnerCommand::this_program()?)?;
        let aws = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let registry = Registry::connect(&aws, &settings.registry).await?;
        let function = &settings.registry.compiler;
        let invoker = Box::new(Lambda::new(aws_sdk_lambda::Client::new(&aws), function));
        // A page of a backtest with texts of the longest.
        let reader =
            |p: &Postgres| Reader::new(p, p.statement_timeout.min(STATEMENT_LIMIT)).holding(256 << 20);
        Ok(Self {
            registry,
            host,
            primary: reader(&settings.primary),
            replica: settings.replica.as_ref().map(reader),
            invoker,
            compiler: std::env::current_exe()?,
            tenants: Cache::new(10_000),
            counted: settings.cache.as_ref().map(eaves_cache::Cache::connect).transpose()?,
            rates: Rates::new(settings.rates, settings.quotas),
            own_limits: Cache::new(10_000),
        })
    }

    /// The tenant of this name, if it is registered.
    pub(crate) async fn tenant(&self, name: &str) -> Result<Option<TenantId>, ReadError> {
        if let Some((tenant, read)) = self.tenants.get(name)
            && read.elapsed() < TENANT_FOR
        {
            return Ok(Some(tenant));
        }
        let found = self.primary.tenant(name).await?;
        if let Some(tenant) = &found {
            self.tenants.insert(name.into(), (tenant.id, Instant::now()));
        }
        Ok(found.map(|t| t.id))
    }

    /// The tenant's own rates and quotas, as far as they can be had: what is not known costs nobody an answer.
    pub(crate) async fn own_limits(&self, tenant: TenantId) -> TenantLimits {
        let old = match self.own_limits.get(&tenant) {
            Some((limits, since)) if since.elapsed() < LIMITS_FOR => return limits,
            old => old.map(|(limits, _)| limits),
        };
        match self.primary.tenant_guards(tenant).await {
            Ok(Some(guards)) => {
                self.own_limits.insert(tenant, (guards.limits, Instant::now()));
                guards.limits
            }
            Ok(None) => old.unwrap_or_default(),
            Err(e) => {
                tracing::warn!(error = %e, "plugin_admin.limits_unread");
                old.unwrap_or_default()
            }
        }
    }

    /// Starts the worker of a backtest.
    pub(crate) async fn start_backtest(&self, ask: &Ask) -> Result<(), Problem> {
        self.invoker.invoke(ask.event()).await.map_err(|why| {
            tracing::error!(error = why, "plugin_admin.invoke_failed");
            Problem::unavailable("the backtest could not be started")
        })
    }

    /// A version of the tenant's that is compiled, ready to be called.
    pub(crate) async fn load(&self, tenant: TenantId, version: &Version) -> Result<Arc<Plugin>, Problem> {
        if version.artefact_key.is_empty() {
            let detail = format!("version {} of {} is {}", version.version, version.name, version.state);
            return Err(Problem::conflict(detail));
        }
        self.load_compiled(tenant, version.into()).await
    }
}
