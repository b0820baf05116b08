//! `GET /v1/quarantine` and `GET /v1/quarantine/{id}`

use super::{not_found, number, primary, read_failed};
use crate::answer;
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entity_name::Names;
use crate::params::Params;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eaves_model::Timestamp;
use eaves_model::rejection::excerpt;
use eaves_store::quarantine::{Filter, Item, KINDS, STATES};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 50;
const MOST: u32 = 500;

/// Something that could not be taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuarantineItem {
    /// Its number.
    id: i64,
    /// `record` (a record or reading), `value`, or `derived` (a plugin's).
    #[schema(example = "value")]
    kind: String,
    /// `open`, `redriving` (sent again, not yet arrived), `redriven` (taken, at least in
    /// part), `refused` (refused again: a row with `redrive_of` holds it), or `dropped`.
    #[schema(example = "open")]
    state: String,
    /// The reason's stable code.
    #[schema(example = "type_mismatch")]
    reason: String,
    /// What it is about.
    #[schema(example = "values.temperature")]
    field: String,
    /// The reason in words.
    message: String,
    /// Values in it; 1 for what cannot be decoded, 0 for a derived value.
    pieces: i32,
    /// The plugin version that refused it.
    plugin_digest: Option<String>,
    /// The record it came in: shard, sequence number, and sub-record of an aggregated one.
    shard: String,
    /// See `shard`.
    sequence: String,
    /// See `shard`.
    sub: i64,
    /// When it was quarantined.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// How often it was sent again.
    attempts: i32,
    /// The row whose redrive was refused and became this one.
    redrive_of: Option<i64>,
    /// When somebody last sent or dropped it.
    #[schema(value_type = Option<String>, format = DateTime)]
    changed_at: Option<Timestamp>,
    /// The subject of the token with which that was done.
    changed_by: Option<String>,
    /// Why it was dropped.
    changed_why: Option<String>,
    /// When its redrive was taken.
    #[schema(value_type = Option<String>, format = DateTime)]
    settled_at: Option<Timestamp>,
    /// Values of the redrive that were taken.
    taken_again: Option<i32>,
    /// Values of the redrive that were refused.
    refused_again: Option<i32>,
}

impl From<Item> for QuarantineItem {
    fn from(i: Item) -> Self {
        Self {
            id: i.id,
            kind: i.kind,
            state: i.state,
            reason: i.reason,
            field: i.field,
            message: i.message,
            pieces: i.pieces,
            plugin_digest: i.plugin_digest,
            shard: i.shard,
            sequence: i.sequence,
            sub: i.sub,
            created_at: i.created_at,
            attempts: i.attempts,
            redrive_of: i.redrive_of,
            changed_at: i.changed_at,
            changed_by: i.changed_by,
            changed_why: i.changed_why,
            settled_at: i.settled_at,
            taken_again: i.taken_again,
            refused_again: i.refused_again,
        }
    }
}

/// A page of the quarantine.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuarantineList {
    /// Newest first.
    items: Vec<QuarantineItem>,
    /// Give it as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
}

/// One row with what it holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuarantineAnswer {
    /// The row.
    item: QuarantineItem,
    /// The payload, if it is JSON: digit by digit as it was sent.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// The payload in base64, if it is not JSON. Neither, if it was dropped.
    payload_base64: Option<String>,
}

/// What could not be taken, newest first.
#[utoipa::path(
    get, path = "/v1/quarantine", tag = "quarantine",
    security(("jwt" = ["query:read"])),
    params(
        ("reason" = Option<String>, Query, description = "Only with this code", example = "type_mismatch"),
        ("state" = Option<String>, Query, description = "`open`, `redriving`, `redriven`, `refused` or `dropped`"),
        ("kind" = Option<String>, Query, description = "`record`, `value` or `derived`"),
        ("attribute" = Option<String>, Query, description = "Only about this attribute"),
        ("since" = Option<String>, Query, description = "Only quarantined at this time or later, RFC 3339"),
        ("until" = Option<String>, Query, description = "Only quarantined before this time"),
        ("limit" = Option<u32>, Query, description = "Most rows of one answer", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "The rows", body = QuarantineList),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_quarantine(
    State(context): State<Arc<Context>>,
    caller: Caller,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let known = ["reason", "state", "kind", "attribute", "since", "until", "limit", "cursor"];
    let params = params.only(&known)?;
    let limit = params.limit(DEFAULT_LIMIT, MOST)?;
    let after = match params.get("cursor") {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| Problem::bad_parameter("cursor", "is not the next_cursor of an answer"))?,
        ),
    };
    let text = |name| params.get(name).map(str::to_owned);
    let filter = Filter {
        reason: text("reason"),
        state: one_of("state", text("state"), &STATES)?,
        kind: one_of("kind", text("kind"), &KINDS)?,
        attribute: text("attribute"),
        since: params.time("since")?,
        until: params.time("until")?,
        after,
        ..Filter::default()
    };
    let reader = &primary(&context)?.reader;
    // One more, to know whether there is a next page.
    let mut items =
        reader.quarantine_list(caller.tenant.id, &filter, limit + 1).await.map_err(read_failed)?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor = items.last().filter(|_| more).map(|last| last.id.to_string());
    let items = items.into_iter().map(QuarantineItem::from).collect();
    Ok(answer::json(StatusCode::OK, &QuarantineList { items, next_cursor }))
}

pub(super) fn one_of(name: &str, given: Option<String>, known: &[&str]) -> Result<Option<String>, Problem> {
    match given {
        Some(text) if !known.contains(&text.as_str()) => {
            let detail = format!("{} is none of {}", excerpt(&text), known.join(", "));
            Err(Problem::bad_parameter(name, detail))
        }
        given => Ok(given),
    }
}

/// One row with its payload.
#[utoipa::path(
    get, path = "/v1/quarantine/{id}", tag = "quarantine",
    security(("jwt" = ["query:read"])),
    params(("id" = i64, Path, description = "The row's number", example = 17)),
    responses(
        (status = 200, description = "The row", body = QuarantineAnswer),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such row", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_quarantine(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(id): Names<String>,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    params.only(&[])?;
    let id = number(&id)?;
    let found = primary(&context)?.reader.quarantine_get(caller.tenant.id, id).await.map_err(read_failed)?;
    let (item, bytes) = found.ok_or_else(|| not_found(id))?;
    let text = bytes.as_deref().and_then(|b| std::str::from_utf8(b).ok());
    let payload: Option<Box<RawValue>> = text.and_then(|t| serde_json::from_str(t).ok());
    let payload_base64 = bytes.filter(|_| payload.is_none()).map(|b| STANDARD.encode(b));
    Ok(answer::json(StatusCode::OK, &QuarantineAnswer { item: item.into(), payload, payload_base64 }))
}
