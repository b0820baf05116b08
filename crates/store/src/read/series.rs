//! Several attributes at once: their histories, and their latest values.

use super::history::typed;
use super::{HistoryPoint, Parameter, ReadError, Reader, Snapshot, Statement};
use crate::micros::Micros;
use eaves_model::{AttributeId, EntityId, TenantId, Timestamp, Value, ValueType};
use std::collections::HashMap;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// All columns that a value can be in, as [`value`] expects them.
const VALUES: &str = "value_bool, value_int, value_float, value_decimal, value_timestamp, value";

/// The value in its column of those that begin at `first`.
fn value(row: &Row, first: usize, value_type: ValueType) -> Result<Value, ReadError> {
    let offset = match value_type {
        ValueType::Boolean => 0,
        ValueType::Integer => 1,
        ValueType::Float => 2,
        ValueType::Decimal => 3,
        ValueType::Timestamp => 4,
        ValueType::String => 5,
    };
    typed(row, first + offset, value_type)
}

/// One attribute of a [`SeriesQuery`] with the part of the window that is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesPart {
    /// The attribute.
    pub attribute: AttributeId,
    /// Its type.
    pub value_type: ValueType,
    /// First time taken.
    pub from: Timestamp,
    /// First time not taken any more.
    pub to: Timestamp,
}

/// Histories of several attributes of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Of which entity.
    pub entity: EntityId,
    /// Of which attributes, each once.
    pub parts: Vec<SeriesPart>,
    /// Newest first.
    pub descending: bool,
    /// Most points in all.
    pub limit: u32,
    /// Also what is acknowledged but not flushed yet; only on the primary.
    pub with_staging: bool,
}

/// The latest values of several attributes of several entities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Of which entities.
    pub entities: Vec<EntityId>,
    /// Of which attributes, with their types.
    pub attributes: Vec<(AttributeId, ValueType)>,
    /// First time taken.
    pub from: Timestamp,
    /// Last time taken.
    pub until: Timestamp,
    /// Also what is acknowledged but not flushed yet; only on the primary.
    pub with_staging: bool,
}

/// The latest value of an attribute of an entity.
#[derive(Clone, Debug, PartialEq)]
pub struct LatestValue {
    /// The entity.
    pub entity: EntityId,
    /// The attribute.
    pub attribute: AttributeId,
    /// When it was seen.
    pub observed_at: Timestamp,
    /// When the platform took it.
    pub ingested_at: Timestamp,
    /// The value.
    pub value: Value,
}

/// Types by attribute; a row of another attribute is not asked for.
fn type_of(types: &HashMap<AttributeId, ValueType>, id: i32) -> Result<(AttributeId, ValueType), ReadError> {
    let id = AttributeId(id);
    types.get(&id).map(|t| (id, *t)).ok_or(ReadError::Unreadable("an attribute that was not asked for"))
}

