//! `GET /v1/attributes`, `GET`, `PUT` and `PATCH /v1/attributes/{name}`

mod describe;

pub(crate) use describe::*;

use crate::answer::{Metadata, Provenance};
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entity_name::{Names, checked};
use crate::format::{Format, Listed};
use crate::params::Params;
use crate::problem::Problem;
use crate::sources::Need;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eaves_freshness::{Demand, Lag, Route, Source};
use eaves_model::Timestamp;
use eaves_model::rejection::excerpt;
use eaves_store::read::{AttributeUsage, DayFigures};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 100;
const MOST_ATTRIBUTES: u32 = 500;

/// What is written to an attribute, over the window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Writes {
    /// Values.
    values: u64,
    /// Values per second.
    #[schema(example = 12.5)]
    per_second: f64,
    /// Mean size of a value in bytes: of a string its length, of a boolean 1, else 8.
    value_bytes: Option<f64>,
    /// Share of values that differ from the one before of their entity, measured on some
    /// entities; null if that is not known yet.
    #[schema(example = 0.25)]
    change_ratio: Option<f64>,
    /// About how many entities have values.
    entities: u64,
    /// About how many different values there are.
    distinct_values: u64,
    /// When the platform took the last one.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_at: Option<Timestamp>,
}

/// What queries ask of an attribute, over the window. Those count that name it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queries {
    /// Queries.
    count: u64,
    /// Those that filter by it.
    filters: u64,
    /// Those that want it returned: by `fields`, or as a history.
    returns: u64,
    /// Their mean time in milliseconds.
    mean_ms: Option<f64>,
}

/// The values observed in the 24 hours before `counted_at`, counted in history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Day {
    /// Values.
    values: i64,
    /// Entities with any.
    entities: i64,
    /// The least, if it is a number.
    min: Option<f64>,
    /// The greatest.
    max: Option<f64>,
    /// The mean.
    mean: Option<f64>,
    /// When it was counted.
    #[schema(value_type = String, format = DateTime)]
    counted_at: Timestamp,
}

/// An attribute and how it is used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttributeBody {
    /// Its name.
    #[schema(example = "temperature")]
    name: String,
    /// `string`, `integer`, `float`, `decimal`, `boolean` or `timestamp`.
    #[serde(rename = "type")]
    #[schema(example = "float")]
    value_type: &'static str,
    /// Empty if none is set.
    unit: String,
    /// What it is, in the tenant's words; may be empty.
    description: String,
    /// Whether its latest values are at hand: strong searches can name it, and others need no history for it.
    hot: bool,
    /// It is to be hot: history is being filled in (`/v1/hot/changes`).
    filling: bool,
    /// `hot` or `cold` if somebody has fixed it so; null if it is decided by itself.
    pin: Option<&'static str>,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Over which time the figures were taken: 12 to 24 hours, less for what is younger.
    window_seconds: f64,
    /// What is written.
    writes: Writes,
    /// What queries ask.
    queries: Queries,
    /// The last day as counted in history; null if nothing was observed.
    last_day: Option<Day>,
}

/// A tenant's attributes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttributesAnswer {
    /// By name.
    attributes: Vec<AttributeBody>,
    /// Give it as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
    /// How fresh the answer is.
    metadata: Metadata,
}

impl Listed for AttributesAnswer {
    fn next_cursor(&self) -> Option<&str> {
        self.next_cursor.as_deref()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        self.attributes.iter().map(serde_json::to_string).collect()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![COLUMNS.iter().map(|name| (*name).to_owned()).collect()];
        rows.extend(self.attributes.iter().map(AttributeBody::cells));
        rows
    }
}

/// The columns of a table of attributes: what they are, then how they are used.
const COLUMNS: [&str; 16] = [
    "name",
    "type",
    "unit",
    "description",
    "hot",
    "filling",
    "pin",
    "created_at",
    "values",
    "values_per_second",
    "entities",
    "distinct_values",
    "last_at",
    "queries",
    "filters",
    "returns",
];

impl AttributeBody {
    /// In the order of [`COLUMNS`].
    fn cells(&self) -> Vec<String> {
        let (writes, queries) = (&self.writes, &self.queries);
        vec![
            self.name.clone(),
            self.value_type.to_owned(),
            self.unit.clone(),
            self.description.clone(),
            self.hot.to_string(),
            self.filling.to_string(),
            self.pin.unwrap_or_default().to_owned(),
            self.created_at.to_string(),
            writes.values.to_string(),
            writes.per_second.to_string(),
            writes.entities.to_string(),
            writes.distinct_values.to_string(),
            writes.last_at.map(|t| t.to_string()).unwrap_or_default(),
            queries.count.to_string(),
            queries.filters.to_string(),
            queries.returns.to_string(),
        ]
    }
}

/// One attribute.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttributeAnswer {
    /// The attribute.
    attribute: AttributeBody,
    /// How fresh the answer is.
    metadata: Metadata,
}

