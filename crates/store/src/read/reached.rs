//! Reads that must have certain records of the stream in what they read (`V55__positions_reached.sql`).

use super::{Parameter, ReadError, Reader, Snapshot, Statement};
use eaves_model::ConsistencyToken;
use std::sync::Arc;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

const REACHED: &str = "select ingested, flushed from positions_reached($1, $2, $3)";

tokio::task_local! {
    static AWAITED: Arc<Awaited>;
}

/// Records that are to be in what is read.
#[derive(Debug, PartialEq, Eq)]
pub struct Awaited {
    stream: String,
    shards: Vec<String>,
    sequences: Vec<String>,
}

impl Awaited {
    /// The records of a token.
    pub fn of(token: &ConsistencyToken, stream: &str) -> Self {
        let positions = token.positions();
        let (shards, sequences) =
            positions.map(|(shard, last)| (shard.to_owned(), last.sequence().to_owned())).unzip();
        Self { stream: stream.to_owned(), shards, sequences }
    }
}

/// Where the records are, as far as the server knows that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// In the hot projection, and on the primary in staging and history together.
    pub ingested: bool,
    /// In history alone.
    pub flushed: bool,
}

/// Does `work`, all reads of which tell whether they have the records ([`Snapshot::reached`]), each in its own
/// transaction: behind one address there may be several replicas, so an answer of one read says nothing
/// about another.
pub async fn awaiting<T>(awaited: Arc<Awaited>, work: impl Future<Output = T>) -> T {
    AWAITED.scope(awaited, work).await
}

/// The records that this task's reads must have.
pub(super) fn awaited() -> Option<Arc<Awaited>> {
    AWAITED.try_with(Arc::clone).ok()
}

impl Awaited {
    pub(super) fn parameters(&self) -> [Parameter<'_>; 3] {
        [(&self.stream, Type::TEXT), (&self.shards, Type::TEXT_ARRAY), (&self.sequences, Type::TEXT_ARRAY)]
    }

    pub(super) fn statement<'a>(parameters: &'a [Parameter<'a>]) -> Statement<'a> {
        Statement { sql: REACHED, parameters }
    }
}

pub(super) fn reached(rows: &[Row]) -> Result<Reached, ReadError> {
    let row = rows.first().ok_or(ReadError::Unreadable("where the stream's records are"))?;
    Ok(Reached { ingested: row.try_get(0)?, flushed: row.try_get(1)? })
}

impl Reader {
    /// Whether this server has the records, and nothing else.
    pub async fn reached(&self, awaited: Arc<Awaited>) -> Result<Snapshot<Reached>, ReadError> {
        let done = awaiting(awaited, self.ages()).await?;
        let reached = done.reached.ok_or(ReadError::Unreadable("where the stream's records are"))?;
        Ok(done.map(|()| reached))
    }
}
