//! What is in force for each tenant: found, loaded, kept up to date.

use crate::breaker::{Breaker, Pass};
use crate::compiler::{Compiler, Recompile};
use crate::ingest::IngestError;
use crate::meter::Meter;
use bytes::Bytes;
use eaves_model::{Code, Rejection, TenantId};
use eaves_plugin_host::{Artefact, Host, LoadError, Lock, Plugin};
use eaves_registry::{Activation, Pointer, Registry};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A tenant of whom nothing came for so long is forgotten, and its plugin with it.
const FORGET: Duration = Duration::from_secs(600);

/// After how long a plugin that could not be loaded is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// How long a plugin may take to say what it wants to see.
const CONFIGURE: Duration = Duration::from_millis(100);

/// A version in force, loaded.
#[derive(Clone)]
pub(crate) struct Loaded {
    /// Name, digest and settings.
    pub(crate) activation: Arc<Activation>,
    /// The plugin, or why it could not be loaded.
    pub(crate) plugin: Result<Arc<Plugin>, Rejection>,
    /// The attributes whose previous value it asks for.
    pub(crate) previous: Arc<[String]>,
}

/// What is in force for a tenant, in this batch.
pub(crate) struct Force {
    /// What decides.
    pub(crate) active: Option<Loaded>,
    /// What decides while the active version keeps failing; loaded when that is so.
    pub(crate) fallback: Option<Loaded>,
    /// What looks on.
    pub(crate) shadow: Option<Loaded>,
    /// Of the active version.
    pub(crate) breaker: Breaker,
    /// Most milliseconds that 1,000 values may take.
    pub(crate) ms_per_1000: u32,
    pointer: Pointer,
    /// What is here is not all that it says: to be loaded again after a while.
    partial: bool,
    fallback_tried: bool,
    loaded: Instant,
    read: Instant,
    used: Instant,
}

/// Finds, loads and keeps plugins.
pub struct Rules {
    host: Host,
    registry: Registry,
    compiler: Option<Compiler>,
    refresh: Duration,
    /// Figures and events.
    pub(crate) meter: Meter,
    tenants: HashMap<TenantId, Force>,
    /// By where their artefact is.
    loaded: HashMap<String, Arc<Plugin>>,
}

impl Force {
    /// The version that a rollback would go back to.
    pub(crate) fn last_good(&self) -> Option<String> {
        self.pointer.last_good.as_ref().map(|a| a.version.clone())
    }
}

impl Rules {
    /// Rules from `registry`, trusting what was read for `refresh`.
    pub fn new(host: Host, registry: Registry, refresh: Duration) -> Self {
        let meter = Meter::default();
        let (tenants, loaded) = (HashMap::new(), HashMap::new());
        Self { host, registry, compiler: None, refresh, meter, tenants, loaded }
    }

    /// With a function that compiles plugins anew which are for another engine. Without it they
    /// cannot be had.
    pub fn compiled_by(mut self, compiler: Compiler) -> Self {
        self.compiler = Some(compiler);
        self
    }

    /// How many versions in force kept failing and are not asked.
    pub(crate) fn open_breakers(&self) -> usize {
        let now = Instant::now();
        self.tenants.values().filter(|f| f.breaker.pass(now) != Pass::Closed).count()
    }

    /// Brings what is known of these tenants up to date. An error means that the registry is
    /// away: the batch is to be tried again, not to be let through unvalidated.
    pub(crate) async fn refresh(&mut self, tenants: &[TenantId]) -> Result<(), IngestError> {
        let stale = |t: &&TenantId| self.tenants.get(t).is_none_or(|f| f.read.elapsed() >= self.refresh);
        let stale: Vec<TenantId> = tenants.iter().filter(stale).copied().collect();
        if stale.is_empty() {
            return Ok(());
        }
        // Before it is read: what changes meanwhile is seen the next time.
        let read = Instant::now();
        let mut changed = false;
        for (tenant, pointer) in self.registry.pointers(&stale).await? {
            if let Some(known) = self.tenants.get_mut(&tenant)
                && known.pointer.revision == pointer.revision
                && !(known.partial && known.loaded.elapsed() >= AGAIN)
            {
                known.read = read;
                continue;
            }
            changed = true;
            let active = self.load(tenant, pointer.active.as_ref()).await?;
            // A shadow that cannot be had is no reason to hold up anybody.
            let shadow = self.load(tenant, pointer.shadow.as_ref()).await;
            let partial = shadow.is_err() || active.as_ref().is_some_and(|a| a.plugin.is_err());
            let shadow = shadow.unwrap_or_default();
            let before = self.tenants.remove(&tenant);
            let same = |f: &Force| match (&f.active, &active) {
                (Some(a), Some(b)) => {
                    (&a.activation.artefact_key, &a.activation.settings_digest)
                        == (&b.activation.artefact_key, &b.activation.settings_digest)
                }
                _ => false,
            };
            let before = before.filter(same);
            // Told once, however often it is tried.
            let told = before.as_ref().is_some_and(|f| f.active.as_ref().is_some_and(|a| a.plugin.is_err()));
            if let Some(Loaded { activation, plugin: Err(why), .. }) = active.as_ref().filter(|_| !told) {
                self.meter.event(tenant, activation, "unavailable", why.message.clone());
            }
            let force = Force {
                active,
                fallback: None,
                shadow,
                breaker: before.map(|f| f.breaker).unwrap_or_default(),
                ms_per_1000: pointer.ms_per_1000,
                pointer,
                partial,
                fallback_tried: false,
                loaded: read,
                read,
                used: read,
            };
            self.tenants.insert(tenant, force);
        }
        if changed {
            self.tenants.retain(|_, f| f.used.elapsed() < FORGET);
            self.loaded.retain(|_, plugin| Arc::strong_count(plugin) > 1);
        }
        Ok(())
    }

