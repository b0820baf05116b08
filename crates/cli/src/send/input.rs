//! Lines of a file as readings that can be sent.

use super::table::Mapping;
use crate::sender::partition_key;
use anyhow::{Context as _, Error, Result};
use eaves_codec::{decode, encode};
use eaves_model::{Code, Reading, Rejection, Timestamp};
use std::io::{BufRead as _, BufReader, Read};
use tokio::sync::mpsc::Sender;

/// A reading that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) values: u64,
    pub(super) partition_key: String,
    /// It says itself what sent it.
    pub(super) traced: bool,
    pub(super) json: String,
}

/// Something that is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) line: u64,
    pub(super) text: String,
}

/// What a line came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Item {
    /// The reading, or what is good of it.
    pub(super) line: Option<Line>,
    /// What is wrong with it.
    pub(super) problems: Vec<Problem>,
}

/// Reads NDJSON to its end, or until nobody listens any more.
pub(super) fn read_lines(reader: impl Read, tenant: Option<&str>, to: &Sender<Result<Item>>) {
    let mut reader = BufReader::with_capacity(1 << 20, reader);
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        let item = match reader.read_until(b'\n', &mut bytes) {
            Ok(0) => return,
            Ok(_) => {
                let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).trim_ascii();
                if text.is_empty() {
                    continue;
                }
                Ok(check(number, text, tenant, Timestamp::now()))
            }
            Err(e) => Err(e).with_context(|| format!("read line {number}")),
        };
        let last = item.is_err();
        if to.blocking_send(item).is_err() || last {
            return;
        }
    }
}

/// Reads CSV to its end, or until nobody listens any more.
pub(super) fn read_rows(
    mut csv: csv::Reader<impl Read>,
    mapping: &Mapping,
    tenant: Option<&str>,
    to: &Sender<Result<Item>>,
) {
    let mut row = csv::ByteRecord::new();
    loop {
        let read = csv.read_byte_record(&mut row);
        let number = row.position().map_or(0, csv::Position::line);
        let item = match read {
            Ok(false) => return,
            Ok(true) => Ok(match mapping.reading(&row) {
                Ok(json) => check(number, json.as_bytes(), tenant, Timestamp::now()),
                Err(text) => Item { line: None, problems: vec![Problem { line: number, text }] },
            }),
            Err(e) => match e.kind() {
                csv::ErrorKind::UnequalLengths { expected_len, len, pos } => {
                    let line = pos.as_ref().map_or(number, csv::Position::line);
                    let text = format!("has {len} columns, the header has {expected_len}");
                    Ok(Item { line: None, problems: vec![Problem { line, text }] })
                }
                _ => Err(Error::from(e).context("read the CSV file")),
            },
        };
        let last = item.is_err();
        if to.blocking_send(item).is_err() || last {
            return;
        }
    }
}

/// One line of JSON as the platform would read it.
pub(super) fn check(number: u64, text: &[u8], tenant: Option<&str>, now: Timestamp) -> Item {
    let problem = |text: String| Item { line: None, problems: vec![Problem { line: number, text }] };
    if text.first() == Some(&b'[') {
        return problem("is a list: put each reading on a line of its own (jq -c '.[]' does)".into());
    }
    if text.first() != Some(&b'{') {
        return problem("is not a JSON object".into());
    }
    let (mut json, mut reading) = (None, parse(text, now));
    let unnamed = matches!(&reading, Err(why) if why.code == Code::MISSING_FIELD && why.field == "tenant");
    if let Some(tenant) = tenant.filter(|_| unnamed) {
        let named = name_tenant(text, tenant);
        reading = parse(&named, now);
        json = Some(named);
    }
    let mut reading = match reading {
        Ok(reading) => reading,
        Err(why) => return problem(why.to_string()),
    };
    if let Some(tenant) = tenant.filter(|t| **t != *reading.tenant) {
        return problem(format!("tenant: is {:?}, but --tenant says {tenant:?}", reading.tenant));
    }
    let bad = std::mem::take(&mut reading.refused);
    let problems: Vec<_> = bad
        .iter()
        .map(|(why, _)| Problem { line: number, text: format!("{why}, the value is not sent") })
        .collect();
    if reading.values.is_empty() {
        return Item { line: None, problems };
    }
    let json = if problems.is_empty() {
        // As it stands, so that every digit arrives.
        String::from_utf8_lossy(json.as_deref().unwrap_or(text)).into_owned()
    } else {
        encode::reading(&reading)
    };
    let line = Line {
        number,
        values: reading.values.len() as u64,
        partition_key: partition_key(&reading.tenant, &reading.entity),
        traced: reading.trace.is_some(),
        json,
    };
    Item { line: Some(line), problems }
}

