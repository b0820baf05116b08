//! `POST /v1/attributes/{name}/promote|demote`, `PUT|DELETE /v1/attributes/{name}/pin`: what is hot,
//! decided by somebody of the tenant.

use crate::answer::json;
use crate::caller::{ADMIN, Caller, PLUGINS_WRITE};
use crate::context::Context;
use crate::entity_name::{Names, checked};
use crate::params::Params;
use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use eaves_model::hot::step::Pin;
use eaves_model::rejection::excerpt;
use eaves_store::hot::{ByHand, Decided};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// Longest body, and longest reason in characters.
const MOST_BYTES: usize = 16 * 1024;
const LONGEST_REASON: usize = 1_000;

/// Why.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReasonBody {
    /// For whoever looks at the decisions later.
    #[schema(example = "searched by support")]
    reason: String,
}

/// Where to pin it, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinBody {
    /// `hot`: always hot. `cold`: never.
    #[schema(example = "hot")]
    pin: String,
    /// For whoever looks at the decisions later.
    #[serde(default)]
    reason: String,
}

/// An attribute after a decision.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecidedAnswer {
    /// The attribute.
    #[schema(example = "serial")]
    attribute: String,
    /// `hot`; `filling`: history is being filled in, and it is hot then; `cold`.
    #[schema(example = "filling")]
    state: &'static str,
}

