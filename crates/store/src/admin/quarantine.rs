//! Everybody's quarantine, for an operator.

use super::AdminStore;
use crate::StoreError;
use crate::quarantine::{self, Bound, Claimed, Filter, Item};
use tokio_postgres::types::Type;

const LIST: &str = "listing the quarantine";

impl AdminStore {
    /// Rows of all tenants and of none, at most `limit` of them.
    pub async fn quarantine_list(&self, filter: &Filter, limit: u32) -> Result<Vec<Item>, StoreError> {
        let bound = Bound::new(filter);
        let mut parameters = bound.parameters();
        let limit = i64::from(limit);
        parameters.extend([(&filter.after as _, Type::INT8), (&limit as _, Type::INT8)]);
        let rows = self.db.query(LIST, &quarantine::list_sql(filter.oldest_first), &parameters).await?;
        rows.iter().map(|row| quarantine::item(row).map_err(StoreError::of(LIST))).collect()
    }

    /// How many rows the filter finds, and pieces in them.
    pub async fn quarantine_count(&self, filter: &Filter) -> Result<(u64, u64), StoreError> {
        let bound = Bound::new(filter);
        let row = self.db.query_one(LIST, &quarantine::count_sql(), &bound.parameters()).await?;
        Ok((row.get::<_, i64>(0).unsigned_abs(), row.get::<_, i64>(1).unsigned_abs()))
    }

    /// One row with its payload.
    pub async fn quarantine_get(&self, id: i64) -> Result<Option<(Item, Option<Vec<u8>>)>, StoreError> {
        let rows = self.db.query(LIST, &quarantine::one_sql(), &[(&id, Type::INT8)]).await?;
        rows.first().map(quarantine::full).transpose().map_err(StoreError::of(LIST))
    }

    /// Marks those of the rows that are not settled as under way, and hands them out to be
    /// sent. Asking twice is safe: whichever record of a row is taken first has its effect.
    pub async fn quarantine_claim(&self, ids: &[i64], by: &str) -> Result<Vec<Claimed>, StoreError> {
        let sql = "select quarantine_id, token, payload from quarantine_redrive_any($1, $2) order by 1";
        let rows = self
            .db
            .query("taking rows out of quarantine", sql, &[(&ids, Type::INT8_ARRAY), (&by, Type::TEXT)])
            .await?;
        let unreadable = || StoreError::Unreadable("a quarantine row");
        rows.iter().map(|row| quarantine::claimed(row).ok_or_else(unreadable)).collect()
    }

    /// Gives up those of the rows that are not settled; their payload is removed. Returns
    /// which.
    pub async fn quarantine_drop(&self, ids: &[i64], by: &str, why: &str) -> Result<Vec<i64>, StoreError> {
        let sql = "select quarantine_drop_any($1, $2, $3)";
        let parameters: [crate::db::Parameter<'_>; 3] =
            [(&ids, Type::INT8_ARRAY), (&by, Type::TEXT), (&why, Type::TEXT)];
        let rows = self.db.query("dropping quarantine rows", sql, &parameters).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
