//! Numbers in buckets of time: `GET /v1/entities/{external_id}/history?bucket=…`

use super::raw::{BucketBody, Series, SeriesAnswer, SeriesMetadata};
use crate::answer::{Provenance, figure};
use crate::caller::Caller;
use crate::context::Context;
use crate::format::Format;
use crate::guard::Judged;
use crate::params::Params;
use crate::problem::Problem;
use crate::sources::Need;
use crate::window::Window;
use axum::response::Response;
use eaves_freshness::{Demand, Source};
use eaves_model::rejection::excerpt;
use eaves_model::{AttributeId, Timestamp, ValueType};
use eaves_store::read::{AttributeRow, Bucket, BucketQuery};
use std::collections::HashMap;
use std::time::Instant;

/// Most buckets of one answer, over all attributes.
const MOST_BUCKETS: i64 = 10_000;
/// What to add to a question that costs too much.
const NARROW: &str = "take a shorter window or fewer attributes";
const AGGREGATES: [&str; 6] = ["count", "min", "max", "avg", "first", "last"];

pub(super) async fn answer(
    context: &Context,
    caller: &Caller,
    external_id: &str,
    names: &[&str],
    (params, format): (&Params, Format),
    mut demand: Demand,
) -> Result<Response, Problem> {
    for other in ["order", "limit", "cursor"] {
        if params.get(other).is_some() {
            let detail =
                "does not go with bucket: all buckets of the window are answered, the earliest first";
            return Err(Problem::bad_parameter(other, detail));
        }
    }
    let tenant = caller.tenant.id;
    let (to, now) = (params.time("to")?, Timestamp::now());
    let mut window = Window::of(params.time("from")?, to, now, caller.windows())?;
    let Some(bucket) = params.span("bucket")? else { return Err(Problem::internal()) };
    if to.is_none() {
        window.to = open_end(window, bucket, names.len(), now);
    }
    check_number(window, bucket, names.len())?;
    let (wanted, may_move) = (wanted(params)?, params.may_move()?);

    let began = Instant::now();
    let (entity, attributes) = context.identified(tenant, external_id, names).await?;
    if let Some(text) = attributes.iter().find(|a| !is_number(a.value_type)) {
        let detail = format!("{} is a {}: buckets are made of numbers", excerpt(&text.name), text.value_type);
        return Err(Problem::bad_parameter("attributes", detail));
    }
    let mut attempt = context.sources.attempt(demand, Need::History, None);
    loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        let query = BucketQuery {
            tenant,
            entity,
            attributes: attributes.iter().map(|a| (a.id, a.value_type)).collect(),
            from: window.from,
            to: window.to,
            bucket_micros: bucket,
            with_staging: route.source == Source::Primary,
        };
        if context.guards.looks_at_buckets(window, attributes.len()) {
            let done = server.reader.history_buckets_cost(&query).await;
            let Some((cost, _)) = attempt.take(route, server, done)? else { continue };
            if let Judged::Elsewhere(moved) =
                context.guards.judge(cost, (demand, may_move), "from", NARROW)?
            {
                demand = moved;
                attempt = context.sources.attempt(demand, Need::History, None);
                continue;
            }
        }
        let done = server.reader.history_buckets(&query).await;
        let Some((found, lag)) = attempt.take(route, server, done)? else { continue };
        context.usage.note(tenant, &[], names, began.elapsed());
        context.usage.write(tenant, &context.sources.primary, false).await;
        let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
        return Ok(provenance.respond_as(
            format,
            &SeriesAnswer {
                external_id: external_id.to_owned(),
                next_cursor: None,
                metadata: SeriesMetadata {
                    from: window.from,
                    to: window.to,
                    order: "asc",
                    count: found.len(),
                    bucket_seconds: Some(bucket / 1_000_000),
                    freshness: provenance.metadata().freshness,
                },
                series: grouped(attributes, found, &wanted),
            },
        ));
    }
}

