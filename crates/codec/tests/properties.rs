//! Properties of the decoder over generated input.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use eaves_codec::{Decoded, decode, encode};
use eaves_model::{Decimal, Reading, Timestamp, TraceParent, Value, WireValue};
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn name() -> impl Strategy<Value = Box<str>> {
    "[^\\p{Cc}]{1,20}".prop_map(Into::into)
}

fn wire_value() -> impl Strategy<Value = WireValue> {
    let text = "[^\0]{0,30}";
    prop_oneof![
        any::<bool>().prop_map(WireValue::Boolean),
        text.prop_map(|s| WireValue::Text(s.into())),
        any::<i64>().prop_map(WireValue::Integer),
        "-?(0|[1-9][0-9]{0,20})\\.[0-9]{1,20}([eE][+-]?[0-9]{1,3})?"
            .prop_map(|s| WireValue::Number(s.into())),
        "-?[1-9][0-9]{19,40}".prop_map(|s| WireValue::Number(s.into())),
        (any::<i64>(), 0..28u32)
            .prop_map(|(n, scale)| WireValue::Typed(Value::Decimal(Decimal::new(n, scale)))),
        text.prop_map(|s| WireValue::Typed(Value::String(s.into()))),
        any::<i64>().prop_map(|i| WireValue::Typed(Value::Integer(i))),
        any::<bool>().prop_map(|b| WireValue::Typed(Value::Boolean(b))),
        (-1e300..1e300).prop_map(|f| WireValue::Typed(Value::Float(f))),
        time().prop_map(|t| WireValue::Typed(Value::Timestamp(t))),
    ]
}

fn time() -> impl Strategy<Value = Timestamp> {
    (946_684_800_000_000..1_772_366_400_000_000_i64).prop_map(|us| Timestamp::from_micros(us).unwrap())
}

fn trace() -> impl Strategy<Value = TraceParent> {
    (1..=u128::MAX, 1..=u64::MAX, any::<bool>()).prop_map(|(trace_id, span_id, sampled)| TraceParent {
        trace_id,
        span_id,
        sampled,
    })
}

fn reading() -> impl Strategy<Value = Reading> {
    let values = prop::collection::btree_map(name(), wire_value(), 1..40);
    let trace = prop::option::of(trace().prop_map(Box::new));
    (name(), name(), prop::option::of(name()), time(), trace, values).prop_map(
        |(tenant, entity, entity_type, observed_at, trace, values)| Reading {
            tenant,
            entity,
            entity_type,
            observed_at,
            trace,
            values: values.into_iter().collect(),
            refused: vec![],
        },
    )
}

/// All pieces of a record, wherever they stand in it: good readings and refused payloads.
fn pieces(decoded: Decoded) -> (Vec<Reading>, Vec<Vec<u8>>) {
    let (mut good, mut bad) = (vec![], vec![]);
    for item in decoded.items {
        match item.outcome {
            Err(refused) => bad.push(refused.payload),
            Ok(pieces) => {
                assert!(!pieces.is_empty(), "a record without a piece");
                for piece in pieces {
                    match piece {
                        Ok(reading) => good.push(reading),
                        Err(refused) => bad.push(refused.payload),
                    }
                }
            }
        }
    }
    (good, bad)
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(readings in prop::collection::vec(reading(), 1..6)) {
        let lines: Vec<_> = readings.iter().map(encode::reading).collect();
        for record in [
            lines.join("\n").into_bytes(),
            format!("[{}]", lines.join(" , ")).into_bytes(),
            encode::gzip(lines.join("\r\n").as_bytes()),
            encode::kpl(&lines.iter().map(|l| ("k", l)).collect::<Vec<_>>()),
            encode::kpl(&lines.iter().map(|l| (l.clone(), encode::gzip(l.as_bytes()))).collect::<Vec<_>>()),
        ] {
            let (good, bad) = pieces(decode(&record, now()));
            prop_assert_eq!(&good, &readings);
            prop_assert!(bad.is_empty());
        }
    }

    #[test]
    fn encoded_readings_are_json_as_another_parser_knows_it(reading in reading()) {
        let line = encode::reading(&reading);
        // Raw: that parser would round numbers, and refuse those no double can hold.
        let json: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&line).unwrap();
        let entity: String = serde_json::from_str(json["entity"].get()).unwrap();
        prop_assert_eq!(entity, &*reading.entity);
        let values: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json["values"].get()).unwrap();
        prop_assert_eq!(values.len(), reading.values.len());
    }

    /// Who sent a reading is told beside it: nothing else of the reading changes.
    #[test]
    fn a_trace_is_added_to_what_has_none(reading in reading(), trace in trace()) {
        let bare = Reading { trace: None, ..reading };
        let line = encode::with_trace(&encode::reading(&bare), &trace);
        let (good, bad) = pieces(decode(line.as_bytes(), now()));
        prop_assert!(bad.is_empty());
        prop_assert_eq!(good, vec![Reading { trace: Some(Box::new(trace)), ..bare }]);
    }

    /// A text that is no trace is no reason to refuse a reading.
    #[test]
    fn any_text_may_stand_for_the_trace(reading in reading(), text in "\\PC{0,70}") {
        let bare = Reading { trace: None, ..reading };
        let field = format!("{{\"traceparent\":{},", serde_json::Value::from(text.as_str()));
        let line = encode::reading(&bare).replacen('{', &field, 1);
        let (good, bad) = pieces(decode(line.as_bytes(), now()));
        prop_assert!(bad.is_empty());
        let trace = text.parse().ok().map(Box::new);
        prop_assert_eq!(good, vec![Reading { trace, ..bare }]);
    }

    #[test]
    fn any_bytes_become_pieces(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (good, bad) = pieces(decode(&bytes, now()));
        prop_assert!(good.len() + bad.len() > 0);
    }

    #[test]
    fn anything_that_looks_like_json_becomes_pieces(text in "[\\[\\]{}:,\"\\\\ \nautnvle0-9.+\\-eE]{0,200}") {
        let (good, bad) = pieces(decode(text.as_bytes(), now()));
        prop_assert!(good.len() + bad.len() > 0);
    }

    /// A line is damaged anywhere: its neighbours are read as before, and the line itself
    /// is a reading or refused with its bytes.
    #[test]
    fn damage_stays_in_its_line(
        readings in prop::collection::vec(reading(), 3),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>().prop_filter("ends no line", |b| *b != b'\n'),
    ) {
        let mut lines: Vec<_> = readings.iter().map(|r| encode::reading(r).into_bytes()).collect();
        let at = at.index(lines[1].len());
        lines[1][at] = byte;
        let (good, bad) = pieces(decode(&lines.join(&b'\n'), now()));
        prop_assert_eq!(good.len() + bad.len(), 3);
        prop_assert_eq!(&good[0], &readings[0]);
        prop_assert_eq!(good.last(), readings.last());
        if let Some(payload) = bad.first() {
            prop_assert_eq!(payload.trim_ascii(), lines[1].trim_ascii());
        }
    }

    /// Cut anywhere, a list gives its whole readings and the rest as one piece.
    #[test]
    fn a_cut_list_keeps_its_whole_readings(
        readings in prop::collection::vec(reading(), 1..5),
        at in any::<prop::sample::Index>(),
    ) {
        let list = format!("[{}]", readings.iter().map(encode::reading).collect::<Vec<_>>().join(","));
        let cut = at.index(list.len());
        let (good, bad) = pieces(decode(&list.as_bytes()[..cut], now()));
        prop_assert_eq!(bad.len(), 1);
        prop_assert_eq!(&good[..], &readings[..good.len()]);
        prop_assert!(bad[0].is_empty() || list.as_bytes()[..cut].ends_with(&bad[0]));
    }

    /// Where a document is JSON and where it is not, is what `serde_json` says.
    #[test]
    fn syntax_is_that_of_another_parser(value in "[\\[\\]{}:,\"\\\\ tru0-9.+\\-eE]{0,12}") {
        let record = format!(
            r#"{{"tenant":"t","entity":"e","observed_at":"2026-03-01T11:00:00Z","values":{{"x":{value}}}}}"#
        );
        let decoded = decode(record.as_bytes(), now());
        let broken = matches!(&decoded.items[0].outcome, Err(r) if r.rejection.code.0 == "undecodable");
        let json = serde_json::from_str::<serde::de::IgnoredAny>(&record).is_ok();
        prop_assert_eq!(broken, !json, "{}", record);
    }
}

