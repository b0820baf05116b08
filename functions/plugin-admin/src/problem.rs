//! Errors as problem details (RFC 9457). What DynamoDB, S3 or a database said stays in the
//! log.

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eaves_model::rejection::excerpt;
use eaves_plugin_host::PluginError;
use eaves_registry::RegistryError;
use eaves_store::read::ReadError;
use serde::{Serialize, Serializer};
use std::time::Duration;
use utoipa::ToSchema;

/// A problem detail.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of problem, as a link into the documentation.
    #[serde(rename = "type", serialize_with = "link")]
    #[schema(value_type = String, example = "/docs#conflict")]
    slug: &'static str,
    /// The kind in words.
    #[schema(example = "It was changed meanwhile")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 409)]
    status: u16,
    /// What is wrong here, and what would be right.
    detail: String,
    /// The parameter or place in the body that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "settings.attributes.temperature.min")]
    field: Option<String>,
    #[serde(skip)]
    retry_after: Option<u32>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

fn link<S: Serializer>(slug: &&'static str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("/docs#{slug}"))
}

impl Problem {
    fn new(status: StatusCode, slug: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { slug, title, status: status.as_u16(), detail: detail.into(), field: None, retry_after: None }
    }

    fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(crate) fn bad_parameter(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-parameter", "A parameter is wrong", detail).at(field)
    }

    pub(crate) fn bad_body(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-body", "The body is wrong", detail).at(field)
    }

    pub(crate) fn not_a_plugin(detail: impl Into<String>) -> Self {
        let title = "The component was refused";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not-a-plugin", title, detail).at("wasm")
    }

    pub(crate) fn bad_settings(path: &str, detail: impl Into<String>) -> Self {
        let title = "The plugin does not take these settings";
        let field = if path.is_empty() { "settings".to_owned() } else { format!("settings.{path}") };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-settings", title, detail).at(field)
    }

    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "A valid token is needed", detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "The token does not allow this", detail)
    }

    /// The tenant has had its requests of this minute.
    pub(crate) fn rate_limited(detail: impl Into<String>, retry_in: Duration) -> Self {
        let title = "The tenant's rate limit is reached";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", title, detail);
        Self { retry_after: Some(seconds(retry_in)), ..problem }
    }

    /// The tenant has had its requests of this day.
    pub(crate) fn quota_exceeded(detail: impl Into<String>, retry_in: Duration) -> Self {
        let title = "The tenant's quota of the day is used up";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "quota-exceeded", title, detail);
        Self { retry_after: Some(seconds(retry_in)), ..problem }
    }

    pub(crate) fn not_found(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail).at(field)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "conflict",
            "It was changed meanwhile, or is not as it must be",
            detail,
        )
    }

    pub(crate) fn no_route(path: &str) -> Self {
        let detail = format!("nothing is served at {}", excerpt(path));
        Self::new(StatusCode::NOT_FOUND, "no-route", "There is no such address", detail)
    }

    pub(crate) fn no_method(method: &Method, path: &str) -> Self {
        let detail = format!("{} does not take {}", excerpt(path), excerpt(method.as_str()));
        let title = "The address does not take this method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "no-method", title, detail)
    }

    pub(crate) fn media_type(detail: impl Into<String>) -> Self {
        let title = "The body's type is not known";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", title, detail).at("content-type")
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        let problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Something that is needed does not answer",
            detail,
        );
        Self { retry_after: Some(1), ..problem }
    }

    pub(crate) fn internal() -> Self {
        let title = "Something went wrong";
        let detail = "the request could not be answered; it is logged";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", title, detail)
    }
}

/// Whole seconds, at least one.
fn seconds(retry_in: Duration) -> u32 {
    retry_in.as_secs_f64().ceil().max(1.0) as u32
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        use RegistryError as E;
        let text = error.to_string();
        match &error {
            E::BadName { what: "plugin name", .. } => Self::bad_body("name", text),
            E::BadName { what: "sha256", .. } => Self::bad_body("sha256", text),
            E::BadName { .. } => Self::bad_body("version", text),
            E::NoUpload { .. } => Self::not_found("upload", text),
            E::WrongUpload { .. } => Self::bad_body("upload", text),
            E::BadSettings(_) => Self::bad_body("settings", text),
            E::BadPolicy { field, problem } => Self::bad_body(field, problem.clone()),
            E::NoSuchVersion { .. } => Self::not_found("version", text),
            E::VersionTaken { .. } | E::NotChecked { .. } | E::NothingBefore { .. } => Self::conflict(text),
            E::Conflict { .. } => {
                Self::conflict("somebody else changed it meanwhile: look again, and do it again")
            }
            E::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The component is too large", text)
            }
            E::TooManyVersions { .. } => Self::conflict(text),
            E::TooManyUploads { .. } => {
                let title = "Too many uploads";
                let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", title, text);
                Self { retry_after: Some(3600), ..problem }
            }
            E::TooManyBacktests { .. } => {
                let title = "The tenant has too many backtests under way";
                let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-backtests", title, text);
                Self { retry_after: Some(15), ..problem }
            }
            E::BacktestsFull { .. } => {
                let title = "The platform has too many backtests under way";
                let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "backtests-full", title, text);
                Self { retry_after: Some(60), ..problem }
            }
            E::NotSigned | E::BadSignature | E::UnsignedBefore { .. } => {
                let title = "A publisher's signature is needed";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "signature", title, text).at("signature")
            }
            _ => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(error = %error, cause, "plugin_admin.registry_failed");
                if error.is_retryable() {
                    return Self::unavailable("the plugin registry does not answer");
                }
                Self::internal()
            }
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(error = %error, cause, "plugin_admin.read_failed");
        if error.is_away() { Self::unavailable("the database does not answer") } else { Self::internal() }
    }
}

impl From<PluginError> for Problem {
    fn from(error: PluginError) -> Self {
        match &error {
            PluginError::Settings { path, message } => Self::bad_settings(path, message.clone()),
            _ if error.is_retryable() => Self::unavailable(error.to_string()),
            _ => Self::bad_settings("", error.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_backtest_now_is_told_whose_bound_it_is_and_when_to_ask_again() {
        for (error, slug, whose) in [
            (RegistryError::TooManyBacktests { most: 2 }, "too-many-backtests", "the tenant has 2 backtests"),
            (RegistryError::BacktestsFull { most: 6 }, "backtests-full", "the platform has 6 backtests"),
        ] {
            let problem = Problem::from(error);
            let body = serde_json::to_value(&problem).unwrap();
            assert_eq!((&body["status"], &body["type"]), (&429.into(), &format!("/docs#{slug}").into()));
            assert!(problem.detail.starts_with(whose), "{problem}");
            let response = problem.into_response();
            let wait: u32 = response.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
        }
    }
}
