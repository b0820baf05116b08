//! What it costs to look up what a point holds before it is taken: tenants that reject a second value,
//! or keep it as a correction, beside one where the later value replaces the earlier.

use crate::e2e::{DEVICES, SHARDS, run_of};
use crate::events::Shape;
use crate::results::{Figure, percentile};
use crate::rig::Rig;
use anyhow::{Context as _, Result};

/// The figures.
pub(crate) const NAMES: &[&str] = &["points_reject_values_per_s", "points_correction_values_per_s"];

/// Policies and their tenants; the first is the baseline.
const POLICIES: [(&str, &str); 3] =
    [("replace", "bench-replace"), ("reject", "bench-reject"), ("correction", "bench-correction")];
/// Events a shard and run.
const EVENTS: usize = 60;
/// Runs of each policy, in turn, so that what the machine does meanwhile falls on all.
const ROUNDS: usize = 3;
/// Shards of other measurements end before this one.
const FIRST: usize = 200;

pub(crate) async fn measure(rig: &Rig) -> Result<Vec<Figure>> {
    for (policy, tenant) in POLICIES {
        rig.tenant_with_rules(tenant).await?;
        rig.eaves(&["tenant", "set", tenant, "--points", policy]).await?;
    }
    rig.without_replica(true).await?;
    let mut rates: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        for (at, ((policy, tenant), rates)) in POLICIES.iter().zip(&mut rates).enumerate() {
            // Records of a shard are numbered from the same on: each run has shards of its own.
            let first = FIRST + SHARDS * (POLICIES.len() * round + at);
            let run = run_of(rig, tenant, Shape::Device, DEVICES, first, EVENTS).await;
            rates.push(run.with_context(|| format!("policy {policy}"))?.per_s());
        }
    }
    rig.without_replica(false).await?;
    let [replace, reject, correction] = rates.map(|mut rates| percentile(&mut rates, 50.0));
    let note = |policy: &str| {
        format!(
            "end to end, points that are new, policy {policy}; median of {ROUNDS} runs; baseline: policy replace, \
             run in turn"
        )
    };
    let n = (ROUNDS * EVENTS) as u64;
    Ok(vec![
        Figure::new(NAMES[0], reject, "values/s", replace, n, note("reject")),
        Figure::new(NAMES[1], correction, "values/s", replace, n, note("correction")),
    ])
}