/// The aggregated record as Amazon publishes its schema, read and written by `prost`.
mod published {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct AggregatedRecord {
        #[prost(string, repeated, tag = "1")]
        pub(super) partition_key_table: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        pub(super) explicit_hash_key_table: Vec<String>,
        #[prost(message, repeated, tag = "3")]
        pub(super) records: Vec<Record>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Record {
        #[prost(uint64, required, tag = "1")]
        pub(super) partition_key_index: u64,
        #[prost(uint64, optional, tag = "2")]
        pub(super) explicit_hash_key_index: Option<u64>,
        #[prost(bytes = "vec", required, tag = "3")]
        pub(super) data: Vec<u8>,
        #[prost(message, repeated, tag = "4")]
        pub(super) tags: Vec<Tag>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Tag {
        #[prost(string, required, tag = "1")]
        pub(super) key: String,
        #[prost(string, optional, tag = "2")]
        pub(super) value: Option<String>,
    }
}

proptest! {
    #[test]
    fn aggregated_records_of_the_published_schema_are_read(readings in prop::collection::vec(reading(), 1..5)) {
        use md5::Digest as _;
        use prost::Message as _;
        let record = |(i, r)| published::Record {
            partition_key_index: i as u64,
            explicit_hash_key_index: (i % 2 == 0).then_some(0),
            data: encode::reading(r).into_bytes(),
            tags: vec![published::Tag { key: "k".into(), value: None }],
        };
        let message = published::AggregatedRecord {
            partition_key_table: readings.iter().map(|r| r.entity.to_string()).collect(),
            explicit_hash_key_table: vec!["0".into()],
            records: readings.iter().enumerate().map(record).collect(),
        };
        let message = message.encode_to_vec();
        let bytes = [&[0xf3, 0x89, 0x9a, 0xc2], &*message, &md5::Md5::digest(&message)].concat();
        let (good, bad) = pieces(decode(&bytes, now()));
        prop_assert_eq!(good, readings);
        prop_assert!(bad.is_empty());
    }

    #[test]
    fn aggregated_records_written_here_follow_the_published_schema(
        records in prop::collection::vec(("[a-c]{1,2}", prop::collection::vec(any::<u8>(), 0..300)), 1..8),
    ) {
        use prost::Message as _;
        let bytes = encode::kpl(&records);
        let message = published::AggregatedRecord::decode(&bytes[4..bytes.len() - 16]).unwrap();
        let read: Vec<_> = message.records.into_iter()
            .map(|r| (message.partition_key_table[r.partition_key_index as usize].clone(), r.data))
            .collect();
        prop_assert_eq!(read, records);
    }
}
