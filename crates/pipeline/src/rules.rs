//! Each tenant's active plugin, loaded once and called per batch.

use eaves_model::{Code, Rejection, TenantId};
use eaves_plugin_host::{Host, Plugin};
use eaves_registry::{Activation, Registry, RegistryError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A tenant's plugin as it is in force for a batch.
#[derive(Clone)]
pub struct Active {
    /// Name, digest and settings.
    pub activation: Arc<Activation>,
    /// The loaded plugin, or why it could not be loaded.
    pub plugin: Result<Arc<Plugin>, Rejection>,
}

/// Finds, loads and keeps plugins.
pub struct Rules {
    host: Host,
    registry: Registry,
    refresh: Duration,
    active: HashMap<TenantId, (Instant, Option<Active>)>,
    loaded: HashMap<String, Arc<Plugin>>,
}

impl Rules {
    /// Rules from `registry`, trusting what was read for `refresh`.
    pub fn new(host: Host, registry: Registry, refresh: Duration) -> Self {
        Self { host, registry, refresh, active: HashMap::new(), loaded: HashMap::new() }
    }

    /// The tenant's active plugin. An error means that the registry is away: the batch
    /// is to be tried again, not to be let through unvalidated.
    pub(crate) async fn active(&mut self, tenant: TenantId) -> Result<Option<Active>, RegistryError> {
        if let Some((read, active)) = self.active.get(&tenant)
            && read.elapsed() < self.refresh
        {
            return Ok(active.clone());
        }
        let active = match self.registry.active(tenant).await? {
            None => None,
            Some(activation) => {
                let plugin = self.load(&activation).await?;
                Some(Active { activation: Arc::new(activation), plugin })
            }
        };
        self.active.insert(tenant, (Instant::now(), active.clone()));
        Ok(active)
    }

    async fn load(
        &mut self,
        activation: &Activation,
    ) -> Result<Result<Arc<Plugin>, Rejection>, RegistryError> {
        if let Some(plugin) = self.loaded.get(&activation.digest) {
            return Ok(Ok(plugin.clone()));
        }
        let unavailable = |why: String| {
            tracing::error!(plugin.name = activation.name, plugin.digest = activation.digest, error = why);
            let text = format!("plugin {} could not be loaded", activation.name);
            Rejection::new(Code::PLUGIN_UNAVAILABLE, "plugin", text)
        };
        let artefact = match self.registry.artefact(activation).await {
            Ok(artefact) => artefact,
            Err(e) if e.is_retryable() => return Err(e),
            Err(e) => return Ok(Err(unavailable(e.to_string()))),
        };
        match self.host.load(&artefact) {
            Ok(plugin) => {
                let plugin = Arc::new(plugin);
                self.loaded.insert(activation.digest.clone(), plugin.clone());
                Ok(Ok(plugin))
            }
            Err(e) => Ok(Err(unavailable(e.to_string()))),
        }
    }
}
