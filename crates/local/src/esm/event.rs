//! The event a function gets from a Kinesis event source mapping.

use super::{MappingConfig, Record};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

/// Bytes of an event besides its records.
pub(super) const FRAME: usize = 64;
/// Bytes of a record besides its data, names and numbers.
const RECORD_FRAME: usize = 512;

/// An upper bound of the bytes a record takes in an event.
pub(super) fn size(record: &Record) -> usize {
    record.data.len().div_ceil(3) * 4
        + record.sequence.len() * 2
        + record.partition_key.len() * 6
        + RECORD_FRAME
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'a> {
    records: Vec<EventRecord<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventRecord<'a> {
    kinesis: Kinesis<'a>,
    event_source: &'static str,
    event_version: &'static str,
    #[serde(rename = "eventID")]
    event_id: String,
    event_name: &'static str,
    invoke_identity_arn: &'static str,
    aws_region: &'a str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kinesis<'a> {
    kinesis_schema_version: &'static str,
    partition_key: &'a str,
    sequence_number: &'a str,
    data: String,
    approximate_arrival_timestamp: f64,
}

/// Encodes records of one shard.
pub fn encode(config: &MappingConfig, shard: &str, records: &[Record]) -> Bytes {
    let arn = config.stream_arn();
    let records = records.iter().map(|record| EventRecord {
        kinesis: Kinesis {
            kinesis_schema_version: "1.0",
            partition_key: &record.partition_key,
            sequence_number: &record.sequence,
            data: STANDARD.encode(&record.data),
            approximate_arrival_timestamp: record.arrived_ms as f64 / 1000.0,
        },
        event_source: "aws:kinesis",
        event_version: "1.0",
        event_id: format!("{shard}:{}", record.sequence),
        event_name: "aws:kinesis:record",
        invoke_identity_arn: "arn:aws:iam::000000000000:role/eaves-local",
        aws_region: &config.region,
        event_source_arn: &arn,
    });
    let event = Event { records: records.collect() };
    // Strings and finite numbers always serialise.
    Bytes::from(serde_json::to_vec(&event).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            sequence: "49590338271490256608559692538361571095921575989136588898".into(),
            partition_key: "pump-\u{1}7".into(),
            data: Bytes::from_static(b"Hello, this is a test."),
            arrived_ms: 1_545_084_650_987,
        }
    }

    #[test]
    fn an_event_looks_like_lambdas() {
        let config = MappingConfig::new("readings", "us-east-1");
        let event: serde_json::Value =
            serde_json::from_slice(&encode(&config, "shardId-000000000006", &[record()])).unwrap();
        let expected = serde_json::json!({"Records": [{
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": "pump-\u{1}7",
                "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
                "data": "SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==",
                "approximateArrivalTimestamp": 1_545_084_650.987,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": "shardId-000000000006:49590338271490256608559692538361571095921575989136588898",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::000000000000:role/eaves-local",
            "awsRegion": "us-east-1",
            "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/readings",
        }]});
        assert_eq!(event, expected);
    }

    #[test]
    fn the_size_of_a_record_is_not_underestimated() {
        let config =
            MappingConfig::new("a-stream-with-a-rather-long-name-as-such-names-go", "ap-southeast-2");
        let encoded = encode(&config, "shardId-000000000006", &[record()]);
        assert!(encoded.len() <= FRAME + size(&record()), "{} > {}", encoded.len(), size(&record()));
    }
}