/// Makes an attribute hot. Its history is filled in first: `GET /v1/hot/changes` tells how far it is.
#[utoipa::path(
    post, path = "/v1/attributes/{name}/promote", tag = "attributes",
    security(("jwt" = ["plugins:write"]), ("jwt" = ["admin"])),
    params(("name" = String, Path, description = "The attribute, percent-encoded (a slash twice: %252F)", max_length = 255, example = "serial")),
    request_body(content = ReasonBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The attribute now", body = DecidedAnswer),
        (status = 400, description = "The body is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such attribute", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is pinned", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn promote_attribute(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(name): Names<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    allowed(&caller)?;
    let body: ReasonBody = parse(&body, "{\"reason\": \"searched by support\"}")?;
    decide(&context, &caller, &name, ByHand::Promote, &body.reason).await
}

/// Ends that an attribute is hot. Queries do not see it there from now on.
#[utoipa::path(
    post, path = "/v1/attributes/{name}/demote", tag = "attributes",
    security(("jwt" = ["plugins:write"]), ("jwt" = ["admin"])),
    params(("name" = String, Path, description = "The attribute, percent-encoded (a slash twice: %252F)", max_length = 255, example = "serial")),
    request_body(content = ReasonBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The attribute now", body = DecidedAnswer),
        (status = 400, description = "The body is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such attribute", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is pinned", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn demote_attribute(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(name): Names<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    allowed(&caller)?;
    let body: ReasonBody = parse(&body, "{\"reason\": \"nobody asks for it\"}")?;
    decide(&context, &caller, &name, ByHand::Demote, &body.reason).await
}

/// Fixes that an attribute is always, or never, hot: brings it there, and nothing that is decided
/// by itself changes it.
#[utoipa::path(
    put, path = "/v1/attributes/{name}/pin", tag = "attributes",
    security(("jwt" = ["plugins:write"]), ("jwt" = ["admin"])),
    params(("name" = String, Path, description = "The attribute, percent-encoded (a slash twice: %252F)", max_length = 255, example = "serial")),
    request_body(content = PinBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The attribute now", body = DecidedAnswer),
        (status = 400, description = "The body is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such attribute", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn pin_attribute(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(name): Names<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    allowed(&caller)?;
    if body.trim_ascii().is_empty() {
        return Err(Problem::bad_body("pin", "is missing: send {\"pin\": \"hot\"} or {\"pin\": \"cold\"}"));
    }
    let body: PinBody = parse(&body, "{\"pin\": \"hot\"}")?;
    let pin: Pin = body.pin.parse().map_err(|e: String| Problem::bad_body("pin", e))?;
    decide(&context, &caller, &name, ByHand::Pin(pin), &body.reason).await
}

/// Takes a pin away. The attribute stays as it is until something else is decided.
#[utoipa::path(
    delete, path = "/v1/attributes/{name}/pin", tag = "attributes",
    security(("jwt" = ["plugins:write"]), ("jwt" = ["admin"])),
    params(
        ("name" = String, Path, description = "The attribute, percent-encoded (a slash twice: %252F)", max_length = 255, example = "serial"),
        ("reason" = Option<String>, Query, description = "For whoever looks at the decisions later"),
    ),
    responses(
        (status = 200, description = "The attribute now", body = DecidedAnswer),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such attribute", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn unpin_attribute(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(name): Names<String>,
    params: Params,
) -> Result<Response, Problem> {
    allowed(&caller)?;
    let params = params.only(&["reason"])?;
    decide(&context, &caller, &name, ByHand::Unpin, params.get("reason").unwrap_or_default()).await
}

fn allowed(caller: &Caller) -> Result<(), Problem> {
    caller.need_any(&[PLUGINS_WRITE, ADMIN])
}

/// An empty body is an empty object.
fn parse<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, Problem> {
    if body.len() > MOST_BYTES {
        return Err(Problem::too_large("the body", MOST_BYTES));
    }
    let text: &[u8] = match body.trim_ascii() {
        b"" => b"{}",
        text if text.first() == Some(&b'{') => text,
        _ => {
            let detail = format!("cannot be read: send an object such as {example}");
            return Err(Problem::bad_body("body", detail));
        }
    };
    serde_json::from_slice(text).map_err(|e| Problem::bad_body("body", format!("cannot be read: {e}")))
}

async fn decide(
    context: &Context,
    caller: &Caller,
    name: &str,
    change: ByHand,
    reason: &str,
) -> Result<Response, Problem> {
    let name = checked("name", name)?;
    if reason.chars().count() > LONGEST_REASON || reason.contains('\0') {
        let detail = format!("is not a text of at most {LONGEST_REASON} characters");
        return Err(Problem::bad_body("reason", detail));
    }
    let primary = &context.sources.primary;
    if !primary.lets_through() {
        return Err(Problem::unavailable("the database does not answer", Duration::from_secs(1)));
    }
    let (tenant, by) = (caller.tenant.id, caller.subject.as_str());
    match primary.reader.hot_decide_own(tenant, name, change, (by, reason)).await? {
        Decided::Unknown => {
            let detail = format!("no attribute {} is registered", excerpt(name));
            Err(Problem::not_found("name", detail))
        }
        Decided::Pinned => {
            let fixed = if change == ByHand::Promote { "never" } else { "always" };
            let detail = format!("{} is pinned to be {fixed} hot: take the pin away first", excerpt(name));
            Err(Problem::conflict(detail))
        }
        state => {
            let answer = DecidedAnswer { attribute: name.to_owned(), state: state.name() };
            Ok(json(StatusCode::OK, &answer))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is sent, the answer is a pin or a problem that names a place.
        #[test]
        fn any_body_is_a_pin_or_a_problem(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Err(problem) = parse::<PinBody>(&bytes, "{}") {
                prop_assert_eq!(problem.status(), StatusCode::BAD_REQUEST);
            }
        }

        #[test]
        fn only_the_two_places_are_pins(text in "\\PC{0,12}", reason in "\\PC{0,40}") {
            let body = serde_json::json!({"pin": text, "reason": reason}).to_string();
            let parsed: PinBody = parse(body.as_bytes(), "{}").map_err(|p| TestCaseError::fail(format!("{p:?}")))?;
            prop_assert_eq!(&parsed.reason, &reason);
            prop_assert_eq!(parsed.pin.parse::<Pin>().is_ok(), text == "hot" || text == "cold");
        }
    }
}
