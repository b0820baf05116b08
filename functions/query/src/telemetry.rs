//! `POST /v1/telemetry`

use crate::answer;
use crate::caller::{Caller, TELEMETRY_WRITE};
use crate::context::Context;
use crate::problem::{FieldError, Problem};
use crate::rate::AcceptedValues;
use crate::stream::{Outgoing, Placed};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use eaves_codec::encode;
use eaves_model::rejection::excerpt;
use eaves_model::{Code, Position, Reading, Rejection, Timestamp, TraceParent};
use eaves_telemetry::{span, trace};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;
use utoipa::ToSchema;

/// Largest body: what fits a Lambda event beside its envelope, base64 included.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Most readings of one request.
const MOST_READINGS: usize = 10_000;
/// Largest record that readings of one entity are put together to.
const RECORD_BYTES: usize = 128 * 1024;
/// Largest record that Kinesis takes, less the key.
const LARGEST_RECORD: usize = 1024 * 1024 - 1024;
/// Most rejections listed in an answer; all are counted.
const MOST_LISTED: usize = 100;

/// What became of the readings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TelemetryAnswer {
    /// Readings that are on their way.
    accepted_readings: usize,
    /// Values in them.
    accepted_values: usize,
    /// Readings and values that were not taken.
    rejected: usize,
    /// Which, and why; at most the first 100.
    rejections: Vec<FieldError>,
    /// What a read is to be asked with (`token=`, or the header `X-Consistency-Token`) that must have all of
    /// this. Null in the rare case that the readings went to more shards than a token can name.
    #[schema(example = "MXwwOjQ5NTk")]
    token: Option<String>,
}

/// One reading that can be sent.
struct Accepted<'a> {
    index: usize,
    entity: Box<str>,
    values: usize,
    /// It says itself what sent it.
    traced: bool,
    json: Cow<'a, str>,
}

