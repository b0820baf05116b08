//! Where a shard is: its checkpoint, and what is to be read again.
//!
//! [`eaves_model::delivery`] says what each of these steps does to a checkpoint.

use super::commit::{self, sub};
use super::{Checkpoint, IngestStore};
use crate::StoreError;
use crate::db::Parameter;
use eaves_model::Position;
use eaves_model::delivery::Gap;
use std::time::Duration;
use tokio_postgres::types::Type;

/// A shard and the consumer that reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShardPlace {
    /// The stream's name.
    pub stream: String,
    /// The shard's identifier.
    pub shard: String,
    /// The consumer: each has checkpoints of its own.
    pub consumer: String,
}

/// How sure it is that records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossKind {
    /// They were in staging when a crash emptied it.
    Certain,
    /// The platform was away for longer than the stream keeps records.
    Possible,
}

/// Records that the stream no longer kept when they were needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss<'a> {
    /// Between which records.
    pub gap: &'a Gap,
    /// How sure.
    pub kind: LossKind,
    /// In words, for the operator.
    pub reason: &'a str,
}

impl ShardPlace {
    fn parameters(&self) -> [Parameter<'_>; 3] {
        [(&self.stream, Type::TEXT), (&self.shard, Type::TEXT), (&self.consumer, Type::TEXT)]
    }
}

impl IngestStore {
    /// How far a shard is.
    pub async fn checkpoint(&mut self, place: &ShardPlace) -> Result<Checkpoint, StoreError> {
        let sql = format!("select b.* from {}", commit::BEGIN);
        let row = self.db.query_one("reading a checkpoint", &sql, &place.parameters()).await?;
        commit::checkpoint(&row)
    }

    /// Notes where a shard begins that was not seen before; what lies between that and
    /// `until` is to be read first ([`Checkpoint::begun`]).
    pub async fn begun(
        &mut self,
        place: &ShardPlace,
        begin: &Position,
        until: &Position,
    ) -> Result<(), StoreError> {
        let (begin, sequence, sub) = (begin.sequence(), until.sequence(), sub(until));
        let [stream, shard, consumer] = place.parameters();
        let parameters: &[Parameter<'_>] =
            &[stream, shard, consumer, (&begin, Type::TEXT), (&sequence, Type::TEXT), (&sub, Type::INT8)];
        let sql = "select ingest_begun($1, $2, $3, $4, $5, $6)";
        self.db.query_one("noting where a shard begins", sql, parameters).await.map(drop)
    }

    /// After staging was lost: sets the shard back to what is in history
    /// ([`Checkpoint::rewound`]). `until` is the last record that is known to have been
    /// acknowledged, or [`Position::end`] where nobody knows.
    pub async fn rewind(&mut self, place: &ShardPlace, until: Option<&Position>) -> Result<(), StoreError> {
        let (sequence, sub) = (until.map(Position::sequence), until.map(sub));
        let [stream, shard, consumer] = place.parameters();
        let parameters: &[Parameter<'_>] =
            &[stream, shard, consumer, (&sequence, Type::TEXT), (&sub, Type::INT8)];
        let sql = "select ingest_rewind($1, $2, $3, $4, $5)";
        self.db.query_one("rewinding a checkpoint", sql, parameters).await.map(drop)
    }

    /// Notes that nothing is left to be read again, if the shard is still at `position`.
    pub async fn end_replay(
        &mut self,
        place: &ShardPlace,
        position: Option<&Position>,
    ) -> Result<(), StoreError> {
        let (sequence, sub) = (position.map(Position::sequence), position.map(sub));
        let [stream, shard, consumer] = place.parameters();
        let parameters: &[Parameter<'_>] =
            &[stream, shard, consumer, (&sequence, Type::TEXT), (&sub, Type::INT8)];
        let sql = "select ingest_end_replay($1, $2, $3, $4, $5)";
        self.db.query_one("ending a replay", sql, parameters).await.map(drop)
    }

    /// Shards with something to be read again at which nobody has been for `idle`: those
    /// whose staging was lost, and what an operator asked for.
    pub async fn stale_shards(&mut self, idle: Duration) -> Result<Vec<ShardPlace>, StoreError> {
        let idle = idle.as_secs_f64();
        let sql = "select stream, shard, consumer from stale_shards(make_interval(secs => $1))";
        let rows = self.db.query("looking for lost staging", sql, &[(&idle, Type::FLOAT8)]).await?;
        let place =
            |r: &tokio_postgres::Row| ShardPlace { stream: r.get(0), shard: r.get(1), consumer: r.get(2) };
        Ok(rows.iter().map(place).collect())
    }

    /// Notes records that are missing for good. Returns whether that was not known yet.
    pub async fn note_loss(&mut self, place: &ShardPlace, loss: &Loss<'_>) -> Result<bool, StoreError> {
        let after = loss.gap.after.as_ref().map(Position::sequence);
        let before = loss.gap.before.as_ref().map(Position::sequence);
        let kind = match loss.kind {
            LossKind::Certain => "certain",
            LossKind::Possible => "possible",
        };
        let [stream, shard, consumer] = place.parameters();
        let parameters: &[Parameter<'_>] = &[
            stream,
            shard,
            consumer,
            (&after, Type::TEXT),
            (&before, Type::TEXT),
            (&kind, Type::TEXT),
            (&loss.reason, Type::TEXT),
        ];
        let sql = "select loss_note($1, $2, $3, $4, $5, $6, $7)";
        Ok(self.db.query_one("noting a loss", sql, parameters).await?.get(0))
    }

    /// The longest time since the shard last moved in which the platform gave no sign of life.
    pub async fn longest_outage(&mut self, place: &ShardPlace) -> Result<Duration, StoreError> {
        let sql = "select coalesce(longest_outage($1, $2, $3), 0)";
        let row = self.db.query_one("looking for outages", sql, &place.parameters()).await?;
        // A clock that was set back is no outage.
        Ok(Duration::try_from_secs_f64(row.get(0)).unwrap_or_default())
    }
}
