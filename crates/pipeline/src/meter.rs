//! What plugins cost and decided, and what happened to them: kept in memory, and written after
//! a batch, on its connection, every few seconds.

use crate::judge::Cost;
use eaves_model::TenantId;
use eaves_model::verdict::{ByRow, Difference};
use eaves_registry::Activation;
use eaves_store::ingest::{IngestStore, PluginFigures, PluginVersion};
use eaves_telemetry::Histogram;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often figures are written under load.
const PACE: Duration = Duration::from_secs(2);
/// Batches below this many values are told at once: there are few of them, or nobody waits.
const LARGE: u64 = 1_000;
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

type Figures = HashMap<(TenantId, String, Role), (PluginFigures, Histogram)>;

#[derive(Debug, Default)]
struct Pending {
    figures: Figures,
    events: Vec<Event>,
    written: Option<Instant>,
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
///
/// Nothing is written in the background: between two invocations a Lambda instance is frozen,
/// and a statement under way with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    pending: Arc<Mutex<Pending>>,
}

impl Meter {
    /// Writes what waits, if it is time after a batch of so many values: large batches follow
    /// each other closely and are told together, small ones may be the last for long. At full
    /// load the figures of the last second or two wait for the next batch.
    ///
    /// Figures that cannot be written are lost, and it is logged: they are no reason to hold
    /// anything up. Events are tried again.
    pub(crate) async fn write_after(&self, values: u64, store: &IngestStore) {
        let (figures, events) = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = pending.written.is_none_or(|at| at.elapsed() >= PACE);
            let nothing = pending.figures.is_empty() && pending.events.is_empty();
            if nothing || !(waited || values < LARGE) {
                return;
            }
            pending.written = Some(Instant::now());
            (std::mem::take(&mut pending.figures), std::mem::take(&mut pending.events))
        };
        let left = write(store, figures, events).await;
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).events.extend(left);
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

/// Answers with the events that could not be written.
async fn write(store: &IngestStore, figures: Figures, events: Vec<Event>) -> Vec<Event> {
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
    left
}
