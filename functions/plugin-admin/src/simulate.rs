//! `POST /v1/plugins/{name}/simulate`: what a version's `promote` would change of what is hot.
//!
//! It is asked as the hot-projection function asks it: by the same figures, in the same time, and of
//! its proposals those are followed that pins, cooldown and budget let.

use crate::body;
use crate::caller::Caller;
use crate::context::Context;
use crate::force;
use crate::plugins::version;
use crate::problem::Problem;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use eaves_model::hot::step::{Hold, by_plugin};
use eaves_model::hot::{Outlook, Rule, demand, row_bytes, simulate};
use eaves_model::promotion::{PromotionDecision, Statistics, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// How long a plugin may think about a tenant's attributes, as in the hot-projection function.
const TIME: Duration = Duration::from_secs(1);
const MOST_BUDGET: u32 = 100_000;
const MOST_HOT: u32 = 1_000;

/// Whom to ask, and what to keep to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimulateBody {
    /// The version to ask. Left out: the active one.
    #[schema(example = "1.1.0")]
    version: Option<String>,
    /// Its settings. Left out: those that the plugin has in force, or else none.
    #[schema(value_type = Option<serde_json::Value>)]
    settings: Option<Box<RawValue>>,
    /// Attributes younger than this are left as they are (default 86400).
    #[schema(example = 86400.0, minimum = 0)]
    cooldown_seconds: Option<f64>,
    /// Most hot attributes, up to 1000 (default: the tenant's `hot_limit`).
    #[schema(maximum = 1000)]
    most: Option<u32>,
    /// Bytes of hot values of a mean entity, up to 100000 (default: the tenant's).
    #[schema(maximum = 100000)]
    byte_budget: Option<u32>,
}

/// A proposal of the plugin's.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Proposal {
    /// The attribute.
    #[schema(example = "temperature")]
    attribute: String,
    /// `promote` or `demote`.
    #[schema(example = "promote")]
    change: &'static str,
    /// The plugin's code.
    #[schema(example = "read_often")]
    code: String,
    /// The plugin's reason.
    reason: String,
    /// Bytes it takes of a mean entity's hot row.
    row_bytes: f64,
    /// Queries per second that name it.
    queries_per_second: f64,
    /// Why it would not be followed: `pinned`, `cooldown` or `no_room`.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<&'static str>,
}

/// The projection as it is, or would be.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HotOutlook {
    /// Hot attributes.
    attributes: u32,
    /// Bytes of a mean entity's hot row.
    row_bytes: f64,
    /// Values written per value received: 1 for history, and what goes to the projection too.
    write_amplification: f64,
    /// Filters per second that are answered from the projection.
    fast_filters_per_second: f64,
    /// Share of the queries that name attributes which name hot ones, 0 to 1.
    demand_share: f64,
}

impl From<Outlook> for HotOutlook {
    fn from(o: Outlook) -> Self {
        Self {
            attributes: o.attributes,
            row_bytes: o.row_bytes,
            write_amplification: o.write_amplification,
            fast_filters_per_second: o.fast_filters_per_second,
            demand_share: o.demand_share,
        }
    }
}

/// What would change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SimulateAnswer {
    /// The version that was asked.
    version: String,
    /// The changes, demotions first.
    changes: Vec<Proposal>,
    /// Proposals that would not be followed.
    held: Vec<Proposal>,
    /// As it is.
    before: HotOutlook,
    /// As it would be.
    after: HotOutlook,
    /// The byte budget that was kept to.
    byte_budget: u32,
    /// The time that the figures were taken over.
    window_seconds: f64,
}

