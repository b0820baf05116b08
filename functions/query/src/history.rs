//! `GET /v1/entities/{external_id}/history/{attribute}`

use crate::answer::{FreshnessBody, Provenance, raw};
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entity_name::{Names, checked};
use crate::format::{self, Format, Listed};
use crate::params::Params;
use crate::problem::Problem;
use crate::sources::Need;
use crate::window::{Window, Windows};
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eaves_freshness::Source;
use eaves_model::Timestamp;
use eaves_store::read::{AttributeRow, HistoryPoint, HistoryQuery};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 1000;
const MOST_POINTS: u32 = 10_000;

/// One value of a history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Point {
    /// When it was seen.
    #[schema(value_type = String, format = DateTime)]
    observed_at: Timestamp,
    /// The value, exactly: integers and decimals keep all digits.
    #[schema(value_type = serde_json::Value, example = 72.5)]
    value: Box<RawValue>,
    /// When the platform took it.
    #[schema(value_type = String, format = DateTime)]
    ingested_at: Timestamp,
    /// With `corrections=true`: values that were taken for this time before, the earliest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded: Option<Vec<SupersededValue>>,
}

/// A value that a later one for the same time took the place of.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SupersededValue {
    /// The value, exactly.
    #[schema(value_type = serde_json::Value, example = 72.4)]
    value: Box<RawValue>,
    /// When the platform took it.
    #[schema(value_type = String, format = DateTime)]
    ingested_at: Timestamp,
    /// When the platform took the value after it.
    #[schema(value_type = String, format = DateTime)]
    superseded_at: Timestamp,
}

impl Point {
    fn new(point: HistoryPoint, corrections: bool) -> Self {
        let superseded = point.superseded.into_iter().map(|s| SupersededValue {
            value: raw(&s.value),
            ingested_at: s.ingested_at,
            superseded_at: s.superseded_at,
        });
        Self {
            observed_at: point.observed_at,
            value: raw(&point.value),
            ingested_at: point.ingested_at,
            superseded: corrections.then(|| superseded.collect()),
        }
    }
}

/// A part of a history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryAnswer {
    /// The tenant's own name for the entity.
    #[schema(example = "pump-7")]
    external_id: String,
    /// The attribute's name.
    #[schema(example = "temperature")]
    attribute: String,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(example = "float")]
    value_type: &'static str,
    /// Empty if none is set.
    unit: String,
    /// In the order asked for.
    points: Vec<Point>,
    /// Give it as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
    /// What the answer covers, and how fresh it is.
    metadata: HistoryMetadata,
}

impl Listed for HistoryAnswer {
    fn next_cursor(&self) -> Option<&str> {
        self.next_cursor.as_deref()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        self.points.iter().map(serde_json::to_string).collect()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![["observed_at", "value", "ingested_at"].map(str::to_owned).to_vec()];
        rows.extend(
            self.points
                .iter()
                .map(|p| vec![p.observed_at.to_string(), format::cell(&p.value), p.ingested_at.to_string()]),
        );
        rows
    }
}

/// What the answer covers, and how fresh it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryMetadata {
    /// First time taken.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// First time not taken any more.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// `desc` (newest first) or `asc`.
    #[schema(example = "desc")]
    order: &'static str,
    /// Points in this answer.
    count: usize,
    /// How fresh the answer is.
    freshness: FreshnessBody,
}