fn parse(text: &[u8], now: Timestamp) -> Result<Reading, Rejection> {
    let mut pieces = decode(text, now).items.pop().map_or_else(|| Ok(Vec::new()), |item| item.outcome);
    match pieces.as_mut().map(|pieces| (pieces.len(), pieces.pop())) {
        Ok((1, Some(Ok(reading)))) => Ok(reading),
        Ok((1, Some(Err(refused)))) => Err(refused.rejection),
        Ok(_) => Err(Rejection::new(Code::BAD_SHAPE, "record", "is not one reading")),
        Err(refused) => Err(refused.rejection.clone()),
    }
}

/// The object with a tenant as its first member.
fn name_tenant(text: &[u8], tenant: &str) -> Vec<u8> {
    let mut json = String::from("{\"tenant\":");
    encode::write_string(&mut json, tenant);
    let rest = text[1..].trim_ascii_start();
    if rest.first() != Some(&b'}') {
        json.push(',');
    }
    [json.as_bytes(), rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn checked(json: &str, tenant: Option<&str>) -> Item {
        check(3, json.as_bytes(), tenant, now())
    }

    const READING: &str = r#"{"entity":"e","observed_at":"2026-03-01T11:00:00Z","values":{"x":1.50,"y":2}}"#;

    #[test]
    fn the_tenant_is_filled_in_and_nothing_else_is_touched() {
        let line = checked(READING, Some("acme")).line.unwrap();
        assert_eq!(line.json, READING.replacen('{', r#"{"tenant":"acme","#, 1));
        assert_eq!((line.number, line.values, &*line.partition_key), (3, 2, "acme/e"));
        let own = READING.replacen('{', r#"{"tenant":"acme","#, 1);
        assert_eq!(checked(&own, None).line.unwrap().json, own);
        assert_eq!(checked(&own, Some("acme")).line.unwrap().json, own);
    }

    #[track_caller]
    fn problem(item: &Item, text: &str) {
        assert_eq!(item.problems.len(), 1, "{item:?}");
        assert!(item.problems[0].line == 3 && item.problems[0].text.contains(text), "{item:?}");
    }

    #[test]
    fn a_line_that_cannot_be_sent_says_why() {
        let wrong = READING.replacen('{', r#"{"tenant":"globex","#, 1);
        for (json, tenant, text) in [
            (READING, None, "tenant: is missing"),
            (&wrong, Some("acme"), "--tenant says \"acme\""),
            ("[]", None, "jq"),
            ("{}", Some("acme"), "entity: is missing"),
            ("hello", None, "not a JSON object"),
            (&READING[..30], Some("acme"), "is not JSON"),
            (&READING.replace("T11", "T99"), Some("acme"), "observed_at"),
        ] {
            let item = checked(json, tenant);
            assert!(item.line.is_none());
            problem(&item, text);
        }
    }

    #[test]
    fn a_bad_value_is_left_out_and_the_rest_is_sent() {
        let item = checked(&READING.replace(":2}", ":null}"), Some("t"));
        problem(&item, "values.y: is null");
        assert!(item.line.unwrap().json.ends_with(r#""values":{"x":1.50}}"#));
        let item = checked(&READING.replace("1.50", "[]").replace(":2}", ":null}"), Some("t"));
        assert_eq!((item.line, item.problems.len()), (None, 2));
    }

    #[test]
    fn a_file_is_read_to_its_end_with_line_numbers() {
        let file = format!("\u{feff}{READING}\r\n\n{READING}\noops\n{READING}");
        let (send, mut receive) = tokio::sync::mpsc::channel(10);
        read_lines(file.as_bytes(), Some("t"), &send);
        drop(send);
        let mut items = Vec::new();
        while let Some(item) = receive.blocking_recv() {
            items.push(item.unwrap());
        }
        let lines: Vec<_> = items.iter().filter_map(|i| i.line.as_ref()).map(|l| l.number).collect();
        let problems: Vec<_> = items.iter().flat_map(|i| &i.problems).map(|p| p.line).collect();
        assert_eq!((lines, problems), (vec![1, 3, 5], vec![4]));
    }
}
