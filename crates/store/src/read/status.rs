//! How far the server and the flush are.

use super::{ReadError, Reader, Snapshot, Statement};
use serde::Deserialize;

const STATUS: &str = "select pg_is_in_recovery(), pipeline_status()::text";

/// How a server is.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceStatus {
    /// It follows another server.
    pub is_replica: bool,
    /// What it knows of staging and flush.
    pub pipeline: PipelineStatus,
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
            let row =
                results.iter().flatten().next().ok_or(ReadError::Unreadable("the pipeline's status"))?;
            let pipeline: &str = row.try_get(1)?;
            let pipeline =
                serde_json::from_str(pipeline).map_err(|_| ReadError::Unreadable("the pipeline's status"))?;
            Ok(SourceStatus { is_replica: row.try_get(0)?, pipeline })
        })
    }
}
