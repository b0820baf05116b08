//! What operators read across tenants: `GET /v1/admin/entities`, `GET /v1/admin/advice`
//!
//! Each read is noted with who, what and why before it is made, in a table that nobody can change
//! (`V61__superadmin.sql`); where that fails nothing is read. The database role is one of its own, with
//! credentials of its own: an instance that was not given them has no such endpoints.

use crate::answer;
use crate::caller::Operator;
use crate::context::Context;
use crate::entity_name::checked;
use crate::params::Params;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eaves_model::rejection::excerpt;
use eaves_model::{EntityId, Timestamp};
use eaves_store::superadmin::{ForeignEntities, ForeignEntity, Purpose, Superadmin, SuperadminError};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 100;
const MOST_ENTITIES: u32 = 500;
/// Characters of a reason.
const REASON: std::ops::RangeInclusive<usize> = 8..=500;

/// An entity of some tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AdminEntity {
    /// Whose.
    #[schema(example = "acme")]
    tenant: String,
    /// Whose, as a number.
    #[schema(example = 7)]
    tenant_id: i32,
    /// Its identifier.
    #[schema(example = 4711)]
    entity_id: i64,
    /// The tenant's own name for it.
    #[schema(example = "pump-7")]
    external_id: String,
    /// Its type; empty if unknown.
    #[serde(rename = "type")]
    #[schema(example = "pump")]
    entity_type: String,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Grows with every change of its hot attributes; 0 if it has none.
    version: i64,
    /// The latest values of its hot attributes, by name.
    #[schema(value_type = std::collections::HashMap<String, serde_json::Value>, example = json!({"temperature": 72.5}))]
    attributes: Box<RawValue>,
}

/// Entities of a tenant or of all.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AdminEntitiesAnswer {
    /// In the order of registration.
    entities: Vec<AdminEntity>,
    /// Give it as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
}

/// One thing that could be done about slow queries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AdviceBody {
    /// `slow_statement`, `no_time_filter`, `promote_attribute`, `unused_index` or `statements_off`.
    #[schema(example = "promote_attribute")]
    kind: String,
    /// Whose attribute it is; null where it is nobody's.
    #[schema(example = "acme")]
    tenant: Option<String>,
    /// A statement's text (without values), an attribute or an index.
    #[schema(example = "serial")]
    subject: String,
    /// What it costs: milliseconds of queries; of an index MiB.
    weight: f64,
    /// What the advice follows from.
    #[schema(value_type = std::collections::HashMap<String, serde_json::Value>)]
    figures: serde_json::Value,
    /// What to do.
    advice: String,
}

/// What could be done about slow queries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AdviceAnswer {
    /// The most expensive first of each kind.
    advice: Vec<AdviceBody>,
}

/// Entities of a tenant or of all, for operators. Who asks, for what and why is noted first; the
/// tenant can read the note.
#[utoipa::path(
    get, path = "/v1/admin/entities", tag = "admin",
    security(("jwt" = ["admin"])),
    params(
        ("reason" = String, Query, description = "Why: 8 to 500 characters, such as a ticket's number and title", min_length = 8, max_length = 500, example = "ticket 4711: pump-7 shows no values"),
        ("tenant" = Option<String>, Query, description = "Only of this tenant", example = "acme"),
        ("external_id" = Option<String>, Query, description = "Only the one of this name", max_length = 255),
        ("limit" = Option<u32>, Query, description = "Most entities of one answer, 1 to 500 (default 100)", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "The entities", body = AdminEntitiesAnswer),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not an operator's token, or not enabled here", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The read could not be noted, or the database does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn admin_entities(
    State(context): State<Arc<Context>>,
    operator: Operator,
    params: Params,
) -> Result<Response, Problem> {
    let superadmin = superadmin(&context)?;
    let params = params.only(&["reason", "tenant", "external_id", "limit", "cursor"])?;
    let limit = params.limit(DEFAULT_LIMIT, MOST_ENTITIES)?;
    let purpose = purpose(&operator, &params)?;
    let external_id = params.get("external_id").map(|name| checked("external_id", name)).transpose()?;
    let tenant = params.get("tenant").map(|name| checked("tenant", name)).transpose()?;
    let after = EntityId(params.get("cursor").map(from_cursor).transpose()?.unwrap_or(0));
    // One more, to know whether there is a next page.
    let which = ForeignEntities { tenant, external_id, after, limit: limit + 1 };
    let mut found = superadmin.entities(purpose, which).await.map_err(|e| failed(e, tenant))?;
    told(&operator, "entities", tenant, found.len());
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| more).map(|last| to_cursor(last.entity));
    let entities = found.into_iter().map(AdminEntity::from).collect();
    Ok(private(answer::json(StatusCode::OK, &AdminEntitiesAnswer { entities, next_cursor })))
}

