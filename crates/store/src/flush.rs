//! The flush loop's and the maintain function's side of the database.

mod pace;

pub use pace::Pace;

use crate::StoreError;
use crate::admin::{HotCheck, HotStep, hot_check};
use crate::db::{Db, Parameter, connect};
use eaves_settings::Postgres;
use serde::Deserialize;
use std::time::Duration;
use tokio_postgres::types::Type;

/// Moves staged values to history and keeps the database in order. Logs in as
/// `eaves_flush`.
pub struct FlushStore {
    db: Db,
}

/// What is staged and how far the flush is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Backlog {
    /// Rows not in history yet.
    pub staged_rows: u64,
    /// Age of the oldest of them.
    pub oldest_staged_seconds: f64,
    /// Losses of stream records that no operator has acknowledged.
    #[serde(default)]
    pub losses: i64,
}

/// One part of giving a tenant's rows the names whose ranges are indexed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RangeStep {
    /// Whose.
    pub tenant: i32,
    /// Entities that were looked at.
    pub entities: u64,
    /// Rows that did not have the names yet.
    pub rows: u64,
    /// That was the last part: searches use the index from here on.
    pub done: bool,
}

impl FlushStore {
    /// Connects.
    pub async fn connect(settings: &Postgres) -> Result<Self, StoreError> {
        Ok(Self { db: connect(settings).await? })
    }

    /// Connects when it is first used.
    pub fn new(settings: &Postgres) -> Self {
        Self { db: Db::new(settings) }
    }

    /// Moves what is staged, whole leaves until `enough` rows have been moved. Returns how
    /// many were; `None` if another flush is at work.
    pub async fn stage_flush(&self, enough: u32) -> Result<Option<u64>, StoreError> {
        let enough = i32::try_from(enough).unwrap_or(i32::MAX);
        let row = self.db.query_one("flushing", "select stage_flush($1)", &[(&enough, Type::INT4)]).await?;
        Ok(row.get::<_, Option<i64>>(0).map(i64::unsigned_abs))
    }

    /// Writes the heartbeat by which replicas know their lag.
    pub async fn heartbeat(&self) -> Result<(), StoreError> {
        self.db.query_one("the heartbeat", "select heartbeat()", &[]).await.map(drop)
    }

    /// Takes what was counted of attributes into their statistics. Returns how many rows that
    /// were; 0 also if another is at it.
    pub async fn fold_statistics(&self) -> Result<u64, StoreError> {
        let row = self.db.query_one("folding statistics", "select statistics_fold()", &[]).await?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    /// One part, so many entities, of the oldest change of what is hot that was asked for at
    /// least `settle` ago; the platform's own time if that is `None`. `None` if nothing is due.
    pub async fn hot_step(
        &self,
        entities: u32,
        settle: Option<Duration>,
    ) -> Result<Option<HotStep>, StoreError> {
        let entities = i32::try_from(entities).unwrap_or(i32::MAX);
        let settle = settle.map(|s| s.as_secs_f64());
        let sql = "select case when $2::float8 is null then hot_advance($1) \
                   else hot_advance($1, make_interval(secs => $2)) end";
        let parameters: &[Parameter<'_>] = &[(&entities, Type::INT4), (&settle, Type::FLOAT8)];
        let row = self.db.query_one("changing what is hot", sql, parameters).await?;
        let step: Option<&str> = row.get(0);
        step.map(serde_json::from_str).transpose().map_err(|_| StoreError::Unreadable("a step of a change"))
    }

    /// Chooses for all tenants which hot attributes have an index of their ranges: those that searches ask for
    /// by most in a way that it answers. Returns how many tenants' choice changed.
    pub async fn choose_ranges(&self) -> Result<u32, StoreError> {
        let row = self.db.query_one("choosing ranges", "select hot_ranges_choose()", &[]).await?;
        Ok(row.get::<_, i32>(0).unsigned_abs())
    }

    /// One part, so many entities, of the oldest choice that was made at least `settle` ago and is not in
    /// all rows yet; the platform's own time if that is `None`. `None` if nothing is due.
    pub async fn range_step(
        &self,
        entities: u32,
        settle: Option<Duration>,
    ) -> Result<Option<RangeStep>, StoreError> {
        let entities = i32::try_from(entities).unwrap_or(i32::MAX);
        let settle = settle.map(|s| s.as_secs_f64());
        let sql = "select case when $2::float8 is null then hot_ranges_step($1) \
                   else hot_ranges_step($1, make_interval(secs => $2)) end::text";
        let parameters: &[Parameter<'_>] = &[(&entities, Type::INT4), (&settle, Type::FLOAT8)];
        let row = self.db.query_one("indexing ranges", sql, parameters).await?;
        let step: Option<&str> = row.get(0);
        step.map(serde_json::from_str).transpose().map_err(|_| StoreError::Unreadable("a step of ranges"))
    }

    /// Compares so many entities of a tenant chosen at random with history, and repairs what
    /// differs.
    pub async fn verify_hot_some(&self, entities: u32) -> Result<HotCheck, StoreError> {
        let entities = i32::try_from(entities).unwrap_or(i32::MAX);
        let sql = "select hot_verify_some(null, $1, true)::text";
        hot_check(&self.db, sql, &[(&entities, Type::INT4)]).await
    }

    /// What is left to flush.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        let sql = "select pipeline_status()::text, unacknowledged_losses()";
        let row = self.db.query_one("reading the backlog", sql, &[]).await?;
        let backlog = serde_json::from_str(row.get(0));
        let backlog = backlog.map_err(|_| StoreError::Unreadable("the pipeline's status"))?;
        Ok(Backlog { losses: row.get(1), ..backlog })
    }

    /// Adds the partitions of the coming months. Returns how many there are now.
    pub async fn maintain_partitions(&self) -> Result<u32, StoreError> {
        let row = self.db.query_one("partition maintenance", "select maintain_partitions()", &[]).await?;
        Ok(row.get::<_, i32>(0).unsigned_abs())
    }

    /// Forgets figures of plugins and rows of quarantine that are older than so many days, at
    /// most `most` of each. Returns how many of each: fewer than `most` were all.
    pub async fn forget_old(
        &self,
        metrics_days: u16,
        quarantine_days: u16,
        most: u32,
    ) -> Result<(u64, u64), StoreError> {
        let days =
            (i32::from(metrics_days), i32::from(quarantine_days), i32::try_from(most).unwrap_or(i32::MAX));
        let sql = "select metrics, quarantined from forget_old($1, $2, $3)";
        let parameters: [Parameter<'_>; 3] =
            [(&days.0, Type::INT4), (&days.1, Type::INT4), (&days.2, Type::INT4)];
        let row = self.db.query_one("forgetting what is old", sql, &parameters).await?;
        Ok((row.get::<_, i64>(0).unsigned_abs(), row.get::<_, i64>(1).unsigned_abs()))
    }

    /// Computes `mv_entity_attribute_stats` anew; readers go on meanwhile.
    pub async fn refresh_statistics(&self) -> Result<(), StoreError> {
        self.db.query_one("refreshing statistics", "select refresh_statistics()", &[]).await.map(drop)
    }
}
