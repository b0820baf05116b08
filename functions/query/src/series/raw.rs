//! `GET /v1/entities/{external_id}/history`

use super::page::Page;
use super::{SeriesLine, buckets, wanted};
use crate::answer::{FreshnessBody, Provenance, raw};
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entity_name::{Names, checked};
use crate::format::Format;
use crate::params::Params;
use crate::problem::Problem;
use crate::sources::Need;
use crate::window::Window;
use axum::extract::State;
use axum::response::Response;
use eaves_freshness::Source;
use eaves_model::{AttributeId, Timestamp};
use eaves_store::read::{AttributeRow, HistoryPoint, SeriesQuery};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 1000;
const MOST_POINTS: u32 = 10_000;
const KNOWN: [&str; 11] = [
    "attributes",
    "from",
    "to",
    "order",
    "limit",
    "cursor",
    "bucket",
    "aggregates",
    "consistency",
    "max_staleness",
    "on_expensive",
];

/// One value of a series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesPoint {
    /// When it was seen.
    #[schema(value_type = String, format = DateTime)]
    pub(super) observed_at: Timestamp,
    /// The value, exactly.
    #[schema(value_type = serde_json::Value, example = 72.5)]
    pub(super) value: Box<RawValue>,
    /// When the platform took it.
    #[schema(value_type = String, format = DateTime)]
    pub(super) ingested_at: Timestamp,
}

/// The numbers in one bucket of time. Which figures there are is asked for by `aggregates`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BucketBody {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub(super) from: Timestamp,
    /// Values in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<i64>,
    /// The least.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(super) min: Option<Box<RawValue>>,
    /// The greatest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(super) max: Option<Box<RawValue>>,
    /// The mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(super) avg: Option<Box<RawValue>>,
    /// The one observed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(super) first: Option<Box<RawValue>>,
    /// The one observed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(super) last: Option<Box<RawValue>>,
}

/// One attribute over time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Series {
    /// The attribute's name.
    #[schema(example = "temperature")]
    pub(super) attribute: String,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(example = "float")]
    value_type: &'static str,
    /// Empty if none is set.
    unit: String,
    /// Without `bucket`: its points on this page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) points: Option<Vec<SeriesPoint>>,
    /// With `bucket`: the buckets that have values, the earliest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) buckets: Option<Vec<BucketBody>>,
}

impl Series {
    fn new(attribute: AttributeRow) -> Self {
        Self {
            attribute: attribute.name,
            value_type: attribute.value_type.name(),
            unit: attribute.unit,
            points: None,
            buckets: None,
        }
    }

    pub(super) fn of_buckets(attribute: AttributeRow, buckets: Vec<BucketBody>) -> Self {
        Self { buckets: Some(buckets), ..Self::new(attribute) }
    }
}

/// Several attributes over time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesAnswer {
    /// The tenant's own name for the entity.
    #[schema(example = "pump-7")]
    pub(super) external_id: String,
    /// In the order asked for.
    pub(super) series: Vec<Series>,
    /// Give it as `cursor`, with the same `attributes`, for the next page; null on the last one.
    pub(super) next_cursor: Option<String>,
    /// What the answer covers, and how fresh it is.
    pub(super) metadata: SeriesMetadata,
}

/// What the answer covers, and how fresh it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesMetadata {
    /// First time taken.
    #[schema(value_type = String, format = DateTime)]
    pub(super) from: Timestamp,
    /// First time not taken any more.
    #[schema(value_type = String, format = DateTime)]
    pub(super) to: Timestamp,
    /// `desc` (newest first) or `asc`.
    #[schema(example = "desc")]
    pub(super) order: &'static str,
    /// Points or buckets in this answer.
    pub(super) count: usize,
    /// How long a bucket is, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bucket_seconds: Option<i64>,
    /// How fresh the answer is.
    pub(super) freshness: FreshnessBody,
}

