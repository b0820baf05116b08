//! `GET /v1/freshness` and `GET /healthz`

mod parts;

pub(crate) use parts::FreshnessAnswer;

use crate::answer;
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::problem::Problem;
use crate::sources::Server;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use eaves_model::Timestamp;
use futures_util::future::join_all;
use parts::{CacheState, FlushState, PrimaryState, ReplicaState, Said, SlotState, StagingState};
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// How far the primary, the replicas, slots, staging, flush and cache are, measured now. Ages go on
/// while nothing is written.
#[utoipa::path(
    get, path = "/v1/freshness", tag = "freshness",
    security(("jwt" = ["query:read"])),
    responses(
        (status = 200, description = "How far every part is; a part that is away says so", body = FreshnessAnswer),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_freshness(
    State(context): State<Arc<Context>>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let sources = &context.sources;
    let (primary, replicas, cache) = tokio::join!(
        status(&sources.primary),
        join_all(sources.replicas.iter().map(|r| status(&r.server))),
        cache(&context),
    );
    let states = || {
        let all = sources.replicas.iter().zip(&replicas).enumerate();
        all.map(|(place, (replica, said))| ReplicaState::of(place, &replica.server, said))
    };
    let age = |r: &ReplicaState| r.lag_seconds.unwrap_or(f64::INFINITY);
    let any = primary.0.as_ref().or_else(|| replicas.iter().find_map(|(status, _)| status.as_ref()));
    let answer = FreshnessAnswer {
        checked_at: Timestamp::now(),
        primary: PrimaryState::of(&sources.primary, &primary),
        replica: states().min_by(|a, b| age(a).total_cmp(&age(b))),
        replicas: states().collect(),
        slots: primary.0.as_ref().map(|s| s.value.of("slot").map(SlotState::of).collect()),
        staging: primary.0.as_ref().map(|s| StagingState {
            backlog_rows: s.value.pipeline.staged_rows.unwrap_or(0),
            oldest_seconds: s.value.pipeline.oldest_staged_seconds.unwrap_or(0.0),
        }),
        flush: any.map(FlushState::of),
        cache,
    };
    Ok(answer::json(StatusCode::OK, &answer))
}

/// Asks even where the breaker would not: this is where one looks for what is wrong.
async fn status(server: &Server) -> Said {
    let began = Instant::now();
    let done = server.reader.status().await;
    server.note(&done);
    (done.ok(), millis(began.elapsed()))
}

async fn cache(context: &Context) -> Option<CacheState> {
    let cache = context.cache.as_ref()?;
    let began = Instant::now();
    let reachable = cache.ping().await.is_ok();
    let last_entry_age_seconds = context.sources.cache_age().map(|age| age.as_secs_f64());
    Some(CacheState { reachable, last_entry_age_seconds, response_ms: millis(began.elapsed()) })
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// That the function runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// The function's version.
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// Whether the function runs. Says nothing of databases: see `/v1/freshness`.
#[utoipa::path(
    get, path = "/healthz", tag = "freshness", security(()),
    responses((status = 200, description = "It runs", body = Health))
)]
pub(crate) async fn healthz() -> Response {
    answer::json(StatusCode::OK, &Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}
