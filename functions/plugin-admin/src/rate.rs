//! What a request is counted as against its tenant's rate and quota. The buckets are those that the
//! query function's requests are counted in, too (`eaves-cache`).

use crate::caller::Caller;
use crate::context::Context;
use crate::problem::Problem;
use axum::extract::{FromRequestParts as _, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use eaves_cache::{Class, Refusal, Standing};
use std::sync::Arc;

fn class(method: &Method, path: &str) -> Class {
    match path {
        // They compile a component, read history, or call a plugin on much.
        "/v1/plugins" | "/v1/plugins/{name}/backtest" | "/v1/plugins/{name}/simulate"
            if method == Method::POST =>
        {
            Class::Expensive
        }
        _ => Class::Read,
    }
}

/// Lets a request through, or answers 429.
pub(crate) async fn limit(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    let class = match request.extensions().get::<MatchedPath>() {
        Some(path) => class(request.method(), path.as_str()),
        None => Class::Read,
    };
    let (mut parts, body) = request.into_parts();
    // Whoever has no token is told so by the handler.
    let Ok(caller) = Caller::from_request_parts(&mut parts, &context).await else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let own = context.own_limits(caller.tenant).await;
    let counted = context.counted.as_ref();
    let standing = context.rates.take(counted, caller.tenant, class, own, (1, false)).await;
    let mut response = match standing.and_then(|standing| standing.refused()) {
        Some(Refusal::Rate(retry_in, detail)) => Problem::rate_limited(detail, retry_in).into_response(),
        Some(Refusal::Quota(retry_in, detail)) => Problem::quota_exceeded(detail, retry_in).into_response(),
        None => next.run(Request::from_parts(parts, body)).await,
    };
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
    fn what_works_much_is_counted_apart() {
        for (method, path, wanted) in [
            (Method::POST, "/v1/plugins", Class::Expensive),
            (Method::GET, "/v1/plugins", Class::Read),
            (Method::POST, "/v1/plugins/{name}/backtest", Class::Expensive),
            (Method::POST, "/v1/plugins/{name}/simulate", Class::Expensive),
            (Method::POST, "/v1/plugins/{name}/rollback", Class::Read),
        ] {
            assert_eq!(class(&method, path), wanted, "{method} {path}");
            assert!(crate::openapi::document().paths.paths.contains_key(path), "{path}");
        }
    }
}
