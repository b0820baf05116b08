//! A fleet that writes all the time, and the record of what it wrote.

use crate::stage::{PLAIN, RULED, Stage};
use anyhow::{Context as _, Result};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Devices of each tenant.
const DEVICES: u64 = 40;
/// Readings between two pauses.
const BURST: u64 = 50;
/// Pause between two bursts: 2,000 readings, 4,000 values a second at most.
const PAUSE: Duration = Duration::from_millis(25);
/// Every so many-th reading of the ruled tenant has a level its rules reject.
const REJECTED: u64 = 20;
/// Every so many-th record is rubbish.
const RUBBISH: u64 = 97;
/// Every so many-th record is several readings, packed as a KPL producer does.
const PACKED: u64 = 13;
/// Every so many-th reading is sent once more later, in a record of its own.
const TWICE: u64 = 31;

/// Tenant, entity, attribute, microseconds since 1970.
pub(crate) type PointKey = (&'static str, String, &'static str, i64);

/// What was sent and what must have become of it, as the sender knows it.
#[derive(Default)]
pub(crate) struct Sent {
    /// Records that the stream took.
    pub(crate) records: u64,
    /// Value by (tenant, entity, attribute, microseconds since 1970).
    pub(crate) points: HashMap<PointKey, i64>,
    /// The records each point was sent in: shard and sequence number.
    pub(crate) places: HashMap<PointKey, Vec<(String, String)>>,
    /// Newest `n` by (tenant, entity).
    pub(crate) newest: HashMap<(&'static str, String), (i64, i64)>,
    /// Values accepted, points sent again included.
    pub(crate) accepted: u64,
    /// Values that rules reject.
    pub(crate) rejected: u64,
    /// Records that nobody can read.
    pub(crate) quarantined: u64,
    /// Highest sequence number by shard.
    pub(crate) last: HashMap<String, String>,
}

pub(crate) struct Load {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Sent>>,
}

impl Load {
    /// Starts writing; entities are named after `case`.
    pub(crate) fn start(stage: &Stage, case: &str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let fleet = Fleet {
            kinesis: stage.kinesis.clone(),
            stream: stage.endpoints.stream.clone(),
            case: case.to_owned(),
            began: jiff::Timestamp::now().as_microsecond(),
            next: 0,
            sent: Sent::default(),
        };
        Self { stop, task: tokio::spawn(fleet.play(stopped)) }
    }

    /// Stops it; what it has sent.
    pub(crate) async fn stop(self) -> Result<Sent> {
        let _ = self.stop.send(true);
        self.task.await.context("the fleet")?
    }
}

struct Fleet {
    kinesis: Client,
    stream: String,
    case: String,
    began: i64,
    next: u64,
    sent: Sent,
}

/// A record, and what it holds if the stream takes it.
struct Record {
    key: String,
    data: Vec<u8>,
    readings: Vec<Reading>,
}

#[derive(Clone)]
struct Reading {
    tenant: &'static str,
    entity: String,
    at: i64,
    n: i64,
    level: i64,
}

impl Reading {
    fn json(&self) -> String {
        let at = jiff::Timestamp::from_microsecond(self.at).map(|t| t.to_string()).unwrap_or_default();
        format!(
            r#"{{"tenant":"{}","entity":"{}","observed_at":"{at}","values":{{"n":{},"level":{}}}}}"#,
            self.tenant, self.entity, self.n, self.level
        )
    }
}

impl Fleet {
    async fn play(mut self, stopped: watch::Receiver<bool>) -> Result<Sent> {
        let mut again: Vec<Reading> = Vec::new();
        while !*stopped.borrow() {
            let mut records: Vec<Record> = again.drain(..).map(|r| self.plain(r)).collect();
            for _ in 0..BURST {
                let number = self.next;
                if number % RUBBISH == RUBBISH - 1 {
                    self.next += 1;
                    let data = format!("{{rubbish {} {number}", self.case).into_bytes();
                    records.push(Record { key: format!("rubbish-{number}"), data, readings: Vec::new() });
                } else if number % PACKED == PACKED - 1 {
                    let readings: Vec<Reading> = (0..5).map(|_| self.reading()).collect();
                    let packed: Vec<(String, String)> =
                        readings.iter().map(|r| (r.entity.clone(), r.json())).collect();
                    let packed: Vec<(&str, &[u8])> =
                        packed.iter().map(|(key, json)| (key.as_str(), json.as_bytes())).collect();
                    let data = eaves_codec::encode::kpl(&packed);
                    records.push(Record { key: readings[0].entity.clone(), data, readings });
                } else {
                    let reading = self.reading();
                    if number.is_multiple_of(TWICE) {
                        again.push(reading.clone());
                    }
                    records.push(self.plain(reading));
                }
            }
            self.put(records).await?;
            tokio::time::sleep(PAUSE).await;
        }
        let last: Vec<Record> = again.into_iter().map(|r| self.plain(r)).collect();
        if !last.is_empty() {
            self.put(last).await?;
        }
        Ok(self.sent)
    }

