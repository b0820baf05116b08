//! `GET /v1/entities`

use crate::answer::{FreshnessBody, Metadata, Provenance};
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entity_body::{EntityBody, Hot};
use crate::entity_name::checked;
use crate::fields::Fields;
use crate::format::{Format, Listed};
use crate::params::Params;
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eaves_model::EntityId;
use eaves_store::read::EntitiesQuery;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 100;
const MOST_ENTITIES: u32 = 500;
/// Most names in the `fields` of a query string.
pub(crate) const MOST_LISTED: usize = 100;

/// What an answer says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntitiesMetadata {
    /// How many entities there are on all pages; of a search that asks for `count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1247)]
    total_count: Option<i64>,
    /// False if there may be more: counting ended there.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_count_exact: Option<bool>,
    /// How fresh the answer is.
    freshness: FreshnessBody,
}

impl EntitiesMetadata {
    /// With a count and whether it is all, where that was asked for.
    pub(crate) fn new(metadata: Metadata, total: Option<(i64, bool)>) -> Self {
        let (total_count, total_count_exact) = total.unzip();
        Self { total_count, total_count_exact, freshness: metadata.freshness }
    }
}

/// Entities, page by page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntitiesAnswer<'a> {
    /// In the order asked for.
    #[schema(value_type = Vec<EntityBody>)]
    pub(crate) entities: Vec<EntityBody<'a>>,
    /// Give it as `cursor` for the next page; null on the last one.
    pub(crate) next_cursor: Option<String>,
    /// How fresh the answer is, and how many there are where that was asked for.
    pub(crate) metadata: EntitiesMetadata,
    /// The attributes of a table, where they were named.
    #[serde(skip)]
    pub(crate) columns: Option<Vec<String>>,
}

/// What stands before an entity's attributes in a table, as [`EntityBody::cells`] has it.
pub(crate) const ENTITY_COLUMNS: [&str; 4] = ["external_id", "type", "version", "observed_at"];

/// The attributes of a table of entities: those that were named, else all that any of them has, by name.
pub(crate) fn table_columns<'a>(
    named: Option<&'a [String]>,
    entities: impl Iterator<Item = &'a EntityBody<'a>>,
) -> Vec<&'a str> {
    match named {
        Some(named) => named.iter().map(String::as_str).collect(),
        None => entities.flat_map(EntityBody::names).collect::<BTreeSet<_>>().into_iter().collect(),
    }
}

impl Listed for EntitiesAnswer<'_> {
    fn next_cursor(&self) -> Option<&str> {
        self.next_cursor.as_deref()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        self.entities.iter().map(serde_json::to_string).collect()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let columns = table_columns(self.columns.as_deref(), self.entities.iter());
        let mut rows = vec![ENTITY_COLUMNS.iter().chain(&columns).map(|name| (*name).to_owned()).collect()];
        rows.extend(self.entities.iter().map(|entity| entity.cells(&columns)));
        rows
    }
}

/// The tenant's entities in the order in which they were registered, with their latest values. What
/// is registered or written between two pages moves nothing.
#[utoipa::path(
    get, path = "/v1/entities", tag = "entities",
    security(("jwt" = ["query:read"])),
    params(
        ("type" = Option<String>, Query, description = "Only entities of this type", example = "pump"),
        ("fields" = Option<String>, Query, description = "Only these attributes, separated by commas; empty: none. Without it, all hot ones", example = "temperature,status"),
        ("cold_within" = Option<String>, Query, description = "How far back a field that is not hot is looked for, such as `24h` (default `7d`, at most `30d`)"),
        ("limit" = Option<u32>, Query, description = "Most entities of one answer, 1 to 500 (default 100)"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    responses(
        (status = 200, description = "The entities, as one object, as lines (`Accept: application/x-ndjson`) or as a table (`Accept: text/csv`)", content(
            (EntitiesAnswer = "application/json"), (EntityBody = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "None of the forms that `Accept` names", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_entities(
    State(context): State<Arc<Context>>,
    caller: Caller,
    format: Format,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let known = ["type", "fields", "cold_within", "limit", "cursor", "consistency", "max_staleness"];
    let params = params.only(&known)?;
    let demand = params.demand()?;
    let limit = params.limit(DEFAULT_LIMIT, MOST_ENTITIES)?;
    let after = params.get("cursor").map(from_cursor).transpose()?.unwrap_or(EntityId(0));
    let entity_type = match params.get("type") {
        Some(name) if !name.is_empty() => Some(checked("type", name)?.to_owned()),
        other => other.map(str::to_owned),
    };
    let wanted = params.names("fields", MOST_LISTED)?;
    let within = caller.windows().within("cold_within", params.span("cold_within")?)?;
    let tenant = caller.tenant.id;
    let fields = Fields::of(&context, tenant, wanted, within, limit).await?;
    // One more, to know whether there is a next page.
    let query = EntitiesQuery { tenant, entity_type, after, limit: limit + 1 };

    let began = Instant::now();
    let mut attempt = context.sources.attempt(demand, fields.need(), None);
    loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        let done = server.reader.entities_page(&query).await;
        let Some((mut rows, mut lag)) = attempt.take(route, server, done)? else { continue };
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let mut cold = Vec::new();
        if let Some(done) = fields.read(route, server, tenant, &rows).await {
            let Some(read) = attempt.take(route, server, done)? else { continue };
            (cold, lag) = read;
        }
        context.usage.note(tenant, &[], &fields.names(), began.elapsed());
        context.usage.write(tenant, &context.sources.primary, false).await;
        let next_cursor = rows.last().filter(|_| more).map(|last| to_cursor(last.entity));
        let hot = Hot::of_all(&rows)?;
        let known = fields.known(&context, tenant, &hot).await;
        let entities = fields.bodies(hot, &known, cold);
        let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
        let metadata = EntitiesMetadata::new(provenance.metadata(), None);
        let columns = fields.columns();
        return Ok(
            provenance.respond_as(format, &EntitiesAnswer { entities, next_cursor, metadata, columns })
        );
    }
}

fn to_cursor(last: EntityId) -> String {
    URL_SAFE_NO_PAD.encode(format!("l {last}"))
}

fn from_cursor(text: &str) -> Result<EntityId, Problem> {
    let plain = URL_SAFE_NO_PAD.decode(text).ok().and_then(|b| String::from_utf8(b).ok());
    let id = plain.as_deref().and_then(|p| p.strip_prefix("l ")).and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| Problem::bad_parameter("cursor", "is not a cursor that a list answer gave"));
    id.map(EntityId)
}

/// Whether a text is a cursor.
pub(crate) fn takes_cursor(text: &str) -> bool {
    from_cursor(text).is_ok()
}
