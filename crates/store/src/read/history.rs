//! The history of one attribute of one entity.

use super::{Parameter, ReadError, Reader, Snapshot, Statement};
use crate::micros::Micros;
use eaves_model::{AttributeId, Decimal, EntityId, TenantId, Timestamp, Value, ValueType};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Which part of a history to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Of which entity.
    pub entity: EntityId,
    /// Of which attribute.
    pub attribute: AttributeId,
    /// The attribute's type.
    pub value_type: ValueType,
    /// First time taken.
    pub from: Timestamp,
    /// First time not taken any more.
    pub to: Timestamp,
    /// Newest first.
    pub descending: bool,
    /// Most points.
    pub limit: u32,
    /// Also what is acknowledged but not flushed yet; only on the primary.
    pub with_staging: bool,
    /// Also the values that later ones for the same point took the place of.
    pub with_corrections: bool,
}

/// One value of a history.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPoint {
    /// When it was seen.
    pub observed_at: Timestamp,
    /// When the platform took it.
    pub ingested_at: Timestamp,
    /// The value.
    pub value: Value,
    /// Values it took the place of, the earliest first, if they were asked for.
    pub superseded: Vec<Superseded>,
}

/// A value that a later one for the same point took the place of.
#[derive(Clone, Debug, PartialEq)]
pub struct Superseded {
    /// The value.
    pub value: Value,
    /// When the platform took it.
    pub ingested_at: Timestamp,
    /// When the platform took the value after it.
    pub superseded_at: Timestamp,
}

/// The column of history that has values of the type.
pub(super) fn column(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::String => "value",
        ValueType::Integer => "value_int",
        ValueType::Float => "value_float",
        ValueType::Decimal => "value_decimal",
        ValueType::Boolean => "value_bool",
        ValueType::Timestamp => "value_timestamp",
    }
}

fn point(row: &Row, value_type: ValueType) -> Result<HistoryPoint, ReadError> {
    let Micros(observed_at) = row.try_get(0)?;
    let Micros(ingested_at) = row.try_get(1)?;
    Ok(HistoryPoint { observed_at, ingested_at, value: typed(row, 2, value_type)?, superseded: Vec::new() })
}

/// The value in a column of its type's own.
pub(super) fn typed(row: &Row, column: usize, value_type: ValueType) -> Result<Value, ReadError> {
    Ok(match value_type {
        ValueType::String => Value::String(row.try_get::<_, String>(column)?.into()),
        ValueType::Integer => Value::Integer(row.try_get(column)?),
        ValueType::Float => Value::Float(row.try_get(column)?),
        ValueType::Decimal => Value::Decimal(row.try_get::<_, Decimal>(column)?),
        ValueType::Boolean => Value::Boolean(row.try_get(column)?),
        ValueType::Timestamp => Value::Timestamp(row.try_get::<_, Micros>(column)?.0),
    })
}

impl Reader {
    /// The points of a history, at most `limit`, in order of `observed_at`.
    pub async fn history(&self, query: &HistoryQuery) -> Result<Snapshot<Vec<HistoryPoint>>, ReadError> {
        let column = column(query.value_type);
        let order = if query.descending { "desc" } else { "asc" };
        let from_staging =
            format!("select observed_at, ingested_at, {column} from staged_points($1, $2, $3, $4, $5, $6)");
        let from_history = format!(
            "select observed_at, ingested_at, {column} from entity_values_ts \
             where tenant_id = $1 and entity_id = $2 and attribute_id = $3 \
             and observed_at >= $4 and observed_at < $5 order by observed_at {order} limit $6"
        );
        let (from, to) = (Micros(query.from), Micros(query.to));
        let limit = i32::try_from(query.limit).unwrap_or(i32::MAX);
        let staged: [Parameter<'_>; 6] = [
            (&query.entity.0, Type::INT8),
            (&query.attribute.0, Type::INT4),
            (&from, Type::TIMESTAMPTZ),
            (&to, Type::TIMESTAMPTZ),
            (&query.descending, Type::BOOL),
            (&limit, Type::INT4),
        ];
        let kept: [Parameter<'_>; 6] = [
            (&query.tenant.0, Type::INT4),
            (&query.entity.0, Type::INT8),
            (&query.attribute.0, Type::INT4),
            (&from, Type::TIMESTAMPTZ),
            (&to, Type::TIMESTAMPTZ),
            (&limit, Type::INT4),
        ];
        let corrections = corrections(query.descending, column);
        // Staging first: see V20__staged_points.sql.
        let all = [
            Statement { sql: &from_staging, parameters: &staged },
            Statement { sql: &from_history, parameters: &kept },
            Statement { sql: &corrections, parameters: &kept },
        ];
        let first = usize::from(!query.with_staging);
        let end = 2 + usize::from(query.with_corrections);
        let done = self.unit(Some(query.tenant), &all[first..end]).await?;
        done.try_map(|results| {
            let (points, corrections) = results.split_at(2 - first);
            let points = points.iter().flatten().map(|row| point(row, query.value_type));
            let mut points = merge(points.collect::<Result<_, _>>()?, query);
            for row in corrections.iter().flatten() {
                attach(&mut points, row, query)?;
            }
            Ok(points)
        })
    }
}

