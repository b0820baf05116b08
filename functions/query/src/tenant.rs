//! `GET` and `PATCH /v1/tenant`: a tenant's own settings.

use crate::answer::{Metadata, Provenance};
use crate::body;
use crate::caller::{Caller, QUERY_READ, SETTINGS_WRITE};
use crate::context::Context;
use crate::params::Params;
use crate::problem::Problem;
use crate::sources::Need;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use eaves_freshness::Demand;
use eaves_model::PointPolicy;
use eaves_model::point::{BadRule, Limit};
use eaves_store::admin::{LimitChange, TenantSettings};
use eaves_store::read::OwnChange;
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A tenant's settings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantBody {
    /// Its name.
    #[schema(example = "acme")]
    name: String,
    /// Entities and attributes must be registered before values are taken.
    strict: bool,
    /// What a second, different value for a point does: `replace`, `reject` or `correction`.
    #[schema(example = "replace")]
    point_policy: &'static str,
    /// How late a value may be, and what becomes of a later one; null: no limit.
    #[schema(example = "30d:quarantine")]
    late: Option<String>,
    /// How far ahead a value may be dated, likewise.
    #[schema(example = "10m:reject")]
    ahead: Option<String>,
    /// How many attributes become hot by themselves. The operator sets it.
    hot_limit: u32,
    /// Days that a query of history covers where it names none.
    default_window_days: u32,
    /// Most days that it can cover. The operator sets it.
    longest_window_days: u32,
}

/// The tenant of the token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantAnswer {
    /// The tenant.
    tenant: TenantBody,
    /// How fresh the answer is.
    metadata: Metadata,
}

/// What to change. What is not given stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TenantChangeBody {
    /// Entities and attributes must be registered before values are taken.
    strict: Option<bool>,
    /// `replace`, `reject` or `correction`.
    #[schema(example = "reject")]
    point_policy: Option<String>,
    /// A time and `accept`, `reject` or `quarantine`; null takes the limit away.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "30d:quarantine")]
    late: Option<Option<String>>,
    /// Likewise.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "10m:reject")]
    ahead: Option<Option<String>>,
    /// Days that a query of history covers where it names none; at most `longest_window_days`.
    #[schema(minimum = 1, maximum = 366, example = 2)]
    default_window_days: Option<u32>,
}

/// Tells null from what is not there.
fn given<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(d).map(Some)
}

impl From<TenantSettings> for TenantBody {
    fn from(t: TenantSettings) -> Self {
        Self {
            name: t.name,
            strict: t.strict,
            point_policy: t.points.name(),
            late: t.limits.late.map(|l| l.to_string()),
            ahead: t.limits.ahead.map(|l| l.to_string()),
            hot_limit: t.hot_limit,
            default_window_days: t.guards.default_window_days,
            longest_window_days: t.guards.longest_window_days,
        }
    }
}

/// The settings of the token's tenant.
#[utoipa::path(
    get, path = "/v1/tenant", tag = "tenant",
    security(("jwt" = ["query:read"])),
    params(
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    responses(
        (status = 200, description = "The settings", body = TenantAnswer),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_tenant(
    State(context): State<Arc<Context>>,
    caller: Caller,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let demand = params.only(&["consistency", "max_staleness"])?.demand()?;
    answer(&context, &caller, demand).await
}

/// Changes the settings of the token's tenant. Ingest follows within ten seconds.
#[utoipa::path(
    patch, path = "/v1/tenant", tag = "tenant",
    security(("jwt" = ["settings:write"])),
    request_body(content = TenantChangeBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The settings as they are now", body = TenantAnswer),
        (status = 400, description = "The body is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn patch_tenant(
    State(context): State<Arc<Context>>,
    caller: Caller,
    params: Params,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.need(SETTINGS_WRITE)?;
    params.only(&[])?;
    let body: TenantChangeBody = body::object(&body, "{\"point_policy\": \"reject\"}")?;
    let days = body.default_window_days;
    let change = change(body)?;
    if change == OwnChange::default() && days.is_none() {
        let detail = "changes nothing: give strict, point_policy, late, ahead or default_window_days";
        return Err(Problem::bad_body("body", detail));
    }
    let reader = &context.sources.primary()?.reader;
    // What can be refused comes first.
    if let Some(days) = days {
        let longest = reader.own_window_set(caller.tenant.id, days).await?;
        context.guards.forget(caller.tenant.id);
        if !(1..=longest).contains(&days) {
            let detail =
                format!("{days} is not from 1 to {longest}, the longest window that the operator allows");
            return Err(Problem::bad_body("default_window_days", detail));
        }
    }
    if change != OwnChange::default() {
        reader.own_settings_change(caller.tenant.id, change).await?;
    }
    tracing::info!(tenant.id = caller.tenant.id.0, subject = caller.subject, "query.tenant_settings_changed");
    let demand = Demand::STRONG;
    answer(&context, &caller, demand).await
}

fn change(body: TenantChangeBody) -> Result<OwnChange, Problem> {
    let limit = |field: &str, text: Option<Option<String>>| -> Result<Option<Option<Limit>>, Problem> {
        let parse = |text: String| text.parse().map_err(|e: BadRule| Problem::bad_body(field, e.to_string()));
        text.map(|text| text.map(parse).transpose()).transpose()
    };
    let policy = |text: String| {
        text.parse::<PointPolicy>().map_err(|e| Problem::bad_body("point_policy", e.to_string()))
    };
    Ok(OwnChange {
        strict: body.strict,
        points: body.point_policy.map(policy).transpose()?,
        limits: LimitChange { late: limit("late", body.late)?, ahead: limit("ahead", body.ahead)? },
    })
}

async fn answer(context: &Context, caller: &Caller, demand: Demand) -> Result<Response, Problem> {
    let mut attempt = context.sources.attempt(demand, Need::Hot, None);
    loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        let done = server.reader.own_settings(caller.tenant.id).await;
        let Some((settings, lag)) = attempt.take(route, server, done)? else { continue };
        let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
        let metadata = provenance.metadata();
        return Ok(provenance.respond(&TenantAnswer { tenant: settings.into(), metadata }));
    }
}
