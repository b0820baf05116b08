//! The listener: routes, authorizer, limits, and the calls of the query function.

use super::auth::{Authorizer, Denied};
use super::event::{self, Caller, Verdict};
use crate::lambda::{FunctionError, FunctionHost};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Largest request body, as API Gateway takes it.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// Routes without an authorizer.
const PUBLIC: [&str; 4] = ["/healthz", "/openapi.json", "/docs", "/v1/plugins/openapi.json"];

/// What the front needs.
pub struct FrontConfig {
    /// Where to listen.
    pub listener: TcpListener,
    /// Who may come in; its public keys are served at `/.well-known/jwks.json`.
    pub authorizer: Authorizer,
    /// The Lambda authorizer that is asked in its place, if there is one.
    pub ask: Option<FunctionHost>,
    /// The function that answers.
    pub query: FunctionHost,
    /// The function that answers under `/v1/plugins`, as the SAM template routes it.
    pub plugin_admin: FunctionHost,
}

/// A running HTTP API.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Shared {
    authorizer: Authorizer,
    ask: Option<FunctionHost>,
    query: FunctionHost,
    plugin_admin: FunctionHost,
    port: u16,
}

impl Front {
    /// A listener on loopback; port 0 is a free one.
    pub async fn bind(port: u16) -> Result<TcpListener> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        listener.with_context(|| format!("listen on port {port} for the HTTP API"))
    }

    /// Starts to answer.
    pub fn start(config: FrontConfig) -> Result<Self> {
        let address = config.listener.local_addr()?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            authorizer: config.authorizer,
            ask: config.ask,
            query: config.query,
            plugin_admin: config.plugin_admin,
            port: address.port(),
        });
        let task = tokio::spawn(accept(config.listener, shared, stop.clone()));
        Ok(Self { address, stop, task })
    }

    /// Where it listens: `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no more requests and lets those under way end, at most for `grace`.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(grace, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, address) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    // Out of file descriptors, most likely: others will end.
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        drop(stream.set_nodelay(true));
        let (shared, stop) = (shared.clone(), stop.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(answer(&shared, request, address).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
            let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
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

async fn answer(shared: &Shared, request: Request<Incoming>, address: SocketAddr) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    if request.method() == Method::GET && path == "/.well-known/jwks.json" {
        return json(StatusCode::OK, Bytes::from(shared.authorizer.jwks()));
    }
    let public = request.method() == Method::GET && PUBLIC.contains(&path.as_str());
    let request_id = uuid::Uuid::new_v4().to_string();
    let route = if public { format!("GET {path}") } else { "$default".into() };
    let (parts, body) = request.into_parts();
    let mut caller =
        Caller { address, port: shared.port, request_id: &request_id, verdict: None, route: &route };
    let header = parts.headers.get(AUTHORIZATION).map(|h| h.to_str().unwrap_or(""));
    let (authorized, said);
    match &shared.ask {
        _ if public => {}
        None => match shared.authorizer.check(header) {
            Ok(claims) => {
                authorized = claims;
                caller.verdict = Some(Verdict::Jwt(&authorized));
            }
            Err(denied) => return unauthorized(&denied),
        },
        Some(function) => match ask(function, &parts, header, caller).await {
            Ok(context) => {
                said = context;
                caller.verdict = Some(Verdict::Lambda(&said));
            }
            Err(refusal) => return refusal,
        },
    }
    if body.size_hint().lower() > MAX_BODY as u64 {
        return too_large();
    }
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(e) if e.is::<http_body_util::LengthLimitError>() => return too_large(),
        Err(_) => return message(StatusCode::BAD_REQUEST, "Bad Request"),
    };
    let Ok(event) = event::encode(&parts, &body, caller).to_json() else {
        return message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    };
    let plugins =
        ["/v1/plugins", "/v1/plugin-policy"].contains(&path.as_str()) || path.starts_with("/v1/plugins/");
    let function = if plugins { &shared.plugin_admin } else { &shared.query };
    let mut response = call(function, event).await;
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("apigw-requestid", id);
    }
    response
}

/// Asks a Lambda authorizer with simple responses, as API Gateway does: nobody without a value of the
/// identity source gets as far, a refusal is a 403, and what is no answer is a 500. Nothing is
/// remembered, as in the SAM template.
async fn ask(
    function: &FunctionHost,
    parts: &Parts,
    header: Option<&str>,
    caller: Caller<'_>,
) -> Result<Map<String, Value>, Response<Full<Bytes>>> {
    let Some(header) = header.filter(|header| !header.is_empty()) else {
        return Err(message(StatusCode::UNAUTHORIZED, "Unauthorized"));
    };
    let failed = || message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    let asked = event::encode_for_authorizer(parts, header, caller);
    let asked = serde_json::to_value(asked).map_err(|_| failed())?;
    let mut answer = function.invoke(&asked).await.map_err(|e| {
        tracing::error!(function.name = function.name(), error = %e, "the authorizer failed");
        failed()
    })?;
    match (answer["isAuthorized"].as_bool(), answer["context"].take()) {
        (Some(true), Value::Object(context)) => Ok(context),
        (Some(true), Value::Null) => Ok(Map::new()),
        (Some(false), _) => Err(message(StatusCode::FORBIDDEN, "Forbidden")),
        _ => {
            tracing::error!(function.name = function.name(), "the authorizer's answer is no verdict");
            Err(failed())
        }
    }
}

/// Calls the function; its failures look as they do behind API Gateway.
async fn call(function: &FunctionHost, event: Bytes) -> Response<Full<Bytes>> {
    match function.invoke_bytes(event).await {
        Ok(answer) => match event::decode(&answer) {
            Some(response) => response.map(Full::new),
            None => {
                tracing::error!(function.name = function.name(), "the function's answer is no HTTP response");
                message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
            }
        },
        Err(FunctionError::TooLarge(_)) => too_large(),
        Err(e) => {
            tracing::error!(function.name = function.name(), error = %e, "the function failed");
            match e {
                FunctionError::TimedOut(_) | FunctionError::Throttled(_) | FunctionError::Stopping => {
                    message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
                }
                _ => message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
            }
        }
    }
}

fn unauthorized(denied: &Denied) -> Response<Full<Bytes>> {
    let mut response = message(StatusCode::UNAUTHORIZED, "Unauthorized");
    if let Ok(challenge) = HeaderValue::from_str(&denied.challenge()) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn too_large() -> Response<Full<Bytes>> {
    message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")
}

fn message(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    json(status, Bytes::from(format!("{{\"message\":\"{text}\"}}")))
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
