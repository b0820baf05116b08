//! Points whose tenant lets a second value do something else than replace the first: what
//! is there is looked up in the transaction that writes (`V23__held_points.sql`).

use super::{Commit, HotRow, LedgerLine, Quarantined, Settled, numbered};
use crate::db::Parameter;
use crate::micros::Micros;
use eaves_model::batch::Point;
use eaves_model::{AttributeId, Decimal, EntityId, Position, TenantId, Timestamp, Value};
use futures_util::future::join;
use std::collections::HashMap;
use std::fmt;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row, Transaction};

const HELD: &str = "select ord, ingested_at, value_bool, value_int, value_float, value_decimal, \
     value_timestamp, value from held_points($1, $2, $3, $4)";

/// Where to write, asked only now: looking up takes its time, and a flush may have gone on
/// to the other leaf meanwhile.
const PLACE: &str = "select last_value::int2, clock_timestamp() from staging_slot";

const FORGET: &str = "select points_forget($1, $2, $3, $4, $5, $6)";

const CORRECT: &str = "select corrections_add($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
     $15, $16, $17)";

/// Which of a commit's points are guarded, and what decides about them.
pub struct Guard<'a> {
    /// Indices into [`Commit::points`].
    pub points: &'a [u32],
    /// Told what these points hold already, says what is to be written in place of the
    /// commit's points, hot rows, ledger and quarantine.
    pub settle: Box<dyn FnOnce(Vec<Held>) -> Decided + Send + 'a>,
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("points", &self.points.len()).finish_non_exhaustive()
    }
}

/// What a point holds already, staged or in history.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Index into [`Commit::points`].
    pub point: u32,
    /// Its value.
    pub value: Value,
    /// When that was taken.
    pub ingested_at: Timestamp,
}

/// What is to be written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decided {
    /// The values, in the order in which later ones replace earlier ones.
    pub points: Vec<Point>,
    /// Readings with hot attributes, in the same order.
    pub hot: Vec<HotRow>,
    /// What became of everything in the batch.
    pub ledger: Vec<LedgerLine>,
    /// What could not be taken.
    pub quarantine: Vec<Quarantined>,
    /// The quarantine rows whose redrive is in the batch.
    pub redrives: Vec<Settled>,
    /// Values that others took the place of.
    pub corrections: Vec<Correction>,
}

/// A value that a later one for its point took the place of.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// Whose.
    pub tenant: TenantId,
    /// Of which entity.
    pub entity: EntityId,
    /// Of which attribute.
    pub attribute: AttributeId,
    /// The point's time.
    pub observed_at: Timestamp,
    /// The value that does not hold any more.
    pub value: Value,
    /// When it was taken; `None` if that was in this batch.
    pub ingested_at: Option<Timestamp>,
    /// The record that brought the value that holds now.
    pub sequence: String,
    /// Its sub-record.
    pub sub: u32,
}

/// What a look-up found.
pub(super) struct Found {
    pub(super) held: Vec<Held>,
    /// The leaf to write to.
    pub(super) slot: i16,
    /// The batch's `ingested_at`: later than that of everything found, so that of the
    /// values for a point the one decided last holds, in the flush as for readers. The
    /// transaction's own time may be before that of one it waited for.
    pub(super) stamp: Timestamp,
}

/// Looks up guarded points. Until the transaction ends nobody else can for these tenants.
pub(super) async fn look_up(
    transaction: &Transaction<'_>,
    commit: &Commit<'_>,
    guarded: &[u32],
    replaying: bool,
) -> Result<Found, Error> {
    if replaying {
        forget(transaction, commit).await?;
    }
    let points: Vec<&Point> = guarded.iter().filter_map(|at| commit.points.get(*at as usize)).collect();
    let tenants: Vec<i32> = points.iter().map(|p| p.tenant.0).collect();
    let entities: Vec<i64> = points.iter().map(|p| p.entity.0).collect();
    let attributes: Vec<i32> = points.iter().map(|p| p.attribute.0).collect();
    let times: Vec<Micros> = points.iter().map(|p| Micros(p.observed_at)).collect();
    let parameters: &[Parameter<'_>] = &[
        (&tenants, Type::INT4_ARRAY),
        (&entities, Type::INT8_ARRAY),
        (&attributes, Type::INT4_ARRAY),
        (&times, Type::TIMESTAMPTZ_ARRAY),
    ];
    // Sent together, answered in order.
    let (rows, place) =
        join(transaction.query_typed(HELD, parameters), transaction.query_typed_one(PLACE, &[])).await;
    let (rows, place) = (rows?, place?);
    let Micros(mut stamp) = place.try_get(1)?;
    let mut held: HashMap<u32, Held> = HashMap::new();
    for row in &rows {
        let ord = usize::try_from(row.try_get::<_, i32>(0)? - 1).ok();
        let Some(point) = ord.and_then(|at| guarded.get(at)).copied() else { continue };
        let Micros(ingested_at) = row.try_get(1)?;
        stamp = stamp.max(ingested_at.plus_micros(1));
        // Both staged and in history, while a flush moves it or when it was sent twice.
        if held.get(&point).is_none_or(|h| h.ingested_at < ingested_at)
            && let Some(value) = value(row)?
        {
            held.insert(point, Held { point, value, ingested_at });
        }
    }
    Ok(Found { held: held.into_values().collect(), slot: place.try_get(0)?, stamp })
}

