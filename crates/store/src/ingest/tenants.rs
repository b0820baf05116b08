//! What ingest needs to know of tenants.

use crate::StoreError;
use eaves_model::point::Limit;
use eaves_model::tenant::Tenant;
use eaves_model::{AttributeId, PointPolicy, TenantId, TimeLimits};
use tokio_postgres::Row;

pub(super) const SQL: &str = "select tenant_id, name, strict, point_policy, late_ms, late_action, ahead_ms, \
     ahead_action, attributes, attributes_late_ms, attributes_late_action, attributes_ahead_ms, \
     attributes_ahead_action from ingest_tenants($1)";

/// A tenant with its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRules {
    /// The tenant.
    pub tenant: Tenant,
    /// What a second value for a point does.
    pub points: PointPolicy,
    /// How late and how far ahead its values may be.
    pub limits: TimeLimits,
    /// The attributes that have limits of their own, sorted.
    pub attributes: Vec<(AttributeId, TimeLimits)>,
}

/// A limit from its two columns.
pub(crate) fn limit(ms: Option<i64>, action: Option<&str>) -> Result<Option<Limit>, StoreError> {
    let Some((ms, action)) = ms.zip(action) else { return Ok(None) };
    let action = action.parse().map_err(|_| StoreError::Unreadable("a limit's action"))?;
    Ok(Some(Limit { ms, action }))
}

pub(super) fn rules(row: &Row) -> Result<TenantRules, StoreError> {
    let points: &str = row.get(3);
    let ids: Vec<i32> = row.get(8);
    let late: (Vec<Option<i64>>, Vec<Option<&str>>) = (row.get(9), row.get(10));
    let ahead: (Vec<Option<i64>>, Vec<Option<&str>>) = (row.get(11), row.get(12));
    let of = |(ms, action): &(Vec<Option<i64>>, Vec<Option<&str>>), at: usize| {
        limit(ms.get(at).copied().flatten(), action.get(at).copied().flatten())
    };
    let attributes = ids
        .iter()
        .enumerate()
        .map(|(at, id)| Ok((AttributeId(*id), TimeLimits { late: of(&late, at)?, ahead: of(&ahead, at)? })));
    let mut attributes = attributes.collect::<Result<Vec<_>, StoreError>>()?;
    attributes.sort_unstable_by_key(|(id, _)| *id);
    Ok(TenantRules {
        tenant: Tenant { id: TenantId(row.get(0)), name: row.get(1), strict: row.get(2) },
        points: points.parse().map_err(|_| StoreError::Unreadable("a point policy"))?,
        limits: TimeLimits { late: limit(row.get(4), row.get(5))?, ahead: limit(row.get(6), row.get(7))? },
        attributes,
    })
}
