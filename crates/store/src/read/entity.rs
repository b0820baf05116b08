//! Entities with their hot attributes, and what is known of attributes and tenants.

use super::{ReadError, Reader, Snapshot, Statement, reached};
use eaves_model::tenant::Tenant;
use eaves_model::{AttributeId, EntityId, TenantId, ValueType};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

const ENTITY: &str = "select entity_id, external_id, entity_type, version, hot_attrs, hot_times \
     from entity_by_name($1, $2)";

/// The same with how far the server is, in one (`V82__entity_in_one.sql`).
const ENTITY_ALONE: &str = "select hot_age_us, history_age_us, at_us, in_recovery, recovering, \
     entity_id, external_id, entity_type, version, hot_attrs, hot_times from read_entity($1, $2, $3)";

const ATTRIBUTES: &str = "select attribute_name, attribute_id, value_type, unit, is_hot \
     from attributes where tenant_id = $1 and attribute_name = any ($2)";

const NAMES: &str = "select entity_id, entity_type from entities \
     where tenant_id = $1 and external_id = $2";

const TENANT: &str = "select tenant_id, name, strict from tenants_by_name(array[$1])";

/// An entity with its hot attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityRow {
    /// Its identifier.
    pub entity: EntityId,
    /// The tenant's own name for it.
    pub external_id: String,
    /// Its type; empty if unknown.
    pub entity_type: String,
    /// The version of the hot attributes; 0 if it has none.
    pub version: i64,
    /// `{"attribute": value}`.
    pub attrs_json: String,
    /// `{"attribute": observed_at in microseconds since 1970}`.
    pub times_json: String,
}

/// What is registered of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeRow {
    /// Its name.
    pub name: String,
    /// Its identifier.
    pub id: AttributeId,
    /// Its type.
    pub value_type: ValueType,
    /// Its unit; empty if none is set.
    pub unit: String,
    /// Whether the latest value is in the hot projection.
    pub is_hot: bool,
}

pub(super) fn entity_row(row: &Row) -> Result<EntityRow, ReadError> {
    entity_at(row, 0)
}

/// An entity whose columns begin there.
fn entity_at(row: &Row, column: usize) -> Result<EntityRow, ReadError> {
    Ok(EntityRow {
        entity: EntityId(row.try_get(column)?),
        external_id: row.try_get(column + 1)?,
        entity_type: row.try_get(column + 2)?,
        version: row.try_get(column + 3)?,
        attrs_json: row.try_get(column + 4)?,
        times_json: row.try_get(column + 5)?,
    })
}

pub(super) fn attribute_row(row: &Row) -> Result<AttributeRow, ReadError> {
    let value_type: &str = row.try_get(2)?;
    Ok(AttributeRow {
        name: row.try_get(0)?,
        id: AttributeId(row.try_get(1)?),
        value_type: value_type.parse().map_err(|_| ReadError::Unreadable("a value type"))?,
        unit: row.try_get(3)?,
        is_hot: row.try_get(4)?,
    })
}

impl Reader {
    /// The entity that the tenant calls `external_id`.
    pub async fn entity(
        &self,
        tenant: TenantId,
        external_id: &str,
    ) -> Result<Snapshot<Option<EntityRow>>, ReadError> {
        let parameters: [super::Parameter<'_>; 2] = [(&tenant.0, Type::INT4), (&external_id, Type::TEXT)];
        // Whether records are there that are waited for is another statement of the same transaction.
        if reached::awaited().is_some() {
            let done = self.unit(Some(tenant), &[Statement { sql: ENTITY, parameters: &parameters }]).await?;
            return done.try_map(|results| results.iter().flatten().next().map(entity_row).transpose());
        }
        let done = self.alone(Statement { sql: ENTITY_ALONE, parameters: &parameters }).await?;
        done.try_map(|rows| {
            let Some(row) = rows.first() else { return Ok(None) };
            let known: Option<i64> = row.try_get(5)?;
            known.map(|_| entity_at(row, 5)).transpose()
        })
    }

    /// The entity's identifier and type, if it is registered, and those of the attributes that are.
    pub async fn names(
        &self,
        tenant: TenantId,
        external_id: &str,
        attributes: &[&str],
    ) -> Result<Snapshot<(Option<(EntityId, String)>, Vec<AttributeRow>)>, ReadError> {
        let entity: [super::Parameter<'_>; 2] = [(&tenant.0, Type::INT4), (&external_id, Type::TEXT)];
        let names: [super::Parameter<'_>; 2] = [(&tenant.0, Type::INT4), (&attributes, Type::TEXT_ARRAY)];
        let statements = [
            Statement { sql: NAMES, parameters: &entity },
            Statement { sql: ATTRIBUTES, parameters: &names },
        ];
        let done = self.unit(Some(tenant), &statements).await?;
        done.try_map(|results| {
            let mut results = results.iter();
            let entity = match results.next().and_then(|rows| rows.first()) {
                Some(row) => Some((EntityId(row.try_get(0)?), row.try_get(1)?)),
                None => None,
            };
            let attributes = results.flatten().map(attribute_row).collect::<Result<_, _>>()?;
            Ok((entity, attributes))
        })
    }

    /// Those of the named attributes that are registered.
    pub async fn attributes(
        &self,
        tenant: TenantId,
        names: &[&str],
    ) -> Result<Snapshot<Vec<AttributeRow>>, ReadError> {
        let parameters: [super::Parameter<'_>; 2] = [(&tenant.0, Type::INT4), (&names, Type::TEXT_ARRAY)];
        let done = self.unit(Some(tenant), &[Statement { sql: ATTRIBUTES, parameters: &parameters }]).await?;
        done.try_map(|results| results.iter().flatten().map(attribute_row).collect())
    }

    /// The tenant of this name.
    pub async fn tenant(&self, name: &str) -> Result<Option<Tenant>, ReadError> {
        let parameters: [super::Parameter<'_>; 1] = [(&name, Type::TEXT)];
        let done = self.unit(None, &[Statement { sql: TENANT, parameters: &parameters }]).await?;
        let Some(row) = done.value.iter().flatten().next() else { return Ok(None) };
        Ok(Some(Tenant { id: TenantId(row.try_get(0)?), name: row.try_get(1)?, strict: row.try_get(2)? }))
    }
}
