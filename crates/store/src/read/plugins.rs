//! A tenant's plugins: their figures and events, and what a backtest reads.

use super::{Parameter, ReadError, Reader};
use crate::micros::Micros;
use eaves_model::{AttributeId, Decimal, EntityId, TenantId, Timestamp, Value, ValueType};
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Figures of one plugin version in one role over one hour.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginHour {
    /// The version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// `active`, `fallback` or `shadow`.
    pub role: String,
    /// When the hour began.
    pub hour: Timestamp,
    /// The figures as JSON: `calls`, `values`, `failures`, `skipped`, `memory_peak`, `times`,
    /// `verdicts`, `changes`, `samples`.
    pub figures: serde_json::Value,
}

/// Something that happened to a plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PluginEvent {
    /// Its number; later ones have higher ones.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: String,
    /// The version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// In words.
    pub message: String,
}

/// An attribute as a backtest needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeInfoRow {
    /// Its identifier.
    pub id: AttributeId,
    /// Its name.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// Its unit; empty if none is set.
    pub unit: String,
    /// Its latest value is in the hot projection.
    pub is_hot: bool,
}

/// A value of history.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredValue {
    /// Of which entity.
    pub entity: EntityId,
    /// Of which attribute.
    pub attribute: AttributeId,
    /// When it was seen.
    pub observed_at: Timestamp,
    /// The value.
    pub value: Value,
}

/// A record or value in quarantine.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRefusal {
    /// The row's number.
    pub id: i64,
    /// What was sent.
    pub payload: Vec<u8>,
}

