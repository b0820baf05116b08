//! Reads that must have what an earlier write put on the stream (`token` of its answer).
//!
//! The request's token is kept beside it rather than handed on: every read that it makes, whatever for, has
//! to ask its server in its own transaction ([`eaves_store::read::awaiting`]). [`ready`] waits until the
//! records are ingested at all; `sources` then takes a server that has them.

use crate::caller::claimed_tenant;
use crate::context::Context;
use crate::params;
use crate::problem::Problem;
use crate::sources::Sources;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use eaves_cache::Entry;
use eaves_model::rejection::excerpt;
use eaves_model::{ConsistencyToken, Timestamp};
use eaves_store::read::{Awaited, ReadError, awaiting};
use quick_cache::sync::Cache;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The header with a token, for requests with a body and for clients that send it always.
pub(crate) const HEADER: &str = "x-consistency-token";
/// How long a read waits for what its token names, unless `wait` says otherwise.
const DEFAULT_WAIT: Duration = Duration::from_secs(2);
/// Longest `wait`.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(30);
/// Tokens that an instance remembers.
const REMEMBERED: usize = 1_000;

tokio::task_local! {
    static ASKED: Arc<Asked>;
}

/// A token, as all requests with it share it.
struct Wanted {
    token: ConsistencyToken,
    awaited: Arc<Awaited>,
    /// By the database's clock, when it was first seen to have the records.
    reached: Mutex<Option<Timestamp>>,
}

impl Wanted {
    fn reached(&self) -> Option<Timestamp> {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, at: Timestamp) {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(at);
    }
}

/// What one request asks for.
struct Asked {
    wanted: Arc<Wanted>,
    wait: Duration,
    until: Instant,
}

/// The tokens of this platform's stream.
pub(crate) struct Tokens {
    stream: String,
    known: Cache<Box<str>, Arc<Wanted>>,
}

impl Tokens {
    pub(crate) fn new(stream: &str) -> Self {
        Self { stream: stream.to_owned(), known: Cache::new(REMEMBERED) }
    }

    /// The text of a token for a tenant.
    pub(crate) fn text(&self, token: &ConsistencyToken, tenant: &str) -> Option<String> {
        token.encode(&self.stream, tenant)
    }

    /// What a write adds its records to: the token that the request has, of an earlier one, or none.
    pub(crate) fn continued(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        tenant: &str,
    ) -> Result<ConsistencyToken, Problem> {
        let Some((field, text)) = given(uri, headers)? else { return Ok(ConsistencyToken::default()) };
        ConsistencyToken::parse(&text, &self.stream, tenant)
            .map_err(|e| Problem::bad_parameter(field, format!("{} {e}", excerpt(&text))))
    }

    fn wanted(&self, text: &str, tenant: &str) -> Result<Arc<Wanted>, String> {
        let token = ConsistencyToken::parse(text, &self.stream, tenant)
            .map_err(|e| format!("{} {e}", excerpt(text)))?;
        if let Some(wanted) = self.known.get(text) {
            return Ok(wanted);
        }
        let awaited = Arc::new(Awaited::of(&token, &self.stream));
        let wanted = Arc::new(Wanted { token, awaited, reached: Mutex::new(None) });
        self.known.insert(text.into(), Arc::clone(&wanted));
        Ok(wanted)
    }
}

