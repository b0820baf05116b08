//! The rows, each in the form of a binary COPY. All follow from the number of the reading.

use super::Part;
use eaves_model::ValueType;
use std::fmt::Write as _;

/// Name and type; the first [`HOT`] are hot.
pub(crate) const ATTRIBUTES: [(&str, ValueType); 12] = [
    ("temperature", ValueType::Float),
    ("pressure", ValueType::Float),
    ("humidity", ValueType::Float),
    ("rpm", ValueType::Integer),
    ("cycles", ValueType::Integer),
    ("status", ValueType::String),
    ("site", ValueType::String),
    ("model", ValueType::String),
    ("firmware", ValueType::String),
    ("serviced_at", ValueType::Timestamp),
    ("battery", ValueType::Float),
    ("note", ValueType::String),
];
/// How many of them are hot.
pub(crate) const HOT: usize = 10;
/// Whose ranges are indexed.
pub(super) const RANGED: &str = "temperature";
/// Five in seven are online.
const STATUSES: [&str; 7] = ["online", "online", "online", "online", "online", "idle", "fault"];
/// Sites of a tenant.
const SITES: u64 = 300;

/// Of PostgreSQL's clock, in microseconds since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// A value of a reading.
pub(crate) enum Bit {
    Float(f64),
    Integer(i64),
    Text(String),
    /// Microseconds since 1970, whole seconds.
    Time(i64),
}

/// The n-th attribute's value in a reading. Sites, models and firmware stay with the entity.
pub(crate) fn value(entity: i64, reading: i64, attribute: usize) -> Bit {
    let own = mixed(entity.unsigned_abs() << 8 | attribute as u64);
    let now = mixed((reading.unsigned_abs() << 8 | attribute as u64) ^ entity.unsigned_abs() << 40);
    let float = |range: u64, unit: f64| Bit::Float((now % range) as f64 / unit);
    match attribute {
        0 => float(10_000, 100.0),
        1 => float(9_000, 1000.0),
        2 => float(950, 10.0),
        3 => Bit::Integer((now % 4_000) as i64),
        4 => Bit::Integer((now % 1_000_000) as i64),
        5 => Bit::Text(STATUSES[(now % 7) as usize].to_owned()),
        6 => Bit::Text(format!("site-{}", own % SITES)),
        7 => Bit::Text(format!("model-{}", own % 20)),
        8 => Bit::Text(format!("3.{}", own % 30)),
        9 => Bit::Time(1_767_225_600_000_000 + (now % 26_000_000) as i64 * 1_000_000),
        10 => float(1_000, 10.0),
        _ => Bit::Text(format!("seen by round {}", now % 50)),
    }
}

/// splitmix64.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Bit {
    pub(crate) fn json(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _infallible = match self {
            Self::Float(x) => write!(out, "{x}"),
            Self::Integer(n) => write!(out, "{n}"),
            Self::Text(text) => write!(out, "\"{text}\""),
            Self::Time(us) => {
                write!(out, "\"{}\"", jiff::Timestamp::from_microsecond(*us).unwrap_or_default())
            }
        };
    }
}

/// Puts a row together.
struct Row(Vec<u8>);

impl Row {
    fn begin(&mut self, columns: i16) -> &mut Self {
        self.0.clear();
        self.0.extend_from_slice(&columns.to_be_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    fn null(&mut self) -> &mut Self {
        self.0.extend_from_slice(&(-1_i32).to_be_bytes());
        self
    }

    fn time(&mut self, us: i64) -> &mut Self {
        self.bytes(&(us - POSTGRES_EPOCH).to_be_bytes())
    }

    fn json(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(&(text.len() as i32 + 1).to_be_bytes());
        self.0.push(1);
        self.0.extend_from_slice(text.as_bytes());
        self
    }
}

pub(super) fn entities(parts: &[Part], send: &mut dyn FnMut(&[u8])) {
    let mut row = Row(Vec::new());
    for part in parts {
        for entity in part.first_entity..part.first_entity + part.entities {
            row.begin(4).bytes(&part.tenant.0.to_be_bytes()).bytes(&entity.to_be_bytes());
            row.bytes(part.external_id(entity).as_bytes());
            send(&row.bytes(if entity % 10 == 0 { b"valve" } else { b"pump" }).0);
        }
    }
}

/// When a reading was.
fn at(part: &Part, until_us: i64, reading: i64) -> i64 {
    until_us - (part.readings - 1 - reading) * part.pace_us
}

/// One name and three places that are free, as `text[]`.
fn ranges() -> Vec<u8> {
    const TEXT: i32 = 25;
    // Dimensions, whether there are nulls, the elements' type; length and first index.
    let head = [1, 1, TEXT, 4, 1, RANGED.len() as i32];
    let mut bytes: Vec<u8> = head.iter().flat_map(|n| n.to_be_bytes()).collect();
    bytes.extend_from_slice(RANGED.as_bytes());
    bytes.extend((0..3).flat_map(|_| (-1_i32).to_be_bytes()));
    bytes
}

/// Of each entity the last reading.
pub(super) fn hot(parts: &[Part], until_us: i64, send: &mut dyn FnMut(&[u8])) {
    let mut row = Row(Vec::new());
    let ranges = ranges();
    for part in parts {
        let mut last: Vec<(i64, i64)> =
            (part.readings - part.entities..part.readings).map(|n| (part.entity(n), n)).collect();
        last.sort_unstable();
        let (mut attrs, mut times) = (String::new(), String::new());
        for (entity, reading) in last {
            let time = at(part, until_us, reading);
            attrs.clear();
            times.clear();
            for (i, (name, _)) in ATTRIBUTES.iter().enumerate().take(HOT) {
                let comma = if i == 0 { '{' } else { ',' };
                let _infallible = write!(attrs, "{comma}\"{name}\":");
                value(entity, reading, i).json(&mut attrs);
                let _infallible = write!(times, "{comma}\"{name}\":{time}");
            }
            attrs.push('}');
            times.push('}');
            row.begin(8).bytes(&part.tenant.0.to_be_bytes()).bytes(&entity.to_be_bytes());
            row.json(&attrs).json(&times).time(time).time(time);
            send(&row.bytes(&1_i64.to_be_bytes()).bytes(&ranges).0);
        }
    }
}

/// All readings in the order of time, those of all tenants together, as they would have come in.
pub(super) fn history(parts: &[Part], until_us: i64, send: &mut dyn FnMut(&[u8])) {
    let mut row = Row(Vec::new());
    let mut next: Vec<i64> = vec![0; parts.len()];
    loop {
        let due = parts.iter().enumerate().filter(|(i, p)| next[*i] < p.readings);
        let Some((i, part)) = due.min_by_key(|(i, p)| at(p, until_us, next[*i])) else { break };
        let reading = next[i];
        next[i] += 1;
        let (time, entity) = (at(part, until_us, reading), part.entity(reading));
        for (n, attribute) in part.attributes.iter().enumerate() {
            row.begin(9).bytes(&entity.to_be_bytes()).time(time).time(time);
            row.bytes(&part.tenant.0.to_be_bytes()).bytes(&attribute.0.to_be_bytes());
            match value(entity, reading, n) {
                Bit::Integer(v) => row.bytes(&v.to_be_bytes()).null().null().null(),
                Bit::Float(v) => row.null().bytes(&v.to_be_bytes()).null().null(),
                Bit::Time(v) => row.null().null().time(v).null(),
                Bit::Text(v) => row.null().null().null().bytes(v.as_bytes()),
            };
            send(&row.0);
        }
    }
}
