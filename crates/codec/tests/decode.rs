//! What the decoder makes of good and bad records, case by case.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use eaves_codec::{Decoded, Refused, decode, encode};
use eaves_model::{Code, Reading, Timestamp, WireValue, limits};
use std::io::Write as _;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn read(bytes: impl AsRef<[u8]>) -> Decoded {
    decode(bytes.as_ref(), now())
}

/// The pieces of an ordinary record; a record refused whole is one refused piece.
fn pieces(bytes: impl AsRef<[u8]>) -> Vec<Result<Reading, Refused>> {
    let mut items = read(bytes).items;
    assert_eq!(items.len(), 1);
    match items.remove(0).outcome {
        Ok(pieces) => pieces,
        Err(refused) => vec![Err(refused)],
    }
}

fn one(bytes: impl AsRef<[u8]>) -> Reading {
    let mut pieces = pieces(bytes);
    assert_eq!(pieces.len(), 1, "{pieces:?}");
    pieces.remove(0).unwrap()
}

/// The only piece is refused with this code and field, and a message that contains `text`.
#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, code: Code, field: &str, text: &str) -> Refused {
    let bytes = bytes.as_ref();
    let mut pieces = pieces(bytes);
    assert_eq!(pieces.len(), 1, "{pieces:?}");
    let refused = pieces.remove(0).unwrap_err();
    assert_eq!((&refused.rejection.code, &*refused.rejection.field), (&code, field), "{refused:?}");
    assert!(refused.rejection.message.contains(text), "{}", refused.rejection.message);
    refused
}

