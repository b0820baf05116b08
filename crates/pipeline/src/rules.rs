//! Each tenant's active plugin, loaded once and called per batch.

use eaves_model::batch::{Batch, Decision};
use eaves_model::{Code, Rejection, TenantId};
use eaves_plugin_host::{Host, Lock, Plugin, PluginError};
use eaves_registry::{Activation, Registry, RegistryError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most halvings of one tenant's rows in search of the reading its plugin fails on.
const MAX_SPLITS: u32 = 64;

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

/// What a plugin said of a batch: its decision over the rows it judged, and the readings
/// (as row ranges) on which it failed.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) decision: Decision,
    /// First row, last row + 1, why.
    pub(crate) failed: Vec<(u32, u32, Rejection)>,
    pub(crate) failures: u64,
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
        let before = self.host.lock();
        match self.host.load(&artefact) {
            Ok(plugin) => {
                if before.is_none() && self.host.lock() == Some(Lock::LimitsOnly) {
                    tracing::warn!("the kernel takes no filter of system calls: see docs/security.md");
                }
                let plugin = Arc::new(plugin);
                self.loaded.insert(activation.digest.clone(), plugin.clone());
                Ok(Ok(plugin))
            }
            Err(e) => Ok(Err(unavailable(e.to_string()))),
        }
    }
}

/// Asks `plugin` about a batch whose readings are the given row ranges. If it fails, the
/// readings are halved until the ones it fails on are alone, so that one poisoned reading
/// does not put aside its neighbours; a plugin out of time is not asked again.
pub(crate) fn judge(
    plugin: &Plugin,
    settings: &str,
    batch: &Batch,
    readings: &[(u32, u32)],
    deadline: Duration,
) -> Judged {
    let end = Instant::now() + deadline;
    let mut judged = Judged::default();
    let mut splits = 0;
    let mut out_of_time = false;
    let mut pending = vec![readings];
    while let Some(part) = pending.pop() {
        let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
        let (from, to) = (first.0, last.1);
        let left = end.saturating_duration_since(Instant::now());
        if out_of_time || left.is_zero() {
            let text = "the plugin used up its time on this batch";
            judged.failed.push((from, to, Rejection::new(Code::PLUGIN_FAILED, "plugin", text)));
            continue;
        }
        let answer = if part.len() == readings.len() {
            plugin.validate(batch, settings, left)
        } else {
            plugin.validate(&batch.slice(from as usize..to as usize), settings, left)
        };
        match answer {
            Ok(decision) => merge(&mut judged.decision, decision, from, part.len() != readings.len()),
            Err(error) => {
                judged.failures += 1;
                out_of_time = matches!(error, PluginError::Deadline { .. });
                // Wrong settings are wrong for every reading; the others may be one reading's doing.
                let shared = out_of_time || matches!(error, PluginError::Settings { .. });
                if part.len() > 1 && splits < MAX_SPLITS && !shared {
                    splits += 1;
                    let (left, right) = part.split_at(part.len() / 2);
                    pending.push(right);
                    pending.push(left);
                } else {
                    let why = Rejection::new(Code::PLUGIN_FAILED, "plugin", error.to_string());
                    judged.failed.push((from, to, why));
                }
            }
        }
    }
    judged
}

/// Adds a decision over a slice starting at row `from` to one over the whole.
fn merge(whole: &mut Decision, mut part: Decision, from: u32, sliced: bool) {
    let shift = if sliced { from } else { 0 };
    let reasons = whole.reasons.len() as u32;
    whole.reasons.append(&mut part.reasons);
    whole.rejected.extend(part.rejected.into_iter().map(|(row, why)| (row + shift, why + reasons)));
    whole.replaced.extend(part.replaced.into_iter().map(|(row, value)| (row + shift, value)));
    whole.derived.extend(part.derived.into_iter().map(|mut d| {
        d.row += shift;
        d
    }));
}