/// History of several attributes of an entity, newest first; or, with `bucket`, their numbers in
/// buckets of time. A page's points are the next ones of all attributes together.
#[utoipa::path(
    get, path = "/v1/entities/{external_id}/history", tag = "entities",
    security(("jwt" = ["query:read"])),
    params(
        ("external_id" = String, Path, description = "The tenant's own name for the entity, percent-encoded", max_length = 255, example = "pump-7"),
        ("attributes" = String, Query, description = "1 to 50 attributes, separated by commas", example = "temperature,pressure"),
        ("from" = Option<String>, Query, description = "First time taken, RFC 3339. Default: 7 days before `to`"),
        ("to" = Option<String>, Query, description = "First time not taken any more. Default: now, and what is dated ahead of now. At most 30 days after `from`"),
        ("order" = Option<String>, Query, description = "`desc` (default) or `asc`; not with `bucket`"),
        ("limit" = Option<u32>, Query, description = "Most points of one answer; not with `bucket`", minimum = 1, maximum = 10_000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; it carries window and order"),
        ("bucket" = Option<String>, Query, description = "Length of a bucket, such as `30s`, `5m`, `1h` or `1d`, aligned with 2000-01-03T00:00:00Z. At most 10,000 buckets in all", example = "5m"),
        ("aggregates" = Option<String>, Query, description = "With `bucket`: which of `count`, `min`, `max`, `avg`, `first`, `last` (default: all)", example = "min,max,avg"),
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary, with what is acknowledged but not flushed yet. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
        ("on_expensive" = Option<String>, Query, description = "With `bucket`, what becomes of buckets that cost too much: `refuse` (default), or `analytics`: they are read as with `consistency=analytics`, which may cost ten times as much"),
    ),
    responses(
        (status = 200, description = "The series, as one object, as lines (`Accept: application/x-ndjson`) or as a table (`Accept: text/csv`)", content(
            (SeriesAnswer = "application/json"), (SeriesLine = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such entity or attribute", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "None of the forms that `Accept` names", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_series(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(external_id): Names<String>,
    format: Format,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let params = params.only(&KNOWN)?;
    let demand = params.demand()?;
    let external_id = checked("external_id", &external_id)?;
    let names = wanted(&params)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let tenant = caller.tenant.id;
    if params.get("bucket").is_some() {
        return buckets::answer(&context, &caller, external_id, &names, (&params, format), demand).await;
    }
    for other in ["aggregates", "on_expensive"] {
        if params.get(other).is_some() {
            return Err(Problem::bad_parameter(other, "goes with bucket: add one, such as bucket=5m"));
        }
    }
    let limit = params.limit(DEFAULT_LIMIT, MOST_POINTS)?;
    let page = match params.get("cursor") {
        Some(text) => Page::from_cursor(text, caller.windows())?,
        None => {
            let (from, to) = (params.time("from")?, params.time("to")?);
            let window = Window::of(from, to, Timestamp::now(), caller.windows())?;
            Page { window, descending: params.descending(true)?, last: None }
        }
    };

    let began = Instant::now();
    let (entity, attributes) = context.identified(tenant, external_id, &names).await?;
    let mut attempt = context.sources.attempt(demand, Need::History, None);
    loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        let query = SeriesQuery {
            tenant,
            entity,
            parts: page.parts(&attributes),
            descending: page.descending,
            // One more, to know whether there is a next page.
            limit: limit + 1,
            // The primary has staging at hand, so its answer lacks nothing.
            with_staging: route.source == Source::Primary,
        };
        let done = server.reader.series(&query).await;
        let Some((mut points, lag)) = attempt.take(route, server, done)? else { continue };
        context.usage.note(tenant, &[], &names, began.elapsed());
        context.usage.write(tenant, &context.sources.primary, false).await;
        let more = points.len() > limit as usize;
        points.truncate(limit as usize);
        let last = points.last().filter(|_| more).map(|(attribute, p)| (p.observed_at, *attribute));
        let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
        return Ok(provenance.respond_as(
            format,
            &SeriesAnswer {
                external_id: external_id.to_owned(),
                next_cursor: Page { last, ..page }.to_cursor(),
                metadata: SeriesMetadata {
                    from: page.window.from,
                    to: page.window.to,
                    order: if page.descending { "desc" } else { "asc" },
                    count: points.len(),
                    bucket_seconds: None,
                    freshness: provenance.metadata().freshness,
                },
                series: grouped(attributes, points),
            },
        ));
    }
}

/// The points by attribute, in the order that they came in.
fn grouped(attributes: Vec<AttributeRow>, points: Vec<(AttributeId, HistoryPoint)>) -> Vec<Series> {
    let place: std::collections::HashMap<AttributeId, usize> =
        attributes.iter().enumerate().map(|(i, a)| (a.id, i)).collect();
    let mut series: Vec<Series> = attributes
        .into_iter()
        .map(|attribute| Series { points: Some(Vec::new()), ..Series::new(attribute) })
        .collect();
    for (attribute, point) in points {
        let of = place.get(&attribute).and_then(|i| series.get_mut(*i)).and_then(|s| s.points.as_mut());
        if let Some(of) = of {
            of.push(SeriesPoint {
                observed_at: point.observed_at,
                value: raw(&point.value),
                ingested_at: point.ingested_at,
            });
        }
    }
    series
}
