//! `POST /v1/plugins/uploads`: a place for a component that no request can carry.

use crate::body;
use crate::caller::Caller;
use crate::context::Context;
use crate::problem::Problem;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use eaves_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// What is going to be put.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InviteBody {
    /// The component's size in bytes.
    #[schema(example = 12_163_481)]
    bytes: u64,
    /// Its SHA-256, 64 hex digits.
    sha256: String,
}

/// Where it goes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InviteAnswer {
    /// The upload's number: give it as `upload` to `POST /v1/plugins`, within the hour.
    upload: String,
    /// `PUT`.
    method: &'static str,
    /// Where to send the component's bytes. No token goes with it: the URL is signed.
    url: String,
    /// The headers to send with them. They are signed, too: no other size and no other bytes
    /// are taken.
    headers: BTreeMap<String, String>,
    /// Until when the URL holds.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Makes a place for a component that is too large for a request: a URL of the object store,
/// for this tenant, these bytes and 15 minutes. Counts as an upload.
#[utoipa::path(
    post, path = "/v1/plugins/uploads", tag = "plugins", security(("jwt" = ["plugins:write"])),
    request_body = InviteBody,
    responses(
        (status = 201, description = "Put the component there", body = InviteAnswer),
        (status = 400, description = "The body is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The component is too large", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many uploads in this hour, or the tenant's rate limit is reached or its quota of the day used up", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_upload(
    State(context): State<Arc<Context>>,
    caller: Caller,
    bytes: Bytes,
) -> Result<(StatusCode, Json<InviteAnswer>), Problem> {
    caller.writes()?;
    let body: InviteBody = body::json(&bytes)?;
    if body.bytes == 0 {
        return Err(Problem::bad_body("bytes", "is 0: a component has some"));
    }
    let made = context.registry.invite(caller.tenant, body.bytes, &body.sha256, &caller.subject).await?;
    let answer = InviteAnswer {
        upload: made.id,
        method: "PUT",
        url: made.url,
        headers: made.headers.into_iter().collect(),
        expires_at: made.expires_at,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}
