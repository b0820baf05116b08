//! `POST /v1/entities/search`

mod order;

pub(crate) use order::*;

use crate::answer::Provenance;
use crate::body;
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entities::{EntitiesAnswer, EntitiesMetadata};
use crate::entity_body::{EntityBody, Hot};
use crate::fields::Fields;
use crate::filter::Filter;
use crate::format::Format;
use crate::params::{Params, check_limit};
use crate::problem::Problem;
use crate::sources::Need;
use crate::window;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use eaves_freshness::{Consistency, Demand};
use eaves_model::rejection::excerpt;
use eaves_model::{EntityId, TenantId, Timestamp};
use eaves_store::read::{FilterRefusal, ReadError, SearchQuery, SearchSort};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 100;
const MOST_ENTITIES: u32 = 500;
/// Where counting ends.
const MOST_COUNTED: i64 = 100_000;
/// What to add to a search that costs too much.
const NARROW: &str = "add an equality of a hot attribute (or in) that few entities have, give a shorter cold_within, \
     or have the attributes that are not hot made so (POST /v1/attributes/{name}/promote)";

/// What to search for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchBody<'a> {
    /// `{"attribute": "status", "eq": "online"}`, with `gt`, `gte`, `lt`, `lte`, `in` or
    /// `exists` likewise, joined by `{"and": […]}`, `{"or": […]}`, `{"not": …}`,
    /// `{"at_least": {"k": 2, "of": […]}}`. Without a filter, all entities that have hot
    /// attributes. An attribute that is not hot is compared by its latest value in history, which
    /// `consistency=strong` does not allow.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>, example = json!({"and": [{"attribute": "status", "eq": "online"}, {"attribute": "temperature", "gt": 70}]}))]
    filter: Option<&'a RawValue>,
    /// Only entities of this type.
    #[serde(rename = "type", default)]
    #[schema(example = "pump")]
    entity_type: Option<String>,
    /// Only these attributes in the answer, hot or not. Without it, all hot ones.
    #[serde(default)]
    fields: Option<Vec<String>>,
    /// How far back the latest value of an attribute that is not hot is looked for, such as `24h`
    /// (default `7d`, at most `30d`).
    #[serde(default)]
    cold_within: Option<String>,
    /// The order.
    #[serde(default)]
    sort: Option<Sort>,
    /// Most entities of one answer, 1 to 500.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
    /// Say in `metadata.total_count` how many there are on all pages. Counting ends at 100,000
    /// (`total_count_exact` is false then), and costs as much again as the search.
    #[serde(default)]
    count: bool,
    /// `next_cursor` of the page before; all else must be as it was there.
    #[serde(default)]
    cursor: Option<String>,
}

