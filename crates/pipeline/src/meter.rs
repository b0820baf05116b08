//! What plugins cost and decided, and what happened to them, kept in memory and written
//! every few seconds: the batches do not wait for it.

use crate::judge::Cost;
use eaves_model::TenantId;
use eaves_model::verdict::{ByRow, Difference};
use eaves_registry::Activation;
use eaves_store::ingest::{IngestStore, PluginFigures, PluginVersion};
use eaves_telemetry::Histogram;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often figures are written.
const PACE: Duration = Duration::from_secs(2);
/// Most codes of a version between two writes; others go together.
const CODES: usize = 50;
/// Most samples of a shadow between two writes.
const SAMPLES: usize = 5;
/// Most events that wait: a database that is away must not fill the memory.
const EVENTS: usize = 1000;

/// In which role a version judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// It decided.
    Active,
    /// It decided in place of the active version.
    Fallback,
    /// It looked on.
    Shadow,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Fallback => "fallback",
            Self::Shadow => "shadow",
        }
    }
}

#[derive(Debug, Default)]
struct Pending {
    figures: HashMap<(TenantId, String, Role), (PluginFigures, Histogram)>,
    events: Vec<Event>,
}

#[derive(Debug, Clone)]
struct Event {
    tenant: TenantId,
    kind: &'static str,
    name: String,
    version: String,
    digest: String,
    message: String,
}

/// Collects figures. A clone is the same one.
#[derive(Debug, Clone)]
pub struct Meter {
    pending: Arc<Mutex<Pending>>,
    _task: Option<Arc<Writer>>,
}

#[derive(Debug)]
struct Writer(JoinHandle<()>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Meter {
    /// Writes what it collects through `store`, in the background.
    pub fn start(mut store: IngestStore) -> Self {
        let pending: Arc<Mutex<Pending>> = Arc::default();
        let shared = pending.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(PACE).await;
                write(&mut store, &shared).await;
            }
        });
        Self { pending, _task: Some(Arc::new(Writer(task))) }
    }

    /// Collects and writes nothing.
    pub fn idle() -> Self {
        Self { pending: Arc::default(), _task: None }
    }

    /// A version judged a batch of so many values.
    pub(crate) fn judged(
        &self,
        tenant: TenantId,
        activation: &Activation,
        role: Role,
        (cost, rows): (&Cost, &ByRow<'_>),
        values: usize,
    ) {
        self.with(tenant, activation, role, |figures, times| {
            figures.calls += cost.calls;
            figures.values += values as u64;
            figures.memory_peak = figures.memory_peak.max(cost.memory_peak);
            for (kind, n) in &cost.failures {
                *figures.failures.entry((*kind).to_owned()).or_default() += n;
            }
            // One that wants to see none of the values costs nothing.
            if cost.calls > 0 {
                times.record(cost.us_per_1000(values));
            }
            let mut verdicts = BTreeMap::new();
            rows.count(&mut verdicts);
            for (verdict, n) in verdicts {
                let known = figures.verdicts.len() < CODES || figures.verdicts.contains_key(&verdict);
                let key = if known { verdict } else { "rejected:*".to_owned() };
                *figures.verdicts.entry(key).or_default() += n;
            }
        });
    }

    /// A shadow said something else than the version that decided.
    pub(crate) fn differed(
        &self,
        tenant: TenantId,
        shadow: &Activation,
        changes: BTreeMap<String, u64>,
        samples: Vec<Difference>,
    ) {
        self.with(tenant, shadow, Role::Shadow, |figures, _| {
            for (change, n) in changes {
                *figures.changes.entry(change).or_default() += n;
            }
            let room = SAMPLES.saturating_sub(figures.samples.len());
            let samples = samples.into_iter().take(room).filter_map(|s| serde_json::to_value(s).ok());
            figures.samples.extend(samples);
        });
    }

    /// A shadow did not see a batch.
    pub(crate) fn skipped(&self, tenant: TenantId, shadow: &Activation) {
        self.with(tenant, shadow, Role::Shadow, |figures, _| figures.skipped += 1);
    }

    /// Something happened that the tenant should know.
    pub(crate) fn event(
        &self,
        tenant: TenantId,
        activation: &Activation,
        kind: &'static str,
        message: impl Into<String>,
    ) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.events.len() < EVENTS {
            pending.events.push(Event {
                tenant,
                kind,
                name: activation.name.clone(),
                version: activation.version.clone(),
                digest: activation.digest.clone(),
                message: message.into(),
            });
        }
    }

    fn with(
        &self,
        tenant: TenantId,
        activation: &Activation,
        role: Role,
        change: impl FnOnce(&mut PluginFigures, &mut Histogram),
    ) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let (figures, times) =
            pending.figures.entry((tenant, activation.digest.clone(), role)).or_insert_with(|| {
                let figures = PluginFigures {
                    tenant: tenant.0,
                    name: activation.name.clone(),
                    version: activation.version.clone(),
                    digest: activation.digest.clone(),
                    role: role.name().into(),
                    ..PluginFigures::default()
                };
                (figures, Histogram::default())
            });
        change(figures, times);
    }
}

/// Writes what waits. Figures that cannot be written are lost, and it is logged: they are no
/// reason to hold anything up. Events are tried again.
async fn write(store: &mut IngestStore, pending: &Mutex<Pending>) {
    let Pending { figures, events } =
        std::mem::take(&mut *pending.lock().unwrap_or_else(PoisonError::into_inner));
    let figures: Vec<PluginFigures> = figures
        .into_values()
        .map(|(figures, times)| PluginFigures { times: times.to_map(), ..figures })
        .collect();
    for part in figures.chunks(200) {
        if let Err(e) = store.plugin_metrics_add(part).await {
            tracing::warn!(error = &e as &dyn std::error::Error, "plugin figures were not written");
        }
    }
    let mut left = Vec::new();
    for event in events {
        let version = PluginVersion {
            name: &event.name,
            version: &event.version,
            digest: &event.digest,
            settings_digest: "",
            validated: true,
        };
        let done = store.plugin_event_add(event.tenant, event.kind, &version, &event.message).await;
        if let Err(e) = done {
            tracing::warn!(error = &e as &dyn std::error::Error, "a plugin event was not written");
            left.push(event);
        }
    }
    if !left.is_empty() {
        pending.lock().unwrap_or_else(PoisonError::into_inner).events.extend(left);
    }
}
