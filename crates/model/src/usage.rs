//! How attributes are used: what is written to them, and what queries ask of them.
//!
//! Counted per period of twelve hours, of which the last two are kept: figures are those of the
//! last twelve to twenty-four hours ([`window_seconds`]).

use crate::batch::Point;
use crate::promotion::AttributeStatistics;
use crate::sketch::{Sketch, hash};
use crate::{AttributeId, EntityId, TenantId, Timestamp, Value, ValueType};
use std::collections::HashMap;

/// Length of a period.
pub const PERIOD_SECONDS: i64 = 12 * 3600;

/// Attributes whose registers an instance remembers: two kilobytes each. Of others it sends
/// registers that may be known already.
const REMEMBERED: usize = 8_192;
/// Pairs of entity and attribute whose last value is remembered.
const PAIRS: usize = 100_000;

/// The number of the period that a time is in.
pub fn period(at: Timestamp) -> i32 {
    // In range for some ten thousand years, which is all that a timestamp holds.
    at.as_micros().div_euclid(PERIOD_SECONDS * 1_000_000) as i32
}

/// The time that figures taken now cover, given since when there are any. At least a minute, so
/// that the first values of all do not look like a flood.
pub fn window_seconds(now: Timestamp, since: Timestamp) -> f64 {
    let kept = i64::from(period(now) - 1) * PERIOD_SECONDS;
    let since = (since.as_micros() as f64 / 1e6).max(kept as f64);
    (now.as_micros() as f64 / 1e6 - since).max(60.0)
}

/// What a batch adds to the statistics of an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Values.
    pub values: u64,
    /// Their size, see [`size`].
    pub bytes: u64,
    /// Values that were compared with the one before.
    pub compared: u64,
    /// Those of them that were another.
    pub changed: u64,
    /// Registers of the sketch of entities that grew.
    pub entities: Vec<u16>,
    /// Registers of the sketch of values that grew.
    pub distinct_values: Vec<u16>,
}

/// Bytes of a value: of a string its length, of a boolean one, of everything else eight.
pub fn size(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Boolean(_) => 1,
        Value::Integer(_) | Value::Float(_) | Value::Decimal(_) | Value::Timestamp(_) => 8,
    }
}

fn hash_of(value: &Value) -> u64 {
    match value {
        Value::String(text) => hash(text.as_bytes()),
        Value::Boolean(b) => hash(&[u8::from(*b)]),
        Value::Integer(i) => hash(&i.to_le_bytes()),
        Value::Float(f) => hash(&f.to_bits().to_le_bytes()),
        // 1.0 and 1.00 are kept as different values, and counted so.
        Value::Decimal(d) => hash(&d.serialize()),
        Value::Timestamp(t) => hash(&t.as_micros().to_le_bytes()),
    }
}

/// Measures what one instance writes, batch by batch.
#[derive(Debug, Default)]
pub struct WriteMeter {
    period: i32,
    sent: HashMap<AttributeId, (Sketch, Sketch)>,
    last: LastValues,
}

impl WriteMeter {
    /// What a batch adds, by attribute. Of the sketches only what this instance has not told
    /// of before in this period.
    pub fn measure(&mut self, points: &[Point], now: Timestamp) -> Batch {
        let period = period(now);
        if period != self.period {
            self.sent.clear();
            self.period = period;
        }
        let mut written: HashMap<AttributeId, (TenantId, Written)> = HashMap::new();
        let mut beyond: HashMap<AttributeId, (Sketch, Sketch)> = HashMap::new();
        for point in points {
            let (_, w) = written.entry(point.attribute).or_insert_with(|| (point.tenant, Written::default()));
            let (entity, value) = (hash(&point.entity.0.to_le_bytes()), hash_of(&point.value));
            w.values += 1;
            w.bytes += size(&point.value);
            if let Some(changed) = self.last.changed(point.entity, point.attribute, entity, value) {
                w.compared += 1;
                w.changed += u64::from(changed);
            }
            let room = self.sent.len() < REMEMBERED || self.sent.contains_key(&point.attribute);
            let sketches = if room { &mut self.sent } else { &mut beyond };
            let (entities, values) = sketches.entry(point.attribute).or_default();
            w.entities.extend(entities.add(entity));
            w.distinct_values.extend(values.add(value));
        }
        let mut rows: Vec<_> = written.into_iter().map(|(id, (tenant, w))| (tenant, id, w)).collect();
        rows.sort_unstable_by_key(|(tenant, id, _)| (*tenant, *id));
        Batch { period, rows }
    }