/// What could be done about slow queries, for operators: statements that take long or read all of
/// history, attributes worth promoting, indexes that nothing uses.
#[utoipa::path(
    get, path = "/v1/admin/advice", tag = "admin",
    security(("jwt" = ["admin"])),
    params(
        ("reason" = String, Query, description = "Why: 8 to 500 characters", min_length = 8, max_length = 500, example = "weekly look at slow queries"),
        ("slow_ms" = Option<u32>, Query, description = "Statements that take so long on average, 1 to 60000 (default 200)", minimum = 1, maximum = 60_000),
        ("least_filters" = Option<u32>, Query, description = "Attributes by which so many queries filter, 1 to 1000000 (default 20)", minimum = 1, maximum = 1_000_000),
    ),
    responses(
        (status = 200, description = "The advice", body = AdviceAnswer),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not an operator's token, or not enabled here", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The read could not be noted, or the database does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn admin_advice(
    State(context): State<Arc<Context>>,
    operator: Operator,
    params: Params,
) -> Result<Response, Problem> {
    let superadmin = superadmin(&context)?;
    let params = params.only(&["reason", "slow_ms", "least_filters"])?;
    let slow = params.number("slow_ms", 200, 60_000)?;
    let least = params.number("least_filters", 20, 1_000_000)?;
    let purpose = purpose(&operator, &params)?;
    let found = superadmin.advice(purpose, slow.into(), least).await.map_err(|e| failed(e, None))?;
    told(&operator, "advice", None, found.len());
    let advice = found.into_iter().map(|a| AdviceBody {
        kind: a.kind,
        tenant: a.tenant,
        subject: a.subject,
        weight: a.weight,
        figures: a.figures,
        advice: a.advice,
    });
    Ok(private(answer::json(StatusCode::OK, &AdviceAnswer { advice: advice.collect() })))
}

impl From<ForeignEntity> for AdminEntity {
    fn from(e: ForeignEntity) -> Self {
        Self {
            tenant: e.tenant,
            tenant_id: e.tenant_id.0,
            entity_id: e.entity.0,
            external_id: e.external_id,
            entity_type: e.entity_type,
            created_at: e.created_at,
            version: e.version,
            attributes: RawValue::from_string(e.attrs_json).unwrap_or_else(|_| RawValue::NULL.to_owned()),
        }
    }
}

fn superadmin(context: &Context) -> Result<&Superadmin, Problem> {
    let off = "reads across tenants are not enabled here: set EAVES_SUPERADMIN_USER and its password";
    context.superadmin.as_ref().ok_or_else(|| Problem::forbidden(off))
}

fn purpose<'a>(operator: &'a Operator, params: &'a Params) -> Result<Purpose<'a>, Problem> {
    let reason = params.get("reason").unwrap_or_default().trim();
    if !REASON.contains(&reason.chars().count()) || reason.contains('\0') {
        let detail = "say why in 8 to 500 characters, such as reason=ticket 4711: pump-7 shows no values";
        return Err(Problem::bad_parameter("reason", detail));
    }
    Ok(Purpose { who: &operator.subject, reason })
}

fn failed(error: SuperadminError, tenant: Option<&str>) -> Problem {
    match error {
        SuperadminError::NoTenant => {
            let name = excerpt(tenant.unwrap_or_default());
            Problem::not_found("tenant", format!("no tenant {name} is registered"))
        }
        SuperadminError::Store(e) => {
            let cause = std::error::Error::source(&e).map(ToString::to_string);
            tracing::error!(error = %e, cause, "query.admin_read_failed");
            Problem::unavailable("the read could not be noted or made", Duration::from_secs(1))
        }
    }
}

/// The log has it, too.
fn told(operator: &Operator, what: &str, tenant: Option<&str>, count: usize) {
    tracing::warn!(subject = operator.subject, what, tenant.name = tenant, count, "query.admin_read");
}

fn private(mut response: Response) -> Response {
    use axum::http::{HeaderValue, header::CACHE_CONTROL};
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn to_cursor(last: EntityId) -> String {
    URL_SAFE_NO_PAD.encode(format!("x {last}"))
}

fn from_cursor(text: &str) -> Result<i64, Problem> {
    let plain = URL_SAFE_NO_PAD.decode(text).ok().and_then(|b| String::from_utf8(b).ok());
    let id = plain.as_deref().and_then(|p| p.strip_prefix("x ")).and_then(|id| id.parse().ok());
    id.ok_or_else(|| Problem::bad_parameter("cursor", "is not a cursor that such an answer gave"))
}
