//! `/v1/hot`: what is hot. Here `POST /v1/hot/simulate`: what a rule would change, without changing
//! anything.

mod decide;
mod show;

pub(crate) use decide::*;
pub(crate) use show::*;

use crate::answer::{Metadata, Provenance};
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::params::Params;
use crate::problem::Problem;
use crate::sources::Need;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use eaves_model::Code;
use eaves_model::batch::Reason;
use eaves_model::hot::step::by_rule;
use eaves_model::hot::{Outlook, Rule, demand, row_bytes, simulate};
use eaves_model::promotion::{PromotionDecision, Statistics, Verdict};
use eaves_model::rejection::excerpt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

const MOST_BYTES: usize = 256 * 1024;
const MOST_BUDGET: u32 = 100_000;
const MOST_HOT: u32 = 1_000;

/// What to try. Without `promote` and `demote`, the built-in rule.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SimulateBody {
    /// Share of the queries that hot attributes are to serve, 0 to 1 (default 0.8).
    #[schema(example = 0.8, minimum = 0, maximum = 1)]
    share: Option<f64>,
    /// By how much an attribute must be asked for more than a hot one to take its place, 1 to 100
    /// (default 1.5).
    #[schema(example = 1.5, minimum = 1, maximum = 100)]
    hysteresis: Option<f64>,
    /// Attributes younger than this are left as they are (default 86400).
    #[schema(example = 86400.0, minimum = 0)]
    cooldown_seconds: Option<f64>,
    /// Most hot attributes, up to 1000 (default: the tenant's `hot_limit`).
    #[schema(maximum = 1000)]
    most: Option<u32>,
    /// Bytes of hot values of a mean entity, up to 100000 (default: the tenant's).
    #[schema(maximum = 100000)]
    byte_budget: Option<u32>,
    /// Instead of the rule: these become hot.
    promote: Vec<String>,
    /// Instead of the rule: these cease to be.
    demote: Vec<String>,
}

/// A change of one attribute.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Change {
    /// The attribute.
    #[schema(example = "temperature")]
    attribute: String,
    /// `promote` or `demote`.
    #[schema(example = "promote")]
    change: &'static str,
    /// `asked_for`, `no_room` or `by_hand`.
    #[schema(example = "asked_for")]
    code: String,
    /// Why.
    reason: String,
    /// Bytes it takes of a mean entity's hot row.
    row_bytes: f64,
    /// Queries per second that name it.
    queries_per_second: f64,
}

/// The projection as it is, or would be.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Projection {
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

impl From<Outlook> for Projection {
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
    /// The changes, demotions first.
    changes: Vec<Change>,
    /// As it is.
    before: Projection,
    /// As it would be.
    after: Projection,
    /// The byte budget that was kept to.
    byte_budget: u32,
    /// The time that the figures were taken over.
    window_seconds: f64,
    /// How fresh the figures are.
    metadata: Metadata,
}