fn with_values(values: &str) -> String {
    format!(r#"{{"tenant":"t","entity":"e","observed_at":"2026-03-01T11:00:00Z","values":{values}}}"#)
}

fn good() -> String {
    with_values(r#"{"x":1}"#)
}

/// The only value is refused, alone, with its JSON kept.
#[track_caller]
fn value_refused(json: &str, code: Code, text: &str) {
    let reading = one(with_values(&format!(r#"{{"a":1,"x":{json},"b":2}}"#)));
    assert_eq!(reading.values.len(), 2, "the other values go on: {reading:?}");
    let (why, payload) = &reading.refused[0];
    assert_eq!((&why.code, &*why.field), (&code, "values.x"), "{why}");
    assert!(why.message.contains(text), "{why}");
    assert_eq!(*payload, format!("\"x\":{json}"));
    // So that it can be sent again, in a reading of its own.
    let again = one(encode::with_members(&reading, &[payload]));
    assert_eq!((&again.refused, again.values.len()), (&reading.refused, 0));
    let whole = one(encode::whole(&reading));
    assert_eq!((&whole.refused, &whole.values), (&reading.refused, &reading.values));
}

#[test]
fn a_reading_keeps_names_time_and_exact_values() {
    let reading = one(
        r#" {"tenant":"acme","entity":"pump-7","type":"pump","observed_at":"2026-03-01T13:00:00.25+02:00",
             "values":{"t":72.50,"n":-9223372036854775808,"big":9223372036854775808,"on":true,"s":"a\"\u00e9\ud83d\ude00\n",
             "kwh":{"type":"decimal","value":"12.30"},"at":{"type":"timestamp","value":"2026-01-01T00:00:00Z"}}} "#,
    );
    assert_eq!(
        (&*reading.tenant, &*reading.entity, reading.entity_type.as_deref()),
        ("acme", "pump-7", Some("pump"))
    );
    assert_eq!(reading.observed_at.to_string(), "2026-03-01T11:00:00.25Z");
    let value = |name: &str| reading.values.iter().find(|(n, _)| &**n == name).unwrap().1.clone();
    assert_eq!(value("t"), WireValue::Number("72.50".into()));
    assert_eq!(value("n"), WireValue::Integer(i64::MIN));
    assert_eq!(value("big"), WireValue::Number("9223372036854775808".into()));
    assert_eq!(value("on"), WireValue::Boolean(true));
    assert_eq!(value("s"), WireValue::Text("a\"é😀\n".into()));
    assert!(matches!(value("kwh"), WireValue::Typed(v) if format!("{v:?}").contains("12.30")));
    assert!(matches!(value("at"), WireValue::Typed(eaves_model::Value::Timestamp(_))));
    assert!(reading.refused.is_empty());
}

#[test]
fn escaped_keys_are_the_keys_they_spell() {
    assert_eq!(one(good().replace("tenant", r"ten\u0061nt")), one(good()));
}

#[test]
fn a_bad_value_is_refused_alone() {
    value_refused("null", Code::BAD_VALUE, "null");
    value_refused("[1,[2]]", Code::BAD_VALUE, "list");
    value_refused(r#"{"y":{"z":1}}"#, Code::BAD_VALUE, "motor.speed");
    value_refused(r#"{"y":1}"#, Code::BAD_VALUE, r#"key "y""#);
    value_refused("{}", Code::BAD_VALUE, "without type and value");
    value_refused("NaN", Code::BAD_VALUE, "NaN");
    value_refused("-Infinity", Code::BAD_VALUE, "-Infinity");
    value_refused(r#"{"type":"colour","value":"red"}"#, Code::BAD_VALUE, "not a value type");
    value_refused(r#"{"type":"decimal","value":"12,30"}"#, Code::TYPE_MISMATCH, "12,30");
    value_refused(r#"{"type":"decimal","value":NaN}"#, Code::BAD_VALUE, "NaN");
    value_refused(r#"{"type":"float","value":1e999}"#, Code::OUT_OF_RANGE, "range of a float");
    value_refused(r#"{"type":"float","value":1,"value":2}"#, Code::DUPLICATE_KEY, "twice");
    value_refused(r#""\ud800""#, Code::BAD_VALUE, "surrogate");
    value_refused(r#""a\u0000b""#, Code::BAD_VALUE, "NUL");
    value_refused(&format!("\"{}\"", "x".repeat(1 << 20)), Code::TOO_LONG, "1048576 bytes");
    value_refused(&"9".repeat(70_000), Code::TOO_LONG, "number");
    value_refused(&format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), Code::TOO_DEEP, "levels");
}

#[test]
fn a_string_as_long_as_the_limit_is_taken() {
    let text = "é".repeat(limits::MAX_STRING_BYTES / 2);
    let reading = one(with_values(&format!(r#"{{"x":"{text}"}}"#)));
    assert_eq!(reading.values[0].1, WireValue::Text(text.into()));
}

#[test]
fn a_bad_value_name_is_refused_alone_and_kept() {
    let long = "n".repeat(256);
    let reading = one(with_values(&format!(r#"{{"a":1,"":2,"{long}":3,"x\ty":4}}"#)));
    assert_eq!(reading.values.len(), 1);
    let codes: Vec<_> = reading.refused.iter().map(|(why, _)| (&why.code, &*why.field)).collect();
    assert_eq!(codes, vec![(&Code::BAD_NAME, "values"); 3]);
    assert_eq!(reading.refused[1].1, format!("\"{long}\":3"));
    let longest = "é".repeat(255);
    assert_eq!(&*one(with_values(&format!(r#"{{"{longest}":1}}"#))).values[0].0, longest);
}

#[test]
fn a_bad_field_refuses_the_reading_and_names_the_field() {
    let r = |from: &str, to: &str| good().replace(from, to);
    refused(r(r#""tenant":"t","#, ""), Code::MISSING_FIELD, "tenant", "missing");
    refused(r(r#""entity":"e","#, ""), Code::MISSING_FIELD, "entity", "missing");
    refused(
        r(r#""observed_at":"2026-03-01T11:00:00Z","#, ""),
        Code::MISSING_FIELD,
        "observed_at",
        "RFC 3339",
    );
    refused(
        r#"{"tenant":"t","entity":"e","observed_at":"2026-03-01T11:00:00Z"}"#,
        Code::MISSING_FIELD,
        "values",
        "",
    );
    refused(with_values("{}"), Code::MISSING_FIELD, "values", "no value");
    refused(with_values("[1]"), Code::BAD_SHAPE, "values", "[1]");
    refused(r(r#""t""#, "5"), Code::BAD_SHAPE, "tenant", "is not a string");
    refused(r(r#""t""#, "null"), Code::BAD_SHAPE, "tenant", "not a string");
    refused(r(r#""e""#, r#""""#), Code::BAD_NAME, "entity", "empty");
    refused(r(r#""e""#, r#""a\u0000b""#), Code::BAD_NAME, "entity", "control");
    refused(r(r#""e""#, r#""\udc00""#), Code::BAD_NAME, "entity", "surrogate");
    refused(r(r#""e""#, &format!("{:?}", "x".repeat(256))), Code::BAD_NAME, "entity", "255");
    refused(r(r#""e""#, r#""e","typ":"x""#), Code::UNKNOWN_FIELD, "typ", "not a field");
    refused(r(r#""e""#, r#""e","type":"""#), Code::BAD_NAME, "type", "empty");
    refused(r(r#""e""#, r#""e","entity":"e""#), Code::DUPLICATE_KEY, "entity", "twice");
    refused(with_values(r#"{"x":1,"y":2,"x":1}"#), Code::DUPLICATE_KEY, "values.x", "twice");
    refused(with_values(r#"{"x":null,"y":2,"\u0078":1}"#), Code::DUPLICATE_KEY, "values.x", "twice");
    let many: Vec<_> = (0..100).chain([57]).map(|i| format!(r#""v{i}":1"#)).collect();
    refused(with_values(&format!("{{{}}}", many.join(","))), Code::DUPLICATE_KEY, "values.v57", "twice");
    for time in [
        "2026-03-01T11:00:00",
        "yesterday",
        "",
        "1999-12-31T23:59:59Z",
        "2026-03-02T12:00:01Z",
        "+012026-01-01T00:00:00Z",
    ] {
        refused(r("2026-03-01T11:00:00Z", time), Code::BAD_TIME, "observed_at", "");
    }
    refused(
        r(r#""2026-03-01T11:00:00Z""#, "1772362800"),
        Code::BAD_TIME,
        "observed_at",
        "2026-03-01T12:00:00.25Z",
    );
    refused(r(r#""2026-03-01T11:00:00Z""#, "NaN"), Code::BAD_TIME, "observed_at", "NaN");
}

#[test]
fn a_refused_piece_says_whose_it_is_unless_that_is_in_doubt() {
    let bad_time = good().replace("2026", "1926");
    let found = refused(&bad_time, Code::BAD_TIME, "observed_at", "1926");
    assert_eq!(found.tenant.as_deref(), Some("t"));
    assert_eq!(found.payload, bad_time.as_bytes());
    let two = good().replace(r#""entity":"e""#, r#""entity":"e","tenant":"u""#);
    assert_eq!(refused(two, Code::DUPLICATE_KEY, "tenant", "").tenant, None);
    let cut = &good()[..40];
    assert_eq!(refused(cut, Code::UNDECODABLE, "record", "the end").tenant.as_deref(), Some("t"));
}

#[test]
fn what_is_no_json_is_refused_whole_with_the_place() {
    refused("", Code::UNDECODABLE, "record", "empty");
    refused(" \n\t", Code::UNDECODABLE, "record", "empty");
    refused("\u{feff}", Code::UNDECODABLE, "record", "empty");
    refused("hello\nworld", Code::UNDECODABLE, "record", "at byte 0");
    refused(b"\xff\xfe{\x00}\x00", Code::UNDECODABLE, "record", "UTF-8");
    refused([0u8; 300], Code::UNDECODABLE, "record", "a value");
    refused(good().replace('}', ""), Code::UNDECODABLE, "record", "'}'");
    refused(good().replace('"', "'"), Code::UNDECODABLE, "record", "double quotes at byte 1");
    refused(good().replace(":1", ":01"), Code::UNDECODABLE, "record", "leading 0");
    refused(good().replace(":1", ":1,"), Code::UNDECODABLE, "record", "a key");
    refused(good().replace(":1", ":1x"), Code::UNDECODABLE, "record", "',' or '}'");
    refused(good().replace(":1", r#":"\q""#), Code::UNDECODABLE, "record", "escape");
    refused(good() + "}", Code::UNDECODABLE, "record", "end of the line");
    refused(good() + &good(), Code::UNDECODABLE, "record", "end of the line");
    refused("5", Code::BAD_SHAPE, "record", "not a reading");
    refused("[]", Code::BAD_SHAPE, "record", "list without a reading");
    refused("[".repeat(1_000_000), Code::TOO_DEEP, "[0]", "levels");
    refused(with_values(&r#"{"a":"#.repeat(100_000)), Code::TOO_DEEP, "record", "levels");
}

#[test]
fn a_byte_order_mark_and_pretty_printing_are_taken() {
    let pretty = "\u{feff}".to_owned() + &good().replace(',', ",\r\n  ").replace('{', "{\n");
    assert_eq!(one(pretty), one(good()));
    // Broken, it is one piece: its lines are no readings.
    let broken = good().replace(',', ",\n").replace(":1", ":");
    assert_eq!(refused(&broken, Code::UNDECODABLE, "record", "a value").payload, broken.as_bytes());
}

#[test]
fn in_a_list_only_the_bad_element_is_refused() {
    let list = format!(
        r#"[{}, 7, {}, {}]"#,
        good(),
        good().replace(":1", ":null,\"y\":2"),
        good().replace("2026", "1926")
    );
    let found = pieces(&list);
    assert_eq!(found.len(), 4);
    assert!(found[0].is_ok());
    let seven = found[1].as_ref().unwrap_err();
    assert_eq!((&*seven.rejection.field, &*seven.payload), ("[1]", &b"7"[..]));
    assert_eq!(found[2].as_ref().unwrap().refused[0].0.field, "[2].values.x");
    assert_eq!(found[3].as_ref().unwrap_err().rejection.field, "[3].observed_at");
}

#[test]
fn a_list_is_taken_up_to_where_it_breaks() {
    let list = format!("[{},{},{{\"tenant\":\"t\" oops", good(), good());
    let found = pieces(&list);
    assert_eq!(found.len(), 3);
    let rest = found[2].as_ref().unwrap_err();
    assert_eq!((&*rest.rejection.field, &*rest.payload), ("[2]", &b"{\"tenant\":\"t\" oops"[..]));
    assert!(rest.rejection.message.contains("at byte 14, found \"oops\""), "{}", rest.rejection.message);
    assert_eq!(rest.tenant.as_deref(), Some("t"));
    let trailing = pieces(format!("[{}] tail", good()));
    assert!(trailing[0].is_ok());
    assert_eq!(trailing[1].as_ref().unwrap_err().payload, b"tail");
}

#[test]
fn on_lines_only_the_bad_line_is_refused() {
    let lines = [&*good(), "", r#"{"tenant":"t","ent"#, &good().replace(":1", ":[]"), "nonsense", &good()]
        .join("\r\n");
    let found = pieces(&lines);
    assert_eq!(found.iter().filter(|p| p.is_ok()).count(), 3);
    let cut = found[1].as_ref().unwrap_err();
    assert_eq!((&cut.rejection.code, &*cut.rejection.field), (&Code::UNDECODABLE, "line 3"));
    assert_eq!(cut.payload, br#"{"tenant":"t","ent"#);
    assert_eq!(found[2].as_ref().unwrap().refused[0].0.field, "line 4.values.x");
    assert_eq!(found[3].as_ref().unwrap_err().rejection.field, "line 5");
    // The first line is no different, nor is one that is not text.
    assert_eq!(pieces(format!("oops\n{}", good())).iter().filter(|p| p.is_ok()).count(), 1);
    let dirty = [good().as_bytes(), b"\xff\xff", good().as_bytes()].join(&b'\n');
    let found = pieces(dirty);
    assert_eq!(found.len(), 3);
    assert_eq!(
        found[1].as_ref().unwrap_err().rejection.to_string(),
        "line 2: is not UTF-8 text (undecodable)"
    );
}

#[test]
fn lines_that_break_over_and_over_cost_no_more_than_their_length() {
    let start = std::time::Instant::now();
    let bomb = "{\"a\":[\n".repeat(100_000);
    refused(&bomb, Code::TOO_DEEP, "record", "levels");
    // Read again from every line to the end, this would take minutes.
    assert!(start.elapsed().as_secs() < 20);
}

#[test]
fn gzip_is_the_same_as_plain() {
    let ndjson = format!("{}\n{}", good(), good());
    assert_eq!(read(encode::gzip(ndjson.as_bytes())), read(&ndjson));
    let members = [encode::gzip(&ndjson.as_bytes()[..50]), encode::gzip(&ndjson.as_bytes()[50..])].concat();
    assert_eq!(read(members), read(&ndjson));
}

#[test]
fn a_broken_gzip_stream_or_bomb_is_refused_with_its_bytes() {
    let cut = &encode::gzip(good().as_bytes())[..30];
    assert_eq!(refused(cut, Code::BAD_GZIP, "record", "broken").payload, cut);
    let zeros = vec![b' '; limits::MAX_UNPACKED_BYTES + 1];
    let bomb = encode::gzip(&zeros);
    assert_eq!(refused(&bomb, Code::BAD_GZIP, "record", "16777216 bytes").payload, bomb);
    // In many members it is no less of a bomb.
    let member = encode::gzip(&zeros[..1 << 20]);
    refused(member.repeat(17), Code::BAD_GZIP, "record", "unpacks to over");
    // Exactly full is not too full; spaces alone are an empty record.
    refused(encode::gzip(&zeros[1..]), Code::UNDECODABLE, "record", "empty");
    let twice = encode::gzip(&encode::gzip(good().as_bytes()));
    refused(twice, Code::UNDECODABLE, "record", "UTF-8");
}

#[test]
fn aggregated_records_are_taken_apart() {
    let subs = [
        good().into_bytes(),
        encode::gzip(good().as_bytes()),
        b"oops".to_vec(),
        format!("{0}\n{0}", good()).into_bytes(),
    ];
    let keyed: Vec<_> = subs.iter().enumerate().map(|(i, d)| (format!("key-{}", i % 2), d)).collect();
    let found = read(encode::kpl(&keyed));
    assert_eq!(found.items.iter().map(|i| i.sub).collect::<Vec<_>>(), [0, 1, 2, 3]);
    for (item, plain) in found.items.iter().zip(&subs) {
        assert_eq!(item.outcome, read(plain).items[0].outcome);
    }
}

#[test]
fn a_damaged_aggregated_record_is_refused_whole() {
    let record = encode::kpl(&[("k", good())]);
    let mut flipped = record.clone();
    flipped[20] ^= 1;
    assert_eq!(refused(&flipped, Code::UNDECODABLE, "record", "checksum").payload, flipped);
    refused(&record[..10], Code::UNDECODABLE, "record", "too short");
    refused(encode::kpl::<&str, &str>(&[]), Code::UNDECODABLE, "record", "no sub-record");
    refused(
        resigned(&[3 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        Code::UNDECODABLE,
        "record",
        "message is broken",
    );
    refused(resigned(&[0xff; 11]), Code::UNDECODABLE, "record", "message is broken");
    refused(resigned(&[3 << 3 | 2, 0]), Code::UNDECODABLE, "record", "message is broken");
}

#[test]
fn many_tiny_sub_records_are_bounded() {
    // Each is an aggregated record's entry with empty data: four bytes.
    let message = [3 << 3 | 2, 2, 3 << 3 | 2, 0].repeat(limits::MAX_READINGS_PER_RECORD + 1);
    refused(resigned(&message), Code::TOO_LONG, "record", "sub-records");
}

#[test]
fn one_bomb_among_sub_records_leaves_the_others_readable() {
    let bomb = encode::gzip(&vec![b' '; limits::MAX_UNPACKED_BYTES + 1]);
    let small = encode::gzip(good().as_bytes());
    let found = read(encode::kpl(&[("k", &bomb), ("k", &small), ("k", &bomb), ("k", &small)]));
    let ok: Vec<_> = found.items.iter().map(|i| i.outcome.is_ok()).collect();
    assert_eq!(ok, [false, true, false, true]);
    // Fifty bombs would be 800 MiB of work: after some, nothing more is inflated.
    let start = std::time::Instant::now();
    let found = read(encode::kpl(&vec![("k", &bomb); 50]));
    assert!(found.items.iter().all(|i| i.outcome.is_err()));
    assert!(start.elapsed().as_secs() < 10);
}

#[test]
fn too_many_values_refuse_the_reading_and_too_many_readings_the_rest() {
    let values: Vec<_> = (0..=limits::MAX_VALUES_PER_READING).map(|i| format!(r#""v{i}":{i}"#)).collect();
    assert_eq!(one(with_values(&format!("{{{}}}", values[1..].join(",")))).values.len(), 10_000);
    refused(with_values(&format!("{{{}}}", values.join(","))), Code::TOO_LONG, "values", "10000 values");

    let lines = vec!["{}"; limits::MAX_READINGS_PER_RECORD + 3].join("\n");
    let found = pieces(lines);
    assert_eq!(found.len(), limits::MAX_READINGS_PER_RECORD + 1);
    let rest = found.last().unwrap().as_ref().unwrap_err();
    assert_eq!((&rest.rejection.code, &*rest.rejection.field), (&Code::TOO_LONG, "line 100001"));
    assert_eq!(rest.payload, b"{}\n{}\n{}");

    let list = format!("[{}]", vec!["{}"; limits::MAX_READINGS_PER_RECORD + 3].join(","));
    let found = pieces(list);
    assert_eq!(found.len(), limits::MAX_READINGS_PER_RECORD + 1);
    assert_eq!(found.last().unwrap().as_ref().unwrap_err().payload, b"{},{},{}]");
}

#[test]
fn values_are_bounded_over_the_whole_record() {
    let values: Vec<_> = (0..10_000).map(|i| format!(r#""{i}":0"#)).collect();
    let reading = with_values(&format!("{{{}}}", values.join(",")));
    let mut record = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..60 {
        record.write_all(format!("{reading}\n").as_bytes()).unwrap();
    }
    let found = pieces(record.finish().unwrap());
    assert_eq!(found.iter().filter(|p| p.is_ok()).count(), 50);
    assert!(found[50..].iter().all(|p| p.as_ref().unwrap_err().rejection.code == Code::TOO_LONG));
}

/// An aggregated record with a right checksum around any message.
fn resigned(message: &[u8]) -> Vec<u8> {
    use md5::Digest as _;
    [&[0xf3, 0x89, 0x9a, 0xc2], message, &md5::Md5::digest(message)].concat()
}
