//! The socket: HTTP/1.1 on loopback, AWS JSON 1.1.

use super::error::{ApiError, ErrorKind};
use super::operations;
use super::service::Service;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Largest request body: 5 MiB as base64 in JSON, with room to tell what is over the limit.
const MAX_BODY: usize = 16 * 1024 * 1024;
const JSON: &str = "application/x-amz-json-1.1";

/// Answers until `stop` is cancelled, then lets what is under way end.
pub(super) async fn accept(listener: TcpListener, service: Arc<Service>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(e) => {
                    // Out of file descriptors, most likely: others will end.
                    tracing::warn!(error = %e, "a connection to Kinesis could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        drop(stream.set_nodelay(true));
        let (service, stop) = (service.clone(), stop.clone());
        connections.spawn(async move {
            let handler = service_fn(move |request| {
                let service = service.clone();
                async move { Ok::<_, Infallible>(respond(&service, request).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
            let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), handler));
            tokio::select! {
                // A caller that hangs up is its own affair.
                ended = connection.as_mut() => drop(ended),
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    drop(connection.await);
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn respond(service: &Service, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body, error) = match answer(service, request).await {
        Ok(body) => (StatusCode::OK, Bytes::from(body), None),
        Err(e) => {
            tracing::debug!(error = %e, "a call of Kinesis failed");
            let status = StatusCode::from_u16(e.kind.status()).unwrap_or(StatusCode::BAD_REQUEST);
            let body = serde_json::json!({ "__type": e.kind.name(), "message": e.message });
            (status, Bytes::from(body.to_string()), Some(e.kind.name()))
        }
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
    }
    if let Some(error) = error {
        headers.insert(HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static(error));
    }
    response
}

async fn answer(service: &Service, request: Request<Incoming>) -> Result<Vec<u8>, ApiError> {
    if request.method() != Method::POST {
        return Err(ApiError::new(ErrorKind::UnknownOperation, "Requests are POST."));
    }
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text("content-type").unwrap_or(JSON);
    if !kind.starts_with("application/x-amz-json-1.") {
        let message = format!("The content type {kind} is not spoken here: use {JSON}.");
        return Err(ApiError::new(ErrorKind::Serialization, message));
    }
    let target = text("x-amz-target").unwrap_or_default().to_owned();
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await.map_err(|e| {
        ApiError::new(ErrorKind::Serialization, format!("The request's body could not be read: {e}"))
    })?;
    operations::answer(service, &target, &body.to_bytes())
}
