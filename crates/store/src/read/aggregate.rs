//! Figures over all entities of a tenant, from history.
//!
//! Staging is not looked at: the answer is as old as the flush ([`Snapshot::history_age`]).
//!
//! Percentiles of integers and floats are found here, among the values: PostgreSQL would sort all of them, where
//! finding a few ranks takes a pass. What has more of them than a read may hold is sorted there.

use super::guards::{Cost, EXPLAIN};
use super::history::column;
use super::{Parameter, ReadError, Reader, Snapshot, Statement};
use crate::micros::Micros;
use eaves_model::{AttributeId, TenantId, Timestamp, ValueType};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Attributes whose values are asked for in one read: those of more would not find room.
const ATTRIBUTES_BY_VALUES: usize = 4;

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

    /// The rank, in hundredths of the number of values.
    fn percent(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.5),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
            _ => None,
        }
    }

    /// Whether it is made here where the values are at hand. (A sum of integers and its mean need more than 64 bits.)
    fn of_values(self, value_type: ValueType) -> bool {
        match self {
            Self::Count | Self::Entities => false,
            Self::Sum | Self::Avg => value_type == ValueType::Float,
            Self::Min | Self::Max | Self::P50 | Self::P95 | Self::P99 => true,
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

/// Where figures are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// All in the database.
    Figures,
    /// Those that follow from the values alone here, of the values.
    Values,
}

impl Way {
    /// Sorting is what takes long.
    fn of(query: &AggregateQuery) -> Self {
        let percentiles = query.wanted.iter().any(|a| a.percent().is_some());
        match percentiles && query.attributes.len() <= ATTRIBUTES_BY_VALUES {
            true => Self::Values,
            false => Self::Figures,
        }
    }

    /// The same for an attribute's type: decimals are no numbers that a machine compares.
    fn for_type(self, value_type: ValueType) -> Self {
        match value_type {
            ValueType::Integer | ValueType::Float => self,
            _ => Self::Figures,
        }
    }
}

/// Of one attribute, `$2`: a group by attribute would sort all rows for it before percentiles sort them again,
/// which takes twice as long; and the planner knows how much there is of the one.
fn statement(query: &AggregateQuery, value_type: ValueType, way: Way) -> String {
    let (entity_type, group) = match query.by_entity_type {
        true => ("e.entity_type", "group by e.entity_type"),
        false => ("null::text", ""),
    };
    let join = if query.by_entity_type || query.entity_type.is_some() {
        "join entities e on e.tenant_id = $1 and e.entity_id = v.entity_id and ($5::text is null or e.entity_type = $5)"
    } else {
        ""
    };
    let figure = |a: &Aggregate| match way {
        Way::Values if a.of_values(value_type) => "null::text",
        _ => a.sql(value_type),
    };
    let figures: String = query.wanted.iter().map(|a| format!(", {}", figure(a))).collect();
    let values = if way == Way::Values { ", array_agg(v.v)" } else { "" };
    format!(
        "select $2, {entity_type}, count(*){figures}{values} \
         from (select h.entity_id, h.{} as v from entity_values_ts h \
               where h.tenant_id = $1 and h.attribute_id = $2 \
               and h.observed_at >= $3 and h.observed_at < $4) v {join} \
         {group} having count(*) >= greatest($6, 1) order by 2 limit $7",
        column(value_type)
    )
}

fn aggregate_row(query: &AggregateQuery, row: &Row, way: Way) -> Result<AggregateRow, ReadError> {
    let attribute = AttributeId(row.try_get(0)?);
    let types = query.attributes.iter();
    let value_type = types.filter(|(id, _)| *id == attribute).map(|(_, t)| *t).next();
    let value_type = value_type.ok_or(ReadError::Unreadable("an attribute that was not asked for"))?;
    let texts = 3..3 + query.wanted.len();
    let mut figures = texts.clone().map(|i| row.try_get(i)).collect::<Result<Vec<Option<String>>, _>>()?;
    if way.for_type(value_type) == Way::Values {
        let made: Vec<Aggregate> = query.wanted.iter().copied().filter(|a| a.of_values(value_type)).collect();
        let found = match value_type {
            ValueType::Float => {
                let values: Vec<f64> = row.try_get(texts.end)?;
                figures_of_floats(values, &made)?
            }
            _ => figures_of_integers(row.try_get(texts.end)?, &made),
        };
        let mut found = found.into_iter();
        for (figure, _) in figures.iter_mut().zip(&query.wanted).filter(|(_, a)| a.of_values(value_type)) {
            *figure = found.next();
        }
    }
    Ok(AggregateRow { attribute, entity_type: row.try_get(1)?, count: row.try_get(2)?, figures })
}

/// Of values in the order in which they were read, of which there is one at least. As PostgreSQL has them: the sum
/// is added up in that order.
fn figures_of_floats(mut values: Vec<f64>, wanted: &[Aggregate]) -> Result<Vec<String>, ReadError> {
    let sum: f64 = values.iter().sum();
    let count = values.len() as f64;
    if !sum.is_finite() && wanted.iter().any(|a| matches!(a, Aggregate::Sum | Aggregate::Avg)) {
        return Err(ReadError::OutOfRange);
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let ranked = ranked(&mut values, wanted, f64::total_cmp);
    let figure = |aggregate: &Aggregate| match aggregate {
        Aggregate::Sum => sum,
        Aggregate::Avg => sum / count,
        Aggregate::Min => least,
        Aggregate::Max => greatest,
        other => ranked.iter().find(|(a, _)| a == other).map_or(f64::NAN, |(_, value)| *value),
    };
    Ok(wanted.iter().map(|a| format!("{:?}", figure(a))).collect())
}

/// The same of integers, whose sum is not among them.
fn figures_of_integers(mut values: Vec<i64>, wanted: &[Aggregate]) -> Vec<String> {
    let (least, greatest) = (values.iter().copied().min(), values.iter().copied().max());
    let ranked = ranked(&mut values, wanted, i64::cmp);
    let figure = |aggregate: &Aggregate| match aggregate {
        Aggregate::Min => least,
        Aggregate::Max => greatest,
        other => ranked.iter().find(|(a, _)| a == other).map(|(_, value)| *value),
    };
    wanted.iter().map(|a| figure(a).unwrap_or_default().to_string()).collect()
}

/// The values at the ranks of those that are percentiles: the least one that so many are not above.
fn ranked<T: Copy>(
    mut values: &mut [T],
    wanted: &[Aggregate],
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> Vec<(Aggregate, T)> {
    let n = values.len() as f64;
    let mut ranks: Vec<(Aggregate, usize)> = wanted
        .iter()
        .filter_map(|a| Some((*a, ((a.percent()? * n).ceil() as usize).clamp(1, values.len()) - 1)))
        .collect();
    // From the highest: what is above one found need not be looked at for the next.
    ranks.sort_by_key(|(_, rank)| std::cmp::Reverse(*rank));
    let mut found = Vec::with_capacity(ranks.len());
    for (aggregate, rank) in ranks {
        let (_, value, _) = values.select_nth_unstable_by(rank, &order);
        found.push((aggregate, *value));
        values = &mut values[..=rank];
    }
    found
}

impl Reader {
    /// The groups that have values, in order of attribute and type of entity.
    pub async fn aggregates(&self, query: &AggregateQuery) -> Result<Snapshot<Vec<AggregateRow>>, ReadError> {
        let way = Way::of(query);
        match self.aggregates_by(query, way).await {
            Err(ReadError::TooLarge(_)) if way == Way::Values => {
                self.aggregates_by(query, Way::Figures).await
            }
            done => done,
        }
    }

    async fn aggregates_by(
        &self,
        query: &AggregateQuery,
        way: Way,
    ) -> Result<Snapshot<Vec<AggregateRow>>, ReadError> {
        let done = self.aggregate_results(query, way, "").await?;
        done.try_map(|results| {
            let rows = results.iter().flatten().map(|row| aggregate_row(query, row, way));
            let mut rows = rows.collect::<Result<Vec<_>, ReadError>>()?;
            rows.sort_by(|a, b| (a.attribute, &a.entity_type).cmp(&(b.attribute, &b.entity_type)));
            rows.truncate(query.limit as usize);
            Ok(rows)
        })
    }

    /// What that would cost.
    pub async fn aggregates_cost(&self, query: &AggregateQuery) -> Result<Snapshot<Cost>, ReadError> {
        self.aggregate_results(query, Way::of(query), EXPLAIN)
            .await?
            .try_map(|results| Cost::of_all(&results))
    }

    async fn aggregate_results(
        &self,
        query: &AggregateQuery,
        way: Way,
        before: &str,
    ) -> Result<Snapshot<Vec<Vec<Row>>>, ReadError> {
        let (from, to) = (Micros(query.from), Micros(query.to));
        let (min_count, limit) = (i64::from(query.min_count), i64::from(query.limit));
        let parts: Vec<(String, AttributeId)> = query
            .attributes
            .iter()
            .map(|(id, value_type)| {
                (format!("{before}{}", statement(query, *value_type, way.for_type(*value_type))), *id)
            })
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_are_those_of_the_sorted_values(
            values in prop::collection::vec(-50..50_i64, 1..400),
            wanted in prop::sample::subsequence(Aggregate::ALL.to_vec(), 0..=9),
        ) {
            let wanted: Vec<Aggregate> =
                wanted.into_iter().rev().filter(|a| a.of_values(ValueType::Integer)).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let n = sorted.len();
            let expect: Vec<String> = wanted.iter().map(|a| match a {
                Aggregate::Min => sorted[0],
                Aggregate::Max => sorted[n - 1],
                Aggregate::P50 => sorted[(n * 50).div_ceil(100) - 1],
                Aggregate::P95 => sorted[(n * 95).div_ceil(100) - 1],
                _ => sorted[(n * 99).div_ceil(100) - 1],
            }.to_string()).collect();
            prop_assert_eq!(figures_of_integers(values.clone(), &wanted), expect.clone());
            let floats: Vec<f64> = values.iter().map(|n| *n as f64).collect();
            let told = figures_of_floats(floats, &wanted).unwrap();
            let told: Vec<String> = told.iter().map(|t| format!("{:.0}", t.parse::<f64>().unwrap() + 0.0)).collect();
            prop_assert_eq!(told, expect);
        }
    }
}