/// Keeps the request's token beside all that the request does.
pub(crate) async fn scope(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    match asked(&context.tokens, &request) {
        Ok(None) => next.run(request).await,
        Ok(Some(asked)) => {
            let awaited = Arc::clone(&asked.wanted.awaited);
            ASKED.scope(Arc::new(asked), awaiting(awaited, next.run(request))).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Whether an address answers with data: elsewhere a token means nothing.
fn reads(method: &Method, path: &str) -> bool {
    let bodies = ["/v1/entities/batch", "/v1/entities/search", "/v1/aggregates", "/v1/hot/simulate"];
    match *method {
        // The path of a write has no GET: that is told before anything else.
        Method::GET => path != "/v1/telemetry" && !bodies.contains(&path),
        Method::POST => bodies.contains(&path),
        _ => false,
    }
}

/// A parameter of a request. What cannot be read, or names things twice, is told by whoever reads all of them.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    pairs.into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

/// The token of a request, and where it stands.
fn given(uri: &Uri, headers: &HeaderMap) -> Result<Option<(&'static str, String)>, Problem> {
    let header = match headers.get(HEADER) {
        None => None,
        Some(value) => Some(value.to_str().map_err(|_| Problem::bad_parameter(HEADER, "is not a token"))?),
    };
    match (parameter(uri, "token"), header) {
        (Some(token), Some(header)) if token != header => {
            let detail = format!("is another token than the header {HEADER} has: send one of them");
            Err(Problem::bad_parameter("token", detail))
        }
        (Some(token), _) => Ok(Some(("token", token))),
        (None, header) => Ok(header.map(|header| (HEADER, header.to_owned()))),
    }
}

fn asked(tokens: &Tokens, request: &Request) -> Result<Option<Asked>, Problem> {
    let uri = request.uri();
    if !reads(request.method(), uri.path()) {
        return Ok(None);
    }
    let wait = parameter(uri, "wait");
    let Some((field, text)) = given(uri, request.headers())? else {
        if wait.is_some() {
            let detail = "goes with token: without one there is nothing to wait for";
            return Err(Problem::bad_parameter("wait", detail));
        }
        return Ok(None);
    };
    let wait = match wait.as_deref() {
        None => DEFAULT_WAIT,
        Some(text) => params::staleness(text).filter(|wait| *wait <= LONGEST_WAIT).ok_or_else(|| {
            let detail = format!("{} is not a duration such as 2s or 500ms, at most 10s", excerpt(text));
            Problem::bad_parameter("wait", detail)
        })?,
    };
    // Who has no tenant is refused further on.
    let Some(tenant) = claimed_tenant(request.extensions()) else { return Ok(None) };
    let wanted = tokens.wanted(&text, &tenant).map_err(|detail| Problem::bad_parameter(field, detail))?;
    Ok(Some(Asked { wanted, wait, until: Instant::now() + wait }))
}

fn current() -> Option<Arc<Asked>> {
    ASKED.try_with(Arc::clone).ok()
}

/// Whether the request has a token.
pub(crate) fn is_asked() -> bool {
    ASKED.try_with(|_| ()).is_ok()
}

/// Whether an entry of the cache has what the request's token names, if it has one: by what ingest had
/// taken when it wrote the entry, or because the entry was true when a database was known to have it.
pub(crate) fn covers(entry: &Entry) -> bool {
    let Some(asked) = current() else { return true };
    let wanted = &asked.wanted;
    entry.has(&wanted.token) || wanted.reached().is_some_and(|at| entry.as_of >= at)
}

/// Waits until a database has what the request's token names, if it has one, or refuses.
pub(crate) async fn ready(sources: &Sources) -> Result<(), Problem> {
    let Some(asked) = current() else { return Ok(()) };
    loop {
        if asked.wanted.reached().is_some() {
            return Ok(());
        }
        let mut answered = false;
        for server in [&sources.primary].into_iter().chain(sources.replicas.iter().map(|r| &r.server)) {
            // What the primary lacks no replica has.
            if answered || !server.lets_through() {
                continue;
            }
            let done = server.reader.reached(Arc::clone(&asked.wanted.awaited)).await;
            server.note(&done);
            match done {
                Ok(found) if found.value.ingested => asked.wanted.note(found.at),
                Ok(_) => answered = true,
                Err(e) if e.is_away() => continue,
                // It took long because much is going on; that is no reason not to look again.
                Err(ReadError::TooSlow) => answered = true,
                Err(e) => return Err(e.into()),
            }
            if asked.wanted.reached().is_some() {
                return Ok(());
            }
        }
        if !answered {
            return Err(Problem::unavailable("no database answers", Duration::from_secs(1)));
        }
        pause().await?;
    }
}

/// Waits a moment for what the request's token names, or refuses when it has waited long enough.
pub(crate) async fn pause() -> Result<(), Problem> {
    let Some(asked) = current() else { return Ok(()) };
    let left = asked.until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Problem::not_yet(asked.wait));
    }
    tokio::time::sleep(left.min(PAUSE)).await;
    Ok(())
}
