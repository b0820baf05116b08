//! What `GET /v1/freshness` says of each part.

use crate::sources::Server;
use eaves_freshness::{Lag, Tier};
use eaves_model::Timestamp;
use eaves_store::read::{LagPoint, Snapshot, SourceStatus};
use serde::Serialize;
use utoipa::ToSchema;

/// How far every part is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FreshnessAnswer {
    /// When this was measured.
    #[schema(value_type = String, format = DateTime)]
    pub(super) checked_at: Timestamp,
    /// The database that is written.
    pub(super) primary: PrimaryState,
    /// The freshest of its streaming replicas; null if there is none.
    pub(super) replica: Option<ReplicaState>,
    /// All of them.
    pub(super) replicas: Vec<ReplicaState>,
    /// Consumers of logical decoding; null with the primary away.
    pub(super) slots: Option<Vec<SlotState>>,
    /// Values that are acknowledged but not in history yet; null with the primary away.
    pub(super) staging: Option<StagingState>,
    /// What moves them there; null with all databases away.
    pub(super) flush: Option<FlushState>,
    /// The cache; null if there is none.
    pub(super) cache: Option<CacheState>,
}

/// The primary.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PrimaryState {
    /// Whether it answered.
    pub(super) available: bool,
    /// Seconds since the last heartbeat was written; null if it did not answer.
    pub(super) heartbeat_age_seconds: Option<f64>,
    /// Whether values that were acknowledged before a crash are still being read again from the stream:
    /// until then strong reads are refused. Null if it did not answer.
    pub(super) recovering: Option<bool>,
    /// Heartbeats written so far.
    pub(super) heartbeats: Option<i64>,
    /// Its position in the WAL.
    #[schema(example = "0/3000148")]
    pub(super) position: Option<String>,
    /// Replicas as it sees them; empty if it did not answer or cannot tell (Aurora).
    pub(super) followers: Vec<FollowerState>,
    /// `closed` (reads go through), `open` (they do not) or `half-open` (one tries).
    #[schema(example = "closed")]
    pub(super) breaker: &'static str,
    /// How long the answer took.
    pub(super) response_ms: f64,
}

/// A replica as the primary sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FollowerState {
    /// What it calls itself.
    pub(super) name: String,
    /// `streaming`, `catchup`, …
    #[schema(example = "streaming")]
    pub(super) state: String,
    /// Seconds from writing to replaying there, when last reported.
    pub(super) lag_seconds: Option<f64>,
    /// Bytes of WAL that it has not replayed.
    pub(super) lag_bytes: Option<i64>,
}

/// A replica.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplicaState {
    /// By its place among the settings.
    #[schema(example = "replica-1")]
    pub(super) name: String,
    /// Whether it answered.
    pub(super) available: bool,
    /// `replaying`, `paused`, or `heartbeat` where its position cannot be had; null if it did not
    /// answer.
    pub(super) state: Option<String>,
    /// At most so far behind what was acknowledged, in seconds, by the heartbeat it has.
    pub(super) lag_seconds: Option<f64>,
    /// The tier of the lag.
    pub(super) tier: &'static str,
    /// The tier's mark: 🟢, 🟡, 🟠 or 🔴.
    pub(super) indicator: &'static str,
    /// Bytes of WAL that it has received and not replayed.
    pub(super) lag_bytes: Option<i64>,
    /// Up to where it has replayed the WAL.
    pub(super) position: Option<String>,
    /// `closed`, `open` or `half-open`.
    #[schema(example = "closed")]
    pub(super) breaker: &'static str,
    /// How long the answer took.
    pub(super) response_ms: f64,
}

/// A consumer of logical decoding.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SlotState {
    /// The slot.
    pub(super) name: String,
    /// `active` while somebody reads it, else `inactive`.
    #[schema(example = "active")]
    pub(super) state: String,
    /// Nothing that was committed longer ago than that waits for its consumer to confirm it; null if
    /// it is behind all that is remembered (a week), or was just made.
    pub(super) lag_seconds: Option<f64>,
    /// Bytes of WAL that its consumer has not confirmed.
    pub(super) lag_bytes: Option<i64>,
}

/// Staging.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StagingState {
    /// Values not in history yet.
    pub(super) backlog_rows: i64,
    /// Age of the oldest of them.
    pub(super) oldest_seconds: f64,
}

/// The flush.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FlushState {
    /// History lacks at most what was committed in the last so many seconds.
    pub(super) lag_seconds: f64,
    /// When the last flush began.
    pub(super) last_at: Option<String>,
    /// Rows it moved.
    pub(super) last_rows: i64,
    /// How long it took.
    pub(super) last_ms: f64,
}

/// The cache.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CacheState {
    /// Whether it answered.
    pub(super) reachable: bool,
    /// Age by now of the entry that this instance last answered from; null before the first.
    pub(super) last_entry_age_seconds: Option<f64>,
    /// How long the answer took.
    pub(super) response_ms: f64,
}

/// What a server said, and how long that took in milliseconds.
pub(super) type Said = (Option<Snapshot<SourceStatus>>, f64);

impl PrimaryState {
    pub(super) fn of(server: &Server, (status, response_ms): &Said) -> Self {
        let heartbeat = status.as_ref().and_then(|s| s.value.of("heartbeat").next());
        let followers = status.iter().flat_map(|s| s.value.of("replica"));
        Self {
            available: status.is_some(),
            heartbeat_age_seconds: heartbeat.and_then(|h| h.lag_seconds),
            recovering: status.as_ref().map(|s| s.recovering),
            heartbeats: heartbeat.and_then(|h| h.lag_rows),
            position: heartbeat.and_then(|h| h.position.clone()),
            followers: followers.map(FollowerState::of).collect(),
            breaker: server.breaker(),
            response_ms: *response_ms,
        }
    }
}

impl FollowerState {
    fn of(point: &LagPoint) -> Self {
        let (name, state) = (point.name.clone(), point.state.clone());
        Self { name, state, lag_seconds: point.lag_seconds, lag_bytes: point.lag_bytes }
    }
}

impl ReplicaState {
    pub(super) fn of(place: usize, server: &Server, (status, response_ms): &Said) -> Self {
        let lag = status.as_ref().map_or(Lag::Unknown, |s| Lag::AtMost(s.hot_age));
        // After a promotion it is a primary, which has no position to replay up to.
        let point = status.as_ref().filter(|s| s.value.is_replica).and_then(|s| s.value.of("replica").next());
        Self {
            name: format!("replica-{}", place + 1),
            available: status.is_some(),
            state: status.as_ref().map(|_| point.map_or("heartbeat", |p| p.state.as_str()).to_owned()),
            lag_seconds: lag.seconds(),
            tier: Tier::of(lag).name(),
            indicator: Tier::of(lag).emoji(),
            lag_bytes: point.and_then(|p| p.lag_bytes),
            position: point.and_then(|p| p.position.clone()),
            breaker: server.breaker(),
            response_ms: *response_ms,
        }
    }
}

impl SlotState {
    pub(super) fn of(point: &LagPoint) -> Self {
        let (name, state) = (point.name.clone(), point.state.clone());
        Self { name, state, lag_seconds: point.lag_seconds, lag_bytes: point.lag_bytes }
    }
}

impl FlushState {
    pub(super) fn of(status: &Snapshot<SourceStatus>) -> Self {
        let pipeline = &status.value.pipeline;
        Self {
            lag_seconds: status.history_age.as_secs_f64(),
            last_at: pipeline.last_flush_at.clone(),
            last_rows: pipeline.last_flush_rows,
            last_ms: pipeline.last_flush_ms,
        }
    }
}