/// What the plugin's `promote` would do to the hot projection, by the figures of now. Nothing is changed.
#[utoipa::path(
    post, path = "/v1/plugins/{name}/simulate", tag = "plugins", security(("jwt" = ["plugins:read"])),
    params(("name" = String, Path, description = "The plugin", example = "limits")),
    request_body = SimulateBody,
    responses(
        (status = 200, description = "What would change", body = SimulateAnswer),
        (status = 400, description = "The body is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such version, or none is active", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The version is not checked, or leaves promotion to the platform", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The plugin does not take the settings, or failed", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn simulate_hot(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    caller: Caller,
    bytes: Bytes,
) -> Result<Json<SimulateAnswer>, Problem> {
    caller.reads()?;
    let body: SimulateBody = body::json(&bytes)?;
    body.check()?;
    let tenant = caller.tenant;
    let label = match body.version {
        Some(label) => label,
        None => {
            let active = context.registry.pointer(tenant).await?.active.filter(|a| a.name == name);
            let none = || Problem::not_found("version", format!("no version of {name} is active: name one"));
            active.ok_or_else(none)?.version
        }
    };
    let found = version(&context, tenant, &name, &label).await?;
    let settings = force::settings(&context, tenant, &name, body.settings.as_deref(), None).await?;
    if !settings.trim_start().starts_with('{') {
        return Err(Problem::bad_body("settings", "is not a JSON object"));
    }
    let plugin = context.load(tenant, &found).await?;
    if !plugin.promotes() {
        let detail = format!("version {label} of {name} has no promote: the built-in rule decides");
        return Err(Problem::conflict(detail));
    }
    let mut hot = context.primary.hot_statistics(tenant).await?.value;
    hot.statistics.byte_budget = body.byte_budget.unwrap_or(hot.statistics.byte_budget);
    let rule = Rule::default();
    let rule = Rule {
        cooldown_seconds: body.cooldown_seconds.unwrap_or(rule.cooldown_seconds),
        most: body.most.unwrap_or(hot.hot_limit),
        ..rule
    };
    let statistics = &hot.statistics;
    let proposals = plugin.promote(statistics, &settings, TIME)?;
    let step = by_plugin(statistics, &hot.standing, proposals, &rule);
    let (before, after) = simulate(statistics, &step.changes);
    let shown = |(d, hold): (&PromotionDecision, Option<Hold>)| proposal(statistics, d, hold);
    Ok(Json(SimulateAnswer {
        version: label,
        changes: step.changes.iter().map(|d| (d, None)).filter_map(shown).collect(),
        held: step.held.iter().map(|(d, hold)| (d, Some(*hold))).filter_map(shown).collect(),
        before: before.into(),
        after: after.into(),
        byte_budget: statistics.byte_budget,
        window_seconds: statistics.window_seconds,
    }))
}

impl SimulateBody {
    fn check(&self) -> Result<(), Problem> {
        let above = |field: &str, value: Option<u32>, most: u32| match value {
            Some(n) if n > most => Err(Problem::bad_body(field, format!("{n} is over {most}"))),
            _ => Ok(()),
        };
        above("most", self.most, MOST_HOT)?;
        above("byte_budget", self.byte_budget, MOST_BUDGET)?;
        match self.cooldown_seconds {
            Some(x) if !(0.0..=f64::MAX).contains(&x) => {
                Err(Problem::bad_body("cooldown_seconds", format!("{x} is not from 0 on")))
            }
            _ => Ok(()),
        }
    }
}

fn proposal(statistics: &Statistics, decision: &PromotionDecision, hold: Option<Hold>) -> Option<Proposal> {
    let attribute = statistics.attributes.get(decision.attribute as usize)?;
    let change = match decision.verdict {
        Verdict::Keep => return None,
        Verdict::Promote => "promote",
        Verdict::Demote => "demote",
    };
    Some(Proposal {
        attribute: attribute.name.to_string(),
        change,
        code: decision.reason.code.0.to_string(),
        reason: decision.reason.text.clone(),
        row_bytes: row_bytes(attribute, statistics.tenant_entities),
        queries_per_second: demand(attribute),
        held: hold.map(Hold::name),
    })
}