impl From<AttributeUsage> for AttributeBody {
    fn from(a: AttributeUsage) -> Self {
        let u = a.usage;
        let day = |d: DayFigures| Day {
            values: d.values,
            entities: d.entities,
            min: d.min,
            max: d.max,
            mean: d.mean,
            counted_at: d.refreshed_at,
        };
        Self {
            name: a.attribute.name,
            value_type: a.attribute.value_type.name(),
            unit: a.attribute.unit,
            description: a.description,
            hot: a.attribute.is_hot,
            filling: a.filling,
            pin: a.standing.pin.map(eaves_model::hot::step::Pin::name),
            created_at: a.created_at,
            window_seconds: u.window_seconds,
            writes: Writes {
                values: u.values,
                per_second: u.writes_per_second(),
                value_bytes: u.value_bytes(),
                change_ratio: u.change_ratio(),
                entities: u.entities,
                distinct_values: u.distinct_values,
                last_at: u.last_written_at,
            },
            queries: Queries {
                count: u.queries,
                filters: u.filters,
                returns: u.returns,
                mean_ms: u.query_milliseconds(),
            },
            last_day: a.day.map(day),
        }
    }
}

/// The tenant's attributes: which are hot, what is written to them, what queries ask of them.
#[utoipa::path(
    get, path = "/v1/attributes", tag = "attributes",
    security(("jwt" = ["query:read"])),
    params(
        ("limit" = Option<u32>, Query, description = "Most attributes of one answer, 1 to 500 (default 100)"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    responses(
        (status = 200, description = "The attributes, as one object, as lines (`Accept: application/x-ndjson`) or as a table (`Accept: text/csv`)", content(
            (AttributesAnswer = "application/json"), (AttributeBody = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "None of the forms that `Accept` names", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_attributes(
    State(context): State<Arc<Context>>,
    caller: Caller,
    format: Format,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let params = params.only(&["limit", "cursor", "consistency", "max_staleness"])?;
    let demand = params.demand()?;
    let limit = params.limit(DEFAULT_LIMIT, MOST_ATTRIBUTES)?;
    let after = params.get("cursor").map(from_cursor).transpose()?.unwrap_or_default();
    // One more, to know whether there is a next page.
    let (mut found, route, lag) = read(&context, &caller, demand, (&after, None, limit + 1)).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| more).map(|last| to_cursor(&last.attribute.name));
    let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
    let attributes = found.into_iter().map(AttributeBody::from).collect();
    let answer = AttributesAnswer { attributes, next_cursor, metadata: provenance.metadata() };
    Ok(provenance.respond_as(format, &answer))
}

/// One attribute: whether it is hot, what is written to it, what queries ask of it.
#[utoipa::path(
    get, path = "/v1/attributes/{name}", tag = "attributes",
    security(("jwt" = ["query:read"])),
    params(
        ("name" = String, Path, description = "The attribute, percent-encoded (a slash twice: %252F)", max_length = 255, example = "temperature"),
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    responses(
        (status = 200, description = "The attribute", body = AttributeAnswer),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such attribute", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_attribute(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(name): Names<String>,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let demand = params.only(&["consistency", "max_staleness"])?.demand()?;
    let name = checked("name", &name)?;
    let (found, route, lag) = read(&context, &caller, demand, ("", Some(name), 1)).await?;
    let Some(found) = found.into_iter().next() else {
        let detail = format!("no attribute {} is registered", excerpt(name));
        return Err(Problem::not_found("name", detail));
    };
    let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
    let metadata = provenance.metadata();
    Ok(provenance.respond(&AttributeAnswer { attribute: found.into(), metadata }))
}

/// Those after a name, or one of a name, at most so many.
async fn read(
    context: &Context,
    caller: &Caller,
    demand: Demand,
    (after, only, most): (&str, Option<&str>, u32),
) -> Result<(Vec<AttributeUsage>, Route, Lag), Problem> {
    let tenant = caller.tenant.id;
    // What was asked here is in the answer as soon as it is folded.
    context.usage.write(tenant, &context.sources.primary, true).await;
    let mut attempt = context.sources.attempt(demand, Need::Hot, None);
    loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        let done = server.reader.attribute_usages(tenant, after, only, most).await;
        let Some((found, lag)) = attempt.take(route, server, done)? else { continue };
        // A replica may not know an attribute yet that the primary does.
        let missing = only.is_some() && found.is_empty() && route.source == Source::ReadReplica;
        if missing && context.sources.primary.lets_through() {
            attempt.skip_replica();
            continue;
        }
        return Ok((found, route, lag));
    }
}

fn to_cursor(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("a {last}"))
}

fn from_cursor(text: &str) -> Result<String, Problem> {
    let plain = URL_SAFE_NO_PAD.decode(text).ok().and_then(|b| String::from_utf8(b).ok());
    let name = plain.as_deref().and_then(|p| p.strip_prefix("a ")).filter(|name| !name.contains('\0'));
    let name = name.ok_or_else(|| Problem::bad_parameter("cursor", "is not a cursor that an answer gave"));
    name.map(str::to_owned)
}
