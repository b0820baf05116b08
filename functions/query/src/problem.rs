//! Errors as problem details (RFC 9457). What a database or an AWS service said stays
//! in the log.

use crate::told::Shed;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eaves_model::rejection::excerpt;
use eaves_store::read::ReadError;
use serde::{Serialize, Serializer};
use std::num::NonZeroU32;
use std::time::Duration;
use utoipa::ToSchema;

/// A problem detail.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of problem, as a link into the documentation.
    #[serde(rename = "type", serialize_with = "link")]
    #[schema(value_type = String, example = "/docs#bad-parameter")]
    slug: &'static str,
    /// The kind in words.
    #[schema(example = "A parameter is wrong")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 400)]
    status: u16,
    /// What is wrong here, and what would be right.
    #[schema(example = "\"yesterday\" is not an RFC 3339 time with a zone")]
    detail: String,
    /// The parameter, header or place in the body that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "from")]
    field: Option<String>,
    /// All places in the body that are wrong, where there can be several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// Of a query that would cost too much: what was expected of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate: Option<Box<Estimate>>,
    #[serde(skip)]
    retry_after: Option<NonZeroU32>,
    /// There is enough to do: counted apart from sources that are away.
    #[serde(skip)]
    shed: bool,
}

/// What the planner expects of a query.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Estimate {
    /// Most rows that a step of it handles.
    #[schema(example = 48_000_000.0)]
    pub(crate) rows: f64,
    /// What it costs, in the planner's units.
    #[schema(example = 2_400_000.0)]
    pub(crate) cost: f64,
    /// What it may cost.
    #[schema(example = 1_000_000.0)]
    pub(crate) limit: f64,
}

/// One place in the body that is wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where.
    #[schema(example = "[3].values.temperature")]
    pub(crate) field: String,
    /// The reason's stable code.
    #[schema(example = "type_mismatch")]
    pub(crate) code: String,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

fn link<S: Serializer>(slug: &&'static str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("/docs#{slug}"))
}

/// Kinds of problems: slug, title, explanation for the documentation page.
pub(crate) const KINDS: &[(&str, &str, &str)] = &[
    (
        "bad-parameter",
        "A parameter is wrong",
        "`field` names the query or path parameter, `detail` what would do.",
    ),
    ("bad-body", "The body is wrong", "`field` or `errors` name the places in the body."),
    ("bad-filter", "The search filter is wrong", "`field` is the path of the part of the filter."),
    (
        "window-too-long",
        "The time window is too long",
        "A query of history covers 7 days by default and at most 30, or what the tenant's settings say. Ask for several windows.",
    ),
    (
        "too-many",
        "The answer would be too large",
        "`field` names what makes it so, `detail` what to give instead.",
    ),
    (
        "out-of-range",
        "A figure is beyond what a number can hold",
        "Leave `sum` and `avg` out, or take a shorter window.",
    ),
    ("unauthenticated", "A valid token is needed", "Send `Authorization: Bearer <token>`."),
    (
        "forbidden",
        "The token does not allow this",
        "The token lacks the scope that `detail` names, or is for another tenant.",
    ),
    ("not-found", "There is no such thing", "The entity or attribute is not registered."),
    (
        "conflict",
        "Its state does not allow this",
        "The quarantine row is settled or dropped, or the attribute is pinned; `detail` says so.",
    ),
    ("no-route", "There is no such address", "See the list of addresses."),
    ("no-method", "The address does not take this method", "The `Allow` header lists those it takes."),
    (
        "not-acceptable",
        "The answer has no such form",
        "Accept `application/json`; lists also as `application/x-ndjson` or `text/csv`.",
    ),
    ("too-large", "The body is too large", "Send smaller batches."),
    ("media-type", "The body's type is not known", "Send JSON or newline-delimited JSON, not compressed."),
    (
        "too-expensive",
        "The query would cost too much",
        "`estimate` has what the planner expects, and the limit. `detail` names what to add: a shorter window, \
         a type, a condition on a hot attribute.",
    ),
    (
        "rate-limited",
        "The tenant's rate limit is reached",
        "Try again after `Retry-After` seconds. `RateLimit-Policy` has the limits, `RateLimit` what is left.",
    ),
    (
        "quota-exceeded",
        "The tenant's quota of the day is used up",
        "It starts again at midnight UTC: `Retry-After` has the seconds until then. `RateLimit-Policy` has the quota \
         (`-day`), `RateLimit` what is left; the operator sets it.",
    ),
    ("too-slow", "The query takes too long", "Narrow the time window or the filter."),
    (
        "not-yet",
        "What the token names has not arrived yet",
        "It was accepted and is on its way. Ask again after `Retry-After` seconds, with a longer `wait` (at most 10 s), \
         or without the token for an answer without it.",
    ),
    (
        "unavailable",
        "No source can answer now",
        "No source is fresh enough for what was asked, or the instance has enough to do. Try again after \
         `Retry-After` seconds.",
    ),
    (
        "out-of-time",
        "The sources took too long together",
        "The time that a request may take is used up by the sources that were tried. Try again.",
    ),
    ("internal", "Something went wrong", "It is logged. Tell the operator the time of the request."),
];

