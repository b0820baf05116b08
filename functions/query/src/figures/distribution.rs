//! `GET /v1/attributes/{name}/distribution`

use super::{WindowMetadata, is_number};
use crate::answer::{Provenance, figure, raw};
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entity_name::{Names, checked};
use crate::format::{Format, Listed, cell};
use crate::guard::Judged;
use crate::params::Params;
use crate::problem::Problem;
use crate::sources::Need;
use crate::window::Window;
use axum::extract::State;
use axum::response::Response;
use eaves_model::rejection::excerpt;
use eaves_model::{Timestamp, ValueType};
use eaves_store::read::{Distribution, DistributionQuery};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

const DEFAULT_PARTS: u32 = 20;
const MOST_BUCKETS: u32 = 200;
const MOST_TOP: u32 = 100;

/// One bucket of a histogram: `from <= value < to`; in the last one also `value = to`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistogramBody {
    /// Lower bound.
    #[schema(value_type = serde_json::Value, example = 20.0)]
    from: Box<RawValue>,
    /// Upper bound.
    #[schema(value_type = serde_json::Value, example = 25.0)]
    to: Box<RawValue>,
    /// Values in it.
    count: i64,
}

/// A value and how often it was seen.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopBody {
    /// The value.
    #[schema(value_type = serde_json::Value, example = "online")]
    value: Box<RawValue>,
    /// How often.
    count: i64,
}

/// How an attribute's values are distributed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DistributionAnswer {
    /// The attribute.
    #[schema(example = "temperature")]
    attribute: String,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(example = "float")]
    value_type: &'static str,
    /// Its unit; empty if none is set.
    unit: String,
    /// Values in the window.
    count: i64,
    /// Of numbers: buckets of one width, from the least value to the greatest. One bucket if all
    /// values are the same, none if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    buckets: Option<Vec<HistogramBody>>,
    /// Of all else: the most frequent values, the most frequent first.
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<Vec<TopBody>>,
    /// Of all else: different values in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    distinct: Option<i64>,
    /// What the answer covers, and how fresh it is.
    metadata: WindowMetadata,
}

impl Listed for DistributionAnswer {
    fn next_cursor(&self) -> Option<&str> {
        None
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        let buckets = self.buckets.iter().flatten().map(serde_json::to_string);
        buckets.chain(self.top.iter().flatten().map(serde_json::to_string)).collect()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let names: &[&str] =
            if self.buckets.is_some() { &["from", "to", "count"] } else { &["value", "count"] };
        let mut rows = vec![names.iter().map(|name| (*name).to_owned()).collect()];
        let buckets = self.buckets.iter().flatten();
        rows.extend(buckets.map(|b| vec![cell(&b.from), cell(&b.to), b.count.to_string()]));
        rows.extend(self.top.iter().flatten().map(|t| vec![cell(&t.value), t.count.to_string()]));
        rows
    }
}

