//! `GET /v1/freshness` and `GET /healthz`

use crate::answer;
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::problem::Problem;
use crate::sources::Server;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use eaves_freshness::{Lag, Tier};
use eaves_model::Timestamp;
use eaves_store::read::{Snapshot, SourceStatus};
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// How far every part is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FreshnessAnswer {
    /// When this was measured.
    #[schema(value_type = String, format = DateTime)]
    checked_at: Timestamp,
    /// The database that is written.
    primary: PrimaryState,
    /// Its streaming replica; null if there is none.
    replica: Option<ReplicaState>,
    /// Values that are acknowledged but not in history yet; null with the primary away.
    staging: Option<StagingState>,
    /// What moves them there; null with all databases away.
    flush: Option<FlushState>,
    /// The cache; null if there is none.
    cache: Option<CacheState>,
}

/// The primary.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PrimaryState {
    /// Whether it answered.
    available: bool,
    /// Seconds since the last heartbeat was written; null if it did not answer.
    heartbeat_age_seconds: Option<f64>,
    /// How long the answer took.
    response_ms: f64,
}

/// The replica.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplicaState {
    /// Whether it answered.
    available: bool,
    /// At most so far behind the primary, in seconds, by the heartbeat it has.
    lag_seconds: Option<f64>,
    /// The tier of the lag.
    tier: &'static str,
    /// How long the answer took.
    response_ms: f64,
}

/// Staging.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StagingState {
    /// Values not in history yet.
    backlog_rows: i64,
    /// Age of the oldest of them.
    oldest_seconds: f64,
}

/// The flush.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FlushState {
    /// History lacks at most what was committed in the last so many seconds.
    lag_seconds: f64,
    /// When the last flush began.
    last_at: Option<String>,
    /// Rows it moved.
    last_rows: i64,
    /// How long it took.
    last_ms: f64,
}

/// The cache.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CacheState {
    /// Whether it answered.
    reachable: bool,
    /// How long the answer took.
    response_ms: f64,
}

/// How far the primary, the replica, staging, flush and cache are, measured now.
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
    let ((primary, primary_ms), replica, cache) = tokio::join!(
        status(&context.sources.primary),
        async {
            match &context.sources.replica {
                Some(server) => Some(status(server).await),
                None => None,
            }
        },
        async {
            match &context.cache {
                Some(cache) => {
                    let began = Instant::now();
                    let reachable = cache.ping().await.is_ok();
                    Some(CacheState { reachable, response_ms: millis(began.elapsed()) })
                }
                None => None,
            }
        },
    );
    let replica_status = replica.as_ref().and_then(|(status, _)| status.as_ref());
    let flush = primary.as_ref().or(replica_status).map(|s| FlushState {
        lag_seconds: s.history_age.as_secs_f64(),
        last_at: s.value.pipeline.last_flush_at.clone(),
        last_rows: s.value.pipeline.last_flush_rows,
        last_ms: s.value.pipeline.last_flush_ms,
    });
    let staging = primary.as_ref().map(|s| StagingState {
        backlog_rows: s.value.pipeline.staged_rows.unwrap_or(0),
        oldest_seconds: s.value.pipeline.oldest_staged_seconds.unwrap_or(0.0),
    });
    let replica = replica.map(|(status, ms)| {
        let lag = status.as_ref().map_or(Lag::Unknown, |s| Lag::AtMost(s.beat_age));
        ReplicaState {
            available: status.is_some(),
            lag_seconds: lag.seconds(),
            tier: Tier::of(lag).name(),
            response_ms: ms,
        }
    });
    let primary = PrimaryState {
        available: primary.is_some(),
        heartbeat_age_seconds: primary.as_ref().map(|s| s.beat_age.as_secs_f64()),
        response_ms: primary_ms,
    };
    let answer = FreshnessAnswer { checked_at: Timestamp::now(), primary, replica, staging, flush, cache };
    Ok(answer::json(StatusCode::OK, &answer))
}

/// Asks even where the breaker would not: this is where one looks for what is wrong.
async fn status(server: &Server) -> (Option<Snapshot<SourceStatus>>, f64) {
    let began = Instant::now();
    let done = server.reader.status().await;
    server.note(&done);
    (done.ok(), millis(began.elapsed()))
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
