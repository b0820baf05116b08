//! Reading a shard again: what recovery after lost staging needs of the stream.

use crate::ingest::Record;
use eaves_model::{Position, Timestamp, limits};
use std::future::Future;
use std::time::Duration;

/// What a shard holds behind a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whether the stream still keeps the record at the position. If it does, nothing
    /// behind it is gone: a stream forgets the oldest first. True where none was asked for.
    pub kept: bool,
    /// Records behind the position, in order; the record at it as well if the position is
    /// inside it. Empty: there are no more.
    pub records: Vec<Record>,
}

/// A stream that can be read again from a position.
pub trait Reread: Send + Sync {
    /// At most `limit` records of `shard` behind `after` (from the oldest kept if `None`).
    /// An unknown shard or stream holds nothing.
    fn read(
        &self,
        stream: &str,
        shard: &str,
        after: Option<&Position>,
        limit: usize,
    ) -> impl Future<Output = Result<Found, RereadError>> + Send;

    /// How long the stream keeps records.
    fn retention(&self, stream: &str) -> impl Future<Output = Result<Duration, RereadError>> + Send;
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

/// A record's arrival in the stream from seconds since 1970, which is what the event and
/// a record read again agree on; the event's own fraction is read wrongly by its crate.
pub fn arrival(seconds: i64) -> Option<Timestamp> {
    let time = Timestamp::from_micros(seconds.checked_mul(1_000_000)?)?;
    // A stream that does not say, says 1970.
    (time.as_micros() >= limits::EARLIEST_OBSERVED_MICROS).then_some(time)
}