/// How the values of an attribute in a window of time are distributed: a histogram of numbers, the
/// most frequent values of all else. What is not flushed yet is not in it: `metadata` says how old
/// that is.
#[utoipa::path(
    get, path = "/v1/attributes/{name}/distribution", tag = "attributes",
    security(("jwt" = ["query:read"])),
    params(
        ("name" = String, Path, description = "The attribute, percent-encoded (a slash twice: %252F)", max_length = 255, example = "temperature"),
        ("from" = Option<String>, Query, description = "First time taken, RFC 3339. Default: 7 days before `to`"),
        ("to" = Option<String>, Query, description = "First time not taken any more. Default: now, and what is dated ahead of now. At most 30 days after `from`"),
        ("type" = Option<String>, Query, description = "Only of entities of this type", example = "pump"),
        ("buckets" = Option<u32>, Query, description = "Of numbers: how many buckets, 1 to 200 (default 20)"),
        ("top" = Option<u32>, Query, description = "Of all else: how many values, 1 to 100 (default 20)"),
        ("consistency" = Option<String>, Query, description = "`eventual` (default) or `analytics`; `strong` is not possible: what is not flushed yet is in no figure"),
        ("on_expensive" = Option<String>, Query, description = "What becomes of figures that cost too much: `refuse` (default), or `analytics`: they are read as with `consistency=analytics`, which may cost ten times as much"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    responses(
        (status = 200, description = "The distribution, as one object; its buckets or values alone as lines (`Accept: application/x-ndjson`) or as a table (`Accept: text/csv`)", content(
            (DistributionAnswer = "application/json"), (HistogramBody = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "A parameter is wrong, or the query takes too long", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such attribute", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "None of the forms that `Accept` names", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_distribution(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(name): Names<String>,
    format: Format,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let known = ["from", "to", "type", "buckets", "top", "consistency", "max_staleness", "on_expensive"];
    let params = params.only(&known)?;
    let (mut demand, may_move) = (super::demand(&params)?, params.may_move()?);
    let window = Window::of(params.time("from")?, params.time("to")?, Timestamp::now(), caller.windows())?;
    let name = checked("name", &name)?;
    let entity_type = match params.get("type") {
        Some(text) if !text.is_empty() => Some(checked("type", text)?.to_owned()),
        other => other.map(str::to_owned),
    };
    let buckets = params.number("buckets", DEFAULT_PARTS, MOST_BUCKETS)?;
    let top = params.number("top", DEFAULT_PARTS, MOST_TOP)?;
    let tenant = caller.tenant.id;
    let Some(attribute) = context.attribute(tenant, name).await? else {
        let detail = format!("no attribute {} is registered", excerpt(name));
        return Err(Problem::not_found("name", detail));
    };
    let number = is_number(attribute.value_type);
    let (wrong, right) = if number { ("top", "buckets") } else { ("buckets", "top") };
    if params.get(wrong).is_some() {
        let detail = format!("{} is a {}: give {right} instead", excerpt(name), attribute.value_type);
        return Err(Problem::bad_parameter(wrong, detail));
    }
    let query = DistributionQuery {
        tenant,
        attribute: attribute.id,
        value_type: attribute.value_type,
        from: window.from,
        to: window.to,
        entity_type,
        parts: if number { buckets } else { top },
    };

    let began = Instant::now();
    let mut attempt = context.sources.attempt(demand, Need::Flushed, None);
    loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        if context.guards.looks_at_figures(window) {
            let done = server.reader.distribution_cost(&query).await;
            let Some((cost, _)) = attempt.take(route, server, done)? else { continue };
            if let Judged::Elsewhere(moved) =
                context.guards.judge(cost, (demand, may_move), "from", super::NARROW)?
            {
                demand = moved;
                attempt = context.sources.attempt(demand, Need::Flushed, None);
                continue;
            }
        }
        let done = server.reader.distribution(&query).await;
        let Some((found, lag)) = attempt.take(route, server, done)? else { continue };
        context.usage.note(tenant, &[], &[name], began.elapsed());
        context.usage.write(tenant, &context.sources.primary, false).await;
        let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
        let (count, buckets, top, distinct) = parts(found, attribute.value_type);
        let answer = DistributionAnswer {
            attribute: attribute.name,
            value_type: attribute.value_type.name(),
            unit: attribute.unit,
            count,
            buckets,
            top,
            distinct,
            metadata: WindowMetadata::new(window, provenance.metadata().freshness),
        };
        return Ok(provenance.respond_as(format, &answer));
    }
}

type Parts = (i64, Option<Vec<HistogramBody>>, Option<Vec<TopBody>>, Option<i64>);

fn parts(found: Distribution, value_type: ValueType) -> Parts {
    match found {
        Distribution::Histogram(buckets) => {
            let count = buckets.iter().map(|b| b.count).sum();
            let body = |b: eaves_store::read::HistogramBucket| HistogramBody {
                from: figure(&b.from, value_type),
                to: figure(&b.to, value_type),
                count: b.count,
            };
            (count, Some(buckets.into_iter().map(body).collect()), None, None)
        }
        Distribution::Top { values, count, distinct } => {
            let top = values.into_iter().map(|v| TopBody { value: raw(&v.value), count: v.count });
            (count, None, Some(top.collect()), Some(distinct))
        }
    }
}