impl Reader {
    /// Points of several histories together, at most `limit`, in order of `observed_at` and, of one
    /// time, of the attribute's identifier.
    pub async fn series(
        &self,
        query: &SeriesQuery,
    ) -> Result<Snapshot<Vec<(AttributeId, HistoryPoint)>>, ReadError> {
        let order = if query.descending { "desc" } else { "asc" };
        let from_staging = format!(
            "select attribute_id, observed_at, ingested_at, {VALUES} from staged_series($1, $2, $3, $4, $5, $6)"
        );
        let from_history = format!(
            "select a.id, v.observed_at, v.ingested_at, {VALUES} \
             from unnest($3::int4[], $4::timestamptz[], $5::timestamptz[]) a (id, starts, ends) \
             cross join lateral ( \
               select h.observed_at, h.ingested_at, {VALUES} from entity_values_ts h \
               where h.tenant_id = $1 and h.entity_id = $2 and h.attribute_id = a.id \
               and h.observed_at >= a.starts and h.observed_at < a.ends \
               order by h.observed_at {order} limit $6) v \
             order by v.observed_at {order}, a.id limit $6"
        );
        let ids: Vec<i32> = query.parts.iter().map(|p| p.attribute.0).collect();
        let from: Vec<Micros> = query.parts.iter().map(|p| Micros(p.from)).collect();
        let to: Vec<Micros> = query.parts.iter().map(|p| Micros(p.to)).collect();
        let (staged_limit, limit) = (i32::try_from(query.limit).unwrap_or(i32::MAX), i64::from(query.limit));
        let staged: [Parameter<'_>; 6] = [
            (&query.entity.0, Type::INT8),
            (&ids, Type::INT4_ARRAY),
            (&from, Type::TIMESTAMPTZ_ARRAY),
            (&to, Type::TIMESTAMPTZ_ARRAY),
            (&query.descending, Type::BOOL),
            (&staged_limit, Type::INT4),
        ];
        let kept: [Parameter<'_>; 6] = [
            (&query.tenant.0, Type::INT4),
            (&query.entity.0, Type::INT8),
            (&ids, Type::INT4_ARRAY),
            (&from, Type::TIMESTAMPTZ_ARRAY),
            (&to, Type::TIMESTAMPTZ_ARRAY),
            (&limit, Type::INT8),
        ];
        // Staging first: see V20__staged_points.sql.
        let both = [
            Statement { sql: &from_staging, parameters: &staged },
            Statement { sql: &from_history, parameters: &kept },
        ];
        let done = self.unit(Some(query.tenant), &both[usize::from(!query.with_staging)..]).await?;
        let types: HashMap<_, _> = query.parts.iter().map(|p| (p.attribute, p.value_type)).collect();
        done.try_map(|results| {
            let points = results.iter().flatten().map(|row| {
                let (attribute, value_type) = type_of(&types, row.try_get(0)?)?;
                let (Micros(observed_at), Micros(ingested_at)) = (row.try_get(1)?, row.try_get(2)?);
                let value = value(row, 3, value_type)?;
                let point = HistoryPoint { observed_at, ingested_at, value, superseded: Vec::new() };
                Ok((attribute, point))
            });
            Ok(merge(points.collect::<Result<_, ReadError>>()?, query))
        })
    }

    /// For each entity and attribute the latest value of the time asked for, if it has one; in
    /// order of the identifiers.
    pub async fn latest(&self, query: &LatestQuery) -> Result<Snapshot<Vec<LatestValue>>, ReadError> {
        let from_staging = format!(
            "select entity_id, attribute_id, observed_at, ingested_at, {VALUES} \
             from staged_latest($1, $2, $3, $4)"
        );
        let from_history = format!(
            "select e.id, a.id, v.observed_at, v.ingested_at, {VALUES} \
             from unnest($2::int8[]) e (id) cross join unnest($3::int4[]) a (id) \
             cross join lateral ( \
               select h.observed_at, h.ingested_at, {VALUES} from entity_values_ts h \
               where h.tenant_id = $1 and h.entity_id = e.id and h.attribute_id = a.id \
               and h.observed_at >= $4 and h.observed_at <= $5 \
               order by h.observed_at desc limit 1) v"
        );
        let entities: Vec<i64> = query.entities.iter().map(|e| e.0).collect();
        let ids: Vec<i32> = query.attributes.iter().map(|(id, _)| id.0).collect();
        let (from, until) = (Micros(query.from), Micros(query.until));
        let staged: [Parameter<'_>; 4] = [
            (&entities, Type::INT8_ARRAY),
            (&ids, Type::INT4_ARRAY),
            (&from, Type::TIMESTAMPTZ),
            (&until, Type::TIMESTAMPTZ),
        ];
        let kept: [Parameter<'_>; 5] = [
            (&query.tenant.0, Type::INT4),
            (&entities, Type::INT8_ARRAY),
            (&ids, Type::INT4_ARRAY),
            (&from, Type::TIMESTAMPTZ),
            (&until, Type::TIMESTAMPTZ),
        ];
        let both = [
            Statement { sql: &from_staging, parameters: &staged },
            Statement { sql: &from_history, parameters: &kept },
        ];
        let done = self.unit(Some(query.tenant), &both[usize::from(!query.with_staging)..]).await?;
        let types: HashMap<_, _> = query.attributes.iter().copied().collect();
        done.try_map(|results| {
            let values = results.iter().flatten().map(|row| {
                let (attribute, value_type) = type_of(&types, row.try_get(1)?)?;
                Ok(LatestValue {
                    entity: EntityId(row.try_get(0)?),
                    attribute,
                    observed_at: row.try_get::<_, Micros>(2)?.0,
                    ingested_at: row.try_get::<_, Micros>(3)?.0,
                    value: value(row, 4, value_type)?,
                })
            });
            Ok(newest(values.collect::<Result<_, ReadError>>()?))
        })
    }
}

