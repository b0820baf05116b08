//! Whatever the slot sends ends in a change or an error; what is written into a file comes back.

use bytes::Bytes;
use eaves_model::history::{Change, HistoryRow, Operation};
use eaves_olap::file::{self, Builder};
use eaves_olap::pgoutput::{self, Message};
use eaves_olap::stream::{Decoder, StreamError};
use proptest::prelude::*;

/// The columns of history with their types' numbers, in another order than the decoder's.
const COLUMNS: [(&str, u32); 12] = [
    ("entity_id", 20),
    ("observed_at", 1184),
    ("ingested_at", 1184),
    ("tenant_id", 23),
    ("attribute_id", 23),
    ("plugin_id", 23),
    ("value_bool", 16),
    ("value_int", 20),
    ("value_float", 701),
    ("value_decimal", 1700),
    ("value_timestamp", 1184),
    ("value", 25),
];
const EPOCH_2000: i64 = 946_684_800_000_000;

fn begin(commit_at: u64, xid: u32) -> Vec<u8> {
    let mut m = vec![b'B'];
    m.extend(commit_at.to_be_bytes());
    m.extend(5_i64.to_be_bytes());
    m.extend(xid.to_be_bytes());
    m
}

fn commit(commit_at: u64, end_at: u64) -> Vec<u8> {
    let mut m = vec![b'C', 0];
    m.extend(commit_at.to_be_bytes());
    m.extend(end_at.to_be_bytes());
    m.extend(5_i64.to_be_bytes());
    m
}

fn relation(columns: &[(&str, u32)]) -> Vec<u8> {
    let mut m = vec![b'R', 0, 0, 0, 9];
    m.extend(b"public\0entity_values_ts\0d");
    m.extend((columns.len() as u16).to_be_bytes());
    for (name, kind) in columns {
        m.push(0);
        m.extend(name.as_bytes());
        m.push(0);
        m.extend(kind.to_be_bytes());
        m.extend((-1_i32).to_be_bytes());
    }
    m
}

fn field(m: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => m.push(b'n'),
        Some(value) => {
            m.push(b'b');
            m.extend((value.len() as u32).to_be_bytes());
            m.extend(value);
        }
    }
}

/// A row as `pgoutput` sends it; decimals are left out, they have a form of their own.
fn insert(row: &HistoryRow) -> Vec<u8> {
    let mut m = vec![b'I', 0, 0, 0, 9, b'N', 0, 12];
    let time = |at: i64| (at - EPOCH_2000).to_be_bytes();
    field(&mut m, Some(&row.entity.to_be_bytes()));
    field(&mut m, Some(&time(row.observed_at)));
    field(&mut m, row.ingested_at.map(time).as_ref().map(|b| &b[..]));
    field(&mut m, Some(&row.tenant.to_be_bytes()));
    field(&mut m, Some(&row.attribute.to_be_bytes()));
    field(&mut m, row.plugin.map(i32::to_be_bytes).as_ref().map(|b| &b[..]));
    field(&mut m, row.boolean.map(|b| [u8::from(b)]).as_ref().map(|b| &b[..]));
    field(&mut m, row.integer.map(i64::to_be_bytes).as_ref().map(|b| &b[..]));
    field(&mut m, row.float.map(f64::to_be_bytes).as_ref().map(|b| &b[..]));
    field(&mut m, None);
    field(&mut m, row.timestamp.map(time).as_ref().map(|b| &b[..]));
    field(&mut m, row.text.as_deref().map(str::as_bytes));
    m
}

fn rows() -> impl Strategy<Value = HistoryRow> {
    let key = (any::<i32>(), any::<i64>(), any::<i32>(), -1_i64 << 60..1 << 60);
    let taken = (-1_i64 << 60..1 << 60, any::<Option<i32>>());
    let values = (
        any::<Option<bool>>(),
        any::<Option<i64>>(),
        proptest::option::of(proptest::num::f64::ANY.prop_filter("equal to itself", |f| !f.is_nan())),
        proptest::option::of(-1_i64 << 60..1 << 60),
        proptest::option::of("\\PC{0,40}"),
    );
    (key, taken, values).prop_map(|(key, taken, values)| HistoryRow {
        tenant: key.0,
        entity: key.1,
        attribute: key.2,
        observed_at: key.3,
        ingested_at: Some(taken.0),
        plugin: taken.1,
        boolean: values.0,
        integer: values.1,
        float: values.2,
        decimal: None,
        timestamp: values.3,
        text: values.4,
    })
}

fn valid() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        rows().prop_map(|row| insert(&row)),
        Just(relation(&COLUMNS)),
        Just(begin(100, 7)),
        Just(commit(100, 120)),
        Just(b"M\x01\0\0\0\0\0\0\0\x09eaves.olap\0\0\0\0\x08drop 1 2".to_vec()),
        Just(b"D\0\0\0\x09K\0\x01n".to_vec()),
        Just(b"U\0\0\0\x09N\0\x01t\0\0\0\x01x".to_vec()),
    ]
}

