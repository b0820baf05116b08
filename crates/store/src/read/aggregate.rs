//! Figures over all entities of a tenant, from history.
//!
//! Staging is not looked at: the answer is as old as the flush ([`Snapshot::history_age`]).

use super::guards::{Cost, EXPLAIN};
use super::history::column;
use super::{Parameter, ReadError, Reader, Snapshot, Statement};
use crate::micros::Micros;
use eaves_model::{AttributeId, TenantId, Timestamp, ValueType};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Percentiles sort all values: a million of them in memory, for as long as the query lasts.
const SORTED_IN_MEMORY: Statement<'_> =
    Statement { sql: "select set_config('work_mem', '64MB', true)", parameters: &[] };

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aggregate {
    /// Values.
    Count,
    /// Entities that have any.
    Entities,
    /// Their sum; exact for integers and decimals.
    Sum,
    /// Their mean; of integers and decimals with at least 16 decimal places.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The least value that half of the values are not above (nearest rank).
    P50,
    /// Likewise for 95 of 100.
    P95,
    /// Likewise for 99 of 100.
    P99,
}

impl Aggregate {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Count,
        Self::Entities,
        Self::Sum,
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::P50,
        Self::P95,
        Self::P99,
    ];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Entities => "entities",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }

    /// The expression over `v.v`, as text; null where it makes no sense for the type.
    fn sql(self, value_type: ValueType) -> &'static str {
        let number = matches!(value_type, ValueType::Integer | ValueType::Float | ValueType::Decimal);
        match self {
            Self::Count => "count(*)::text",
            Self::Entities => "count(distinct v.entity_id)::text",
            _ if !number => "null::text",
            Self::Sum => "sum(v.v)::text",
            Self::Avg if value_type == ValueType::Float => "avg(v.v)::text",
            // avg() gives 16 digits, which leaves a large number no decimal places.
            Self::Avg => "trim_scale(sum(v.v) * 1.0000000000000000 / count(*))::text",
            Self::Min => "min(v.v)::text",
            Self::Max => "max(v.v)::text",
            // A value that is there, with all its digits: percentile_cont knows floats only.
            Self::P50 => "(percentile_disc(0.5) within group (order by v.v))::text",
            Self::P95 => "(percentile_disc(0.95) within group (order by v.v))::text",
            Self::P99 => "(percentile_disc(0.99) within group (order by v.v))::text",
        }
    }
}

/// What to compute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Of which attributes, with their types.
    pub attributes: Vec<(AttributeId, ValueType)>,
    /// First time taken.
    pub from: Timestamp,
    /// First time not taken any more.
    pub to: Timestamp,
    /// Only of entities of this type.
    pub entity_type: Option<String>,
    /// A row for each attribute and type of entity, instead of one for each attribute.
    pub by_entity_type: bool,
    /// Which figures, in this order.
    pub wanted: Vec<Aggregate>,
    /// Only groups of at least so many values.
    pub min_count: u32,
    /// Most groups.
    pub limit: u32,
}

/// The figures of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateRow {
    /// The attribute.
    pub attribute: AttributeId,
    /// The type of entity, where they are told apart.
    pub entity_type: Option<String>,
    /// Values in the group.
    pub count: i64,
    /// The figures wanted, in order, as decimal text; `None` for what is no number.
    pub figures: Vec<Option<String>>,
}

/// Of one attribute, `$2`: a group by attribute would sort all rows for it before percentiles sort them again,
/// which takes twice as long; and the planner knows how much there is of the one.
fn statement(query: &AggregateQuery, value_type: ValueType) -> String {
    let (entity_type, group) = match query.by_entity_type {
        true => ("e.entity_type", "group by e.entity_type"),
        false => ("null::text", ""),
    };
    let join = if query.by_entity_type || query.entity_type.is_some() {
        "join entities e on e.tenant_id = $1 and e.entity_id = v.entity_id and ($5::text is null or e.entity_type = $5)"
    } else {
        ""
    };
    let figures: String = query.wanted.iter().map(|a| format!(", {}", a.sql(value_type))).collect();
    format!(
        "select $2, {entity_type}, count(*){figures} \
         from (select h.entity_id, h.{} as v from entity_values_ts h \
               where h.tenant_id = $1 and h.attribute_id = $2 \
               and h.observed_at >= $3 and h.observed_at < $4) v {join} \
         {group} having count(*) >= greatest($6, 1) order by 2 limit $7",
        column(value_type)
    )
}

fn aggregate_row(row: &Row) -> Result<AggregateRow, ReadError> {
    Ok(AggregateRow {
        attribute: AttributeId(row.try_get(0)?),
        entity_type: row.try_get(1)?,
        count: row.try_get(2)?,
        figures: (3..row.len()).map(|i| row.try_get(i)).collect::<Result<_, _>>()?,
    })
}

impl Reader {
    /// The groups that have values, in order of attribute and type of entity.
    pub async fn aggregates(&self, query: &AggregateQuery) -> Result<Snapshot<Vec<AggregateRow>>, ReadError> {
        let done = self.aggregate_results(query, "").await?;
        done.try_map(|results| {
            let mut rows =
                results.iter().flatten().map(aggregate_row).collect::<Result<Vec<_>, ReadError>>()?;
            rows.sort_by(|a, b| (a.attribute, &a.entity_type).cmp(&(b.attribute, &b.entity_type)));
            rows.truncate(query.limit as usize);
            Ok(rows)
        })
    }

    /// What that would cost.
    pub async fn aggregates_cost(&self, query: &AggregateQuery) -> Result<Snapshot<Cost>, ReadError> {
        self.aggregate_results(query, EXPLAIN).await?.try_map(|results| Cost::of_all(&results))
    }

    async fn aggregate_results(
        &self,
        query: &AggregateQuery,
        before: &str,
    ) -> Result<Snapshot<Vec<Vec<Row>>>, ReadError> {
        let (from, to) = (Micros(query.from), Micros(query.to));
        let (min_count, limit) = (i64::from(query.min_count), i64::from(query.limit));
        let parts: Vec<(String, AttributeId)> = query
            .attributes
            .iter()
            .map(|(id, value_type)| (format!("{before}{}", statement(query, *value_type)), *id))
            .collect();
        let parameters: Vec<[Parameter<'_>; 7]> = parts
            .iter()
            .map(|(_, id)| -> [Parameter<'_>; 7] {
                [
                    (&query.tenant.0, Type::INT4),
                    (&id.0, Type::INT4),
                    (&from, Type::TIMESTAMPTZ),
                    (&to, Type::TIMESTAMPTZ),
                    (&query.entity_type, Type::TEXT),
                    (&min_count, Type::INT8),
                    (&limit, Type::INT8),
                ]
            })
            .collect();
        let asked = parts.iter().zip(&parameters).map(|((sql, _), parameters)| Statement { sql, parameters });
        let statements: Vec<Statement<'_>> = std::iter::once(SORTED_IN_MEMORY).chain(asked).collect();
        self.unit(Some(query.tenant), &statements).await?.try_map(|mut results| {
            // The setting's own answer.
            results.remove(0);
            Ok(results)
        })
    }
}