impl Reader {
    /// The figures of a plugin since a time, the latest hour first.
    pub async fn plugin_metrics(
        &self,
        tenant: TenantId,
        name: &str,
        since: Timestamp,
    ) -> Result<Vec<PluginHour>, ReadError> {
        let sql = "select version, digest, role, hour, jsonb_build_object('calls', calls, 'values', \"values\", \
                   'failures', failures, 'skipped', skipped, 'memory_peak', memory_peak, 'times', times, \
                   'verdicts', verdicts, 'changes', changes, 'samples', samples) \
                   from plugin_metrics where name = $1 and hour >= date_trunc('hour', $2) \
                   order by hour desc, digest, role limit 5000";
        let since = Micros(since);
        let parameters: [Parameter<'_>; 2] = [(&name, Type::TEXT), (&since, Type::TIMESTAMPTZ)];
        let rows = self.one_statement(tenant, sql, &parameters).await?;
        let hour = |r: &Row| {
            Ok(PluginHour {
                version: r.try_get(0)?,
                digest: r.try_get(1)?,
                role: r.try_get(2)?,
                hour: r.try_get::<_, Micros>(3)?.0,
                figures: r.try_get(4)?,
            })
        };
        rows.iter().map(hour).collect()
    }

    /// The last events of a plugin, newest first.
    pub async fn plugin_events(
        &self,
        tenant: TenantId,
        name: &str,
        most: u32,
    ) -> Result<Vec<PluginEvent>, ReadError> {
        let sql = "select event_id, at, kind, version, digest, message from plugin_events \
                   where name = $1 order by event_id desc limit $2";
        let most = i64::from(most);
        let parameters: [Parameter<'_>; 2] = [(&name, Type::TEXT), (&most, Type::INT8)];
        let rows = self.one_statement(tenant, sql, &parameters).await?;
        let event = |r: &Row| {
            Ok(PluginEvent {
                id: r.try_get(0)?,
                at: r.try_get::<_, Micros>(1)?.0,
                kind: r.try_get(2)?,
                version: r.try_get(3)?,
                digest: r.try_get(4)?,
                message: r.try_get(5)?,
            })
        };
        rows.iter().map(event).collect()
    }

    /// All attributes of a tenant.
    pub async fn all_attributes(&self, tenant: TenantId) -> Result<Vec<AttributeInfoRow>, ReadError> {
        let sql = "select attribute_id, attribute_name, value_type, unit, is_hot from attributes \
                   order by attribute_id";
        let rows = self.one_statement(tenant, sql, &[]).await?;
        let attribute = |r: &Row| {
            let value_type: &str = r.try_get(2)?;
            Ok(AttributeInfoRow {
                id: AttributeId(r.try_get(0)?),
                name: r.try_get(1)?,
                value_type: value_type.parse().map_err(|_| ReadError::Unreadable("an attribute's type"))?,
                unit: r.try_get(3)?,
                is_hot: r.try_get(4)?,
            })
        };
        rows.iter().map(attribute).collect()
    }

    /// Name and type of these entities.
    pub async fn entity_names(
        &self,
        tenant: TenantId,
        entities: &[EntityId],
    ) -> Result<Vec<(EntityId, String, String)>, ReadError> {
        let sql = "select entity_id, external_id, entity_type from entities where entity_id = any($1)";
        let ids: Vec<i64> = entities.iter().map(|e| e.0).collect();
        let rows = self.one_statement(tenant, sql, &[(&ids, Type::INT8_ARRAY)]).await?;
        rows.iter().map(|r| Ok((EntityId(r.try_get(0)?), r.try_get(1)?, r.try_get(2)?))).collect()
    }

    /// Values of history observed from `from` and before `to`, at most `most` of them, in no
    /// order. The index over (tenant, attribute, time) serves it, hence the attributes.
    pub async fn stored_values(
        &self,
        tenant: TenantId,
        attributes: &[AttributeInfoRow],
        (from, to): (Timestamp, Timestamp),
        most: u32,
    ) -> Result<Vec<StoredValue>, ReadError> {
        let sql = "select entity_id, attribute_id, observed_at, value_bool, value_int, value_float, \
                   value_decimal, value_timestamp, value from entity_values_ts \
                   where tenant_id = $1 and attribute_id = any($2) and observed_at >= $3 and observed_at < $4 \
                   limit $5";
        let ids: Vec<i32> = attributes.iter().map(|a| a.id.0).collect();
        let (from, to, most) = (Micros(from), Micros(to), i64::from(most));
        let parameters: [Parameter<'_>; 5] = [
            (&tenant.0, Type::INT4),
            (&ids, Type::INT4_ARRAY),
            (&from, Type::TIMESTAMPTZ),
            (&to, Type::TIMESTAMPTZ),
            (&most, Type::INT8),
        ];
        let rows = self.one_statement(tenant, sql, &parameters).await?;
        let value = |r: &Row| {
            Ok(StoredValue {
                entity: EntityId(r.try_get(0)?),
                attribute: AttributeId(r.try_get(1)?),
                observed_at: r.try_get::<_, Micros>(2)?.0,
                value: stored(r)?,
            })
        };
        rows.iter().map(value).collect()
    }

    /// For each entity, attribute and time the last value of history before that time, in the
    /// order asked; none where there is none.
    pub async fn values_before(
        &self,
        tenant: TenantId,
        points: &[(EntityId, AttributeId, Timestamp)],
    ) -> Result<Vec<Option<(Timestamp, Value)>>, ReadError> {
        let mut found = vec![None; points.len()];
        if points.is_empty() {
            return Ok(found);
        }
        let sql = "select w.nth, v.* \
                   from unnest($2, $3, $4) with ordinality as w (entity_id, attribute_id, before, nth) \
                   cross join lateral (\
                     select h.attribute_id, h.observed_at, h.value_bool, h.value_int, h.value_float, \
                            h.value_decimal, h.value_timestamp, h.value \
                     from entity_values_ts h \
                     where h.tenant_id = $1 and h.entity_id = w.entity_id \
                       and h.attribute_id = w.attribute_id and h.observed_at < w.before \
                     order by h.observed_at desc limit 1) v";
        let entities: Vec<i64> = points.iter().map(|p| p.0.0).collect();
        let attributes: Vec<i32> = points.iter().map(|p| p.1.0).collect();
        let times: Vec<Micros> = points.iter().map(|p| Micros(p.2)).collect();
        let parameters: [Parameter<'_>; 4] = [
            (&tenant.0, Type::INT4),
            (&entities, Type::INT8_ARRAY),
            (&attributes, Type::INT4_ARRAY),
            (&times, Type::TIMESTAMPTZ_ARRAY),
        ];
        for row in self.one_statement(tenant, sql, &parameters).await? {
            let nth = usize::try_from(row.try_get::<_, i64>(0)? - 1).ok();
            if let Some(place) = nth.and_then(|nth| found.get_mut(nth)) {
                *place = Some((row.try_get::<_, Micros>(2)?.0, stored(&row)?));
            }
        }
        Ok(found)
    }

    /// For each entity and time what history has of the entity at that very time, of whichever attributes: the
    /// place of what was asked, and the value. Goes from attribute to attribute of the entity by the primary
    /// key, within the months that the times are in.
    pub async fn values_at(
        &self,
        tenant: TenantId,
        points: &[(EntityId, Timestamp)],
    ) -> Result<Vec<(usize, StoredValue)>, ReadError> {
        if points.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "select w.nth, v.* \
                   from (select u.*, date_trunc('month', u.at, 'UTC') as month \
                         from unnest($2, $3) with ordinality as u (entity_id, at, nth)) w \
                   cross join lateral (\
                     with recursive a (id) as (\
                       (select h.attribute_id from entity_values_ts h \
                        where h.tenant_id = $1 and h.entity_id = w.entity_id \
                          and h.observed_at >= w.month and h.observed_at < w.month + interval '1 month' \
                        order by h.attribute_id limit 1) \
                       union all \
                       select (select h.attribute_id from entity_values_ts h \
                               where h.tenant_id = $1 and h.entity_id = w.entity_id and h.attribute_id > a.id \
                                 and h.observed_at >= w.month and h.observed_at < w.month + interval '1 month' \
                               order by h.attribute_id limit 1) \
                       from a where a.id is not null) \
                     select h.attribute_id, h.observed_at, h.value_bool, h.value_int, h.value_float, \
                            h.value_decimal, h.value_timestamp, h.value, h.entity_id \
                     from a join entity_values_ts h \
                       on h.tenant_id = $1 and h.entity_id = w.entity_id and h.attribute_id = a.id \
                          and h.observed_at = w.at) v";
        let entities: Vec<i64> = points.iter().map(|p| p.0.0).collect();
        let times: Vec<Micros> = points.iter().map(|p| Micros(p.1)).collect();
        let parameters: [Parameter<'_>; 3] =
            [(&tenant.0, Type::INT4), (&entities, Type::INT8_ARRAY), (&times, Type::TIMESTAMPTZ_ARRAY)];
        let rows = self.one_statement(tenant, sql, &parameters).await?;
        let value = |r: &Row| {
            let place = usize::try_from(r.try_get::<_, i64>(0)? - 1)
                .map_err(|_| ReadError::Unreadable("the place of a value"))?;
            let value = StoredValue {
                entity: EntityId(r.try_get(9)?),
                attribute: AttributeId(r.try_get(1)?),
                observed_at: r.try_get::<_, Micros>(2)?.0,
                value: stored(r)?,
            };
            Ok((place, value))
        };
        rows.iter().map(value).collect()
    }

    /// The identifiers and types of the entities of these names; those that are not registered are left out.
    pub async fn entity_ids(
        &self,
        tenant: TenantId,
        names: &[&str],
    ) -> Result<Vec<(String, EntityId, String)>, ReadError> {
        let sql = "select external_id, entity_id, entity_type from entities where external_id = any($1)";
        let rows = self.one_statement(tenant, sql, &[(&names, Type::TEXT_ARRAY)]).await?;
        rows.iter().map(|r| Ok((r.try_get(0)?, EntityId(r.try_get(1)?), r.try_get(2)?))).collect()
    }

    /// What was quarantined from `from` and before `to`, behind the row `after`, in order.
    pub async fn stored_refusals(
        &self,
        tenant: TenantId,
        (from, to): (Timestamp, Timestamp),
        after: i64,
        most: u32,
    ) -> Result<Vec<StoredRefusal>, ReadError> {
        let sql = "select quarantine_id, payload from quarantine \
                   where created_at >= $1 and created_at < $2 and quarantine_id > $3 \
                     and kind in ('record', 'value') and payload is not null and state <> 'dropped' \
                     and redrive_of is null \
                   order by quarantine_id limit $4";
        let (from, to, most) = (Micros(from), Micros(to), i64::from(most));
        let parameters: [Parameter<'_>; 4] =
            [(&from, Type::TIMESTAMPTZ), (&to, Type::TIMESTAMPTZ), (&after, Type::INT8), (&most, Type::INT8)];
        let rows = self.one_statement(tenant, sql, &parameters).await?;
        rows.iter().map(|r| Ok(StoredRefusal { id: r.try_get(0)?, payload: r.try_get(1)? })).collect()
    }
}

/// The one value column that is set.
fn stored(row: &Row) -> Result<Value, ReadError> {
    if let Some(f) = row.try_get(5)? {
        return Ok(Value::Float(f));
    }
    if let Some(i) = row.try_get(4)? {
        return Ok(Value::Integer(i));
    }
    if let Some(b) = row.try_get(3)? {
        return Ok(Value::Boolean(b));
    }
    if let Some(s) = row.try_get::<_, Option<String>>(8)? {
        return Ok(Value::String(s.into()));
    }
    if let Some(d) = row.try_get::<_, Option<Decimal>>(6)? {
        return Ok(Value::Decimal(d));
    }
    let time: Option<Micros> = row.try_get(7)?;
    time.map(|t| Value::Timestamp(t.0)).ok_or(ReadError::Unreadable("a value of history"))
}