fn read_all(messages: &[Vec<u8>]) -> Result<Vec<Change>, StreamError> {
    let mut decoder = Decoder::new(0, None, 1 << 40);
    let mut changes = Vec::new();
    for message in messages {
        changes.extend(decoder.read(message)?);
    }
    Ok(changes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_an_error_and_no_panic(
        messages in proptest::collection::vec(
            prop_oneof![proptest::collection::vec(any::<u8>(), 0..64), valid()], 0..6),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<Option<proptest::sample::Index>>(),
    ) {
        let mut messages = messages;
        for message in &mut messages {
            for (at, bits) in &flips {
                if !message.is_empty() {
                    let at = at.index(message.len());
                    message[at] ^= bits;
                }
            }
            if let Some(cut) = cut && !message.is_empty() {
                message.truncate(cut.index(message.len()));
            }
        }
        if let Err(e) = read_all(&messages) {
            prop_assert!(!e.to_string().is_empty());
        }
    }

    #[test]
    fn a_message_that_is_cut_is_short(message in valid(), cut in any::<proptest::sample::Index>()) {
        prop_assert!(pgoutput::read(&message).is_ok());
        prop_assert!(pgoutput::read(&message[..cut.index(message.len())]).is_err());
        let mut longer = message;
        longer.push(0);
        prop_assert!(pgoutput::read(&longer).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_come_through_the_stream_and_the_file(
        rows in proptest::collection::vec(rows(), 1..50),
        decimals in proptest::collection::vec(proptest::option::of("-?[0-9]{1,28}(\\.[0-9]{1,28})?"), 50),
    ) {
        let mut messages = vec![begin(100, 7), relation(&COLUMNS)];
        messages.extend(rows.iter().map(insert));
        messages.push(commit(100, 120));
        let mut changes = read_all(&messages).unwrap();
        prop_assert_eq!(changes.iter().map(|c| &c.row).collect::<Vec<_>>(), rows.iter().collect::<Vec<_>>());
        let places: Vec<_> = changes.iter().map(|c| (c.lsn, c.seq, c.xid & 0xFFFF_FFFF)).collect();
        prop_assert_eq!(places, (1..=rows.len() as u32).map(|seq| (100, seq, 7)).collect::<Vec<_>>());

        for (change, decimal) in changes.iter_mut().zip(decimals) {
            change.row.decimal = decimal;
        }
        let encode = || {
            let mut builder = Builder::default();
            changes.iter().for_each(|change| builder.push(change.clone()).unwrap());
            builder.finish().unwrap().unwrap()
        };
        let encoded = encode();
        prop_assert_eq!(&encoded, &encode(), "the same changes, the same bytes");
        let mut back = Vec::new();
        file::read(encoded.bytes, |change| back.push(change)).unwrap();
        prop_assert_eq!(back, changes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_an_error_or_a_file_and_no_panic(
        rows in proptest::collection::vec(rows(), 1..20),
        damages in proptest::collection::vec((any::<proptest::sample::Index>(), 1_u8..), 1..4),
        cut in proptest::option::weighted(0.2, any::<proptest::sample::Index>()),
    ) {
        let mut builder = Builder::default();
        for row in rows {
            builder.push(Change { operation: Operation::Copy, lsn: 1, seq: 0, xid: 0, row }).unwrap();
        }
        let mut bytes = builder.finish().unwrap().unwrap().bytes.to_vec();
        for (at, bits) in damages {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Err(e) = file::read(Bytes::from(bytes), |_| {}) {
            prop_assert!(!e.to_string().is_empty());
        }
    }
}

#[test]
fn only_what_is_asked_for_is_taken() {
    let row = HistoryRow { ingested_at: Some(EPOCH_2000), ..HistoryRow::default() };
    let mut decoder = Decoder::new(200, Some(300), 1 << 40);
    let mut taken = Vec::new();
    decoder.read(&relation(&COLUMNS)).unwrap();
    for at in [100, 200, 250, 300] {
        decoder.read(&begin(at, 7)).unwrap();
        taken.extend(decoder.read(&insert(&row)).unwrap().map(|change| change.lsn));
        decoder.read(&commit(at, at + 50)).unwrap();
    }
    assert_eq!(taken, [200, 250]);
    assert_eq!(decoder.end_at(), Some(300));
}

#[test]
fn a_table_with_other_columns_is_refused() {
    let refused = |columns: &[(&str, u32)], word: &str| {
        let e = read_all(&[relation(columns)]).unwrap_err().to_string();
        assert!(e.contains(word), "{e}");
    };
    refused(&COLUMNS[1..], "entity_id");
    let mut more = COLUMNS.to_vec();
    more.push(("value_json", 3802));
    refused(&more, "value_json");
    assert!(matches!(pgoutput::read(&begin(1, 2)), Ok(Message::Begin { xid: 2, .. })));
}