/// History of one attribute of an entity, newest first.
#[utoipa::path(
    get, path = "/v1/entities/{external_id}/history/{attribute}", tag = "entities",
    security(("jwt" = ["query:read"])),
    params(
        ("external_id" = String, Path, description = "The tenant's own name for the entity, percent-encoded", max_length = 255, example = "pump-7"),
        ("attribute" = String, Path, description = "The attribute's name, percent-encoded", max_length = 255, example = "temperature"),
        ("from" = Option<String>, Query, description = "First time taken, RFC 3339. Default: 7 days before `to`"),
        ("to" = Option<String>, Query, description = "First time not taken any more. Default: now, and what is dated ahead of now. At most 30 days after `from`"),
        ("order" = Option<String>, Query, description = "`desc` (default) or `asc`"),
        ("limit" = Option<u32>, Query, description = "Most points of one answer", minimum = 1, maximum = 10_000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; it carries window and order"),
        ("corrections" = Option<bool>, Query, description = "`true`: with each point also the values that later ones took the place of, where the tenant keeps them"),
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary, with what is acknowledged but not flushed yet. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    responses(
        (status = 200, description = "The history, as one object, as lines (`Accept: application/x-ndjson`) or as a table (`Accept: text/csv`)", content(
            (HistoryAnswer = "application/json"), (Point = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such entity or attribute", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "None of the forms that `Accept` names", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_history(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names((external_id, attribute)): Names<(String, String)>,
    format: Format,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let known = ["from", "to", "order", "limit", "cursor", "corrections", "consistency", "max_staleness"];
    let params = params.only(&known)?;
    let demand = params.demand()?;
    let limit = params.limit(DEFAULT_LIMIT, MOST_POINTS)?;
    let corrections = params.flag("corrections")?;
    let page = match params.get("cursor") {
        Some(text) => Page::from_cursor(text, caller.windows())?,
        None => Page::first(&params, Timestamp::now(), caller.windows())?,
    };
    let external_id = checked("external_id", &external_id)?;
    let attribute = checked("attribute", &attribute)?;
    let tenant = caller.tenant.id;

    let began = Instant::now();
    let (entity, mut rows) = context.identified(tenant, external_id, &[attribute]).await?;
    let Some(row) = rows.pop() else { return Err(Problem::internal()) };
    let mut attempt = context.sources.attempt(demand, Need::History, None);
    loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        let (from, to) = page.rest();
        let query = HistoryQuery {
            tenant,
            entity,
            attribute: row.id,
            value_type: row.value_type,
            from,
            to,
            descending: page.descending,
            // One more, to know whether there is a next page.
            limit: limit + 1,
            // The primary has staging at hand, so its answer lacks nothing.
            with_staging: route.source == Source::Primary,
            with_corrections: corrections,
        };
        let done = server.reader.history(&query).await;
        let Some((points, lag)) = attempt.take(route, server, done)? else { continue };
        context.usage.note(tenant, &[], &[attribute], began.elapsed());
        context.usage.write(tenant, &context.sources.primary, false).await;
        let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
        let more = points.len() > limit as usize;
        let points = points.into_iter().take(limit as usize).map(|p| Point::new(p, corrections)).collect();
        let body = answer(external_id, row, page, points, more, &provenance);
        return Ok(provenance.respond_as(format, &body));
    }
}

fn answer(
    external_id: &str,
    attribute: AttributeRow,
    page: Page,
    points: Vec<Point>,
    more: bool,
    provenance: &Provenance,
) -> HistoryAnswer {
    let next_cursor =
        points.last().filter(|_| more).map(|last| Page { last: Some(last.observed_at), ..page }.to_cursor());
    HistoryAnswer {
        external_id: external_id.to_owned(),
        attribute: attribute.name,
        value_type: attribute.value_type.name(),
        unit: attribute.unit,
        metadata: HistoryMetadata {
            from: page.from,
            to: page.to,
            order: if page.descending { "desc" } else { "asc" },
            count: points.len(),
            freshness: provenance.metadata().freshness,
        },
        points,
        next_cursor,
    }
}

/// A window, and how far in it earlier pages came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    from: Timestamp,
    to: Timestamp,
    descending: bool,
    last: Option<Timestamp>,
}

impl Page {
    fn first(params: &Params, now: Timestamp, windows: Windows) -> Result<Self, Problem> {
        let descending = params.descending(true)?;
        let Window { from, to } = Window::of(params.time("from")?, params.time("to")?, now, windows)?;
        Ok(Self { from, to, descending, last: None })
    }

    /// What is left of the window.
    fn rest(&self) -> (Timestamp, Timestamp) {
        match self.last {
            Some(last) if self.descending => (self.from, last),
            Some(last) => (last.plus_micros(1), self.to),
            None => (self.from, self.to),
        }
    }

    fn to_cursor(self) -> String {
        let order = if self.descending { 'd' } else { 'a' };
        let last = self.last.unwrap_or(self.from).as_micros();
        URL_SAFE_NO_PAD.encode(format!("{order} {} {} {last}", self.from.as_micros(), self.to.as_micros()))
    }

    fn from_cursor(text: &str, windows: Windows) -> Result<Self, Problem> {
        let bad = || Problem::bad_parameter("cursor", "is not a cursor that a history answer gave");
        let plain =
            URL_SAFE_NO_PAD.decode(text).ok().and_then(|b| String::from_utf8(b).ok()).ok_or_else(bad)?;
        let mut parts = plain.split(' ');
        let descending = match parts.next() {
            Some("d") => true,
            Some("a") => false,
            _ => return Err(bad()),
        };
        let mut time = || parts.next().and_then(|p| p.parse().ok()).and_then(Timestamp::from_micros);
        let (Some(from), Some(to), Some(last)) = (time(), time(), time()) else { return Err(bad()) };
        Window { from, to }.check(false, windows).map_err(|_| bad())?;
        Ok(Self { from, to, descending, last: Some(last) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_carries_window_order_and_place() {
        let t = |s: i64| Timestamp::from_micros(s * 1_000_000).unwrap();
        let page = Page { from: t(10), to: t(20), descending: true, last: Some(t(15)) };
        let back = Page::from_cursor(&page.to_cursor(), Windows::default()).unwrap();
        assert_eq!(back, page);
        assert_eq!(back.rest(), (t(10), t(15)));
        let ascending = Page { descending: false, ..page };
        assert_eq!(ascending.rest(), (t(15).plus_micros(1), t(20)));
        for bad in [
            "",
            "!",
            "ZA",
            &URL_SAFE_NO_PAD.encode("d 20 10 15"),
            &URL_SAFE_NO_PAD.encode("d 0 9999999999999999 1"),
        ] {
            assert!(Page::from_cursor(bad, Windows::default()).is_err(), "{bad}");
        }
    }
}
