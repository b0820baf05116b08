//! How attributes are used (`V42__attribute_statistics.sql`).

use super::entity::attribute_row;
use super::{AttributeRow, Parameter, ReadError, Reader, Snapshot, Statement};
use crate::micros::Micros;
use eaves_model::hot::step::{Pin, RECENT_DAYS, Standing};
use eaves_model::promotion::Statistics;
use eaves_model::sketch::Sketch;
use eaves_model::usage::{Usage, window_seconds};
use eaves_model::{TenantId, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Attributes as `which` has it, with `$1` the tenant; sketches of those that are `sketched`. The
/// last 24 hours are those of `mv_entity_attribute_stats`, as of its last refresh.
fn usages(which: &str, sketched: &str) -> String {
    format!(
        "select a.attribute_name, a.attribute_id, a.value_type, a.unit, a.is_hot, \
           a.created_at, clock_timestamp(), greatest(b.began_at, a.created_at), \
           s.\"values\", s.bytes, s.compared, s.changed, s.queries, s.filters, s.returns, s.query_us, \
           s.last_written_at, k.entities, k.distinct_values, \
           d.value_count, d.entity_count, d.min_value, d.max_value, d.avg_value, d.refreshed_at, \
           h.changed_at, a.hot_filling, a.hot_pin, h.recent_changes, a.description \
         from attribute_statistics_state b \
         cross join lateral (select * from attributes where tenant_id = $1 {which}) a \
         cross join lateral ( \
           select coalesce(sum(\"values\"), 0)::int8 as \"values\", coalesce(sum(bytes), 0)::int8 as bytes, \
             coalesce(sum(compared), 0)::int8 as compared, coalesce(sum(changed), 0)::int8 as changed, \
             coalesce(sum(queries), 0)::int8 as queries, coalesce(sum(filters), 0)::int8 as filters, \
             coalesce(sum(returns), 0)::int8 as returns, coalesce(sum(query_us), 0)::int8 as query_us, \
             max(last_written_at) as last_written_at \
           from attribute_statistics s where s.tenant_id = $1 and s.attribute_id = a.attribute_id \
             and s.period >= floor(extract(epoch from now()) / 43200) - 1 \
         ) s \
         cross join lateral ( \
           select coalesce(array_agg(entities), '{{}}') as entities, \
             coalesce(array_agg(distinct_values), '{{}}') as distinct_values \
           from attribute_sketches k where k.tenant_id = $1 and k.attribute_id = a.attribute_id \
             and k.period >= floor(extract(epoch from now()) / 43200) - 1 and {sketched} \
         ) k \
         left join ( \
           select c.attribute_id, max(c.requested_at) as changed_at, \
             count(*) filter (where c.requested_at > now() - make_interval(days => {RECENT_DAYS})) as recent_changes \
           from hot_changes c where c.tenant_id = $1 group by c.attribute_id \
         ) h on h.attribute_id = a.attribute_id \
         left join entity_attribute_stats d on d.tenant_id = $1 and d.attribute_id = a.attribute_id \
         order by a.attribute_name"
    )
}

/// A page, or one attribute.
const PAGE: &str = "and attribute_name > $2 and ($3::text is null or attribute_name = $3) \
     order by attribute_name limit $4";

/// Most attributes that a rule looks at.
const MOST_JUDGED: u32 = 20_000;

const BUDGET: &str = "select hot_limit, hot_bytes, hot_auto, now() from tenants where tenant_id = $1";

const ADD: &str = "select statistics_add_queries($1, $2, $3, $4, $5, $6)";

/// An attribute and how it is used.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeUsage {
    /// What is registered of it.
    pub attribute: AttributeRow,
    /// What its tenant says of it; may be empty.
    pub description: String,
    /// Since when it is.
    pub created_at: Timestamp,
    /// When it was last asked to become hot, or to cease to be.
    pub changed_at: Option<Timestamp>,
    /// It is to be hot: history is being filled in, and queries do not see it yet.
    pub filling: bool,
    /// What somebody has fixed, and how often it changed lately.
    pub standing: Standing,
    /// The last twelve to twenty-four hours.
    pub usage: Usage,
    /// The 24 hours before the last refresh, counted in history.
    pub day: Option<DayFigures>,
}

