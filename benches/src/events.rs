//! Kinesis events as Lambda delivers them, made before the clock starts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::fmt::Write as _;

/// Records of an event, values of a record: 5,000 values an event.
pub(crate) const RECORDS: usize = 500;
pub(crate) const VALUES: usize = 10;

/// 2026-11-01T00:00:00Z: all within one partition, as live data mostly is.
const START_S: i64 = 1_793_491_200;

/// How the values of a record belong together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Ten values of one device at one time.
    Device,
    /// Ten readings of one value each, of unrelated entities.
    Random,
}

/// A source of events for one shard, with ever newer sequence numbers and times.
pub(crate) struct Events {
    tenant: &'static str,
    shape: Shape,
    shard: usize,
    rng: StdRng,
    sequence: u64,
    step: i64,
    entities: u32,
    stream: String,
}

impl Events {
    pub(crate) fn new(tenant: &'static str, shape: Shape, shard: usize, entities: u32) -> Self {
        let rng = StdRng::seed_from_u64(7 + shard as u64);
        let stream = format!("bench-{}", if shape == Shape::Device { "device" } else { "random" });
        Self { tenant, shape, shard, rng, sequence: 1_000_000, step: 0, entities, stream }
    }

    /// The next event, as the JSON Lambda hands to the function.
    pub(crate) fn next(&mut self) -> Bytes {
        let mut json = String::with_capacity(RECORDS * 700);
        json.push_str("{\"Records\":[");
        for at in 0..RECORDS {
            self.sequence += 1;
            let data = STANDARD.encode(self.record(at));
            let comma = if at == 0 { "" } else { "," };
            let (shard, sequence, stream) = (self.shard, self.sequence, &self.stream);
            let _infallible = write!(
                json,
                "{comma}{{\"kinesis\":{{\"kinesisSchemaVersion\":\"1.0\",\"partitionKey\":\"{at}\",\
                 \"sequenceNumber\":\"{sequence}\",\"data\":\"{data}\",\"approximateArrivalTimestamp\":1793491200.1}},\
                 \"eventSource\":\"aws:kinesis\",\"eventVersion\":\"1.0\",\
                 \"eventID\":\"shardId-{shard:012}:{sequence}\",\"eventName\":\"aws:kinesis:record\",\
                 \"invokeIdentityArn\":\"arn:aws:iam::000000000000:role/bench\",\"awsRegion\":\"us-east-1\",\
                 \"eventSourceARN\":\"arn:aws:kinesis:us-east-1:000000000000:stream/{stream}\"}}"
            );
        }
        json.push_str("]}");
        self.step += 1;
        Bytes::from(json)
    }

    /// The next records, at most as many as an event has, each with its partition key.
    pub(crate) fn records(&mut self, records: usize) -> Vec<(String, Vec<u8>)> {
        let first = self.step as usize * RECORDS;
        let key = |at: usize| ((first + at) as u32 % self.entities).to_string();
        let keys: Vec<String> = (0..records).map(key).collect();
        let records = keys.into_iter().enumerate().map(|(at, key)| (key, self.record(at).into_bytes()));
        let records = records.collect();
        self.step += 1;
        records
    }

    fn record(&mut self, at: usize) -> String {
        match self.shape {
            Shape::Device => {
                let first = (self.step as usize * RECORDS + at) as u32;
                let device = first % self.entities;
                let round = i64::from(first / self.entities);
                self.reading(device, START_S + round, 0..VALUES)
            }
            Shape::Random => {
                let mut lines = String::new();
                for _ in 0..VALUES {
                    let entity = self.rng.random_range(0..self.entities);
                    let value = self.rng.random_range(0..VALUES);
                    lines.push_str(&self.reading(entity, START_S + self.step, value..value + 1));
                    lines.push('\n');
                }
                lines
            }
        }
    }

    fn reading(&mut self, device: u32, at_s: i64, values: std::ops::Range<usize>) -> String {
        let time = jiff::Timestamp::from_second(at_s).unwrap_or_default();
        let mut json = format!(
            "{{\"tenant\":\"{}\",\"entity\":\"dev-{}-{device}\",\"type\":\"pump\",\"observed_at\":\"{time}\",\"values\":{{",
            self.tenant, self.shard
        );
        for (n, value) in values.enumerate() {
            if n > 0 {
                json.push(',');
            }
            let rng = &mut self.rng;
            let _infallible = match value {
                0 => write!(json, "\"temperature\":{:.2}", rng.random_range(-10.0..90.0)),
                1 => write!(json, "\"pressure\":{:.3}", rng.random_range(0.5..9.5)),
                2 => write!(json, "\"humidity\":{:.1}", rng.random_range(5.0..95.0)),
                3 => write!(json, "\"rpm\":{}", rng.random_range(0..4000)),
                4 => write!(json, "\"cycles\":{}", rng.random_range(0..1_000_000)),
                5 => write!(json, "\"status\":\"{}\"", ["online", "idle", "fault"][rng.random_range(0..3)]),
                6 => write!(json, "\"door_open\":{}", rng.random_bool(0.1)),
                7 => write!(json, "\"vibration\":{:.4}", rng.random_range(0.0..2.0)),
                8 => write!(json, "\"voltage\":{:.1}", rng.random_range(220.0..240.0)),
                _ => write!(json, "\"firmware\":\"3.{}\"", rng.random_range(0..5)),
            };
        }
        json.push_str("}}");
        json
    }
}