    fn reading(&mut self) -> Reading {
        let number = self.next;
        self.next += 1;
        let tenant = if number.is_multiple_of(2) { PLAIN } else { RULED };
        let entity = format!("{}-{}", self.case, (number / 2) % DEVICES);
        let level = if (number / 2).is_multiple_of(REJECTED) { 500 } else { (number % 100) as i64 };
        // A microsecond each: no two readings of the fleet share a point.
        Reading { tenant, entity, at: self.began + number as i64, n: number as i64, level }
    }

    fn plain(&self, reading: Reading) -> Record {
        let data = reading.json().into_bytes();
        Record { key: format!("{}/{}", reading.tenant, reading.entity), data, readings: vec![reading] }
    }

    /// Writes until the stream has taken every record.
    async fn put(&mut self, mut records: Vec<Record>) -> Result<()> {
        while !records.is_empty() {
            let part = records.len().min(500);
            let entry = |r: &Record| {
                PutRecordsRequestEntry::builder()
                    .partition_key(&r.key)
                    .data(Blob::new(r.data.clone()))
                    .build()
            };
            let entries: Vec<_> = records[..part].iter().map(entry).collect::<Result<_, _>>()?;
            let request = self.kinesis.put_records().stream_name(&self.stream).set_records(Some(entries));
            let answer = request.send().await?;
            let rest = records.split_off(part);
            let mut failed = Vec::new();
            for (record, result) in records.into_iter().zip(answer.records) {
                match (result.sequence_number, result.shard_id) {
                    (Some(sequence), Some(shard)) => self.taken(&record, sequence, shard),
                    _ => failed.push(record),
                }
            }
            failed.extend(rest);
            records = failed;
        }
        Ok(())
    }

    fn taken(&mut self, record: &Record, sequence: String, shard: String) {
        let sent = &mut self.sent;
        sent.records += 1;
        sent.last.insert(shard.clone(), sequence.clone());
        if record.readings.is_empty() {
            sent.quarantined += 1;
        }
        for r in &record.readings {
            let key = |attribute| (r.tenant, r.entity.clone(), attribute, r.at);
            let place = (shard.clone(), sequence.clone());
            sent.accepted += 1;
            sent.points.insert(key("n"), r.n);
            sent.places.entry(key("n")).or_default().push(place.clone());
            if r.tenant == RULED && r.level > 100 {
                sent.rejected += 1;
            } else {
                sent.accepted += 1;
                sent.points.insert(key("level"), r.level);
                sent.places.entry(key("level")).or_default().push(place);
            }
            let newest = sent.newest.entry((r.tenant, r.entity.clone())).or_default();
            *newest = (*newest).max((r.at, r.n));
        }
    }
}