/// What `mv_entity_attribute_stats` has of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct DayFigures {
    /// Values.
    pub values: i64,
    /// Entities with any.
    pub entities: i64,
    /// The least, if it is a number.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
    /// When it was counted.
    pub refreshed_at: Timestamp,
}

/// What a rule of promotion looks at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HotStatistics {
    /// The attributes, by name, and the tenant's byte budget. One that is being filled counts as
    /// hot.
    pub statistics: Statistics,
    /// What holds for each of the attributes beside its figures.
    pub standing: Vec<Standing>,
    /// Most hot attributes.
    pub hot_limit: u32,
    /// The tenant wants to be decided for.
    pub auto: bool,
    /// When this was read, by the database's clock.
    pub read_at: Option<Timestamp>,
}

/// What queries of one tenant asked of an attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// Queries that name it.
    pub queries: u64,
    /// Those that filter by it.
    pub filters: u64,
    /// Those that compare it by order, or ask whether it is there: what an index of its ranges would answer.
    pub ranges: u64,
    /// Those that want it returned.
    pub returns: u64,
    /// Their time, in microseconds.
    pub query_us: u64,
}

fn estimate(sketches: &[Vec<u8>]) -> Result<u64, ReadError> {
    let mut all = Sketch::default();
    match sketches.iter().all(|registers| all.merge(registers)) {
        true => Ok(all.estimate()),
        false => Err(ReadError::Unreadable("a sketch")),
    }
}

fn day(row: &Row) -> Result<Option<DayFigures>, ReadError> {
    let Some(values) = row.try_get(19)? else { return Ok(None) };
    Ok(Some(DayFigures {
        values,
        entities: row.try_get(20)?,
        min: row.try_get(21)?,
        max: row.try_get(22)?,
        mean: row.try_get(23)?,
        refreshed_at: row.try_get::<_, Micros>(24)?.0,
    }))
}

fn attribute_usage(row: &Row) -> Result<AttributeUsage, ReadError> {
    let count = |column: usize| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    let Micros(now) = row.try_get(6)?;
    let Micros(since) = row.try_get(7)?;
    Ok(AttributeUsage {
        attribute: attribute_row(row)?,
        description: row.try_get(29)?,
        created_at: row.try_get::<_, Micros>(5)?.0,
        changed_at: row.try_get::<_, Option<Micros>>(25)?.map(|m| m.0),
        filling: row.try_get(26)?,
        standing: standing(row.try_get(27)?, row.try_get(28)?)?,
        usage: Usage {
            window_seconds: window_seconds(now, since),
            values: count(8)?,
            bytes: count(9)?,
            compared: count(10)?,
            changed: count(11)?,
            queries: count(12)?,
            filters: count(13)?,
            returns: count(14)?,
            query_us: count(15)?,
            last_written_at: row.try_get::<_, Option<Micros>>(16)?.map(|m| m.0),
            entities: estimate(&row.try_get::<_, Vec<Vec<u8>>>(17)?)?,
            distinct_values: estimate(&row.try_get::<_, Vec<Vec<u8>>>(18)?)?,
        },
        day: day(row)?,
    })
}

fn standing(pin: Option<&str>, recent_changes: Option<i64>) -> Result<Standing, ReadError> {
    let pin = pin.map(str::parse::<Pin>).transpose().map_err(|_| ReadError::Unreadable("a pin"))?;
    let recent_changes = u32::try_from(recent_changes.unwrap_or_default()).unwrap_or(u32::MAX);
    Ok(Standing { pin, recent_changes })
}

