//! The rules for points, as an operator sets and sees them.

use super::AdminStore;
use crate::StoreError;
use crate::db::Parameter;
use crate::ingest::limit;
use crate::read::{TenantGuards, tenant_guards};
use eaves_model::point::Limit;
use eaves_model::{PointPolicy, TenantId, TimeLimits, ValueType};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// A tenant with all its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSettings {
    /// Its number.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// Entities and attributes must be registered before values are taken.
    pub strict: bool,
    /// How many attributes become hot by themselves.
    pub hot_limit: u32,
    /// Bytes of hot values of a mean entity.
    pub hot_bytes: u32,
    /// It is decided by itself what is hot.
    pub hot_auto: bool,
    /// What a second value for a point does.
    pub points: PointPolicy,
    /// How late and how far ahead its values may be.
    pub limits: TimeLimits,
    /// What its queries may cost.
    pub guards: TenantGuards,
}

/// What to change of a tenant; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantChange {
    /// Entities and attributes must be registered before values are taken.
    pub strict: Option<bool>,
    /// How many attributes become hot by themselves.
    pub hot_limit: Option<u32>,
    /// Bytes of hot values of a mean entity.
    pub hot_bytes: Option<u32>,
    /// It is decided by itself what is hot.
    pub hot_auto: Option<bool>,
    /// What a second value for a point does.
    pub points: Option<PointPolicy>,
    /// How late and how far ahead its values may be.
    pub limits: LimitChange,
}

/// What to change of limits; `Some(None)` takes one away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitChange {
    /// How late.
    pub late: Option<Option<Limit>>,
    /// How far ahead.
    pub ahead: Option<Option<Limit>>,
}

/// An attribute as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeSettings {
    /// Its name.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// Its unit; empty if none is set.
    pub unit: String,
    /// Its latest value is in the hot projection.
    pub is_hot: bool,
    /// Its own limits; where it has none its tenant's hold.
    pub limits: TimeLimits,
}

/// What became of an attribute that was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// The type that it has.
    pub value_type: ValueType,
    /// There was none of that name before.
    pub made: bool,
}

impl Declared {
    pub(crate) fn of(row: &Row) -> Result<Self, StoreError> {
        let value_type: &str = row.try_get(0).map_err(StoreError::of("declaring an attribute"))?;
        let value_type = value_type.parse().map_err(|_| StoreError::Unreadable("a value type"))?;
        Ok(Self { value_type, made: row.try_get(1).map_err(StoreError::of("declaring an attribute"))? })
    }
}

/// A change as the database takes it: milliseconds and an action, which is `none` for a
/// limit that is taken away.
pub(crate) fn limit_columns(change: Option<Option<Limit>>) -> (Option<i64>, Option<&'static str>) {
    match change {
        None => (None, None),
        Some(None) => (None, Some("none")),
        Some(Some(limit)) => (Some(limit.ms), Some(limit.action.name())),
    }
}

/// Limits from four columns.
fn limits(row: &Row, from: usize) -> Result<TimeLimits, StoreError> {
    let late = limit(row.get(from), row.get(from + 1))?;
    Ok(TimeLimits { late, ahead: limit(row.get(from + 2), row.get(from + 3))? })
}

/// A tenant from the columns of [`AdminStore::tenant_settings`].
pub(crate) fn tenant_settings(row: &Row) -> Result<TenantSettings, StoreError> {
    let points: &str = row.get(4);
    Ok(TenantSettings {
        id: TenantId(row.get(0)),
        name: row.get(1),
        strict: row.get(2),
        hot_limit: row.get::<_, i32>(3).unsigned_abs(),
        hot_bytes: row.get::<_, i32>(9).unsigned_abs(),
        hot_auto: row.get(10),
        points: points.parse().map_err(|_| StoreError::Unreadable("a point policy"))?,
        limits: limits(row, 5)?,
        guards: tenant_guards(row, 11).map_err(|_| StoreError::Unreadable("a tenant's guards"))?,
    })
}