/// Readings of devices: one, an array, or newline-delimited. The tenant comes from the
/// token. What is accepted is on the stream; the token decides nothing but the tenant.
#[utoipa::path(
    post, path = "/v1/telemetry", tag = "telemetry",
    security(("jwt" = ["telemetry:write"])),
    params(
        ("token" = Option<String>, Query, description = "`token` of an earlier answer: the one of this answer then covers both"),
        ("X-Consistency-Token" = Option<String>, Header, description = "The same as `token`"),
    ),
    request_body(
        description = "One reading, an array of readings, or one reading a line",
        content(
            (serde_json::Value = "application/json", example = json!({"entity": "pump-7", "type": "pump", "observed_at": "2026-03-01T12:00:00Z", "values": {"temperature": 72.5, "status": "online"}})),
            (String = "application/x-ndjson"),
        )
    ),
    responses(
        (status = 202, description = "What was accepted is on its way; the rest is listed", body = TelemetryAnswer),
        (status = 400, description = "Nothing could be accepted", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this, or a reading names another tenant", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is neither JSON nor newline-delimited JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The stream takes nothing now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_telemetry(
    State(context): State<Arc<Context>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.need(TELEMETRY_WRITE)?;
    check_type(&headers)?;
    if body.len() > MOST_BYTES {
        return Err(Problem::too_large("the body", MOST_BYTES));
    }
    let mut token = context.tokens.continued(&uri, &headers, &caller.tenant.name)?;
    let text = std::str::from_utf8(&body).map_err(|_| Problem::bad_body("body", "is not UTF-8"))?;
    let pieces = split(text)?;
    let mut rejections = Vec::new();
    let mut accepted = Vec::with_capacity(pieces.items.len());
    for (index, piece) in pieces.items.iter().enumerate() {
        match judge(piece, index, &caller.tenant.name)? {
            Judged::Taken(reading, refused) => {
                rejections.extend(refused.iter().map(|r| at(&pieces, index, r)));
                accepted.push(reading);
            }
            Judged::Refused(refused) => rejections.extend(refused.iter().map(|r| at(&pieces, index, r))),
        }
    }
    if accepted.is_empty() {
        let detail = format!("none of the {} readings can be accepted", pieces.items.len());
        rejections.truncate(MOST_LISTED);
        return Err(Problem::bad_values(detail, rejections));
    }
    let sending = span!("publish", otel.kind = "producer", readings = accepted.len());
    let trace = sending.in_scope(trace::current);
    let (records, members) = records(&caller.tenant.name, &accepted, trace);
    let results = context.stream.put(&records).instrument(sending).await;
    let mut lost = vec![false; accepted.len()];
    for (result, members) in results.iter().zip(&members) {
        let e = match result {
            Ok(placed) => {
                token.add(&placed.shard, position(placed)?);
                continue;
            }
            Err(e) => e,
        };
        for &member in members {
            lost[member] = true;
            let why = Rejection::new(Code("not_sent".into()), "", format!("{e}; send it again"));
            rejections.push(at(&pieces, accepted[member].index, &why));
        }
    }
    if lost.iter().all(|l| *l) {
        return Err(Problem::unavailable(
            "the stream takes no records at the moment",
            Duration::from_secs(1),
        ));
    }
    let sent: Vec<_> = accepted.iter().zip(&lost).filter(|(_, lost)| !**lost).map(|(a, _)| a).collect();
    let rejected = rejections.len();
    rejections.truncate(MOST_LISTED);
    let answer = TelemetryAnswer {
        accepted_readings: sent.len(),
        accepted_values: sent.iter().map(|a| a.values).sum(),
        rejected,
        rejections,
        token: context.tokens.text(&token, &caller.tenant.name),
    };
    let values = AcceptedValues(answer.accepted_values as u64);
    let mut response = answer::json(StatusCode::ACCEPTED, &answer);
    response.extensions_mut().insert(values);
    Ok(response)
}

fn position(placed: &Placed) -> Result<Position, Problem> {
    Position::whole(&placed.sequence).map_err(|e| {
        tracing::error!(error = %e, "telemetry.bad_sequence");
        Problem::internal()
    })
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let encoding = text(header::CONTENT_ENCODING);
    if !["", "identity"].contains(&encoding) {
        let detail = format!("{} is not taken: send the body as it is", excerpt(encoding));
        return Err(Problem::media_type("Content-Encoding", detail));
    }
    let media = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = ["application/json", "application/x-ndjson", "application/ndjson", "application/jsonl"];
    if known.contains(&media.as_str()) {
        return Ok(());
    }
    let detail = format!(
        "{} is not taken: send application/json or application/x-ndjson (curl: -H 'Content-Type: application/json')",
        excerpt(&media)
    );
    Err(Problem::media_type("Content-Type", detail))
}

/// The readings of a body, each as it stands there.
struct Pieces<'a> {
    items: Vec<&'a RawValue>,
    /// The body is one reading, whose fields need no index.
    single: bool,
}

fn split(text: &str) -> Result<Pieces<'_>, Problem> {
    let start = text.trim_start();
    if start.is_empty() {
        return Err(Problem::bad_body(
            "body",
            "is empty: send a reading, an array of readings or one a line",
        ));
    }
    let bad = |e: serde_json::Error| Problem::bad_body("body", format!("is not JSON: {e}"));
    let items: Vec<&RawValue> = if start.starts_with('[') {
        serde_json::from_str(text).map_err(bad)?
    } else {
        serde_json::Deserializer::from_str(text)
            .into_iter::<&RawValue>()
            .collect::<Result<_, _>>()
            .map_err(bad)?
    };
    if items.is_empty() || items.len() > MOST_READINGS {
        return Err(Problem::bad_body(
            "body",
            format!("has {} readings: send 1 to {MOST_READINGS}", items.len()),
        ));
    }
    let single = items.len() == 1 && !start.starts_with('[');
    Ok(Pieces { items, single })
}

/// A rejection with its place in the body.
fn at(pieces: &Pieces<'_>, index: usize, rejection: &Rejection) -> FieldError {
    let field = match (pieces.single, rejection.field.as_str()) {
        (true, "") => "body".to_owned(),
        (true, field) => field.to_owned(),
        (false, "") => format!("[{index}]"),
        (false, field) => format!("[{index}].{field}"),
    };
    FieldError { field, code: rejection.code.to_string(), message: rejection.message.clone() }
}

enum Judged<'a> {
    /// It goes on; these values of it do not (ingest will quarantine them).
    Taken(Accepted<'a>, Vec<Rejection>),
    Refused(Vec<Rejection>),
}

