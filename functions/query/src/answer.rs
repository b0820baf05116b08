//! An answer with its freshness, in headers and body.

use crate::format::{self, Format, Listed};
use crate::problem::Problem;
use crate::request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eaves_freshness::{Cached, Demand, Freshness, Lag, Purpose, Reason, Route, Source};
use eaves_model::{Timestamp, Value, ValueType};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Most bytes of an answer: Lambda sends 6 MB, and a text is longer as a part of JSON.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// How fresh the answer is, and why. The headers say the same.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FreshnessBody {
    /// 🟢 `REALTIME` (under 1 s), 🟡 `NEAR_REALTIME` (1 to 10 s), 🟠 `DELAYED` (over
    /// 10 s), 🔴 `STALE` (replication paused, or nobody knows).
    #[schema(example = "REALTIME")]
    tier: &'static str,
    /// What a user interface shows for the tier: `Real-time`, `Near real-time`, `Delayed` or `Stale`.
    #[schema(example = "Real-time")]
    ui_state: &'static str,
    /// The mark beside it: 🟢, 🟡, 🟠 or 🔴.
    #[schema(example = "🟢")]
    indicator: &'static str,
    /// The answer lacks at most what was committed in the last so many seconds; null if
    /// nobody knows.
    #[schema(example = 0.8)]
    lag_seconds: Option<f64>,
    /// All that was committed up to this time is in the answer ("data as of"); null if nobody
    /// knows.
    #[schema(value_type = Option<String>, format = DateTime)]
    as_of: Option<Timestamp>,
    /// `cache`, `read-replica` or `primary`.
    #[schema(example = "cache")]
    source: &'static str,
    /// The level asked for.
    #[schema(example = "eventual")]
    consistency: &'static str,
    /// What the caller said it is for; null if nothing.
    #[schema(example = "dashboard")]
    purpose: Option<&'static str>,
    /// Seconds that the lag is measured against.
    #[schema(example = 10.0)]
    sla_target: f64,
    /// Whether the lag is under the target.
    sla_met: bool,
    /// Why the answer was read there.
    #[schema(example = "cache entry is 0.8 s old, under 5 s")]
    route_reason: String,
}

impl FreshnessBody {
    fn new(f: &Freshness, as_of: Option<Timestamp>) -> Self {
        Self {
            tier: f.tier.name(),
            ui_state: f.tier.ui_state(),
            indicator: f.tier.emoji(),
            as_of,
            lag_seconds: f.lag_seconds,
            source: f.source.name(),
            consistency: f.consistency.name(),
            purpose: f.purpose.map(Purpose::name),
            sla_target: f.sla_target,
            sla_met: f.sla_met,
            route_reason: f.route_reason.clone(),
        }
    }
}

/// What an answer says of itself.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Metadata {
    /// How fresh the answer is.
    pub(crate) freshness: FreshnessBody,
}

/// How an answer was got.
pub(crate) struct Provenance {
    freshness: Freshness,
    as_of: Option<Timestamp>,
    cache_status: String,
    replication_lag: Option<Lag>,
}

impl Provenance {
    pub(crate) fn new(demand: Demand, route: Route, lag: Lag, replication_lag: Option<Lag>) -> Self {
        // By the clock at the request's start: the read was later, so this claims less than is true.
        let as_of = match (lag, request::began()) {
            (Lag::AtMost(lag), Some(began)) => {
                let lag = i64::try_from(lag.as_nanos().div_ceil(1000)).unwrap_or(i64::MAX);
                Some(began.plus_micros(-lag))
            }
            _ => None,
        };
        let cache_status = cache_status(demand, route, lag);
        Self { freshness: Freshness::of(demand, route, lag), as_of, cache_status, replication_lag }
    }

    pub(crate) fn metadata(&self) -> Metadata {
        Metadata { freshness: FreshnessBody::new(&self.freshness, self.as_of) }
    }

    /// The body with the headers.
    pub(crate) fn respond(&self, body: &impl Serialize) -> Response {
        match serde_json::to_string(body) {
            Ok(text) => self.send(Format::Json, text),
            Err(e) => unwritten(&e),
        }
    }

