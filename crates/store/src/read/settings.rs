//! What a tenant's own user sees and changes of its settings (`V53__own_settings.sql`).

use super::{Parameter, ReadError, Reader, Snapshot, Statement};
use crate::admin::{Declared, LimitChange, TenantSettings, limit_columns, tenant_settings};
use eaves_model::{PointPolicy, TenantId, ValueType};
use tokio_postgres::types::Type;

const SETTINGS: &str = "select tenant_id, name, strict, hot_limit, point_policy, late_ms, late_action, ahead_ms, \
     ahead_action, hot_bytes, hot_auto, default_window_days, longest_window_days, reads_per_minute, \
     expensive_per_minute, values_per_minute, reads_per_day, expensive_per_day, values_per_day \
     from tenants where tenant_id = $1";

/// What to change; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnChange {
    /// Entities and attributes must be registered before values are taken.
    pub strict: Option<bool>,
    /// What a second value for a point does.
    pub points: Option<PointPolicy>,
    /// How late and how far ahead values may be.
    pub limits: LimitChange,
}

impl Reader {
    /// The tenant's settings.
    pub async fn own_settings(&self, tenant: TenantId) -> Result<Snapshot<TenantSettings>, ReadError> {
        let parameters: [Parameter<'_>; 1] = [(&tenant.0, Type::INT4)];
        let done = self.unit(Some(tenant), &[Statement { sql: SETTINGS, parameters: &parameters }]).await?;
        done.try_map(|results| {
            let row = results.iter().flatten().next().ok_or(ReadError::Unreadable("the tenant"))?;
            tenant_settings(row).map_err(|_| ReadError::Unreadable("the tenant's settings"))
        })
    }

    /// Changes the tenant's settings. Ingest follows within ten seconds. Only the primary takes it.
    pub async fn own_settings_change(&self, tenant: TenantId, change: OwnChange) -> Result<(), ReadError> {
        let points = change.points.map(PointPolicy::name);
        let (late_ms, late) = limit_columns(change.limits.late);
        let (ahead_ms, ahead) = limit_columns(change.limits.ahead);
        let parameters: [Parameter<'_>; 6] = [
            (&change.strict, Type::BOOL),
            (&points, Type::TEXT),
            (&late_ms, Type::INT8),
            (&late, Type::TEXT),
            (&ahead_ms, Type::INT8),
            (&ahead, Type::TEXT),
        ];
        let sql = "select own_settings_change($1, $2, $3, $4, $5, $6)";
        self.write(tenant, &[Statement { sql, parameters: &parameters }]).await.map(drop)
    }

    /// Makes an attribute of a type before its first value (`V83__declare_attributes.sql`), and sets what is given
    /// of its unit and description. One of another type stays as it is. Only the primary takes it.
    pub async fn attribute_declare(
        &self,
        tenant: TenantId,
        (name, value_type): (&str, ValueType),
        unit: Option<&str>,
        description: Option<&str>,
    ) -> Result<Declared, ReadError> {
        let value_type = value_type.name();
        let parameters: [Parameter<'_>; 4] =
            [(&name, Type::TEXT), (&value_type, Type::TEXT), (&unit, Type::TEXT), (&description, Type::TEXT)];
        let sql = "select value_type, made from own_attribute_declare($1, $2, $3, $4)";
        let rows = self.write(tenant, &[Statement { sql, parameters: &parameters }]).await?;
        let row = rows.iter().flatten().next().ok_or(ReadError::Unreadable("the attribute"))?;
        Declared::of(row).map_err(|_| ReadError::Unreadable("the attribute's type"))
    }

    /// Sets an attribute's unit and description, where they are given; false if the tenant has no
    /// such attribute. Only the primary takes it.
    pub async fn attribute_describe(
        &self,
        tenant: TenantId,
        name: &str,
        unit: Option<&str>,
        description: Option<&str>,
    ) -> Result<bool, ReadError> {
        let parameters: [Parameter<'_>; 3] =
            [(&name, Type::TEXT), (&unit, Type::TEXT), (&description, Type::TEXT)];
        let sql = "select own_attribute_describe($1, $2, $3)";
        let rows = self.write(tenant, &[Statement { sql, parameters: &parameters }]).await?;
        let row =
            rows.iter().flatten().next().ok_or(ReadError::Unreadable("an answer that should be there"))?;
        Ok(row.try_get(0)?)
    }
}
