//! How the values of an attribute are distributed, from history.
//!
//! Staging is not looked at: the answer is as old as the flush ([`Snapshot::history_age`]).

use super::guards::{Cost, EXPLAIN};
use super::history::{column, typed};
use super::{Parameter, ReadError, Reader, Snapshot, Statement};
use crate::micros::Micros;
use eaves_model::{AttributeId, TenantId, Timestamp, Value, ValueType};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Which values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistributionQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Of which attribute.
    pub attribute: AttributeId,
    /// Its type.
    pub value_type: ValueType,
    /// First time taken.
    pub from: Timestamp,
    /// First time not taken any more.
    pub to: Timestamp,
    /// Only of entities of this type.
    pub entity_type: Option<String>,
    /// Buckets of the histogram, or most values of the list.
    pub parts: u32,
}

/// How values are distributed.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Numbers: buckets of the same width from the least to the greatest; none without values.
    Histogram(Vec<HistogramBucket>),
    /// All else: the most frequent values, the most frequent first.
    Top {
        /// The values.
        values: Vec<TopValue>,
        /// Values in all.
        count: i64,
        /// Different ones.
        distinct: i64,
    },
}

/// One bucket: `from <= value < to`, in the last one `value <= to`. Bounds are decimal text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramBucket {
    /// Lower bound.
    pub from: String,
    /// Upper bound.
    pub to: String,
    /// Values in it.
    pub count: i64,
}

/// A value and how often it is there.
#[derive(Clone, Debug, PartialEq)]
pub struct TopValue {
    /// The value.
    pub value: Value,
    /// How often.
    pub count: i64,
}

/// The values as `v`, with the type that bounds are computed in.
fn points(query: &DistributionQuery, cast: &str) -> String {
    let join = match query.entity_type {
        Some(_) => "join entities e on e.tenant_id = $1 and e.entity_id = h.entity_id and e.entity_type = $5",
        None => "",
    };
    format!(
        "select h.{}{cast} as v from entity_values_ts h {join} \
         where h.tenant_id = $1 and h.attribute_id = $2 and h.observed_at >= $3 and h.observed_at < $4",
        column(query.value_type)
    )
}

/// The bounds are made first and values compared with them, so that a count always is that of the
/// bounds beside it.
fn histogram(query: &DistributionQuery) -> String {
    let number = if query.value_type == ValueType::Float { "float8" } else { "numeric" };
    let shown = if query.value_type == ValueType::Float { "" } else { "trim_scale" };
    format!(
        "with points as materialized ({points}), \
         edges as (select min(v) as least_value, max(v) as greatest_value from points), \
         bounds as ( \
           select greatest_value, case when least_value = greatest_value then array[least_value] else array( \
             select least_value + (greatest_value - least_value) * i::{number} / $6::{number} \
             from generate_series(0, $6::int4 - 1) i order by i) end as starts \
           from edges where least_value is not null), \
         counts as (select width_bucket(p.v, b.starts) as i, count(*) as n from points p, bounds b group by 1) \
         select {shown}(b.starts[s.i])::text, {shown}(coalesce(b.starts[s.i + 1], b.greatest_value))::text, \
           coalesce(c.n, 0) \
         from bounds b cross join lateral generate_subscripts(b.starts, 1) s (i) \
         left join counts c on c.i = s.i order by s.i",
        points = points(query, &format!("::{number}"))
    )
}

fn top(query: &DistributionQuery) -> String {
    let order = if query.value_type == ValueType::String { "v collate \"C\"" } else { "v" };
    format!(
        "select v, count(*), (sum(count(*)) over ())::int8, count(*) over () from ({}) p \
         group by v order by 2 desc, {order} limit $6",
        points(query, "")
    )
}

impl Reader {
    /// How an attribute's values are distributed.
    pub async fn distribution(&self, query: &DistributionQuery) -> Result<Snapshot<Distribution>, ReadError> {
        let number = is_number(query);
        let done = self.distribution_results(query, "").await?;
        done.try_map(|results| {
            let rows = results.iter().flatten();
            if number {
                let buckets = rows.map(|row| {
                    Ok(HistogramBucket { from: row.try_get(0)?, to: row.try_get(1)?, count: row.try_get(2)? })
                });
                return Ok(Distribution::Histogram(buckets.collect::<Result<_, ReadError>>()?));
            }
            let (mut count, mut distinct) = (0, 0);
            let values = rows.map(|row| {
                (count, distinct) = (row.try_get(2)?, row.try_get(3)?);
                Ok(TopValue { value: typed(row, 0, query.value_type)?, count: row.try_get(1)? })
            });
            let values = values.collect::<Result<_, ReadError>>()?;
            Ok(Distribution::Top { values, count, distinct })
        })
    }

    /// What that would cost.
    pub async fn distribution_cost(&self, query: &DistributionQuery) -> Result<Snapshot<Cost>, ReadError> {
        self.distribution_results(query, EXPLAIN).await?.try_map(|results| Cost::of_all(&results))
    }

    async fn distribution_results(
        &self,
        query: &DistributionQuery,
        before: &str,
    ) -> Result<Snapshot<Vec<Vec<Row>>>, ReadError> {
        let sql = format!("{before}{}", if is_number(query) { histogram(query) } else { top(query) });
        let (from, to) = (Micros(query.from), Micros(query.to));
        let parts = i32::try_from(query.parts).unwrap_or(i32::MAX);
        let parameters: [Parameter<'_>; 6] = [
            (&query.tenant.0, Type::INT4),
            (&query.attribute.0, Type::INT4),
            (&from, Type::TIMESTAMPTZ),
            (&to, Type::TIMESTAMPTZ),
            (&query.entity_type, Type::TEXT),
            (&parts, Type::INT4),
        ];
        self.unit(Some(query.tenant), &[Statement { sql: &sql, parameters: &parameters }]).await
    }
}

fn is_number(query: &DistributionQuery) -> bool {
    matches!(query.value_type, ValueType::Integer | ValueType::Float | ValueType::Decimal)
}
