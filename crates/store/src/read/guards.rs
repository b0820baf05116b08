//! What a tenant's queries may cost (`V60__tenant_guards.sql`, `V93__tenant_quotas.sql`), and what a statement would.

use super::{Parameter, ReadError, Reader, Statement};
use eaves_model::TenantId;
use eaves_model::tenant::{TenantLimits, TenantQuotas, TenantRates};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

const GUARDS: &str = "select default_window_days, longest_window_days, reads_per_minute, expensive_per_minute, \
     values_per_minute, reads_per_day, expensive_per_day, values_per_day from tenants where tenant_id = $1";

/// A statement is asked for its plan, and not run.
pub(super) const EXPLAIN: &str = "explain (format json) ";

/// What a tenant's queries may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantGuards {
    /// Days that a query of history covers where it names none.
    pub default_window_days: u32,
    /// Most days of a query of history.
    pub longest_window_days: u32,
    /// The tenant's own rates and quotas.
    pub limits: TenantLimits,
}

impl Default for TenantGuards {
    fn default() -> Self {
        Self { default_window_days: 7, longest_window_days: 30, limits: TenantLimits::default() }
    }
}

/// What the planner expects of a statement.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// In the planner's units: reading a page in order is 1.
    pub total: f64,
    /// Most rows that a step of it handles.
    pub rows: f64,
}

impl Cost {
    /// Of the plan of a statement, as EXPLAIN gives it.
    fn of(plan: &Value) -> Option<Self> {
        let top = plan.get(0)?.get("Plan")?;
        Some(Self { total: top.get("Total Cost")?.as_f64()?, rows: most_rows(top) })
    }

    /// Of statements that run one after the other.
    pub(super) fn of_all(results: &[Vec<Row>]) -> Result<Self, ReadError> {
        let mut cost = Self::default();
        for row in results.iter().flatten() {
            let plan: Value = row.try_get(0)?;
            let one = Self::of(&plan).ok_or(ReadError::Unreadable("a plan"))?;
            cost.total += one.total;
            cost.rows = cost.rows.max(one.rows);
        }
        Ok(cost)
    }

    /// As `search_guard` puts it into the detail of its refusal.
    pub(super) fn of_detail(detail: &str) -> Self {
        let mut numbers = detail.split(' ').map(|n| n.parse().unwrap_or_default());
        Self { total: numbers.next().unwrap_or_default(), rows: numbers.next().unwrap_or_default() }
    }
}

fn most_rows(plan: &Value) -> f64 {
    let own = plan.get("Plan Rows").and_then(Value::as_f64).unwrap_or_default();
    plan.get("Plans").and_then(Value::as_array).into_iter().flatten().map(most_rows).fold(own, f64::max)
}

/// The guards in eight columns.
pub(crate) fn tenant_guards(row: &Row, from: usize) -> Result<TenantGuards, tokio_postgres::Error> {
    let days = |column: usize| row.try_get::<_, i32>(from + column).map(i32::unsigned_abs);
    let most =
        |column: usize| row.try_get::<_, Option<i64>>(from + column).map(|most| most.map(i64::unsigned_abs));
    Ok(TenantGuards {
        default_window_days: days(0)?,
        longest_window_days: days(1)?,
        limits: TenantLimits {
            rates: TenantRates { reads: most(2)?, expensive: most(3)?, values: most(4)? },
            quotas: TenantQuotas { reads: most(5)?, expensive: most(6)?, values: most(7)? },
        },
    })
}

impl Reader {
    /// What the tenant's queries may cost; `None` if there is no such tenant.
    pub async fn tenant_guards(&self, tenant: TenantId) -> Result<Option<TenantGuards>, ReadError> {
        let parameters: [Parameter<'_>; 1] = [(&tenant.0, Type::INT4)];
        let done = self.unit(Some(tenant), &[Statement { sql: GUARDS, parameters: &parameters }]).await?;
        Ok(done.value.iter().flatten().next().map(|row| tenant_guards(row, 0)).transpose()?)
    }

    /// Sets the tenant's default window, unless it is longer than the longest that the operator
    /// allows, which is returned. Only the primary takes it.
    pub async fn own_window_set(&self, tenant: TenantId, days: u32) -> Result<u32, ReadError> {
        let days = i32::try_from(days).unwrap_or(i32::MAX);
        let parameters: [Parameter<'_>; 1] = [(&days, Type::INT4)];
        let sql = "select own_window_set($1)";
        let rows = self.write(tenant, &[Statement { sql, parameters: &parameters }]).await?;
        let row = rows.iter().flatten().next().ok_or(ReadError::Unreadable("the longest window"))?;
        Ok(row.try_get::<_, Option<i32>>(0)?.unwrap_or_default().unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_widest_step_tells_the_rows() {
        let plan = json!([{"Plan": {"Total Cost": 12.5, "Plan Rows": 1, "Plans": [
            {"Plan Rows": 7, "Plans": [{"Plan Rows": 900}]}, {"Plan Rows": 30}]}}]);
        assert_eq!(Cost::of(&plan), Some(Cost { total: 12.5, rows: 900.0 }));
        assert_eq!(Cost::of(&json!([])), None);
        assert_eq!(Cost::of_detail("23 3"), Cost { total: 23.0, rows: 3.0 });
    }
}
