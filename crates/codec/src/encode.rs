//! Readings to bytes: what the command line sends and what tests feed to the decoder.

use crate::kpl::MAGIC;
use crate::text;
use eaves_model::{Reading, TraceParent, Value, WireValue};
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest as _, Md5};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;

/// A reading as one line of JSON, without a newline. What was refused of it is left out.
pub fn reading(reading: &Reading) -> String {
    let mut out = head(reading);
    for (index, (name, value)) in reading.values.iter().enumerate() {
        comma(&mut out, index);
        write_member(&mut out, name, value);
    }
    out.push_str("}}");
    out
}

/// A reading with all that it was sent with: what was refused stands there as it came.
pub fn whole(reading: &Reading) -> String {
    let mut out = head(reading);
    for (index, (name, value)) in reading.values.iter().enumerate() {
        comma(&mut out, index);
        write_member(&mut out, name, value);
    }
    for (index, (_, member)) in (reading.values.len()..).zip(&reading.refused) {
        comma(&mut out, index);
        out.push_str(member);
    }
    out.push_str("}}");
    out
}

/// A reading of the same entity and time with these members (`"name": value`) for values.
pub fn with_members(reading: &Reading, members: &[impl AsRef<str>]) -> String {
    let mut out = head(reading);
    for (index, member) in members.iter().enumerate() {
        comma(&mut out, index);
        out.push_str(member.as_ref());
    }
    out.push_str("}}");
    out
}

/// A reading's JSON, an object without a `traceparent`, with this one as its first member.
pub fn with_trace(json: &str, trace: &TraceParent) -> String {
    let rest = json.trim_start().strip_prefix('{').unwrap_or(json).trim_start();
    let comma = if rest.starts_with('}') { "" } else { "," };
    format!("{{\"traceparent\":\"{trace}\"{comma}{rest}")
}

/// One value with its name, as it stands in `values`.
pub fn member(name: &str, value: &WireValue) -> String {
    let mut out = String::new();
    write_member(&mut out, name, value);
    out
}

/// One typed value with its name. The type is written where JSON's own would lose it.
pub fn typed_member(name: &str, value: &Value) -> String {
    let mut out = String::new();
    text::write(&mut out, name);
    out.push(':');
    match value {
        Value::Decimal(_) | Value::Timestamp(_) => write_value(&mut out, &WireValue::Typed(value.clone())),
        Value::String(s) => text::write(&mut out, s),
        other => other.write_json(&mut out),
    }
    out
}

/// Up to the brace that opens the values.
fn head(reading: &Reading) -> String {
    let mut out = String::with_capacity(128 + reading.values.len() * 32);
    out.push_str("{\"tenant\":");
    text::write(&mut out, &reading.tenant);
    out.push_str(",\"entity\":");
    text::write(&mut out, &reading.entity);
    if let Some(entity_type) = &reading.entity_type {
        out.push_str(",\"type\":");
        text::write(&mut out, entity_type);
    }
    let _ = write!(out, ",\"observed_at\":\"{}\"", reading.observed_at);
    if let Some(trace) = &reading.trace {
        let _ = write!(out, ",\"traceparent\":\"{trace}\"");
    }
    out.push_str(",\"values\":{");
    out
}

fn comma(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}

fn write_member(out: &mut String, name: &str, value: &WireValue) {
    text::write(out, name);
    out.push(':');
    write_value(out, value);
}

/// Writes `text` as a JSON string, quotes included.
pub fn write_string(out: &mut String, text: &str) {
    text::write(out, text);
}

/// Writes a value as the wire format has it.
pub fn write_value(out: &mut String, value: &WireValue) {
    match value {
        WireValue::Boolean(b) => drop(write!(out, "{b}")),
        WireValue::Text(s) => text::write(out, s),
        WireValue::Integer(i) => drop(write!(out, "{i}")),
        WireValue::Number(digits) => out.push_str(digits),
        WireValue::Typed(value) => {
            let _ = write!(out, "{{\"type\":\"{}\",\"value\":", value.value_type());
            match value {
                Value::String(s) => text::write(out, s),
                // In quotes, so that no JSON library on the way rounds it.
                Value::Decimal(d) => drop(write!(out, "\"{d}\"")),
                other => other.write_json(out),
            }
            out.push('}');
        }
    }
}

/// Bytes as one gzip member.
pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    // Writing to a vector cannot fail; an empty answer would be refused as undecodable.
    encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap_or_default()
}

/// Records, each with its partition key, as the Kinesis Producer Library aggregates them.
pub fn kpl<K: AsRef<str>, D: AsRef<[u8]>>(records: &[(K, D)]) -> Vec<u8> {
    let mut keys: HashMap<&str, u64> = HashMap::new();
    let mut table = Vec::new();
    let mut body = Vec::new();
    for (key, data) in records {
        let key = key.as_ref();
        let next = keys.len() as u64;
        let index = *keys.entry(key).or_insert_with(|| {
            bytes_field(&mut table, 1, key.as_bytes());
            next
        });
        let mut record = vec![1 << 3];
        varint(&mut record, index);
        bytes_field(&mut record, 3, data.as_ref());
        bytes_field(&mut body, 3, &record);
    }
    table.extend_from_slice(&body);
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&table);
    out.extend_from_slice(&Md5::digest(&table));
    out
}

fn bytes_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
