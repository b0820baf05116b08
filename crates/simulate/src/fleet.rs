//! Many devices, each in its turn.

use crate::device::{Device, Kind, Values};
use crate::fault::Fault;
use crate::random::Random;
use eaves_codec::encode;
use eaves_model::Timestamp;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// How often a message is not as it should be; each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Observed minutes to hours before its neighbours.
    pub late: f64,
    /// Sent a second time.
    pub duplicate: f64,
    /// With something wrong in it.
    pub faulty: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self { late: 0.01, duplicate: 0.005, faulty: 0.005 }
    }
}

impl Rates {
    /// Every message as it should be.
    pub const NONE: Self = Self { late: 0.0, duplicate: 0.0, faulty: 0.0 };
}

/// What fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The same seed gives the same messages.
    pub seed: u64,
    /// Names of the tenants the devices are dealt out to, at least one.
    pub tenants: Vec<String>,
    /// How many devices in all, at least one.
    pub devices: usize,
    /// When the first message is observed.
    pub start: Timestamp,
    /// How often each device reports.
    pub interval: Duration,
    /// What goes wrong how often.
    pub rates: Rates,
}

impl Options {
    /// A fleet of one tenant that reports every ten seconds from `start`.
    pub fn new(seed: u64, tenant: impl Into<String>, devices: usize, start: Timestamp) -> Self {
        Self {
            seed,
            tenants: vec![tenant.into()],
            devices,
            start,
            interval: Duration::from_secs(10),
            rates: Rates::default(),
        }
    }
}

/// What was done to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Nothing.
    Normal,
    /// It is observed well before its neighbours.
    Late,
    /// It is the message before once more.
    Duplicate,
    /// There is something wrong in it.
    Faulty,
}

/// One reading as a device sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whose.
    pub tenant: Arc<str>,
    /// Of which device.
    pub entity: Arc<str>,
    /// A line of JSON, without a newline. Not always good JSON: see [`Sort::Faulty`].
    pub json: String,
    /// How many values were written into it, bad ones included.
    pub values: u32,
    /// What was done to it.
    pub sort: Sort,
}

impl Message {
    /// The Kinesis partition key: one device's readings stay in one shard, in order.
    pub fn partition_key(&self) -> String {
        format!("{}/{}", self.tenant, self.entity)
    }
}

/// A fleet of devices; as an iterator, its messages without end, by its own clock.
pub struct Fleet {
    devices: Vec<Device>,
    random: Random,
    rates: Rates,
    start: Timestamp,
    /// Microseconds from one message to the next.
    step: f64,
    sent: u64,
    turn: usize,
    last: Timestamp,
    again: Option<Message>,
    /// Messages until the first may be wrong.
    calm: usize,
}

impl Fleet {
    /// A fleet at its start.
    pub fn new(options: &Options) -> Self {
        let mut random = Random::new(options.seed);
        let mut tenants: Vec<Arc<str>> = options.tenants.iter().map(|t| t.as_str().into()).collect();
        if tenants.is_empty() {
            tenants.push("default".into());
        }
        let count = options.devices.max(1);
        let device = |index: usize| {
            // Each tenant gets all kinds, whatever the number of tenants.
            let kind = Kind::ALL[index / tenants.len() % Kind::ALL.len()];
            let tenant = tenants[index % tenants.len()].clone();
            Device::new(index / tenants.len() + 1, tenant, kind, options.start, &mut random)
        };
        Self {
            devices: (0..count).map(device).collect(),
            random,
            rates: options.rates,
            start: options.start,
            step: options.interval.as_micros() as f64 / count as f64,
            sent: 0,
            turn: 0,
            last: options.start.plus_micros(-1),
            again: None,
            calm: 2 * count,
        }
    }

    /// The next message, observed at `time` unless it is a late or a bad one. Time does
    /// not stand still or go back: of two messages no device reports twice at once.
    pub fn at(&mut self, time: Timestamp) -> Message {
        if let Some(again) = self.again.take() {
            return again;
        }
        self.last = time.max(self.last.plus_micros(1));
        let time = self.last;
        let turn = self.turn;
        self.turn = (turn + 1) % self.devices.len();
        let device = &mut self.devices[turn];

        // Attributes get their types from the first values seen: those are good ones.
        self.calm = self.calm.saturating_sub(1);
        let faulty = self.calm == 0 && self.random.chance(self.rates.faulty);
        let fault = faulty.then(|| Fault::draw(&mut self.random));
        let late = fault.is_none() && self.random.chance(self.rates.late);
        let observed_at = match fault {
            Some(Fault::Clock) => time.plus_micros(-time.as_micros()),
            _ if late => time.plus_micros(-(self.random.below(6 * 3600) as i64 + 60) * 1_000_000),
            _ => time,
        };
        let mut json = String::with_capacity(512);
        json.push_str("{\"tenant\":");
        encode::write_string(&mut json, &device.tenant);
        if fault != Some(Fault::NoEntity) {
            json.push_str(",\"entity\":");
            encode::write_string(&mut json, &device.entity);
        }
        let kind = device.kind().name();
        let _ = write!(json, ",\"type\":\"{kind}\",\"observed_at\":\"{observed_at}\",\"values\":{{");
        let mut values = Values::new(&mut json);
        device.report(time, &mut self.random, &mut values, fault.and_then(Fault::value));
        let count = values.count;
        json.push_str("}}");
        if fault == Some(Fault::Truncated) {
            json.truncate(json.len() * 2 / 3);
        }
        let sort = match (fault, late) {
            (Some(_), _) => Sort::Faulty,
            (None, true) => Sort::Late,
            (None, false) => Sort::Normal,
        };
        let (tenant, entity) = (device.tenant.clone(), device.entity.clone());
        let message = Message { tenant, entity, json, values: count, sort };
        if self.random.chance(self.rates.duplicate) {
            self.again = Some(Message { sort: Sort::Duplicate, ..message.clone() });
        }
        message
    }
}

impl Iterator for Fleet {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let time = self.start.plus_micros((self.sent as f64 * self.step) as i64);
        self.sent += u64::from(self.again.is_none());
        Some(self.at(time))
    }
}
