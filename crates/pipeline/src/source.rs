//! Reading a shard again: what recovery after lost staging needs of the stream.

use crate::ingest::Record;
use eaves_model::Position;
use std::future::Future;

/// A stream that can be read again from a position.
pub trait Reread: Send + Sync {
    /// Records of `shard` after `after` (from the oldest kept if `None`), in order and
    /// at most `limit` of them. An empty answer means that there are no more.
    fn after(
        &self,
        stream: &str,
        shard: &str,
        after: Option<&Position>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, RereadError>> + Send;
}

/// The stream could not be read again; the batch is handed back and tried later.
#[derive(Debug, thiserror::Error)]
#[error("read shard {shard} again")]
pub struct RereadError {
    /// The shard.
    pub shard: String,
    /// What the stream said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