    /// The same in the form asked for. In lines and rows there is no metadata; the headers have it.
    pub(crate) fn respond_as<T: Serialize + Listed>(&self, format: Format, body: &T) -> Response {
        let text = match format {
            Format::Json => serde_json::to_string(body),
            Format::Ndjson => format::ndjson(body),
            Format::Csv => match format::csv(body) {
                Some(text) => Ok(text),
                None => return unwritten(&"no CSV"),
            },
        };
        let mut response = match text {
            Ok(text) => self.send(format, text),
            Err(e) => return unwritten(&e),
        };
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("accept"));
        if let Some(cursor) = body.next_cursor().and_then(|c| HeaderValue::from_str(c).ok()) {
            headers.insert("x-next-cursor", cursor);
        }
        response
    }

    /// An answer that the caller may have already: `tag` says which one it is.
    pub(crate) fn respond_tagged(&self, request: &HeaderMap, tag: &str, body: &impl Serialize) -> Response {
        let mut response = if has(request, tag) {
            let mut unchanged = StatusCode::NOT_MODIFIED.into_response();
            self.tell(unchanged.headers_mut());
            unchanged
        } else {
            self.respond(body)
        };
        let headers = response.headers_mut();
        if let Ok(tag) = HeaderValue::from_str(tag) {
            headers.insert(header::ETAG, tag);
        }
        // It may be kept, and is to be asked for each time.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        response
    }

    fn send(&self, format: Format, text: String) -> Response {
        if text.len() > MOST_BYTES {
            let detail = format!(
                "the answer has {} bytes, at most {MOST_BYTES} are sent: ask for less of it, by limit, by fields or \
                 attributes, or by a shorter window",
                text.len()
            );
            return Problem::too_many("limit", detail).into_response();
        }
        let mut response =
            (StatusCode::OK, [(header::CONTENT_TYPE, format.media_type())], text).into_response();
        self.tell(response.headers_mut());
        response
    }

    /// The headers that say how fresh the answer is.
    fn tell(&self, headers: &mut HeaderMap) {
        let f = &self.freshness;
        let seconds = |s: Option<f64>| s.map_or_else(|| "unknown".to_owned(), |s| format!("{s:.3}"));
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        set("x-data-source", f.source.name());
        set("x-data-lag-seconds", &seconds(f.lag_seconds));
        set("x-consistency-level", f.consistency.name());
        set("x-freshness-tier", f.tier.name());
        set("x-data-freshness", f.tier.label());
        if let Some(lag) = self.replication_lag {
            set("x-replication-lag", &seconds(lag.seconds()));
        }
        set("x-cache-hit", if f.source == Source::Cache { "true" } else { "false" });
        set("x-sla-met", if f.sla_met { "true" } else { "false" });
        set("x-query-timestamp", &Timestamp::now().to_string());
        set("cache-status", &self.cache_status);
        if let (Source::Cache, Some(age)) = (f.source, f.lag_seconds) {
            set("age", &format!("{:.0}", age.ceil()));
        }
        // It is the caller who decides how old is good enough, request by request.
        set("cache-control", "no-store");
    }
}

/// `Cache-Status` (RFC 9211): whether the cache answered, and if not, why it was passed by.
fn cache_status(demand: Demand, route: Route, lag: Lag) -> String {
    if let (Source::Cache, Lag::AtMost(age)) = (route.source, lag) {
        // Negative where it is stale and served all the same, because nothing else answers.
        let ttl = (demand.bound().as_secs_f64() - age.as_secs_f64()).floor();
        let detail =
            if matches!(route.reason, Reason::CacheAging { .. }) { "; detail=revalidating" } else { "" };
        return format!("eaves; hit; ttl={ttl:.0}{detail}");
    }
    let why = match route.cache {
        Cached::Bypassed => "bypass",
        Cached::NotAsked => "request",
        Cached::Missing => "miss",
        Cached::Entry(age) if age >= demand.bound() => "stale",
        Cached::Entry(_) if matches!(route.reason, Reason::ReadAnew { .. }) => "stale",
        Cached::Entry(_) => "bypass",
    };
    format!("eaves; fwd={why}")
}

fn unwritten(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(error = %error, "query.encode_failed");
    Problem::internal().into_response()
}

/// A tag for a body: the same for the same text.
pub(crate) fn tag(body: &str) -> String {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    hasher.write(body.as_bytes());
    // Weak: the answer around it says how fresh it is, and that changes.
    format!("W/\"{:016x}\"", hasher.finish())
}

/// Whether `If-None-Match` has the tag.
fn has(request: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let values = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|one| one.trim() == "*" || opaque(one) == opaque(tag))
}

/// A JSON response.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(e) => unwritten(&e),
    }
}

/// A figure that the database made, as JSON with all its digits. Of a float's values it is a float.
pub(crate) fn figure(digits: &str, value_type: ValueType) -> Box<RawValue> {
    if value_type == ValueType::Float
        && let Some(float) = digits.parse().ok().and_then(Value::float)
    {
        return raw(&float);
    }
    RawValue::from_string(digits.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// A value as JSON with all its digits.
pub(crate) fn raw(value: &Value) -> Box<RawValue> {
    let mut text = String::new();
    value.write_json(&mut text);
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