impl Problem {
    fn new(status: StatusCode, slug: &'static str, detail: impl Into<String>) -> Self {
        let title = KINDS.iter().find(|(s, _, _)| *s == slug).map_or("", |(_, title, _)| title);
        Self {
            slug,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            errors: Vec::new(),
            estimate: None,
            retry_after: None,
            shed: false,
        }
    }

    fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(crate) fn bad_parameter(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-parameter", detail).at(field)
    }

    pub(crate) fn bad_body(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-body", detail).at(field)
    }

    pub(crate) fn bad_values(detail: impl Into<String>, errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(StatusCode::BAD_REQUEST, "bad-body", detail) }
    }

    pub(crate) fn bad_filter(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-filter", detail).at(field)
    }

    pub(crate) fn window_too_long(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "window-too-long", detail).at(field)
    }

    pub(crate) fn too_expensive(field: &str, detail: impl Into<String>, estimate: Estimate) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, "too-expensive", detail).at(field);
        Self { estimate: Some(Box::new(estimate)), ..problem }
    }

    pub(crate) fn rate_limited(detail: impl Into<String>, retry_in: Duration) -> Self {
        Self {
            retry_after: Some(seconds(retry_in)),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail)
        }
    }

    pub(crate) fn quota_exceeded(detail: impl Into<String>, retry_in: Duration) -> Self {
        Self {
            retry_after: Some(seconds(retry_in)),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "quota-exceeded", detail)
        }
    }

    pub(crate) fn too_many(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "too-many", detail).at(field)
    }

    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(crate) fn other_tenant(field: &str, named: &str, own: &str) -> Self {
        let detail = format!("the reading names tenant {}, the token is for {own:?}", excerpt(named));
        Self::forbidden(detail).at(field)
    }

    pub(crate) fn not_found(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail).at(field)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    pub(crate) fn no_route(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-route", format!("nothing is served at {}", excerpt(path)))
    }

    pub(crate) fn no_method(method: &Method, path: &str) -> Self {
        let detail = format!("{} does not take {}", excerpt(path), excerpt(method.as_str()));
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "no-method", detail)
    }

    pub(crate) fn not_acceptable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail).at("Accept")
    }

    pub(crate) fn too_large(what: &str, limit: usize) -> Self {
        let detail = format!("{what} is over {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    pub(crate) fn media_type(header: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail).at(header)
    }

    pub(crate) fn unavailable(detail: impl Into<String>, retry_in: Duration) -> Self {
        Self {
            retry_after: Some(seconds(retry_in)),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
        }
    }

    /// There is enough to do: come back in a second.
    pub(crate) fn shed(detail: impl Into<String>) -> Self {
        Self { shed: true, ..Self::unavailable(detail, Duration::from_secs(1)) }
    }

    /// What the request's token names was waited for in vain.
    pub(crate) fn not_yet(waited: Duration) -> Self {
        let detail = format!(
            "what the token names is on its way and was waited for {} s: no source has it yet",
            waited.as_secs_f64()
        );
        Self {
            retry_after: Some(NonZeroU32::MIN),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-yet", detail)
        }
    }

    pub(crate) fn out_of_time() -> Self {
        let detail = "the time of the request is used up: the sources that were tried did not answer in it";
        Self {
            retry_after: Some(NonZeroU32::MIN),
            ..Self::new(StatusCode::GATEWAY_TIMEOUT, "out-of-time", detail)
        }
    }

    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the request could not be answered")
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Whole seconds, at least one.
fn seconds(retry_in: Duration) -> NonZeroU32 {
    NonZeroU32::new(retry_in.as_secs_f64().ceil() as u32).unwrap_or(NonZeroU32::MIN)
}

/// A read that failed for another reason than its source being away.
impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        if error.is_away() {
            return Self::unavailable("the database does not answer", Duration::from_secs(1));
        }
        if matches!(error, ReadError::TooSlow) {
            let detail = "the query ran into its time limit: ask for a shorter window or a narrower filter";
            return Self::new(StatusCode::BAD_REQUEST, "too-slow", detail);
        }
        if matches!(error, ReadError::NoTime) {
            return Self::out_of_time();
        }
        if matches!(error, ReadError::Busy) {
            return Self::shed("all connections of this instance to the database are in use");
        }
        if matches!(error, ReadError::TooLarge(_)) {
            let detail =
                format!("{error}: ask for less, by limit, by fields or attributes, or by a shorter window");
            return Self::too_many("limit", detail);
        }
        if matches!(error, ReadError::OutOfRange) {
            let detail = "a figure is beyond the range of a float";
            return Self::new(StatusCode::BAD_REQUEST, "out-of-range", detail);
        }
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(error = %error, cause, "query.read_failed");
        Self::internal()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.get()));
        }
        if self.shed {
            response.extensions_mut().insert(Shed);
        }
        response
    }
}
