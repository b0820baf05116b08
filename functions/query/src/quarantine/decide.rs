//! `POST /v1/quarantine/{id}/redrive`, `…/{id}/drop`, and `POST /v1/quarantine/redrive`
//!
//! A redrive marks the row first and puts the record then. If this dies in between, the row
//! stays `redriving` and can be redriven again: all records of a row carry the same token,
//! and ingest lets one of them have its effect.

use super::show::one_of;
use super::{not_found, number, primary, read_failed};
use crate::answer;
use crate::caller::{Caller, TELEMETRY_WRITE};
use crate::context::Context;
use crate::entity_name::Names;
use crate::problem::Problem;
use crate::stream::Outgoing;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use eaves_codec::redrive::{self, Marker};
use eaves_model::{TenantId, Timestamp};
use eaves_store::quarantine::{Filter, KINDS};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// Most rows of one request: they are answered for within one invocation.
const MOST_ROWS: u32 = 100;
/// Rows taken out at a time: each may have megabytes.
const PORTION: usize = 10;
/// Longest reason for a drop, in bytes.
const LONGEST_WHY: usize = 1_000;

/// Which rows to send again, all conditions together. Only open rows are.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RedriveBody {
    /// With this reason.
    #[schema(example = "unknown_attribute")]
    reason: Option<String>,
    /// `record`, `value` or `derived`.
    kind: Option<String>,
    /// About this attribute.
    attribute: Option<String>,
    /// Quarantined at this time or later.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Quarantined before this time.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Most rows, 1 to 100; the oldest first.
    limit: Option<u32>,
    /// Only tell how many rows there are.
    dry_run: bool,
}

/// What is on its way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedriveAnswer {
    /// Rows that the conditions find, those sent now included.
    found: u64,
    /// Values in them.
    pieces: u64,
    /// Rows whose record is in the stream now; none of a dry run.
    sent: Vec<i64>,
    /// Rows that could not be sent, and why. They stay `redriving`: redrive them again.
    not_sent: Vec<NotSent>,
}

/// A row that could not be sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NotSent {
    /// The row.
    id: i64,
    /// Why.
    why: String,
}

/// Why a row is given up.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DropBody {
    /// For whoever looks at the row later.
    #[schema(example = "a test device")]
    why: String,
}

/// A row that was given up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DropAnswer {
    /// The row.
    id: i64,
    /// `dropped`
    #[schema(example = "dropped")]
    state: &'static str,
}

