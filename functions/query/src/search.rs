//! `POST /v1/entities/search`

use crate::answer::{EntityBody, Metadata, Provenance, attribute_names, entity_body};
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::filter::Filter;
use crate::params::{Params, check_limit};
use crate::problem::Problem;
use crate::sources::Need;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eaves_model::rejection::excerpt;
use eaves_model::{EntityId, TenantId, Timestamp};
use eaves_store::hot::HotChange;
use eaves_store::read::{FilterRefusal, ReadError, SearchQuery};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 100;
const MOST_ENTITIES: u32 = 500;
const MOST_BYTES: usize = 128 * 1024;
const MOST_FIELDS: usize = 1000;

/// What to search for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchBody<'a> {
    /// `{"attribute": "status", "eq": "online"}`, with `gt`, `gte`, `lt`, `lte`, `in` or
    /// `exists` likewise, joined by `{"and": […]}`, `{"or": […]}`, `{"not": …}`. Without
    /// a filter, all entities that have hot attributes.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>, example = json!({"and": [{"attribute": "status", "eq": "online"}, {"attribute": "temperature", "gt": 70}]}))]
    filter: Option<&'a RawValue>,
    /// Only entities of this type.
    #[serde(rename = "type", default)]
    #[schema(example = "pump")]
    entity_type: Option<String>,
    /// Only these attributes in the answer. Without it, all hot ones.
    #[serde(default)]
    fields: Option<Vec<String>>,
    /// Most entities of one answer, 1 to 500.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

/// Entities that match.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchAnswer {
    /// In a fixed order.
    entities: Vec<EntityBody>,
    /// Give it as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
    /// How fresh the answer is.
    metadata: Metadata,
}