/// What a rule, or a change by hand, would do to the hot projection. Nothing is changed.
#[utoipa::path(
    post, path = "/v1/hot/simulate", tag = "attributes",
    security(("jwt" = ["query:read"])),
    params(
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest figures to take, such as `2s` or `500ms`"),
    ),
    request_body(content = SimulateBody, content_type = "application/json"),
    responses(
        (status = 200, description = "What would change", body = SimulateAnswer),
        (status = 400, description = "A setting or parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn simulate_hot(
    State(context): State<Arc<Context>>,
    caller: Caller,
    params: Params,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let demanded = params.only(&["consistency", "max_staleness"])?.demand()?;
    if body.len() > MOST_BYTES {
        return Err(Problem::too_large("the body", MOST_BYTES));
    }
    let body: SimulateBody = match body.trim_ascii() {
        b"" => SimulateBody::default(),
        text if text.first() == Some(&b'{') => serde_json::from_slice(text)
            .map_err(|e| Problem::bad_body("body", format!("cannot be read: {e}")))?,
        _ => {
            return Err(Problem::bad_body("body", "cannot be read: send an object such as {\"share\": 0.9}"));
        }
    };
    body.check()?;
    let tenant = caller.tenant.id;
    context.usage.write(tenant, &context.sources.primary, true).await;
    let mut attempt = context.sources.attempt(demanded, Need::Hot, None);
    let (found, route, lag) = loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        let done = server.reader.hot_statistics(tenant).await;
        if let Some((found, lag)) = attempt.take(route, server, done)? {
            break (found, route, lag);
        }
    };
    let mut statistics = found.statistics;
    statistics.byte_budget = body.byte_budget.unwrap_or(statistics.byte_budget);
    let decisions = match body.by_hand(&statistics)? {
        Some(decisions) => decisions,
        None => by_rule(&statistics, &found.standing, &body.rule(found.hot_limit)).changes,
    };
    let (before, after) = simulate(&statistics, &decisions);
    let provenance = Provenance::new(demanded, route, lag, context.sources.replication_lag());
    Ok(provenance.respond(&SimulateAnswer {
        changes: decisions.into_iter().filter_map(|d| change(&statistics, d)).collect(),
        before: before.into(),
        after: after.into(),
        byte_budget: statistics.byte_budget,
        window_seconds: statistics.window_seconds,
        metadata: provenance.metadata(),
    }))
}

impl SimulateBody {
    fn check(&self) -> Result<(), Problem> {
        let within = |field: &str, value: Option<f64>, low: f64, high: f64| match value {
            Some(x) if !(low..=high).contains(&x) => {
                Err(Problem::bad_body(field, format!("{x} is not from {low} to {high}")))
            }
            _ => Ok(()),
        };
        within("share", self.share, 0.0, 1.0)?;
        within("hysteresis", self.hysteresis, 1.0, 100.0)?;
        within("cooldown_seconds", self.cooldown_seconds, 0.0, f64::MAX)?;
        within("most", self.most.map(f64::from), 0.0, f64::from(MOST_HOT))?;
        within("byte_budget", self.byte_budget.map(f64::from), 0.0, f64::from(MOST_BUDGET))
    }

    fn rule(&self, hot_limit: u32) -> Rule {
        let rule = Rule::default();
        Rule {
            share: self.share.unwrap_or(rule.share),
            hysteresis: self.hysteresis.unwrap_or(rule.hysteresis),
            cooldown_seconds: self.cooldown_seconds.unwrap_or(rule.cooldown_seconds),
            most: self.most.unwrap_or(hot_limit),
        }
    }

    /// The changes that are given by name, if any are.
    fn by_hand(&self, statistics: &Statistics) -> Result<Option<Vec<PromotionDecision>>, Problem> {
        let mut decisions: Vec<PromotionDecision> = Vec::new();
        let lists = [("demote", &self.demote, Verdict::Demote), ("promote", &self.promote, Verdict::Promote)];
        for (field, names, verdict) in lists {
            for name in names {
                let at = statistics.attributes.iter().position(|a| *a.name == **name);
                let Some(at) = at.and_then(|at| u32::try_from(at).ok()) else {
                    let detail = format!("no attribute {} is registered", excerpt(name));
                    return Err(Problem::bad_body(field, detail));
                };
                if decisions.iter().any(|d| d.attribute == at) {
                    return Err(Problem::bad_body(field, format!("names {} twice", excerpt(name))));
                }
                let reason = Reason { code: Code("by_hand".into()), text: "as the request says".into() };
                decisions.push(PromotionDecision { attribute: at, verdict, reason });
            }
        }
        Ok((!decisions.is_empty()).then_some(decisions))
    }
}

fn change(statistics: &Statistics, decision: PromotionDecision) -> Option<Change> {
    let attribute = statistics.attributes.get(decision.attribute as usize)?;
    let change = match decision.verdict {
        Verdict::Keep => return None,
        Verdict::Promote => "promote",
        Verdict::Demote => "demote",
    };
    Some(Change {
        attribute: attribute.name.to_string(),
        change,
        code: decision.reason.code.0.into_owned(),
        reason: decision.reason.text,
        row_bytes: row_bytes(attribute, statistics.tenant_entities),
        queries_per_second: demand(attribute),
    })
}