fn is_number(value_type: ValueType) -> bool {
    matches!(value_type, ValueType::Integer | ValueType::Float | ValueType::Decimal)
}

/// The end of a window that has none: as far ahead as values may be dated, where there is room for so
/// many buckets, but not before now.
fn open_end(window: Window, bucket: i64, attributes: usize, now: Timestamp) -> Timestamp {
    let room = room(attributes).saturating_mul(bucket);
    window.from.plus_micros(room).max(now.plus_micros(1)).min(window.to)
}

/// Whole buckets of each attribute: the first and the last one may be cut.
fn room(attributes: usize) -> i64 {
    (MOST_BUCKETS / i64::try_from(attributes.max(1)).unwrap_or(i64::MAX) - 2).max(1)
}

/// Refuses more buckets than are answered, and says which would do.
fn check_number(window: Window, bucket: i64, attributes: usize) -> Result<(), Problem> {
    let room = room(attributes);
    let number = (window.micros() / bucket + 2).saturating_mul(i64::try_from(attributes).unwrap_or(i64::MAX));
    if number <= MOST_BUCKETS {
        return Ok(());
    }
    let seconds = window.micros() / room / 1_000_000 + 1;
    let detail = format!(
        "the window has up to {number} buckets of this length, at most {MOST_BUCKETS} are answered at once: \
         take bucket={seconds}s or a longer one, or a shorter window"
    );
    Err(Problem::too_many("bucket", detail))
}

fn wanted(params: &Params) -> Result<Vec<&str>, Problem> {
    let Some(text) = params.get("aggregates") else { return Ok(AGGREGATES.to_vec()) };
    let names: Vec<&str> = text.split(',').collect();
    match names.iter().find(|name| !AGGREGATES.contains(name)) {
        None => Ok(names),
        Some(name) => {
            let detail = format!("{} is none of {}", excerpt(name), AGGREGATES.join(", "));
            Err(Problem::bad_parameter("aggregates", detail))
        }
    }
}

fn grouped(attributes: Vec<AttributeRow>, found: Vec<Bucket>, wanted: &[&str]) -> Vec<Series> {
    let mut by_attribute: HashMap<AttributeId, Vec<Bucket>> = HashMap::new();
    for bucket in found {
        by_attribute.entry(bucket.attribute).or_default().push(bucket);
    }
    let series = attributes.into_iter().map(|attribute| {
        let found = by_attribute.remove(&attribute.id).unwrap_or_default();
        let value_type = attribute.value_type;
        let buckets = found.into_iter().map(|bucket| body(bucket, value_type, wanted)).collect();
        Series::of_buckets(attribute, buckets)
    });
    series.collect()
}

fn body(bucket: Bucket, value_type: ValueType, wanted: &[&str]) -> BucketBody {
    let told = |name: &str, digits: &str| wanted.contains(&name).then(|| figure(digits, value_type));
    BucketBody {
        from: bucket.starts_at,
        count: wanted.contains(&"count").then_some(bucket.count),
        min: told("min", &bucket.min),
        max: told("max", &bucket.max),
        avg: told("avg", &bucket.mean),
        first: told("first", &bucket.first),
        last: told("last", &bucket.last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::DAY;

    #[test]
    fn what_a_refusal_proposes_is_taken() {
        let from = Timestamp::from_micros(1_700_000_000_000_000).unwrap();
        let window = Window { from, to: from.plus_micros(30 * DAY) };
        for attributes in [1, 3, 50] {
            assert!(check_number(window, 60_000_000, attributes).is_err());
            let refused = format!("{:?}", check_number(window, 60_000_000, attributes).unwrap_err());
            let seconds = refused.split("bucket=").nth(1).unwrap().split('s').next().unwrap();
            let proposed: i64 = seconds.parse().unwrap();
            assert!(check_number(window, proposed * 1_000_000, attributes).is_ok(), "{refused}");
        }
    }
}
