//! One invocation: each tenant once, who has waited longest first, while there is time. What
//! goes wrong with one is logged, and the others go on.

use crate::opinion::{Opinion, Plugins, Unavailable};
use crate::record;
use eaves_model::TenantId;
use eaves_model::hot::Rule;
use eaves_model::hot::step::{Step, by_plugin, by_rule};
use eaves_registry::{Activation, Pointer, RegistryError};
use eaves_store::read::{HotStatistics, ReadError, Reader};
use eaves_telemetry::metrics::{self, Unit};
use eaves_telemetry::span;
use lambda_runtime::LambdaEvent;
use serde::Serialize;
use std::time::{Duration, SystemTime};
use tracing::Instrument as _;

/// Most tenants of one invocation; the others come first in the next one.
const TENANTS: u32 = 10_000;
/// Tenants whose pointers are read together.
const AT_ONCE: usize = 100;
/// Time left for the answer. A plugin may take some seconds to load and to decide.
const MARGIN: Duration = Duration::from_secs(20);
/// Figures of less than this, or than the cooldown if that is shorter, say too little.
const LEAST_WINDOW_SECONDS: f64 = 3600.0;

/// What an instance has.
pub(crate) struct Deciding {
    /// As `eaves_query`: one tenant at a time.
    pub(crate) primary: Reader,
    pub(crate) plugins: Plugins,
    /// How long an attribute stays as it is after a change.
    pub(crate) cooldown: Duration,
}

/// Why an invocation ends early; the schedule tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The database.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The registry of plugins.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The event names a tenant that there is not.
    #[error("the event's tenant {0:?} is not registered")]
    NoTenant(String),
}

/// What an invocation did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// Tenants that were decided for.
    tenants: u32,
    /// Attributes that are to change.
    changes: u32,
    /// Tenants whose plugin failed.
    plugin_failures: u32,
    /// Tenants that were left out: something that is needed did not answer.
    skipped: u32,
}

/// An event with a `tenant` is about that one only, by its name.
pub(crate) async fn handle(
    deciding: &mut Deciding,
    event: &LambdaEvent<serde_json::Value>,
) -> Result<Summary, Failure> {
    let deadline = event.context.deadline();
    let tenants = match event.payload["tenant"].as_str() {
        None => deciding.primary.hot_tenants(TENANTS).await?,
        Some(name) => {
            let tenant = deciding.primary.tenant(name).await?;
            vec![tenant.ok_or_else(|| Failure::NoTenant(name.chars().take(64).collect()))?.id]
        }
    };
    let mut summary = Summary::default();
    'all: for some in tenants.chunks(AT_ONCE) {
        let pointers = deciding.plugins.pointers(some).await?;
        for tenant in some {
            if deadline.duration_since(SystemTime::now()).unwrap_or_default() < MARGIN {
                tracing::info!(left = tenants.len() - summary.tenants as usize, "hot.out_of_time");
                break 'all;
            }
            let active =
                pointers.get(tenant).and_then(|p: &Pointer| Some((p.active.as_ref()?, p.memory_bytes)));
            // Boxed: the futures below it are many layers deep.
            let run = Box::pin(deciding.run(*tenant, active)).instrument(span!("tenant", tenant = tenant.0));
            match run.await {
                Ok(done) => summary.add(&done),
                Err(Skipped::Read(e)) if e.is_away() => return Err(e.into()),
                Err(e) => {
                    summary.skipped += 1;
                    let cause = std::error::Error::source(&e).map(ToString::to_string);
                    tracing::warn!(tenant.id = tenant.0, error = %e, cause, "hot.tenant_skipped");
                }
            }
        }
    }
    let values = [
        (metrics::HOT_CHANGES, Unit::Count, f64::from(summary.changes)),
        (metrics::PLUGIN_FAILURES, Unit::Count, f64::from(summary.plugin_failures)),
    ];
    metrics::emit("hot-projection", &values);
    Ok(summary)
}

/// Why a tenant is left out of this run.
#[derive(Debug, thiserror::Error)]
enum Skipped {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What came of one tenant.
#[derive(Debug, Default)]
struct Done {
    decided: bool,
    changes: u32,
    plugin_failed: bool,
}

impl Summary {
    fn add(&mut self, done: &Done) {
        self.tenants += u32::from(done.decided);
        self.changes += done.changes;
        self.plugin_failures += u32::from(done.plugin_failed);
    }
}

impl Deciding {
    /// `active` is the tenant's plugin, and the memory that it may take.
    async fn run(&mut self, tenant: TenantId, active: Option<(&Activation, u64)>) -> Result<Done, Skipped> {
        let found = self.primary.hot_statistics(tenant).await?.value;
        let least = LEAST_WINDOW_SECONDS.min(self.cooldown.as_secs_f64());
        if !found.auto || found.statistics.window_seconds < least {
            return Ok(Done::default());
        }
        let opinion = match active {
            None => Opinion::None,
            Some(active) => self.plugins.ask(tenant, active, &found.statistics).await?,
        };
        let active = active.map(|(active, _)| active);
        let rule =
            Rule { cooldown_seconds: self.cooldown.as_secs_f64(), most: found.hot_limit, ..Rule::default() };
        let HotStatistics { statistics, standing, .. } = &found;
        let (plugin, step, failure) = match opinion {
            Opinion::None => (None, by_rule(statistics, standing, &rule), None),
            Opinion::Said(proposals) => (active, by_plugin(statistics, standing, proposals, &rule), None),
            // Nothing is decided, and not by the built-in rule either: the tenant wants its own.
            Opinion::Failed(why) => (active, Step::default(), Some(why)),
        };
        if let Some(why) = &failure {
            tracing::warn!(
                tenant.id = tenant.0,
                plugin.digest = plugin.map(|p| &*p.digest),
                why,
                "hot.plugin_failed"
            );
        }
        let plugin_failed = failure.is_some();
        let run = record::run(&found, &step, plugin, failure);
        let changes = self.primary.hot_run(tenant, &run).await?;
        if changes > 0 {
            tracing::info!(tenant.id = tenant.0, rule = run.rule, changes, "hot.decided");
        }
        Ok(Done { decided: true, changes, plugin_failed })
    }
}