/// One point a time and attribute, the one that was taken last: what the flush will make of them.
fn merge(
    mut points: Vec<(AttributeId, HistoryPoint)>,
    query: &SeriesQuery,
) -> Vec<(AttributeId, HistoryPoint)> {
    if query.with_staging {
        // Stable, so that of two taken at the same moment the staged one stays first.
        points.sort_by(|(a, p), (b, q)| {
            let by_time = p.observed_at.cmp(&q.observed_at);
            let by_time = if query.descending { by_time.reverse() } else { by_time };
            by_time.then(a.cmp(b)).then(q.ingested_at.cmp(&p.ingested_at))
        });
        points.dedup_by(|(a, later), (b, first)| a == b && later.observed_at == first.observed_at);
        points.truncate(query.limit as usize);
    }
    points
}

/// Of each entity's attribute the value observed last; of two of that time, the one taken last.
fn newest(mut values: Vec<LatestValue>) -> Vec<LatestValue> {
    let key = |v: &LatestValue| (v.entity, v.attribute);
    values.sort_by(|a, b| {
        let newer = b.observed_at.cmp(&a.observed_at).then(b.ingested_at.cmp(&a.ingested_at));
        key(a).cmp(&key(b)).then(newer)
    });
    values.dedup_by(|later, first| key(later) == key(first));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    #[test]
    fn points_of_several_attributes_are_merged_by_time_and_attribute() {
        let p = |id, observed, ingested, n| {
            let (observed_at, ingested_at) = (at(observed), at(ingested));
            let value = Value::Integer(n);
            (AttributeId(id), HistoryPoint { observed_at, ingested_at, value, superseded: Vec::new() })
        };
        let mut query = SeriesQuery {
            tenant: TenantId(1),
            entity: EntityId(1),
            parts: Vec::new(),
            descending: true,
            limit: 4,
            with_staging: true,
        };
        let points = vec![p(2, 5, 10, 1), p(1, 5, 10, 2), p(1, 9, 1, 3), p(2, 5, 9, 4), p(1, 5, 11, 5)];
        let of = |q: &SeriesQuery| -> Vec<_> {
            merge(points.clone(), q)
                .into_iter()
                .map(|(a, p)| (p.observed_at.as_micros(), a.0, p.value))
                .collect()
        };
        let (a, b, c) = ((9, 1, Value::Integer(3)), (5, 1, Value::Integer(5)), (5, 2, Value::Integer(1)));
        assert_eq!(of(&query), [a.clone(), b.clone(), c.clone()]);
        query.descending = false;
        assert_eq!(of(&query), [b.clone(), c, a]);
        query.limit = 1;
        assert_eq!(of(&query), [b]);
    }

    #[test]
    fn the_newest_value_is_observed_last_and_then_taken_last() {
        let v = |entity, observed, ingested, n| LatestValue {
            entity: EntityId(entity),
            attribute: AttributeId(1),
            observed_at: at(observed),
            ingested_at: at(ingested),
            value: Value::Integer(n),
        };
        let found = newest(vec![v(2, 1, 9, 1), v(1, 3, 1, 2), v(2, 1, 8, 3), v(1, 2, 9, 4)]);
        assert_eq!(found, [v(1, 3, 1, 2), v(2, 1, 9, 1)]);
    }
}