fn value(row: &Row) -> Result<Option<Value>, Error> {
    Ok(if let Some(b) = row.try_get(2)? {
        Some(Value::Boolean(b))
    } else if let Some(i) = row.try_get(3)? {
        Some(Value::Integer(i))
    } else if let Some(f) = row.try_get(4)? {
        Some(Value::Float(f))
    } else if let Some(d) = row.try_get::<_, Option<Decimal>>(5)? {
        Some(Value::Decimal(d))
    } else if let Some(Micros(t)) = row.try_get(6)? {
        Some(Value::Timestamp(t))
    } else {
        row.try_get::<_, Option<String>>(7)?.map(|s| Value::String(s.into()))
    })
}

async fn forget(transaction: &Transaction<'_>, commit: &Commit<'_>) -> Result<(), Error> {
    let after = commit.expected.map(Position::sequence);
    let after_sub = commit.expected.map(|p| i64::from(p.sub()));
    let (to, to_sub) = (commit.position.sequence(), i64::from(commit.position.sub()));
    let parameters: &[Parameter<'_>] = &[
        (&commit.stream, Type::TEXT),
        (&commit.shard, Type::TEXT),
        (&after, Type::TEXT),
        (&after_sub, Type::INT8),
        (&to, Type::TEXT),
        (&to_sub, Type::INT8),
    ];
    transaction.query_typed(FORGET, parameters).await.map(drop)
}

/// Keeps the superseded values.
pub(super) async fn correct(
    transaction: &Transaction<'_>,
    commit: &Commit<'_>,
    corrections: &[Correction],
    stamp: Timestamp,
) -> Result<(), Error> {
    if corrections.is_empty() {
        return Ok(());
    }
    let all = corrections.iter();
    let superseded_at = Micros(stamp);
    let tenants: Vec<i32> = all.clone().map(|c| c.tenant.0).collect();
    let entities: Vec<i64> = all.clone().map(|c| c.entity.0).collect();
    let attributes: Vec<i32> = all.clone().map(|c| c.attribute.0).collect();
    let times: Vec<Micros> = all.clone().map(|c| Micros(c.observed_at)).collect();
    let ingested: Vec<Option<Micros>> = all.clone().map(|c| c.ingested_at.map(Micros)).collect();
    let mut values = Columns::default();
    all.clone().for_each(|c| values.push(&c.value));
    let sequences: Vec<&str> = all.clone().map(|c| c.sequence.as_str()).collect();
    let subs: Vec<i64> = all.clone().map(|c| i64::from(c.sub)).collect();
    let items = numbered(all.map(|c| (c.sequence.as_str(), c.sub)));
    let parameters: &[Parameter<'_>] = &[
        (&commit.stream, Type::TEXT),
        (&commit.shard, Type::TEXT),
        (&superseded_at, Type::TIMESTAMPTZ),
        (&tenants, Type::INT4_ARRAY),
        (&entities, Type::INT8_ARRAY),
        (&attributes, Type::INT4_ARRAY),
        (&times, Type::TIMESTAMPTZ_ARRAY),
        (&ingested, Type::TIMESTAMPTZ_ARRAY),
        (&values.bools, Type::BOOL_ARRAY),
        (&values.ints, Type::INT8_ARRAY),
        (&values.floats, Type::FLOAT8_ARRAY),
        (&values.decimals, Type::TEXT_ARRAY),
        (&values.times, Type::TIMESTAMPTZ_ARRAY),
        (&values.texts, Type::TEXT_ARRAY),
        (&sequences, Type::TEXT_ARRAY),
        (&subs, Type::INT8_ARRAY),
        (&items, Type::INT4_ARRAY),
    ];
    transaction.query_typed(CORRECT, parameters).await.map(drop)
}

/// Values by the column of their type, null in the others. Decimals travel as text, which
/// keeps the zeros of a zero.
#[derive(Default)]
struct Columns<'a> {
    bools: Vec<Option<bool>>,
    ints: Vec<Option<i64>>,
    floats: Vec<Option<f64>>,
    decimals: Vec<Option<String>>,
    times: Vec<Option<Micros>>,
    texts: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, value: &'a Value) {
        self.bools.push(if let Value::Boolean(b) = value { Some(*b) } else { None });
        self.ints.push(if let Value::Integer(i) = value { Some(*i) } else { None });
        self.floats.push(if let Value::Float(f) = value { Some(*f) } else { None });
        self.decimals.push(if let Value::Decimal(d) = value { Some(d.to_string()) } else { None });
        self.times.push(if let Value::Timestamp(t) = value { Some(Micros(*t)) } else { None });
        self.texts.push(if let Value::String(s) = value { Some(s) } else { None });
    }
}
