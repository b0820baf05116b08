//! `docs/wire-format.md` says what the decoder does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod schema;

use eaves_codec::{decode, limits as own};
use eaves_model::{Code, Timestamp, limits};
use schema::Schema;

const PAGE: &str = include_str!("../../../../docs/wire-format.md");
const SCHEMA: &str = include_str!("../../../../docs/wire-format.schema.json");

fn examples() -> Vec<&'static str> {
    PAGE.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_code_is_explained() {
    for code in Code::ALL {
        assert!(PAGE.contains(&format!("| `{code}` |")), "{code} is not in docs/wire-format.md");
    }
    let rows = PAGE.lines().filter(|l| l.starts_with("| `") && l.split('|').count() == 5);
    let codes: Vec<_> =
        rows.filter_map(|l| l.split('`').nth(1)).filter(|c| c.contains('_') || *c == "undecodable").collect();
    for code in codes.iter().filter(|c| **c != "observed_at") {
        assert!(Code::ALL.iter().any(|known| known.0 == **code), "{code} is explained but does not exist");
    }
}

#[test]
fn the_examples_are_readings() {
    let now: Timestamp = "2026-03-02T00:00:00Z".parse().unwrap();
    assert_eq!(examples().len(), 3);
    for example in examples() {
        for piece in decode(example.as_bytes(), now).items.remove(0).outcome.unwrap() {
            assert!(piece.unwrap().refused.is_empty(), "{example}");
        }
    }
}

#[test]
fn the_limits_are_those_of_the_code() {
    let with_commas = |n: usize| {
        let digits = n.to_string();
        let mut out = String::new();
        for (i, c) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                out.push(',');
            }
            out.push(c);
        }
        out
    };
    for line in [
        format!("| Names | {} characters |", limits::MAX_NAME_CHARS),
        format!("the digits of a number | {} bytes |", with_commas(limits::MAX_STRING_BYTES)),
        format!("| Values in a reading | {} |", with_commas(limits::MAX_VALUES_PER_READING)),
        format!("all sub-records together | {} |", with_commas(limits::MAX_READINGS_PER_RECORD)),
        format!("all sub-records together | {} |", with_commas(own::MAX_VALUES_PER_RECORD)),
        format!("all sub-records together | {} MiB |", limits::MAX_UNPACKED_BYTES >> 20),
        format!("Nested over {} levels", own::MAX_DEPTH),
        format!("up to {} significant digits", limits::MAX_DECIMAL_DIGITS),
    ] {
        assert!(PAGE.contains(&line), "docs/wire-format.md does not say: {line}");
    }
}

/// Documents the schema and the decoder must agree on, without what a schema cannot say.
#[test]
fn the_schema_takes_what_the_decoder_takes() {
    let schema = Schema::parse(SCHEMA);
    let now: Timestamp = "2026-03-02T00:00:00Z".parse().unwrap();
    let clean = |text: &str| match decode(text.as_bytes(), now).items.remove(0).outcome {
        Ok(pieces) => pieces.iter().all(|p| p.as_ref().is_ok_and(|r| r.refused.is_empty())),
        Err(_) => false,
    };
    let good =
        r#"{"tenant":"t","entity":"e","type":"k","observed_at":"2026-03-01T11:00:00Z","values":{"x":V}}"#;
    let value = |v: &str| good.replace('V', v);
    let mut documents: Vec<String> = examples().iter().map(|e| (*e).to_owned()).collect();
    for v in [
        "1",
        "-1.5e3",
        "true",
        "\"s\"",
        "\"\"",
        "null",
        "[]",
        "[1]",
        "{}",
        r#"{"y":1}"#,
        r#"{"type":"decimal"}"#,
        r#""\u0000""#,
        r#"{"type":"decimal","value":"12.30"}"#,
        r#"{"type":"decimal","value":12.5}"#,
        r#"{"type":"decimal","value":"a"}"#,
        r#"{"type":"decimal","value":true}"#,
        r#"{"type":"integer","value":1}"#,
        r#"{"type":"integer","value":1.5}"#,
        r#"{"type":"integer","value":"1"}"#,
        r#"{"type":"float","value":1}"#,
        r#"{"type":"float","value":"1"}"#,
        r#"{"type":"boolean","value":false}"#,
        r#"{"type":"boolean","value":0}"#,
        r#"{"type":"string","value":"x"}"#,
        r#"{"type":"string","value":1}"#,
        r#"{"type":"timestamp","value":"2026-01-01T00:00:00.5+01:00"}"#,
        r#"{"type":"timestamp","value":"2026-01-01T00:00:00"}"#,
        r#"{"type":"colour","value":"red"}"#,
        r#"{"type":"float","value":1,"unit":"K"}"#,
        r#"{"type":5,"value":1}"#,
    ] {
        documents.push(value(v));
    }
    for (from, to) in [
        (r#""tenant":"t","#, ""),
        (r#""entity":"e","#, ""),
        (r#""type":"k","#, ""),
        (r#""values":{"x":1}"#, r#""more":1"#),
        (r#""t""#, r#""""#),
        (r#""t""#, "5"),
        (r#""e""#, r#""a\u0007""#),
        (r#""e""#, r#""a\u0085""#),
        (r#""k""#, "null"),
        (r#""e""#, r#""e","extra":1"#),
        ("{\"x\":1}", "{}"),
        ("{\"x\":1}", "[]"),
        ("\"x\"", "\"\""),
        ("11:00:00Z", "11:00:00"),
        (r#""2026-03-01T11:00:00Z""#, "1772362800"),
        ("Z", "+02:00"),
    ] {
        documents.push(value("1").replace(from, to));
    }
    documents.push(value("1").replace("\"e\"", &format!("{:?}", "é".repeat(255))));
    documents.push(value("1").replace("\"e\"", &format!("{:?}", "é".repeat(256))));
    documents.extend([
        format!("[{0},{0}]", value("1")),
        format!("[{},5]", value("1")),
        "[]".into(),
        "5".into(),
        "{}".into(),
    ]);
    for document in documents {
        let json: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(schema.takes(&json), clean(&document), "{document}");
    }
}