/// Entities by the latest values of their attributes. Conditions on hot attributes are looked at
/// first, so that few entities are looked up in history for the others.
#[utoipa::path(
    post, path = "/v1/entities/search", tag = "entities",
    security(("jwt" = ["query:read"])),
    params(
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary; the filter names hot attributes only. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
        ("on_expensive" = Option<String>, Query, description = "What becomes of a search that costs too much: `refuse` (default), or `analytics`: it is read as with `consistency=analytics`, which may cost ten times as much"),
    ),
    request_body(content = SearchBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The entities, as one object, as lines (`Accept: application/x-ndjson`) or as a table (`Accept: text/csv`)", content(
            (EntitiesAnswer = "application/json"), (EntityBody = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "The filter or a parameter is wrong, or the search takes too long", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "None of the forms that `Accept` names", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn search_entities(
    State(context): State<Arc<Context>>,
    caller: Caller,
    format: Format,
    params: Params,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let params = params.only(&["consistency", "max_staleness", "on_expensive"])?;
    let (demand, may_move) = (params.demand()?, params.may_move()?);
    let body: SearchBody<'_> = body::object(&body, "{\"filter\": …}")?;
    let filter = body.filter.map(|f| Filter::parse(f.get())).transpose()?;
    let limit = match body.limit {
        None => DEFAULT_LIMIT,
        limit => check_limit(limit, MOST_ENTITIES)
            .ok_or_else(|| Problem::bad_body("limit", format!("is not from 1 to {MOST_ENTITIES}")))?,
    };
    let (sort, descending) = body.sort.unwrap_or_default().checked()?;
    let cursor = body.cursor.as_deref().map(|text| Cursor::parse(text, &sort, descending)).transpose()?;
    if let Some(entity_type) = body.entity_type.as_deref().filter(|t| !t.is_empty()) {
        eaves_model::reading::check_name("type", entity_type)
            .map_err(|r| Problem::bad_body("type", r.message))?;
    }
    let within = match &body.cold_within {
        None => None,
        Some(text) => Some(window::span(text).ok_or_else(|| window::bad_span("cold_within", text))?),
    };
    let within = caller.windows().within("cold_within", within)?;
    let tenant = caller.tenant.id;
    let fields = Fields::of(&context, tenant, body.fields, within, limit).await?;
    let query = SearchQuery {
        entity_type: body.entity_type,
        sort,
        descending,
        after: EntityId(cursor.as_ref().map_or(0, |c| c.after)),
        after_key: cursor.and_then(|c| c.key),
        most_cost: context.guards.most(demand),
        // One more, to know whether there is a next page.
        ..SearchQuery::new(tenant, filter.as_ref().map_or("{}", Filter::json), limit + 1)
    };
    let filtered = filter.as_ref();
    let fields = &fields;
    // One more, to know whether there are more.
    let count_to = body.count.then_some(MOST_COUNTED + 1);
    let search =
        Search { context: &context, tenant, filter: filtered, fields, demand, may_move, format, count_to };
    let cold_from = Timestamp::now().plus_micros(-within);

    // What is asked in vain is asked: an attribute that is not hot may be worth making so.
    let began = Instant::now();
    let done = search.run(query, cold_from, limit).await;
    let filters: Vec<_> = filter.iter().flat_map(Filter::comparisons).collect();
    context.usage.note(tenant, &filters, &fields.names(), began.elapsed());
    context.usage.write(tenant, &context.sources.primary, false).await;
    done
}

/// A search on its way.
struct Search<'a> {
    context: &'a Context,
    tenant: TenantId,
    filter: Option<&'a Filter>,
    fields: &'a Fields,
    demand: Demand,
    /// It may be asked of the sources of analytics if it costs too much.
    may_move: bool,
    format: Format,
    /// Where counting ends, if how many there are was asked for.
    count_to: Option<i64>,
}

impl Search<'_> {
    async fn run(
        mut self,
        mut query: SearchQuery,
        cold_from: Timestamp,
        limit: u32,
    ) -> Result<Response, Problem> {
        let strong = self.demand.consistency == Consistency::Strong;
        if !strong && self.names_cold().await {
            query.cold_from = Some(cold_from);
        }
        loop {
            return match self.pages(&query, limit).await {
                Ok(response) => Ok(response),
                // What was known of the attributes was old: one of them is not hot any more.
                Err(Failed::Read(ReadError::Filter { refusal: FilterRefusal::NotHot, subject }))
                    if !strong && query.cold_from.is_none() && self.filters_by(&subject) =>
                {
                    query.cold_from = Some(cold_from);
                    continue;
                }
                Err(Failed::Read(ReadError::TooExpensive(cost))) => {
                    let guards = &self.context.guards;
                    self.demand = guards.elsewhere(cost, (self.demand, self.may_move), "filter", NARROW)?;
                    query.most_cost = guards.most(self.demand);
                    continue;
                }
                Err(Failed::Read(error)) => Err(self.refused(error, &query.sort)),
                Err(Failed::Problem(problem)) => Err(problem),
            };
        }
    }

    async fn pages(&self, query: &SearchQuery, limit: u32) -> Result<Response, Failed> {
        let (context, fields) = (self.context, self.fields);
        let need = if query.cold_from.is_some() { Need::Flushed } else { fields.need() };
        let mut attempt = context.sources.attempt(self.demand, need, None);
        loop {
            let (route, server) = attempt.next().await?;
            let Some(server) = server else { return Err(Problem::internal().into()) };
            let done = server.reader.search_counting(query, self.count_to).await;
            let Some(((mut rows, total), mut lag)) = attempt.take(route, server, done)? else { continue };
            let more = rows.len() > limit as usize;
            rows.truncate(limit as usize);
            let next_cursor =
                rows.last().filter(|_| more).map(|last| Cursor::behind(last, &query.sort, query.descending));
            let rows: Vec<_> = rows.into_iter().map(|row| row.entity).collect();
            let mut cold = Vec::new();
            if let Some(done) = fields.read(route, server, self.tenant, &rows).await {
                let Some(read) = attempt.take(route, server, done)? else { continue };
                (cold, lag) = read;
            }
            let hot = Hot::of_all(&rows)?;
            let known = fields.known(context, self.tenant, &hot).await;
            let entities = fields.bodies(hot, &known, cold);
            let provenance = Provenance::new(self.demand, route, lag, context.sources.replication_lag());
            let total = total.map(|n| (n.min(MOST_COUNTED), n <= MOST_COUNTED));
            let metadata = EntitiesMetadata::new(provenance.metadata(), total);
            let columns = fields.columns();
            let answer = EntitiesAnswer { entities, next_cursor, metadata, columns };
            return Ok(provenance.respond_as(self.format, &answer));
        }
    }

    /// Whether the filter names an attribute that is not hot, as far as that is known.
    async fn names_cold(&self) -> bool {
        let names: Vec<&str> = self.filter.iter().flat_map(|f| f.attributes()).collect();
        let known = self.context.attributes(self.tenant, &names).await;
        known.values().any(|row| !row.is_hot)
    }

    fn filters_by(&self, attribute: &str) -> bool {
        self.filter.is_some_and(|f| f.attributes().any(|name| name == attribute))
    }

    fn refused(&self, error: ReadError, sort: &SearchSort) -> Problem {
        let ReadError::Filter { refusal, subject } = error else { return error.into() };
        let name = excerpt(&subject);
        // The filter is looked at before the order.
        let in_sort = matches!(sort, SearchSort::Attribute(by) if *by == subject)
            && (refusal == FilterRefusal::NotHot && self.demand.consistency != Consistency::Strong
                || !self.filters_by(&subject));
        let detail = match refusal {
            FilterRefusal::UnknownAttribute => format!("no attribute {name} is registered"),
            FilterRefusal::NotHot if in_sort => {
                format!("{name} is not a hot attribute, and only by those can be sorted")
            }
            FilterRefusal::NotHot => {
                format!(
                    "{name} is not a hot attribute, and only those can be searched with consistency=strong"
                )
            }
            FilterRefusal::WrongType => {
                format!("{name} is compared with a value of another type than its own")
            }
            FilterRefusal::Malformed if subject == "cursor" => {
                return Problem::bad_body("cursor", "is not a cursor that a search answer gave");
            }
            FilterRefusal::Malformed => format!("the filter cannot be used at {name}"),
            FilterRefusal::TooLarge => "the filter is too large or too deep".to_owned(),
        };
        match self.filter {
            _ if in_sort => Problem::bad_body("sort.attribute", detail),
            filter => Problem::bad_filter(filter.map_or("filter", |f| f.path_of(&subject)), detail),
        }
    }
}

/// A search without an answer.
enum Failed {
    Read(ReadError),
    Problem(Problem),
}

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}