/// The corrections of the first so many corrected points: at least those of the first so
/// many points.
fn corrections(descending: bool, column: &str) -> String {
    let order = if descending { "desc" } else { "asc" };
    format!(
        "select c.observed_at, c.ingested_at, c.{column}, c.superseded_at from entity_value_corrections c \
         where c.tenant_id = $1 and c.entity_id = $2 and c.attribute_id = $3 \
         and c.observed_at in (select d.observed_at from entity_value_corrections d \
           where d.tenant_id = $1 and d.entity_id = $2 and d.attribute_id = $3 \
           and d.observed_at >= $4 and d.observed_at < $5 \
           group by d.observed_at order by d.observed_at {order} limit $6) \
         order by c.superseded_at, c.sequence, c.sub, c.item"
    )
}

/// Puts a superseded value to its point. A point that is older than what superseded the
/// value is not that yet: the new one is staged, or is being read again after a crash.
fn attach(points: &mut [HistoryPoint], row: &Row, query: &HistoryQuery) -> Result<(), ReadError> {
    let Micros(observed_at) = row.try_get(0)?;
    let Micros(superseded_at) = row.try_get(3)?;
    let found = points.binary_search_by(|p| {
        let by_time = p.observed_at.cmp(&observed_at);
        if query.descending { by_time.reverse() } else { by_time }
    });
    let point = found.ok().and_then(|at| points.get_mut(at)).filter(|p| p.ingested_at >= superseded_at);
    if let Some(point) = point {
        let Micros(ingested_at) = row.try_get(1)?;
        let value = typed(row, 2, query.value_type)?;
        point.superseded.push(Superseded { value, ingested_at, superseded_at });
    }
    Ok(())
}

/// One point a time, the one that was taken last: what the flush will make of them.
fn merge(mut points: Vec<HistoryPoint>, query: &HistoryQuery) -> Vec<HistoryPoint> {
    if query.with_staging {
        // Stable, so that of two taken at the same moment the staged one stays first.
        points.sort_by(|a, b| {
            let by_time = a.observed_at.cmp(&b.observed_at);
            let by_time = if query.descending { by_time.reverse() } else { by_time };
            by_time.then(b.ingested_at.cmp(&a.ingested_at))
        });
        points.dedup_by(|later, first| later.observed_at == first.observed_at);
        points.truncate(query.limit as usize);
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    #[test]
    fn of_staged_and_kept_points_the_last_taken_stays() {
        let p = |observed, ingested, n| HistoryPoint {
            observed_at: at(observed),
            ingested_at: at(ingested),
            value: Value::Integer(n),
            superseded: Vec::new(),
        };
        let mut query = HistoryQuery {
            tenant: TenantId(1),
            entity: EntityId(1),
            attribute: AttributeId(1),
            value_type: ValueType::Integer,
            from: at(0),
            to: at(100),
            descending: true,
            limit: 3,
            with_staging: true,
            with_corrections: false,
        };
        let points = vec![p(5, 10, 1), p(3, 10, 2), p(6, 1, 3), p(5, 9, 4), p(3, 11, 5), p(1, 1, 6)];
        let values = |q: &HistoryQuery| -> Vec<_> {
            merge(points.clone(), q).into_iter().map(|p| (p.observed_at.as_micros(), p.value)).collect()
        };
        assert_eq!(values(&query), [(6, Value::Integer(3)), (5, Value::Integer(1)), (3, Value::Integer(5))]);
        query.descending = false;
        assert_eq!(values(&query), [(1, Value::Integer(6)), (3, Value::Integer(5)), (5, Value::Integer(1))]);
    }
}