    /// To be called when a batch was not taken, or staging was lost: tells of all registers
    /// again.
    pub fn forget(&mut self) {
        self.sent.clear();
    }
}

/// What a batch adds to statistics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// To which period.
    pub period: i32,
    /// To which attributes.
    pub rows: Vec<(TenantId, AttributeId, Written)>,
}

/// Last values of some entities: of all while they are few, then of every second, every
/// fourth, so that they fit.
#[derive(Debug, Default)]
struct LastValues {
    /// Entities whose hash has so many zeros at its end are looked at.
    zeros: u32,
    values: HashMap<(EntityId, AttributeId), (u64, u64)>,
}

impl LastValues {
    /// Whether the value is another than the last one; `None` if that is not known.
    fn changed(&mut self, entity: EntityId, attribute: AttributeId, hash: u64, value: u64) -> Option<bool> {
        if hash.trailing_zeros() < self.zeros {
            return None;
        }
        let last = self.values.insert((entity, attribute), (hash, value));
        if self.values.len() > PAIRS {
            self.zeros += 1;
            let zeros = self.zeros;
            self.values.retain(|_, (hash, _)| hash.trailing_zeros() >= zeros);
        }
        last.map(|(_, last)| last != value)
    }
}

/// The figures of an attribute over the window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// See [`window_seconds`].
    pub window_seconds: f64,
    /// Values written.
    pub values: u64,
    /// Their size.
    pub bytes: u64,
    /// Values compared with the one before.
    pub compared: u64,
    /// Those that were another.
    pub changed: u64,
    /// About how many entities have values of it.
    pub entities: u64,
    /// About how many different values.
    pub distinct_values: u64,
    /// Queries that name it.
    pub queries: u64,
    /// Those that filter by it.
    pub filters: u64,
    /// Those that want it returned.
    pub returns: u64,
    /// Time of all of them, in microseconds.
    pub query_us: u64,
    /// When the last value was written.
    pub last_written_at: Option<Timestamp>,
}

impl Usage {
    /// Values per second.
    pub fn writes_per_second(&self) -> f64 {
        ratio(self.values as f64, self.window_seconds).unwrap_or_default()
    }

    /// Share of writes that changed the value; `None` if none was compared.
    pub fn change_ratio(&self) -> Option<f64> {
        ratio(self.changed as f64, self.compared as f64)
    }

    /// Mean size of a value; `None` if there was none.
    pub fn value_bytes(&self) -> Option<f64> {
        ratio(self.bytes as f64, self.values as f64)
    }

    /// Mean time of the queries that name it, in milliseconds; `None` if there was none.
    pub fn query_milliseconds(&self) -> Option<f64> {
        ratio(self.query_us as f64 / 1000.0, self.queries as f64)
    }

    /// As rules of promotion see it. What is not known is 0, a change ratio 1.
    pub fn statistics(
        &self,
        (name, value_type, unit): (&str, ValueType, &str),
        hot: bool,
        settled_seconds: f64,
    ) -> AttributeStatistics {
        let per_second = |n: u64| ratio(n as f64, self.window_seconds).unwrap_or_default();
        AttributeStatistics {
            name: name.into(),
            value_type,
            unit: unit.into(),
            hot,
            settled_seconds,
            writes_per_second: self.writes_per_second(),
            entities: self.entities,
            distinct_values: self.distinct_values,
            change_ratio: self.change_ratio().unwrap_or(1.0),
            value_bytes: self.value_bytes().unwrap_or_default(),
            filters_per_second: per_second(self.filters),
            returns_per_second: per_second(self.returns),
            query_milliseconds: self.query_milliseconds().unwrap_or_default(),
        }
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}
