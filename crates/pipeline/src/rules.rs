//! What is in force for each tenant: found, loaded, kept up to date.

use crate::breaker::{Breaker, Pass};
use crate::compiler::{Compiler, Recompile};
use crate::ingest::IngestError;
use crate::meter::Meter;
use crate::shadow::Watch;
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
    /// How the shadow fares.
    pub(crate) watch: Watch,
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
    /// By where their artefact is. Tenants' handles have the tenants' limits.
    loaded: HashMap<String, Plugin>,
}

impl Force {
    /// The version that decides while the active one keeps failing.
    pub(crate) fn last_good(&self) -> Option<String> {
        self.pointer.fallback().map(|a| a.version.clone())
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
            let memory_bytes = pointer.memory_bytes;
            let active = self.load(tenant, pointer.active.as_ref(), memory_bytes).await?;
            // A shadow that cannot be had is no reason to hold up anybody.
            let shadow = self.load(tenant, pointer.shadow.as_ref(), memory_bytes).await;
            let unknown = shadow.is_err();
            let shadow = shadow.unwrap_or_default();
            let partial = unknown || [&active, &shadow].into_iter().flatten().any(|l| l.plugin.is_err());
            // What is known of a version that stays stays known.
            let (mut breaker, mut watch) = (Breaker::default(), Watch::default());
            let before = self.tenants.remove(&tenant);
            let before = before.map(|f| (f.active, f.breaker, f.shadow, f.watch));
            let (mut told, mut shadow_told) = (false, false);
            if let Some((was_active, was_breaker, was_shadow, was_watch)) = before {
                if is_same(was_active.as_ref(), active.as_ref()) {
                    (breaker, told) = (was_breaker, was_active.is_some_and(|a| a.plugin.is_err()));
                }
                if is_same(was_shadow.as_ref(), shadow.as_ref()) {
                    (watch, shadow_told) = (was_watch, was_shadow.is_some_and(|s| s.plugin.is_err()));
                }
            }
            // Told once, however often it is tried.
            for (loaded, told) in [(&active, told), (&shadow, shadow_told)] {
                if let Some(Loaded { activation, plugin: Err(why), .. }) = loaded.as_ref().filter(|_| !told) {
                    self.meter.event(tenant, activation, "unavailable", why.message.clone());
                }
            }
            let force = Force {
                active,
                fallback: None,
                shadow,
                breaker,
                watch,
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
            self.loaded.retain(|_, plugin| plugin.handles() > 1);
        }
        Ok(())
    }

    /// How a tenant's shadow fares.
    pub(crate) fn watch(&mut self, tenant: TenantId) -> Option<&mut Watch> {
        self.tenants.get_mut(&tenant).map(|f| &mut f.watch)
    }

    /// What is in force for a tenant. Call [`Self::refresh`] first.
    pub(crate) async fn of(&mut self, tenant: TenantId) -> Result<Option<&mut Force>, IngestError> {
        let Some(force) = self.tenants.get(&tenant) else { return Ok(None) };
        let failing = force.breaker.pass(Instant::now()) != Pass::Closed
            || force.active.as_ref().is_some_and(|a| a.plugin.is_err());
        if failing && !force.fallback_tried {
            let (last_good, memory_bytes) = (force.pointer.fallback().cloned(), force.pointer.memory_bytes);
            let fallback = self.load(tenant, last_good.as_ref(), memory_bytes).await?;
            let fallback = fallback.filter(|f| f.plugin.is_ok());
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
        memory_bytes: u64,
    ) -> Result<Option<Loaded>, IngestError> {
        let Some(activation) = activation else { return Ok(None) };
        let settings = self.registry.settings(tenant, &activation.name, &activation.settings_digest).await?;
        let activation = Arc::new(Activation { settings, ..activation.clone() });
        let plugin = self.plugin(tenant, &activation).await?;
        let plugin = plugin.map(|p| Arc::new(p.within(memory_bytes)));
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
    ) -> Result<Result<&Plugin, Rejection>, IngestError> {
        if self.loaded.contains_key(&activation.artefact_key) {
            return Ok(Ok(&self.loaded[&activation.artefact_key]));
        }
        // It is verified while it comes.
        let mut arrival = self.host.arrival();
        let mut taken = Ok(());
        let came = self.registry.artefact_in_parts(activation, |part| {
            taken = arrival.push(part);
            if taken.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let loaded = match came.await {
            Ok(()) => taken.and_then(|()| self.start(&arrival.finish()?.of(&activation.digest)?)),
            Err(e) if e.is_retryable() => return Err(e.into()),
            Err(e) => return Ok(Err(unavailable(activation, &e.to_string()))),
        };
        let loaded = match loaded {
            Err(e @ LoadError::OtherEngine { .. }) => {
                match self.for_this_engine(tenant, activation, e).await? {
                    Ok(bytes) => {
                        let arrived = self.host.arrived(&bytes);
                        arrived.and_then(|a| self.start(&a.of(&activation.digest)?))
                    }
                    Err(why) => return Ok(Err(unavailable(activation, &why))),
                }
            }
            other => other,
        };
        match loaded {
            Ok(plugin) => {
                Ok(Ok(self.loaded.entry(activation.artefact_key.clone()).insert_entry(plugin).into_mut()))
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

/// Whether they are the same version with the same settings.
fn is_same(a: Option<&Loaded>, b: Option<&Loaded>) -> bool {
    fn what(loaded: &Loaded) -> (&str, &str) {
        (&loaded.activation.artefact_key, &loaded.activation.settings_digest)
    }
    a.is_some() && a.map(what) == b.map(what)
}

fn unavailable(activation: &Activation, why: &str) -> Rejection {
    tracing::error!(plugin.name = activation.name, plugin.digest = activation.digest, error = why);
    let text = format!("plugin {} could not be loaded", activation.name);
    Rejection::new(Code::PLUGIN_UNAVAILABLE, "plugin", text)
}