impl AdminStore {
    /// All tenants with their settings, by name.
    pub async fn tenant_settings(&self) -> Result<Vec<TenantSettings>, StoreError> {
        let sql = "select tenant_id, name, strict, hot_limit, point_policy, late_ms, late_action, ahead_ms, \
                   ahead_action, hot_bytes, hot_auto, default_window_days, longest_window_days, reads_per_minute, \
                   expensive_per_minute, values_per_minute, reads_per_day, expensive_per_day, values_per_day \
                   from tenants order by name";
        let rows = self.db.query("listing tenants", sql, &[]).await?;
        rows.iter().map(tenant_settings).collect()
    }

    /// Changes a tenant; `None` if there is none of that name. Ingest follows within ten
    /// seconds.
    pub async fn tenant_set(&self, name: &str, change: TenantChange) -> Result<Option<TenantId>, StoreError> {
        let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let (hot_limit, hot_bytes) = (change.hot_limit.map(number), change.hot_bytes.map(number));
        let points = change.points.map(PointPolicy::name);
        let (late_ms, late) = limit_columns(change.limits.late);
        let (ahead_ms, ahead) = limit_columns(change.limits.ahead);
        let parameters: &[Parameter<'_>] = &[
            (&name, Type::TEXT),
            (&change.strict, Type::BOOL),
            (&hot_limit, Type::INT4),
            (&points, Type::TEXT),
            (&late_ms, Type::INT8),
            (&late, Type::TEXT),
            (&ahead_ms, Type::INT8),
            (&ahead, Type::TEXT),
            (&hot_bytes, Type::INT4),
            (&change.hot_auto, Type::BOOL),
        ];
        let sql = "select tenant_set($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let row = self.db.query_one("changing a tenant", sql, parameters).await?;
        Ok(row.get::<_, Option<i32>>(0).map(TenantId))
    }

    /// Changes an attribute's own limits; false if the tenant has no such attribute.
    pub async fn attribute_set(
        &self,
        tenant: TenantId,
        name: &str,
        change: LimitChange,
    ) -> Result<bool, StoreError> {
        let (late_ms, late) = limit_columns(change.late);
        let (ahead_ms, ahead) = limit_columns(change.ahead);
        let parameters: &[Parameter<'_>] = &[
            (&tenant.0, Type::INT4),
            (&name, Type::TEXT),
            (&late_ms, Type::INT8),
            (&late, Type::TEXT),
            (&ahead_ms, Type::INT8),
            (&ahead, Type::TEXT),
        ];
        let sql = "select attribute_set($1, $2, $3, $4, $5, $6)";
        Ok(self.db.query_one("changing an attribute", sql, parameters).await?.get(0))
    }

    /// Makes an attribute of a type before its first value (`V83__declare_attributes.sql`), and sets what is given
    /// of its unit and description. One of another type stays as it is.
    pub async fn attribute_declare(
        &self,
        tenant: TenantId,
        (name, value_type): (&str, ValueType),
        unit: Option<&str>,
        description: Option<&str>,
    ) -> Result<Declared, StoreError> {
        let value_type = value_type.name();
        let parameters: &[Parameter<'_>] = &[
            (&tenant.0, Type::INT4),
            (&name, Type::TEXT),
            (&value_type, Type::TEXT),
            (&unit, Type::TEXT),
            (&description, Type::TEXT),
        ];
        let sql = "select value_type, made from attribute_declare($1, $2, $3, $4, $5)";
        Declared::of(&self.db.query_one("declaring an attribute", sql, parameters).await?)
    }

    /// A tenant's attributes, by name.
    pub async fn attribute_settings(&self, tenant: TenantId) -> Result<Vec<AttributeSettings>, StoreError> {
        let sql = "select attribute_name, value_type, unit, is_hot, late_ms, late_action, ahead_ms, \
                   ahead_action from attribute_list($1)";
        let rows = self.db.query("listing attributes", sql, &[(&tenant.0, Type::INT4)]).await?;
        let attribute = |row: &Row| {
            let value_type: &str = row.get(1);
            Ok(AttributeSettings {
                name: row.get(0),
                value_type: value_type.parse().map_err(|_| StoreError::Unreadable("a value type"))?,
                unit: row.get(2),
                is_hot: row.get(3),
                limits: limits(row, 4)?,
            })
        };
        rows.iter().map(attribute).collect()
    }
}
