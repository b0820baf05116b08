//! What a tenant's plugin says: found, loaded into the process that runs plugins, asked within
//! its time, and put away again.

use eaves_model::TenantId;
use eaves_model::promotion::{PromotionDecision, Statistics};
use eaves_plugin_host::{Host, LoadError, PluginError};
use eaves_registry::{Activation, Pointer, Registry, RegistryError};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// How long a plugin may think about a tenant's attributes: 20,000 at most.
const TIME: Duration = Duration::from_secs(1);
/// Most plugins that are remembered to leave promotion to others.
const REMEMBERED: usize = 10_000;

/// Finds and asks plugins.
pub(crate) struct Plugins {
    host: Host,
    registry: Registry,
    /// Artefacts that decide nothing here: they need not be loaded again.
    without_opinion: HashSet<String>,
}

/// What came of asking.
pub(crate) enum Opinion {
    /// It leaves promotion to the platform.
    None,
    /// It proposes changes.
    Said(Vec<PromotionDecision>),
    /// It trapped, was late or answered nonsense, or cannot be loaded.
    Failed(String),
}

/// Something of ours did not answer; the plugin has done nothing wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    /// The registry.
    #[error("the plugin registry does not answer")]
    Registry(#[from] RegistryError),
    /// The process that runs plugins.
    #[error("plugins cannot be run just now: {0}")]
    Runner(String),
}

impl Plugins {
    pub(crate) fn new(host: Host, registry: Registry) -> Self {
        Self { host, registry, without_opinion: HashSet::new() }
    }

    /// What is in force for the tenants.
    pub(crate) async fn pointers(
        &self,
        tenants: &[TenantId],
    ) -> Result<HashMap<TenantId, Pointer>, RegistryError> {
        self.registry.pointers(tenants).await
    }

    /// Asks the tenant's active plugin, which may take `memory_bytes` at most.
    pub(crate) async fn ask(
        &mut self,
        tenant: TenantId,
        (active, memory_bytes): (&Activation, u64),
        statistics: &Statistics,
    ) -> Result<Opinion, Unavailable> {
        if self.without_opinion.contains(&active.artefact_key) {
            return Ok(Opinion::None);
        }
        // What is wrong with a file of ours is for the log.
        let failed = |error: &dyn std::error::Error| {
            tracing::error!(tenant.id = tenant.0, plugin.digest = active.digest, error = %error, "hot.load_failed");
            Opinion::Failed(format!("plugin {} could not be loaded", active.name))
        };
        let artefact = match self.registry.artefact(active).await {
            Ok(artefact) => artefact,
            Err(e) if e.is_retryable() => return Err(e.into()),
            Err(e) => return Ok(failed(&e)),
        };
        let loaded = match self.host.load_of(&active.digest, &artefact) {
            // Ingest has it compiled for this engine when values come; the next run finds that.
            Err(e @ LoadError::OtherEngine { .. }) => {
                let known = self.registry.artefact_for(&active.digest, &self.host.engine_id()).await?;
                let artefact = known.ok_or_else(|| Unavailable::Runner(e.to_string()))?;
                self.host.load_of(&active.digest, &artefact)
            }
            other => other,
        };
        let plugin = match loaded {
            Ok(plugin) => plugin,
            Err(e) if e.is_retryable() => return Err(Unavailable::Runner(e.to_string())),
            Err(e) => return Ok(failed(&e)),
        };
        if !plugin.promotes() {
            if self.without_opinion.len() >= REMEMBERED {
                self.without_opinion.clear();
            }
            self.without_opinion.insert(active.artefact_key.clone());
            return Ok(Opinion::None);
        }
        let settings = match self.registry.settings(tenant, &active.name, &active.settings_digest).await {
            Ok(settings) => settings,
            Err(e) if e.is_retryable() => return Err(e.into()),
            Err(e) => return Ok(failed(&e)),
        };
        match plugin.within(memory_bytes).promote(statistics, &settings, TIME) {
            Ok(proposals) => Ok(Opinion::Said(proposals)),
            Err(PluginError::NoPromotion) => Ok(Opinion::None),
            Err(e) if e.is_retryable() => Err(Unavailable::Runner(e.to_string())),
            Err(e) => Ok(Opinion::Failed(e.to_string())),
        }
    }
}