/// Sends a row's payload through the stream again. Safe to repeat: it takes effect once.
#[utoipa::path(
    post, path = "/v1/quarantine/{id}/redrive", tag = "quarantine",
    security(("jwt" = ["telemetry:write"])),
    params(("id" = i64, Path, description = "The row's number", example = 17)),
    responses(
        (status = 202, description = "It is on its way, or says why not", body = RedriveAnswer),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such row", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is settled or dropped already", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database or the stream does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn redrive_one(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(id): Names<String>,
) -> Result<Response, Problem> {
    caller.need(TELEMETRY_WRITE)?;
    let id = number(&id)?;
    let (tenant, pieces) = (caller.tenant.id, known(&context, caller.tenant.id, id).await?);
    let (sent, not_sent) = send(&context, &caller, &[id]).await?;
    if sent.is_empty() && not_sent.is_empty() {
        return Err(settled(&context, tenant, id).await?);
    }
    Ok(answer::json(StatusCode::ACCEPTED, &RedriveAnswer { found: 1, pieces, sent, not_sent }))
}

/// Sends open rows through the stream again, by reason, time or attribute.
#[utoipa::path(
    post, path = "/v1/quarantine/redrive", tag = "quarantine",
    security(("jwt" = ["telemetry:write"])),
    request_body = RedriveBody,
    responses(
        (status = 202, description = "What is on its way", body = RedriveAnswer),
        (status = 400, description = "The body is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database or the stream does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn redrive_many(
    State(context): State<Arc<Context>>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.need(TELEMETRY_WRITE)?;
    let body: RedriveBody = parse(&body)?;
    let limit = body.limit.unwrap_or(MOST_ROWS);
    if !(1..=MOST_ROWS).contains(&limit) {
        return Err(Problem::bad_body("limit", format!("is not a number from 1 to {MOST_ROWS}")));
    }
    let filter = Filter {
        reason: body.reason,
        kind: one_of("kind", body.kind, &KINDS)?,
        attribute: body.attribute,
        since: body.since,
        until: body.until,
        state: Some("open".to_owned()),
        oldest_first: true,
        ..Filter::default()
    };
    let (tenant, reader) = (caller.tenant.id, &primary(&context)?.reader);
    let (found, pieces) = reader.quarantine_count(tenant, &filter).await.map_err(read_failed)?;
    let (mut sent, mut not_sent) = (Vec::new(), Vec::new());
    if !body.dry_run {
        let items = reader.quarantine_list(tenant, &filter, limit).await.map_err(read_failed)?;
        let ids: Vec<i64> = items.iter().map(|item| item.id).collect();
        for portion in ids.chunks(PORTION) {
            let (went, stayed) = send(&context, &caller, portion).await?;
            sent.extend(went);
            not_sent.extend(stayed);
        }
    }
    Ok(answer::json(StatusCode::ACCEPTED, &RedriveAnswer { found, pieces, sent, not_sent }))
}

/// Gives a row up. Its payload is removed; the row stays, for the ledger.
#[utoipa::path(
    post, path = "/v1/quarantine/{id}/drop", tag = "quarantine",
    security(("jwt" = ["telemetry:write"])),
    params(("id" = i64, Path, description = "The row's number", example = 17)),
    request_body = DropBody,
    responses(
        (status = 200, description = "It is given up", body = DropAnswer),
        (status = 400, description = "The body is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such row", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is settled or dropped already", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn drop_one(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(id): Names<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.need(TELEMETRY_WRITE)?;
    let id = number(&id)?;
    let DropBody { why } = parse(&body)?;
    if why.len() > LONGEST_WHY || why.contains('\0') {
        return Err(Problem::bad_body("why", format!("is not a text of at most {LONGEST_WHY} bytes")));
    }
    let reader = &primary(&context)?.reader;
    let dropped = reader.quarantine_drop(caller.tenant.id, &[id], &caller.subject, &why).await;
    if dropped.map_err(read_failed)?.is_empty() {
        return Err(settled(&context, caller.tenant.id, id).await?);
    }
    Ok(answer::json(StatusCode::OK, &DropAnswer { id, state: "dropped" }))
}

/// An empty body is an empty object.
fn parse<T: Default + for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|e| Problem::bad_body("body", format!("cannot be read: {e}")))
}

async fn known(context: &Context, tenant: TenantId, id: i64) -> Result<u64, Problem> {
    let found = primary(context)?.reader.quarantine_get(tenant, id).await.map_err(read_failed)?;
    found.map(|(item, _)| u64::from(item.pieces.unsigned_abs())).ok_or_else(|| not_found(id))
}

/// Why nothing can be done about a row: it is not there, or its state.
async fn settled(context: &Context, tenant: TenantId, id: i64) -> Result<Problem, Problem> {
    let found = primary(context)?.reader.quarantine_get(tenant, id).await.map_err(read_failed)?;
    Ok(match found {
        None => not_found(id),
        Some((item, _)) => Problem::conflict(format!("the row is {} already", item.state)),
    })
}

/// Marks rows and puts their records. Rows that cannot be marked are in neither list.
async fn send(context: &Context, caller: &Caller, ids: &[i64]) -> Result<(Vec<i64>, Vec<NotSent>), Problem> {
    let reader = &primary(context)?.reader;
    let claimed =
        reader.quarantine_claim(caller.tenant.id, ids, &caller.subject).await.map_err(read_failed)?;
    let (mut records, mut of) = (Vec::new(), Vec::new());
    let mut not_sent = Vec::new();
    for row in claimed {
        match redrive::wrap(Marker { id: row.id, token: row.token }, &row.payload) {
            Ok(data) => {
                let partition_key = redrive::partition_key(row.id, &row.payload, Timestamp::now());
                records.push(Outgoing { partition_key, data });
                of.push(row.id);
            }
            Err(why) => not_sent.push(NotSent { id: row.id, why: why.to_string() }),
        }
    }
    let results = if records.is_empty() { Vec::new() } else { context.stream.put(&records).await };
    if !results.is_empty() && results.iter().all(Result::is_err) {
        let detail = "the stream takes no records at the moment: redrive the rows again";
        return Err(Problem::unavailable(detail, Duration::from_secs(1)));
    }
    let mut sent = Vec::new();
    for (id, result) in of.into_iter().zip(results) {
        match result {
            Ok(_) => sent.push(id),
            Err(e) => not_sent.push(NotSent { id, why: e.to_string() }),
        }
    }
    Ok((sent, not_sent))
}
