//! What a request is counted as against its tenant's rate and quota, and what becomes of one too many.
//! The buckets are in `eaves-cache`.

use crate::caller::{Caller, Known};
use crate::context::Context;
use crate::problem::Problem;
use axum::extract::{FromRequestParts as _, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use eaves_cache::{Class, Refusal, Standing};
use std::sync::Arc;

/// Values that an answer says were accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptedValues(pub(crate) u64);

fn class(method: &Method, path: &str) -> Class {
    match path {
        "/v1/telemetry" if method == Method::POST => Class::Values,
        "/v1/entities/search"
        | "/v1/aggregates"
        | "/v1/attributes/{name}/distribution"
        | "/v1/hot/simulate"
        | "/v1/admin/entities"
        | "/v1/admin/advice" => Class::Expensive,
        _ => Class::Read,
    }
}

/// Lets a request through, or answers 429.
pub(crate) async fn limit(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|p| p.as_str().to_owned()).unwrap_or_default();
    if !path.starts_with("/v1/") {
        return next.run(request).await;
    }
    let class = class(request.method(), &path);
    let (mut parts, body) = request.into_parts();
    // Whoever has no token is told so by the handler; operators are counted by nobody.
    let Ok(caller) = Caller::from_request_parts(&mut parts, &context).await else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let (tenant, own) = (caller.tenant.id, caller.guards.limits);
    let cache = context.cache.as_ref();
    let standing = context.rates.take(cache, tenant, class, own, (1, false)).await;
    if let Some(refusal) = standing.and_then(|standing| standing.refused()) {
        let problem = match refusal {
            Refusal::Rate(retry_in, detail) => Problem::rate_limited(detail, retry_in),
            Refusal::Quota(retry_in, detail) => Problem::quota_exceeded(detail, retry_in),
        };
        return told(standing, problem.into_response());
    }
    parts.extensions.insert(Known(caller));
    let response = next.run(Request::from_parts(parts, body)).await;
    // How many values a body has is known when it was read: all but one are paid for now.
    let more = response.extensions().get::<AcceptedValues>().map_or(0, |n| n.0.saturating_sub(1));
    let standing = match more {
        0 => standing,
        more => context.rates.take(cache, tenant, class, own, (more, true)).await,
    };
    told(standing, response)
}

/// The answer with the bucket in its headers.
fn told(standing: Option<Standing>, mut response: Response) -> Response {
    for (header, value) in standing.iter().flat_map(Standing::headers) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(header, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_go_through_much_is_counted_apart() {
        for (method, path, wanted) in [
            (Method::POST, "/v1/entities/search", Class::Expensive),
            (Method::GET, "/v1/attributes/{name}/distribution", Class::Expensive),
            (Method::GET, "/v1/entities/{external_id}", Class::Read),
            (Method::POST, "/v1/telemetry", Class::Values),
        ] {
            assert_eq!(class(&method, path), wanted, "{path}");
        }
    }
}
