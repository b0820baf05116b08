//! Lambda's Invoke API, as far as functions call each other: `POST
//! /2015-03-31/functions/<name>/invocations`, at once or as an event.
//!
//! After "Invoke" (Lambda API reference) and "Asynchronous invocation" (developer guide): an
//! event is answered with 202 and tried twice more if the function fails.

use super::{FunctionError, FunctionHost};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How often an event is tried in all.
const TRIES: u32 = 3;
/// Pause before the next try. (Lambda waits one minute, then two.)
const PAUSE: Duration = Duration::from_secs(1);

/// The listener. Dropping it ends it.
pub(crate) struct InvokeApi {
    address: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl InvokeApi {
    /// Takes a free port of loopback. Calls wait until [`Self::serve`].
    pub(crate) async fn bind() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listen for invocations")?;
        let address = listener.local_addr()?;
        Ok(Self { address, listener: Mutex::new(Some(listener)), task: Mutex::new(None) })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts to answer, for these functions.
    pub(crate) fn serve(&self, functions: Vec<FunctionHost>) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(listener) = listener else { return };
        let task = tokio::spawn(accept(listener, functions.into()));
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
}

impl Drop for InvokeApi {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, functions: Arc<[FunctionHost]>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let functions = functions.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let functions = functions.clone();
                async move { Ok::<_, Infallible>(answer(&functions, request).await) }
            });
            // A caller that hangs up is its own affair.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(functions: &[FunctionHost], request: Request<Incoming>) -> Response<Full<Bytes>> {
    let name = request
        .uri()
        .path()
        .strip_prefix("/2015-03-31/functions/")
        .and_then(|rest| rest.strip_suffix("/invocations"))
        .map(str::to_owned);
    let function = functions.iter().find(|f| name.as_deref() == Some(f.name())).cloned();
    let Some(function) = function.filter(|_| request.method() == Method::POST) else {
        return error(StatusCode::NOT_FOUND, "ResourceNotFoundException", "there is no such function");
    };
    let event = request.headers().get("x-amz-invocation-type").is_some_and(|t| t == "Event");
    let Ok(body) = Limited::new(request.into_body(), super::MAX_PAYLOAD).collect().await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", "the payload is too large");
    };
    let payload = body.to_bytes();
    if event {
        tokio::spawn(deliver(function, payload));
        return respond(StatusCode::ACCEPTED, Bytes::new());
    }
    match function.invoke_bytes(payload).await {
        Ok(answer) => respond(StatusCode::OK, answer),
        Err(FunctionError::Throttled(_)) => {
            error(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", "no instance is free")
        }
        Err(e) => {
            let text = serde_json::json!({"errorMessage": e.to_string()}).to_string();
            let mut response = respond(StatusCode::OK, text.into());
            response
                .headers_mut()
                .insert("x-amz-function-error", http::HeaderValue::from_static("Unhandled"));
            response
        }
    }
}

async fn deliver(function: FunctionHost, payload: Bytes) {
    for _ in 0..TRIES {
        match function.invoke_bytes(payload.clone()).await {
            Ok(_) | Err(FunctionError::Stopping) => return,
            Err(e) => tracing::warn!(function.name = function.name(), error = %e, "an event failed"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn error(status: StatusCode, kind: &'static str, text: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({"Type": "User", "Message": text}).to_string();
    let mut response = respond(status, body.into());
    response.headers_mut().insert("x-amzn-errortype", http::HeaderValue::from_static(kind));
    response
}

fn respond(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}
