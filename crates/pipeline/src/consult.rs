//! Who judges a batch, and what becomes of values that nobody could judge.

use crate::breaker::{Pass, Turn};
use crate::judge::{Judged, judge};
use crate::meter::{Meter, Role};
use crate::rules::{Force, Loaded};
use eaves_model::batch::Batch;
use eaves_model::{Code, Rejection, TenantId};
use eaves_registry::{Activation, OnFailure};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What came of asking.
#[derive(Default)]
pub(crate) struct Ruling {
    /// What decided; `None` if the tenant has no plugin in force.
    pub(crate) by: Option<Arc<Activation>>,
    /// What it said.
    pub(crate) judged: Judged,
    /// What becomes of values that it failed on.
    pub(crate) on_failure: OnFailure,
}

/// Asks what is in force about a batch whose readings are the given row ranges, within `time`.
///
/// A version that keeps failing is not asked, until a probe goes well: meanwhile the last good
/// version decides, and where there is none the failure policy does.
pub(crate) fn consult(
    tenant: TenantId,
    force: &mut Force,
    meter: &Meter,
    (batch, readings): (&Batch, &[(u32, u32)]),
    time: Duration,
) -> Ruling {
    let Some(active) = force.active.clone() else { return Ruling::default() };
    let rows = batch.rows.len();
    let on_failure = active.activation.on_failure;
    let end = Instant::now() + time;
    let by_active = |judged| Ruling { by: Some(active.activation.clone()), judged, on_failure };
    if rows == 0 {
        return by_active(Judged::default());
    }
    let pass = force.breaker.pass(Instant::now());
    let asked = active.plugin.is_ok() && pass != Pass::Open;
    let mut judged = match (&active.plugin, pass) {
        (Err(why), _) => none(rows, why.clone()),
        (Ok(_), Pass::Open) => {
            let text = format!("version {} kept failing and is not asked", active.activation.version);
            none(rows, Rejection::new(Code::PLUGIN_FAILED, "plugin", text))
        }
        (Ok(plugin), Pass::Closed | Pass::Probe) => {
            // With a fallback at hand, the one that is failing gets half of the time.
            let time = if force.fallback.is_some() { time / 2 } else { time };
            judge(plugin, &active.activation.settings, batch, readings, time)
        }
    };
    if judged.unavailable.is_some() {
        return by_active(judged);
    }
    if asked {
        count(meter, tenant, &active.activation, Role::Active, &judged, rows);
        if let Some(turn) = force.breaker.record(!is_broken(&judged, rows), Instant::now()) {
            let then = match (turn, force.last_good()) {
                (Turn::Closed, _) => "decides".to_owned(),
                (Turn::Opened, Some(version)) => format!("version {version} decides meanwhile"),
                (Turn::Opened, None) => {
                    format!("its failure policy ({}) holds meanwhile", on_failure.name())
                }
            };
            tell(meter, tenant, &active.activation, turn, &judged, &then);
        }
    }
    let broken = !asked || is_broken(&judged, rows);
    if let (true, Some(Loaded { activation, plugin: Ok(plugin), .. })) = (broken, &force.fallback) {
        let left = end.saturating_duration_since(Instant::now());
        let cost = std::mem::take(&mut judged.cost);
        let instead = judge(plugin, &activation.settings, batch, readings, left);
        if instead.unavailable.is_none() {
            count(meter, tenant, activation, Role::Fallback, &instead, rows);
        }
        let mut ruling = Ruling { by: Some(activation.clone()), judged: instead, on_failure };
        for (kind, n) in cost.failures {
            *ruling.judged.cost.failures.entry(kind).or_default() += n;
        }
        return ruling;
    }
    by_active(judged)
}

/// Nobody was asked.
fn none(rows: usize, why: Rejection) -> Judged {
    Judged { failed: vec![(0, rows as u32, why)], ..Judged::default() }
}

/// Whether the version failed, and not one poisoned reading among others: on all of the
/// batch, or because it ran out of time.
pub(crate) fn is_broken(judged: &Judged, rows: usize) -> bool {
    let failed: u32 = judged.failed.iter().map(|(from, to, _)| to - from).sum();
    failed as usize >= rows || judged.cost.failures.contains_key("deadline")
}

pub(crate) fn count(
    meter: &Meter,
    tenant: TenantId,
    activation: &Activation,
    role: Role,
    judged: &Judged,
    rows: usize,
) {
    let failed = judged.failed_rows();
    meter.judged(tenant, activation, role, (&judged.cost, &judged.by_row(rows, &failed)), rows);
}

/// Tells the tenant that a version's breaker has opened or closed, and what happens then.
pub(crate) fn tell(
    meter: &Meter,
    tenant: TenantId,
    of: &Activation,
    turn: Turn,
    judged: &Judged,
    then: &str,
) {
    let version = &of.version;
    let (kind, message) = match turn {
        Turn::Closed => ("breaker_closed", format!("version {version} works again and {then}")),
        Turn::Opened => {
            let why = judged.failed.first().map_or("", |(_, _, why)| why.message.as_str());
            ("breaker_opened", format!("version {version} keeps failing: {why}; {then}"))
        }
    };
    tracing::warn!(tenant.id = tenant.0, plugin.digest = of.digest, kind, message);
    meter.event(tenant, of, kind, message);
}
