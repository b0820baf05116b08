//! The hot projection against the fold of history (`V43__hot_verify.sql`).

use super::AdminStore;
use crate::StoreError;
use crate::db::{Db, Parameter};
use crate::micros::Micros;
use eaves_model::{EntityId, TenantId, Timestamp};
use serde::Deserialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct HotCheck {
    /// Entities that were looked at.
    pub entities: u64,
    /// Their hot values, in the projection or in history.
    pub values: u64,
    /// The last of these entities; `None` if there was none left.
    pub last: Option<i64>,
    /// Entities whose row was repaired.
    pub repaired: u64,
    /// Differences.
    pub found: u64,
    /// The first hundred of them.
    pub differences: Vec<HotDifference>,
}

/// A hot value that is not the latest of history.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct HotDifference {
    /// The tenant's own name for the entity.
    pub entity: String,
    /// The attribute.
    pub attribute: String,
    /// `missing`, `stale`, `value` or `ahead`.
    pub kind: String,
    /// The value in the projection.
    pub projected: serde_json::Value,
    /// Its time, in microseconds since 1970.
    pub projected_at: Option<i64>,
    /// The latest value of history.
    pub folded: serde_json::Value,
    /// Its time, likewise.
    pub folded_at: Option<i64>,
}

/// Runs a statement that answers with a comparison as text.
pub(crate) async fn check(db: &Db, sql: &str, parameters: &[Parameter<'_>]) -> Result<HotCheck, StoreError> {
    let row = db.query_one("comparing hot values with history", sql, parameters).await?;
    serde_json::from_str(row.get(0)).map_err(|_| StoreError::Unreadable("a comparison of hot values"))
}

/// A change of an attribute, and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct HotChange {
    /// The attribute.
    pub attribute: String,
    /// `promote` or `demote`.
    pub change: String,
    /// `waiting`, `running`, `done` or `cancelled`.
    pub state: String,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// By whom.
    pub requested_by: String,
    /// Why.
    pub reason: String,
    /// Entities that are through.
    pub entities: u64,
    /// Entities that there were when it began.
    pub of_entities: Option<u64>,
    /// Rows that it changed.
    pub rows: u64,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it was through, or given up.
    pub ended_at: Option<Timestamp>,
}

/// One part of a change.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct HotStep {
    /// Whose.
    pub tenant: i32,
    /// The attribute.
    pub attribute: String,
    /// `promote` or `demote`.
    pub change: String,
    /// Entities that were looked at.
    pub entities: u64,
    /// Rows that were changed.
    pub rows: u64,
    /// That was the last part.
    pub done: bool,
}

impl AdminStore {
    /// Makes an attribute hot, or ends that: the maintain function does it part by part. Answers
    /// with what it is now: `hot`, `filling` or `cold`; `None` if there is no such attribute.
    pub async fn hot_request(
        &self,
        tenant: TenantId,
        attribute: &str,
        hot: bool,
        (by, reason): (&str, &str),
    ) -> Result<Option<String>, StoreError> {
        let parameters: &[Parameter<'_>] = &[
            (&tenant.0, Type::INT4),
            (&attribute, Type::TEXT),
            (&hot, Type::BOOL),
            (&by, Type::TEXT),
            (&reason, Type::TEXT),
        ];
        let sql = "select hot_request($1, $2, $3, $4, $5)";
        Ok(self.db.query_one("changing what is hot", sql, parameters).await?.get(0))
    }

    /// A tenant's changes, those under way first, then the newest; at most 100.
    pub async fn hot_changes(&self, tenant: TenantId) -> Result<Vec<HotChange>, StoreError> {
        let sql = "select attribute_name, change, state, requested_at, requested_by, reason, entities, \
                   of_entities, rows_changed, started_at, finished_at from hot_changes_of($1)";
        let rows = self.db.query("listing changes", sql, &[(&tenant.0, Type::INT4)]).await?;
        let change = |r: &Row| HotChange {
            attribute: r.get(0),
            change: r.get(1),
            state: r.get(2),
            requested_at: r.get::<_, Micros>(3).0,
            requested_by: r.get(4),
            reason: r.get(5),
            entities: r.get::<_, i64>(6).unsigned_abs(),
            of_entities: r.get::<_, Option<i64>>(7).map(i64::unsigned_abs),
            rows: r.get::<_, i64>(8).unsigned_abs(),
            started_at: r.get::<_, Option<Micros>>(9).map(|m| m.0),
            ended_at: r.get::<_, Option<Micros>>(10).map(|m| m.0),
        };
        Ok(rows.iter().map(change).collect())
    }

    /// Compares some of a tenant's entities, those after `after`, with history, and repairs what
    /// differs if `repair` is set. At most 1,000 at once; a flush is slower meanwhile.
    pub async fn hot_verify(
        &self,
        tenant: TenantId,
        after: EntityId,
        entities: u32,
        repair: bool,
    ) -> Result<HotCheck, StoreError> {
        let entities = i32::try_from(entities).unwrap_or(i32::MAX);
        let parameters: &[Parameter<'_>] = &[
            (&tenant.0, Type::INT4),
            (&after.0, Type::INT8),
            (&entities, Type::INT4),
            (&repair, Type::BOOL),
        ];
        check(&self.db, "select hot_verify($1, $2, $3, $4)::text", parameters).await
    }

    /// The same for entities from a place chosen at random.
    pub async fn hot_verify_some(
        &self,
        tenant: TenantId,
        entities: u32,
        repair: bool,
    ) -> Result<HotCheck, StoreError> {
        let entities = i32::try_from(entities).unwrap_or(i32::MAX);
        let parameters: &[Parameter<'_>] =
            &[(&tenant.0, Type::INT4), (&entities, Type::INT4), (&repair, Type::BOOL)];
        check(&self.db, "select hot_verify_some($1, $2, $3)::text", parameters).await
    }
}
