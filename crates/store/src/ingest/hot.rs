//! Hot readings of a batch to one row per entity, for the set-based upsert.

use super::HotRow;
use crate::micros::Micros;
use std::fmt::Write as _;

/// Columns for `upsert_hot_batch`, sorted by tenant and entity.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) tenants: Vec<i32>,
    pub(super) entities: Vec<i64>,
    pub(super) oldest: Vec<Micros>,
    pub(super) newest: Vec<Micros>,
    pub(super) attrs: Vec<String>,
    pub(super) times: Vec<String>,
}

/// Merges the readings of each entity: their objects are written one after the other,
/// oldest first, since of a key that comes twice jsonb keeps the last value. Readings of
/// one time stay in the order given.
pub(super) fn fold(rows: &[HotRow]) -> Columns {
    let mut order: Vec<&HotRow> = rows.iter().filter(|r| r.attrs_json.len() > 2).collect();
    order.sort_by_key(|r| (r.tenant, r.entity, r.observed_at));
    let mut out = Columns::default();
    for same in order.chunk_by(|a, b| (a.tenant, a.entity) == (b.tenant, b.entity)) {
        let (Some(first), Some(last)) = (same.first(), same.last()) else { continue };
        let length: usize = same.iter().map(|r| r.attrs_json.len()).sum();
        let mut attrs = String::with_capacity(length);
        let mut times = String::with_capacity(length * 2);
        for reading in same {
            attrs.push(if attrs.is_empty() { '{' } else { ',' });
            attrs.push_str(&reading.attrs_json[1..reading.attrs_json.len() - 1]);
            let micros = reading.observed_at.as_micros();
            for key in keys(&reading.attrs_json) {
                times.push(if times.is_empty() { '{' } else { ',' });
                times.push_str(key);
                // Writing to a String cannot fail.
                let _ = write!(times, ":{micros}");
            }
        }
        attrs.push('}');
        times.push('}');
        out.tenants.push(first.tenant.0);
        out.entities.push(first.entity.0);
        out.oldest.push(Micros(first.observed_at));
        out.newest.push(Micros(last.observed_at));
        out.attrs.push(attrs);
        out.times.push(times);
    }
    out
}

/// The keys of a JSON object of plain values, quoted and escaped as they stand there.
fn keys(object: &str) -> impl Iterator<Item = &str> {
    let bytes = object.as_bytes();
    let mut at = 1;
    std::iter::from_fn(move || {
        while at < bytes.len() && matches!(bytes[at], b',' | b' ') {
            at += 1;
        }
        let key = at..string_end(bytes, at)?;
        at = key.end;
        while matches!(bytes.get(at), Some(b':' | b' ')) {
            at += 1;
        }
        if bytes.get(at) == Some(&b'"') {
            at = string_end(bytes, at)?;
        }
        while !matches!(bytes.get(at), Some(b',' | b'}') | None) {
            at += 1;
        }
        object.get(key)
    })
}

/// Behind the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eaves_model::{EntityId, TenantId, Timestamp};

    fn reading(entity: i64, micros: i64, attrs: &str) -> HotRow {
        HotRow {
            tenant: TenantId(1),
            entity: EntityId(entity),
            observed_at: Timestamp::from_micros(micros).unwrap(),
            attrs_json: attrs.into(),
        }
    }

    #[test]
    fn keys_are_found_whatever_the_values_hold() {
        let object = r#"{"a":1.5,"b\"{,":"x\\","c": "}, \"d\":1" ,"é":true,"":null}"#;
        assert_eq!(keys(object).collect::<Vec<_>>(), [r#""a""#, r#""b\"{,""#, r#""c""#, "\"é\"", r#""""#]);
        assert_eq!(keys("{}").count(), 0);
    }

    #[test]
    fn readings_of_one_entity_become_one_row_oldest_first() {
        let columns = fold(&[
            reading(2, 30, r#"{"a":3}"#),
            reading(1, 20, r#"{"a":2,"b":"x"}"#),
            reading(2, 10, r#"{"a":1,"b":1}"#),
            reading(3, 5, "{}"),
        ]);
        assert_eq!(columns.entities, [1, 2]);
        assert_eq!(columns.attrs, [r#"{"a":2,"b":"x"}"#, r#"{"a":1,"b":1,"a":3}"#]);
        assert_eq!(columns.times, [r#"{"a":20,"b":20}"#, r#"{"a":10,"b":10,"a":30}"#]);
        assert_eq!(columns.oldest[1].0.as_micros(), 10);
        assert_eq!(columns.newest[1].0.as_micros(), 30);
    }
}