fn statistics(all: &[AttributeUsage], byte_budget: u32) -> Statistics {
    let now = Timestamp::now();
    let of = |a: &AttributeUsage| {
        let row = &a.attribute;
        let settled = now.seconds_since(a.changed_at.unwrap_or(a.created_at)).max(0.0);
        a.usage.statistics((&row.name, row.value_type, &row.unit), row.is_hot || a.filling, settled)
    };
    Statistics {
        window_seconds: all.iter().map(|a| a.usage.window_seconds).fold(0.0, f64::max),
        // An entity has at least one attribute, so it is at least as many.
        tenant_entities: all.iter().map(|a| a.usage.entities).max().unwrap_or_default(),
        byte_budget,
        attributes: all.iter().map(of).collect(),
    }
}

impl Reader {
    /// A tenant's attributes and how they are used, by name: those after `after`, at most
    /// `most`; only the one called `only`, if that is given.
    pub async fn attribute_usages(
        &self,
        tenant: TenantId,
        after: &str,
        only: Option<&str>,
        most: u32,
    ) -> Result<Snapshot<Vec<AttributeUsage>>, ReadError> {
        let most = i64::from(most);
        let parameters: [Parameter<'_>; 4] =
            [(&tenant.0, Type::INT4), (&after, Type::TEXT), (&only, Type::TEXT), (&most, Type::INT8)];
        let sql = usages(PAGE, "true");
        let done = self.unit(Some(tenant), &[Statement { sql: &sql, parameters: &parameters }]).await?;
        done.try_map(|results| results.iter().flatten().map(attribute_usage).collect())
    }

    /// All that a rule of promotion looks at. Of attributes that are neither hot nor asked for,
    /// entities and values are not counted: they do not become hot.
    pub async fn hot_statistics(&self, tenant: TenantId) -> Result<Snapshot<HotStatistics>, ReadError> {
        let sql = usages(
            "order by attribute_id limit $2",
            "(a.is_hot or a.hot_filling or s.filters + s.returns > 0)",
        );
        let most = i64::from(MOST_JUDGED);
        let attributes: [Parameter<'_>; 2] = [(&tenant.0, Type::INT4), (&most, Type::INT8)];
        let limit: [Parameter<'_>; 1] = [(&tenant.0, Type::INT4)];
        let statements =
            [Statement { sql: &sql, parameters: &attributes }, Statement { sql: BUDGET, parameters: &limit }];
        let done = self.unit(Some(tenant), &statements).await?;
        done.try_map(|results| {
            let [attributes, limit] = results.as_slice() else {
                return Err(ReadError::Unreadable("statistics"));
            };
            let all: Vec<AttributeUsage> =
                attributes.iter().map(attribute_usage).collect::<Result<_, _>>()?;
            let standing = all.iter().map(|a| a.standing).collect();
            let Some(row) = limit.first() else { return Ok(HotStatistics::default()) };
            let number = |column: usize| row.try_get::<_, i32>(column).map(i32::unsigned_abs);
            Ok(HotStatistics {
                statistics: statistics(&all, number(1)?),
                standing,
                hot_limit: number(0)?,
                auto: row.try_get(2)?,
                read_at: Some(row.try_get::<_, Micros>(3)?.0),
            })
        })
    }

    /// Adds what queries of the tenant asked. Only the primary takes it.
    pub async fn add_queries(&self, tenant: TenantId, asked: &[Asked]) -> Result<(), ReadError> {
        let count = |of: fn(&Asked) -> u64| -> Vec<i64> {
            asked.iter().map(|a| i64::try_from(of(a)).unwrap_or(i64::MAX)).collect()
        };
        let names: Vec<&str> = asked.iter().map(|a| a.name.as_str()).collect();
        let (queries, filters) = (count(|a| a.queries), count(|a| a.filters));
        let (returns, query_us, ranges) = (count(|a| a.returns), count(|a| a.query_us), count(|a| a.ranges));
        let parameters: [Parameter<'_>; 6] = [
            (&names, Type::TEXT_ARRAY),
            (&queries, Type::INT8_ARRAY),
            (&filters, Type::INT8_ARRAY),
            (&returns, Type::INT8_ARRAY),
            (&query_us, Type::INT8_ARRAY),
            (&ranges, Type::INT8_ARRAY),
        ];
        self.write(tenant, &[Statement { sql: ADD, parameters: &parameters }]).await.map(drop)
    }
}