/// Entities by the latest values of their hot attributes.
#[utoipa::path(
    post, path = "/v1/entities/search", tag = "entities",
    security(("jwt" = ["query:read"])),
    params(
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    request_body(content = SearchBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The entities", body = SearchAnswer),
        (status = 400, description = "The filter or a parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn search_entities(
    State(context): State<Arc<Context>>,
    caller: Caller,
    params: Params,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let demand = params.only(&["consistency", "max_staleness"])?.demand()?;
    if body.len() > MOST_BYTES {
        return Err(Problem::too_large("the body", MOST_BYTES));
    }
    // A list would be taken for the fields in order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad_body("body", "cannot be read: send an object such as {\"filter\": …}"));
    }
    let body: SearchBody<'_> = serde_json::from_slice(&body)
        .map_err(|e| Problem::bad_body("body", format!("cannot be read: {e}")))?;
    let filter = body.filter.map(|f| Filter::parse(f.get())).transpose()?;
    let limit = match body.limit {
        None => DEFAULT_LIMIT,
        limit => check_limit(limit, MOST_ENTITIES)
            .ok_or_else(|| Problem::bad_body("limit", format!("is not from 1 to {MOST_ENTITIES}")))?,
    };
    let after = body.cursor.as_deref().map(from_cursor).transpose()?.unwrap_or(EntityId(0));
    if let Some(entity_type) = body.entity_type.as_deref().filter(|t| !t.is_empty()) {
        eaves_model::reading::check_name("type", entity_type)
            .map_err(|r| Problem::bad_body("type", r.message))?;
    }
    if body.fields.as_ref().is_some_and(|f| f.len() > MOST_FIELDS) {
        return Err(Problem::bad_body("fields", format!("names over {MOST_FIELDS} attributes")));
    }
    let query = SearchQuery {
        tenant: caller.tenant.id,
        filter_json: filter.as_ref().map_or_else(|| "{}".to_owned(), |f| f.json().to_owned()),
        entity_type: body.entity_type,
        after,
        // One more, to know whether there is a next page.
        limit: limit + 1,
    };

    // What is asked in vain is asked: an attribute that is not hot may be worth making so.
    let began = Instant::now();
    let asked = |took| {
        let filters: Vec<&str> = filter.iter().flat_map(Filter::attributes).collect();
        let returns: Vec<&str> = body.fields.iter().flatten().map(String::as_str).collect();
        context.usage.note(caller.tenant.id, &filters, &returns, took);
    };
    let mut attempt = context.sources.attempt(demand, Need::Hot, None);
    let (mut rows, route, lag) = loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        let done = server.reader.search(&query).await;
        match attempt.take(route, server, done) {
            Ok(Some((rows, lag))) => break (rows, route, lag),
            Ok(None) => {}
            Err(e) => {
                asked(began.elapsed());
                context.usage.write(caller.tenant.id, &context.sources.primary, false).await;
                return Err(refused(e, filter.as_ref(), &context, caller.tenant.id).await);
            }
        }
    };
    asked(began.elapsed());
    context.usage.write(caller.tenant.id, &context.sources.primary, false).await;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_cursor = rows.last().filter(|_| more).map(|last| to_cursor(last.entity));

    let mut names: HashSet<String> = rows.iter().flat_map(attribute_names).collect();
    if let Some(wanted) = &body.fields {
        names.retain(|name| wanted.contains(name));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let known = context.attributes(caller.tenant.id, &names).await;
    let entities = rows.into_iter().map(|row| entity_body(row, &known, body.fields.as_deref()));
    let entities: Result<Vec<_>, serde_json::Error> = entities.collect();
    let entities = entities.map_err(|e| {
        tracing::error!(error = %e, "query.hot_attrs_unreadable");
        Problem::internal()
    })?;
    let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
    let metadata = provenance.metadata();
    Ok(provenance.respond(&SearchAnswer { entities, next_cursor, metadata }))
}

async fn refused(error: ReadError, filter: Option<&Filter>, context: &Context, tenant: TenantId) -> Problem {
    let ReadError::Filter { refusal, subject } = error else { return error.into() };
    let field = filter.map_or("filter", |f| f.path_of(&subject));
    let name = excerpt(&subject);
    let detail = match refusal {
        FilterRefusal::UnknownAttribute => format!("no attribute {name} is registered"),
        FilterRefusal::NotHot => not_hot(context, tenant, &subject).await,
        FilterRefusal::WrongType => format!("{name} is compared with a value of another type than its own"),
        FilterRefusal::Malformed => format!("the filter cannot be used at {name}"),
        FilterRefusal::TooLarge => "the filter is too large or too deep".to_owned(),
    };
    Problem::bad_filter(field, detail)
}

/// Why it cannot be searched by the attribute, and until when. The projection lacks what is not
/// filled in yet; a search looks into history, too, as soon as no value can be missing in both
/// (`V48__hot_filling.sql`).
async fn not_hot(context: &Context, tenant: TenantId, attribute: &str) -> String {
    let name = excerpt(attribute);
    let changes = context.sources.primary.reader.hot_changes_of(tenant, Some(attribute)).await;
    let open = changes.ok().and_then(|c| c.value.into_iter().find(HotChange::is_open));
    match open.filter(|c| c.change == "promote") {
        None => format!(
            "{name} is not a hot attribute, and only those can be searched; its history answers, \
             and POST /v1/attributes/{{name}}/promote makes it hot"
        ),
        Some(change) => {
            let since = Timestamp::now().seconds_since(change.requested_at).max(0.0);
            format!(
                "{name} is becoming hot since {since:.0} s, and can be searched some 100 s after that was \
                 asked for; its history answers"
            )
        }
    }
}

fn to_cursor(last: EntityId) -> String {
    URL_SAFE_NO_PAD.encode(format!("e {last}"))
}

fn from_cursor(text: &str) -> Result<EntityId, Problem> {
    let plain = URL_SAFE_NO_PAD.decode(text).ok().and_then(|b| String::from_utf8(b).ok());
    let id = plain.as_deref().and_then(|p| p.strip_prefix("e ")).and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| Problem::bad_body("cursor", "is not a cursor that a search answer gave"));
    id.map(EntityId)
}