    /// What is in force for a tenant. Call [`Self::refresh`] first.
    pub(crate) async fn of(&mut self, tenant: TenantId) -> Result<Option<&mut Force>, IngestError> {
        let Some(force) = self.tenants.get(&tenant) else { return Ok(None) };
        let failing = force.breaker.pass(Instant::now()) != Pass::Closed
            || force.active.as_ref().is_some_and(|a| a.plugin.is_err());
        if failing && !force.fallback_tried {
            let last_good = force.pointer.last_good.clone();
            let fallback = self.load(tenant, last_good.as_ref()).await?.filter(|f| f.plugin.is_ok());
            if let Some(force) = self.tenants.get_mut(&tenant) {
                force.fallback = fallback;
                force.fallback_tried = true;
            }
        }
        let Some(force) = self.tenants.get_mut(&tenant) else { return Ok(None) };
        force.used = Instant::now();
        Ok(Some(force))
    }

    async fn load(
        &mut self,
        tenant: TenantId,
        activation: Option<&Activation>,
    ) -> Result<Option<Loaded>, IngestError> {
        let Some(activation) = activation else { return Ok(None) };
        let settings = self.registry.settings(tenant, &activation.name, &activation.settings_digest).await?;
        let activation = Arc::new(Activation { settings, ..activation.clone() });
        let plugin = self.plugin(tenant, &activation).await?;
        // Asked here, once: a plugin that takes long to say what it wants shall not take that
        // long in each batch. One that cannot say is found out when it is to judge.
        let interest = plugin.as_ref().ok().map(|p| p.configure(&activation.settings, CONFIGURE));
        let previous = interest.and_then(Result::ok).map(|i| i.previous.clone()).unwrap_or_default().into();
        Ok(Some(Loaded { activation, plugin, previous }))
    }

    async fn plugin(
        &mut self,
        tenant: TenantId,
        activation: &Activation,
    ) -> Result<Result<Arc<Plugin>, Rejection>, IngestError> {
        if let Some(plugin) = self.loaded.get(&activation.artefact_key) {
            return Ok(Ok(plugin.clone()));
        }
        // It is verified while it comes.
        let mut arrival = self.host.arrival();
        let mut taken = Ok(());
        let came = self.registry.artefact_in_parts(activation, |part| {
            taken = arrival.push(part);
            if taken.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let loaded = match came.await {
            Ok(()) => taken.and_then(|()| self.start(&arrival.finish()?)),
            Err(e) if e.is_retryable() => return Err(e.into()),
            Err(e) => return Ok(Err(unavailable(activation, &e.to_string()))),
        };
        let loaded = match loaded {
            Err(e @ LoadError::OtherEngine { .. }) => {
                match self.for_this_engine(tenant, activation, e).await? {
                    Ok(bytes) => self.host.arrived(&bytes).and_then(|artefact| self.start(&artefact)),
                    Err(why) => return Ok(Err(unavailable(activation, &why))),
                }
            }
            other => other,
        };
        match loaded {
            Ok(plugin) => {
                let plugin = Arc::new(plugin);
                self.loaded.insert(activation.artefact_key.clone(), plugin.clone());
                Ok(Ok(plugin))
            }
            // The process that runs plugins could not be started: not this plugin's doing.
            Err(e) if e.is_retryable() => Err(IngestError::Plugins(e.to_string())),
            Err(e) => Ok(Err(unavailable(activation, &e.to_string()))),
        }
    }

    fn start(&self, artefact: &Artefact) -> Result<Plugin, LoadError> {
        let before = self.host.lock();
        let plugin = self.host.load_arrived(artefact)?;
        if before.is_none() && self.host.lock() == Some(Lock::LimitsOnly) {
            tracing::warn!("the kernel takes no filter of system calls: see docs/security.md");
        }
        Ok(plugin)
    }

    /// What the version was compiled to for the engine of this build. Where it was not yet, that
    /// is asked for and the batch handed back: the stream keeps it, and in seconds it is there.
    /// The inner error says why it cannot be had: then the failure policy holds.
    async fn for_this_engine(
        &mut self,
        tenant: TenantId,
        activation: &Activation,
        why: LoadError,
    ) -> Result<Result<Bytes, String>, IngestError> {
        let (digest, engine) = (&activation.digest, self.host.engine_id());
        let Some(compiler) = &mut self.compiler else { return Ok(Err(why.to_string())) };
        if let Some(artefact) = self.registry.artefact_for(digest, &engine).await? {
            compiler.came(digest);
            return Ok(Ok(artefact));
        }
        if let Some(refusal) = self.registry.compile_refusal(tenant, digest, &engine).await? {
            return Ok(Err(format!("{why}; compiled anew it was refused: {refusal}")));
        }
        let (name, version) = (activation.name.clone(), activation.version.clone());
        if compiler.ask(&Recompile { tenant, name, version, digest: digest.clone() }).await {
            return Err(IngestError::Plugins(format!("{why}; it is being compiled anew")));
        }
        Ok(Err(why.to_string()))
    }
}

fn unavailable(activation: &Activation, why: &str) -> Rejection {
    tracing::error!(plugin.name = activation.name, plugin.digest = activation.digest, error = why);
    let text = format!("plugin {} could not be loaded", activation.name);
    Rejection::new(Code::PLUGIN_UNAVAILABLE, "plugin", text)
}
