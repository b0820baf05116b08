//! Numbers of an entity in buckets of time (`V51__history_reads.sql`).

use super::guards::Cost;
use super::{Parameter, ReadError, Reader, Snapshot, Statement};
use crate::micros::Micros;
use eaves_model::{AttributeId, EntityId, TenantId, Timestamp, ValueType};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

const BUCKETS: &str = "select attribute_id, starts_at, n, least_value, greatest_value, mean_value, \
     first_value, last_value from history_buckets($1, $2, $3, $4, $5, $6, $7)";

/// What the function above has to read of history.
const SCAN: &str = "explain (format json) select h.observed_at from entity_values_ts h \
     where h.tenant_id = $1 and h.entity_id = $2 and h.attribute_id = any ($3) \
     and h.observed_at >= $4 and h.observed_at < $5";

/// The types that have buckets.
const NUMBERS: [ValueType; 3] = [ValueType::Integer, ValueType::Float, ValueType::Decimal];

/// Which buckets to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Of which entity.
    pub entity: EntityId,
    /// Of which attributes, with their types; those that are no numbers have no buckets.
    pub attributes: Vec<(AttributeId, ValueType)>,
    /// First time taken.
    pub from: Timestamp,
    /// First time not taken any more.
    pub to: Timestamp,
    /// How long a bucket is, in microseconds.
    pub bucket_micros: i64,
    /// Also what is acknowledged but not flushed yet; only on the primary.
    pub with_staging: bool,
}

/// The numbers of one attribute in one bucket. Figures are decimal text with all digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The attribute.
    pub attribute: AttributeId,
    /// When the bucket begins.
    pub starts_at: Timestamp,
    /// Values in it, at least one.
    pub count: i64,
    /// The least.
    pub min: String,
    /// The greatest.
    pub max: String,
    /// The mean.
    pub mean: String,
    /// The one observed first.
    pub first: String,
    /// The one observed last.
    pub last: String,
}

fn bucket(row: &Row) -> Result<Bucket, ReadError> {
    Ok(Bucket {
        attribute: AttributeId(row.try_get(0)?),
        starts_at: row.try_get::<_, Micros>(1)?.0,
        count: row.try_get(2)?,
        min: row.try_get(3)?,
        max: row.try_get(4)?,
        mean: row.try_get(5)?,
        first: row.try_get(6)?,
        last: row.try_get(7)?,
    })
}

impl Reader {
    /// What reading the values would cost; what is made of them is little beside it.
    pub async fn history_buckets_cost(&self, query: &BucketQuery) -> Result<Snapshot<Cost>, ReadError> {
        let ids: Vec<i32> = query.attributes.iter().map(|(id, _)| id.0).collect();
        let (from, to) = (Micros(query.from), Micros(query.to));
        let parameters: [Parameter<'_>; 5] = [
            (&query.tenant.0, Type::INT4),
            (&query.entity.0, Type::INT8),
            (&ids, Type::INT4_ARRAY),
            (&from, Type::TIMESTAMPTZ),
            (&to, Type::TIMESTAMPTZ),
        ];
        let done = self.unit(Some(query.tenant), &[Statement { sql: SCAN, parameters: &parameters }]).await?;
        done.try_map(|results| Cost::of_all(&results))
    }

    /// The buckets that have values, in order of attribute and time.
    pub async fn history_buckets(&self, query: &BucketQuery) -> Result<Snapshot<Vec<Bucket>>, ReadError> {
        // A column has one type, so each type is a statement.
        let ids = NUMBERS.map(|wanted| {
            let of_type = query.attributes.iter().filter(|(_, value_type)| *value_type == wanted);
            of_type.map(|(id, _)| id.0).collect::<Vec<i32>>()
        });
        let names = NUMBERS.map(ValueType::name);
        let (from, to) = (Micros(query.from), Micros(query.to));
        let parameters: Vec<[Parameter<'_>; 7]> = (ids.iter().zip(&names))
            .map(|(ids, name)| -> [Parameter<'_>; 7] {
                [
                    (&query.entity.0, Type::INT8),
                    (ids, Type::INT4_ARRAY),
                    (name, Type::TEXT),
                    (&from, Type::TIMESTAMPTZ),
                    (&to, Type::TIMESTAMPTZ),
                    (&query.bucket_micros, Type::INT8),
                    (&query.with_staging, Type::BOOL),
                ]
            })
            .collect();
        let statements: Vec<Statement<'_>> = (ids.iter().zip(&parameters))
            .filter(|(ids, _)| !ids.is_empty())
            .map(|(_, parameters)| Statement { sql: BUCKETS, parameters })
            .collect();
        let done = self.unit(Some(query.tenant), &statements).await?;
        done.try_map(|results| {
            let mut buckets = results.iter().flatten().map(bucket).collect::<Result<Vec<_>, ReadError>>()?;
            buckets.sort_by_key(|b| (b.attribute, b.starts_at));
            Ok(buckets)
        })
    }
}
