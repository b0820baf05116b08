//! A tenant's own quarantine. The tenant is the unit's setting, and the row policy and the
//! functions of `V24__quarantine_states.sql` take it from there and from nowhere else.

use super::{ReadError, Reader, Statement};
use crate::quarantine::{self, Bound, Claimed, Filter, Item};
use eaves_model::TenantId;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

impl Reader {
    /// The tenant's rows, at most `limit` of them. Ask the primary: a row that was just
    /// changed is to be seen changed.
    pub async fn quarantine_list(
        &self,
        tenant: TenantId,
        filter: &Filter,
        limit: u32,
    ) -> Result<Vec<Item>, ReadError> {
        let bound = Bound::new(filter);
        let mut parameters = bound.parameters();
        let limit = i64::from(limit);
        parameters.extend([(&filter.after as _, Type::INT8), (&limit as _, Type::INT8)]);
        let sql = quarantine::list_sql(filter.oldest_first);
        let rows = self.one_statement(tenant, &sql, &parameters).await?;
        rows.iter().map(|row| Ok(quarantine::item(row)?)).collect()
    }

    /// How many rows the filter finds, and pieces in them.
    pub async fn quarantine_count(&self, tenant: TenantId, filter: &Filter) -> Result<(u64, u64), ReadError> {
        let bound = Bound::new(filter);
        let rows = self.one_statement(tenant, &quarantine::count_sql(), &bound.parameters()).await?;
        let row = rows.first().ok_or(ReadError::Unreadable("a count"))?;
        Ok((row.try_get::<_, i64>(0)?.unsigned_abs(), row.try_get::<_, i64>(1)?.unsigned_abs()))
    }

    /// One row with its payload, if it is the tenant's.
    pub async fn quarantine_get(
        &self,
        tenant: TenantId,
        id: i64,
    ) -> Result<Option<(Item, Option<Vec<u8>>)>, ReadError> {
        let rows = self.one_statement(tenant, &quarantine::one_sql(), &[(&id, Type::INT8)]).await?;
        Ok(rows.first().map(quarantine::full).transpose()?)
    }

    /// Marks those of the rows that are the tenant's and not settled as under way, and hands
    /// them out to be sent. Asking twice is safe: whichever record of a row is taken first
    /// has its effect, the others have none.
    pub async fn quarantine_claim(
        &self,
        tenant: TenantId,
        ids: &[i64],
        by: &str,
    ) -> Result<Vec<Claimed>, ReadError> {
        let sql = "select quarantine_id, token, payload from quarantine_redrive($1, $2) order by 1";
        let parameters: [super::Parameter<'_>; 2] = [(&ids, Type::INT8_ARRAY), (&by, Type::TEXT)];
        let done = self.write(tenant, &[Statement { sql, parameters: &parameters }]).await?;
        let rows = done.iter().flatten();
        rows.map(|row| quarantine::claimed(row).ok_or(ReadError::Unreadable("a quarantine row"))).collect()
    }

    /// Gives up those of the rows that are the tenant's and not settled; their payload is
    /// removed. Returns which.
    pub async fn quarantine_drop(
        &self,
        tenant: TenantId,
        ids: &[i64],
        by: &str,
        why: &str,
    ) -> Result<Vec<i64>, ReadError> {
        let sql = "select quarantine_drop($1, $2, $3)";
        let parameters: [super::Parameter<'_>; 3] =
            [(&ids, Type::INT8_ARRAY), (&by, Type::TEXT), (&why, Type::TEXT)];
        let done = self.write(tenant, &[Statement { sql, parameters: &parameters }]).await?;
        done.iter().flatten().map(|row| Ok(row.try_get(0)?)).collect()
    }

    pub(super) async fn one_statement(
        &self,
        tenant: TenantId,
        sql: &str,
        parameters: &[super::Parameter<'_>],
    ) -> Result<Vec<Row>, ReadError> {
        let done = self.unit(Some(tenant), &[Statement { sql, parameters }]).await?;
        Ok(done.value.into_iter().flatten().collect())
    }
}
