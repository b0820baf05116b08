//! The Lambda Runtime API (AWS Lambda developer guide, "Using the Lambda runtime API").

use super::instance::Slot;
use super::{FunctionError, MAX_PAYLOAD};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const PREFIX: &str = "/2018-06-01/runtime/";

/// Serves the slot's current process. Connections end with the returned future.
pub(super) async fn serve(listener: &TcpListener, slot: Arc<Slot>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        drop(stream.set_nodelay(true));
        let slot = slot.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let slot = slot.clone();
                async move { Ok::<_, Infallible>(handle(&slot, request).await) }
            });
            // A connection that breaks is the process's end, which the keeper sees.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn handle(slot: &Slot, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let Some(rest) = path.strip_prefix(PREFIX) else { return plain(StatusCode::NOT_FOUND, "{}") };
    if request.method() == Method::GET && rest == "invocation/next" {
        return next(slot).await;
    }
    if request.method() != Method::POST {
        return plain(StatusCode::NOT_FOUND, "{}");
    }
    let body = Limited::new(request.into_body(), MAX_PAYLOAD + 4096).collect().await;
    let body = body.map(|b| b.to_bytes());
    if rest == "init/error" {
        slot.init_failed(reported(&body.unwrap_or_default()).to_string());
        return accepted();
    }
    let Some((id, verb)) = rest.strip_prefix("invocation/").and_then(|r| r.split_once('/')) else {
        return plain(StatusCode::NOT_FOUND, "{}");
    };
    let (answer, status) = match (verb, body) {
        ("response", Ok(body)) if body.len() <= MAX_PAYLOAD => (Ok(body), StatusCode::ACCEPTED),
        ("response", _) => (Err(too_large()), StatusCode::PAYLOAD_TOO_LARGE),
        ("error", body) => (Err(reported(&body.unwrap_or_default())), StatusCode::ACCEPTED),
        _ => return plain(StatusCode::NOT_FOUND, "{}"),
    };
    if !slot.answer(id, answer) {
        let text = r#"{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}"#;
        return plain(StatusCode::BAD_REQUEST, text);
    }
    if status == StatusCode::ACCEPTED {
        accepted()
    } else {
        plain(status, r#"{"errorType":"RequestEntityTooLarge"}"#)
    }
}

async fn next(slot: &Slot) -> Response<Full<Bytes>> {
    let work = slot.next_work().await;
    let untraced =
        || format!("Root=1-{:08x}-{:.24};Sampled=0", work.deadline_ms / 1000, work.id.replace('-', ""));
    let trace = work.xray.unwrap_or_else(untraced);
    let mut response = Response::new(Full::new(work.payload));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in [
        ("lambda-runtime-aws-request-id", work.id),
        ("lambda-runtime-deadline-ms", work.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", work.arn),
        ("lambda-runtime-trace-id", trace),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

/// The error a function reported, from `{"errorMessage", "errorType"}`.
fn reported(body: &[u8]) -> FunctionError {
    #[derive(serde::Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Report {
        error_message: String,
        error_type: String,
    }
    let report: Report = serde_json::from_slice(body).unwrap_or_default();
    FunctionError::Reported { error_type: report.error_type, message: report.error_message }
}

fn too_large() -> FunctionError {
    FunctionError::Reported {
        error_type: "Function.ResponseSizeTooLarge".into(),
        message: format!(
            "Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD} bytes)."
        ),
    }
}

fn accepted() -> Response<Full<Bytes>> {
    plain(StatusCode::ACCEPTED, r#"{"status":"OK"}"#)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
