//! How far the server and the flush are.

use super::{ReadError, Reader, Snapshot, Statement};
use serde::Deserialize;

const STATUS: &str = "select pg_is_in_recovery(), pipeline_status()::text, \
     (select coalesce(jsonb_agg(to_jsonb(p)), '[]')::text from lag_points() p)";

/// How a server is.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceStatus {
    /// It follows another server.
    pub is_replica: bool,
    /// What it knows of staging and flush.
    pub pipeline: PipelineStatus,
    /// Lag at each point that it can see (`lag_points()`).
    pub points: Vec<LagPoint>,
}

impl SourceStatus {
    /// The points of a kind.
    pub fn of<'a>(&'a self, point: &'a str) -> impl Iterator<Item = &'a LagPoint> {
        self.points.iter().filter(move |p| p.point == point)
    }
}

/// Lag at one point between a write and its readers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LagPoint {
    /// `heartbeat`, `slot`, `replica`, `staging` or `flush`.
    pub point: String,
    /// Of a replica or slot; else empty.
    pub name: String,
    /// In the words of the point.
    pub state: String,
    /// Seconds; `None` if it is not measured in them, or unknown.
    pub lag_seconds: Option<f64>,
    /// Bytes of WAL likewise.
    pub lag_bytes: Option<i64>,
    /// Rows that wait (staging), that the last flush moved (flush), heartbeats so far (heartbeat).
    pub lag_rows: Option<i64>,
    /// Position in the WAL.
    pub position: Option<String>,
}

/// What is staged, and how far the flush is (`pipeline_status()`). On a replica, where
/// staging does not exist, only the last flush.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PipelineStatus {
    /// When the last flush began.
    pub last_flush_at: Option<String>,
    /// Rows it moved.
    pub last_flush_rows: i64,
    /// How long it took.
    pub last_flush_ms: f64,
    /// Rows not in history yet.
    pub staged_rows: Option<i64>,
    /// Age of the oldest of them.
    pub oldest_staged_seconds: Option<f64>,
}

impl Reader {
    /// How the server is.
    pub async fn status(&self) -> Result<Snapshot<SourceStatus>, ReadError> {
        let done = self.unit(None, &[Statement { sql: STATUS, parameters: &[] }]).await?;
        done.try_map(|results| {
            const UNREADABLE: ReadError = ReadError::Unreadable("the pipeline's status");
            let row = results.iter().flatten().next().ok_or(UNREADABLE)?;
            let pipeline: &str = row.try_get(1)?;
            let points: &str = row.try_get(2)?;
            Ok(SourceStatus {
                is_replica: row.try_get(0)?,
                pipeline: serde_json::from_str(pipeline).map_err(|_| UNREADABLE)?,
                points: serde_json::from_str(points).map_err(|_| UNREADABLE)?,
            })
        })
    }
}