/// Stamps the caller's tenant in, and checks the reading as ingest will.
fn judge<'a>(piece: &'a RawValue, index: usize, tenant: &str) -> Result<Judged<'a>, Problem> {
    #[derive(Deserialize)]
    struct Peek<'p> {
        #[serde(borrow, default)]
        tenant: Option<&'p RawValue>,
    }
    let raw = piece.get();
    // A key that stands twice makes this fail; the decoder then says so.
    let json = match serde_json::from_str::<Peek<'_>>(raw) {
        Ok(Peek { tenant: None }) if raw.starts_with('{') => {
            let rest = raw[1..].trim_start();
            let comma = if rest.starts_with('}') { "" } else { "," };
            Cow::Owned(format!("{{\"tenant\":{}{comma}{rest}", serde_json::Value::from(tenant)))
        }
        _ => Cow::Borrowed(raw),
    };
    let decoded = eaves_codec::decode(json.as_bytes(), Timestamp::now());
    let mut outcomes = decoded.items.into_iter().map(|item| item.outcome);
    let (Some(outcome), None) = (outcomes.next(), outcomes.next()) else {
        return Ok(Judged::Refused(vec![not_one_reading()]));
    };
    let outcome = match outcome {
        Ok(readings) => readings,
        Err(refused) => return Ok(Judged::Refused(vec![refused.rejection])),
    };
    let mut readings = outcome.into_iter();
    let (Some(reading), None) = (readings.next(), readings.next()) else {
        return Ok(Judged::Refused(vec![not_one_reading()]));
    };
    let reading: Reading = match reading {
        Ok(reading) => reading,
        Err(refused) => return Ok(Judged::Refused(vec![refused.rejection])),
    };
    // Asked of what ingest will read, not of what was peeked at.
    if *reading.tenant != *tenant {
        return Err(Problem::other_tenant(&format!("[{index}].tenant"), &reading.tenant, tenant));
    }
    if json.len() > LARGEST_RECORD {
        let message = format!("has {} bytes: a reading can have {LARGEST_RECORD}", json.len());
        return Ok(Judged::Refused(vec![Rejection::new(Code::TOO_LONG, "", message)]));
    }
    let refused: Vec<Rejection> = reading.refused.into_iter().map(|(why, _)| why).collect();
    if reading.values.is_empty() && !refused.is_empty() {
        return Ok(Judged::Refused(refused));
    }
    let (values, traced) = (reading.values.len(), reading.trace.is_some());
    let accepted = Accepted { index, entity: reading.entity, values, traced, json };
    Ok(Judged::Taken(accepted, refused))
}

fn not_one_reading() -> Rejection {
    Rejection::new(
        Code::BAD_SHAPE,
        "",
        "is not a reading: send an object with entity, observed_at and values",
    )
}

/// Puts readings of one entity together, in order, and tells which went into each record. The
/// first of each record says what sent it.
fn records(
    tenant: &str,
    accepted: &[Accepted<'_>],
    trace: Option<TraceParent>,
) -> (Vec<Outgoing>, Vec<Vec<usize>>) {
    let mut records: Vec<Outgoing> = Vec::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for (i, reading) in accepted.iter().enumerate() {
        let fits = |record: &usize| records[*record].data.len() + reading.json.len() < RECORD_BYTES;
        let record = open.get(&*reading.entity).copied().filter(fits).unwrap_or_else(|| {
            open.insert(&reading.entity, records.len());
            records
                .push(Outgoing { partition_key: partition_key(tenant, &reading.entity), data: Vec::new() });
            members.push(Vec::new());
            records.len() - 1
        });
        let mut json = Cow::Borrowed(&*reading.json);
        if !members[record].is_empty() {
            records[record].data.push(b'\n');
        } else if let Some(trace) = trace.filter(|_| !reading.traced && json.len() < RECORD_BYTES) {
            json = Cow::Owned(encode::with_trace(&json, &trace));
        }
        members[record].push(i);
        // One a line, so none may span lines: line breaks between tokens become blanks,
        // and inside strings JSON has none.
        let one_line = json.bytes().map(|b| if b == b'\n' || b == b'\r' { b' ' } else { b });
        records[record].data.extend(one_line);
    }
    (records, members)
}

/// Kinesis takes keys of up to 256 characters.
fn partition_key(tenant: &str, entity: &str) -> String {
    format!("{tenant}/{entity}").chars().take(256).collect()
}
