//! What a tenant's queries may cost, as the operator sets it, and who read across tenants.

use super::AdminStore;
use crate::StoreError;
use crate::db::Parameter;
use crate::micros::Micros;
use eaves_model::{TenantId, Timestamp};
use tokio_postgres::types::Type;

/// What to change; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GuardChange {
    /// Days that a query of history covers where it names none.
    pub default_window_days: Option<u32>,
    /// Most days of a query of history. A longer default is cut to it.
    pub longest_window_days: Option<u32>,
    /// Requests a minute that read little; 0: no limit, `Some(None)`: the function's settings.
    pub reads: Option<Option<u64>>,
    /// Requests a minute that may read much, likewise.
    pub expensive: Option<Option<u64>>,
    /// Values a minute sent over HTTP, likewise.
    pub values: Option<Option<u64>>,
    /// Requests a day (UTC) that read little; 0: no quota, `Some(None)`: the function's settings.
    pub reads_per_day: Option<Option<u64>>,
    /// Requests a day that may read much, likewise.
    pub expensive_per_day: Option<Option<u64>>,
    /// Values a day sent over HTTP, likewise.
    pub values_per_day: Option<Option<u64>>,
}

/// A read across tenants, as it was noted before it was made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AdminRead {
    /// When.
    pub opened_at: Timestamp,
    /// The person.
    pub who: String,
    /// The database's role.
    pub role: String,
    /// `entities`, `attributes` or `advice`.
    pub what: String,
    /// Of which tenant; `None`: of all.
    pub tenant: Option<String>,
    /// Why.
    pub reason: String,
}

/// A rate or quota as the function takes it: -1 for the function's settings.
fn most(change: Option<Option<u64>>) -> Option<i64> {
    change.map(|most| most.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX)))
}

impl AdminStore {
    /// Changes what a tenant's queries may cost; `None` if there is no such tenant. Functions follow
    /// within ten seconds.
    pub async fn tenant_guards_set(
        &self,
        name: &str,
        change: GuardChange,
    ) -> Result<Option<TenantId>, StoreError> {
        let days = |n: Option<u32>| n.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
        let (default, longest) = (days(change.default_window_days), days(change.longest_window_days));
        let (reads, expensive, values) = (most(change.reads), most(change.expensive), most(change.values));
        let reads_per_day = most(change.reads_per_day);
        let expensive_per_day = most(change.expensive_per_day);
        let values_per_day = most(change.values_per_day);
        let parameters: &[Parameter<'_>] = &[
            (&name, Type::TEXT),
            (&default, Type::INT4),
            (&longest, Type::INT4),
            (&reads, Type::INT8),
            (&expensive, Type::INT8),
            (&values, Type::INT8),
            (&reads_per_day, Type::INT8),
            (&expensive_per_day, Type::INT8),
            (&values_per_day, Type::INT8),
        ];
        let sql = "select tenant_guards_set($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let row = self.db.query_one("changing a tenant's guards", sql, parameters).await?;
        Ok(row.get::<_, Option<i32>>(0).map(TenantId))
    }

    /// The latest reads across tenants, the newest first.
    pub async fn admin_reads(&self, limit: u32) -> Result<Vec<AdminRead>, StoreError> {
        let limit = i64::from(limit);
        let sql = "select r.opened_at, r.who, r.role_name, r.what, t.name, r.reason from admin_reads r \
                   left join tenants t on t.tenant_id = r.tenant_id order by r.opened_at desc limit $1";
        let rows = self.db.query("listing reads across tenants", sql, &[(&limit, Type::INT8)]).await?;
        let read = |r: &tokio_postgres::Row| AdminRead {
            opened_at: r.get::<_, Micros>(0).0,
            who: r.get(1),
            role: r.get(2),
            what: r.get(3),
            tenant: r.get(4),
            reason: r.get(5),
        };
        Ok(rows.iter().map(read).collect())
    }
}
