//! What must hold for the decoder, whatever the bytes are. Panics if it does not.

use eaves_codec::{Decoded, decode, encode};
use eaves_model::reading::{check_name, check_observed_at};
use eaves_model::{Reading, Rejection, Timestamp};
use std::collections::HashSet;

/// Decodes `bytes` and looks at everything that comes out.
pub(crate) fn check(bytes: &[u8]) {
    let now = now();
    let decoded = decode(bytes, now);
    assert!(!decoded.items.is_empty(), "a record without an item");
    for (index, item) in decoded.items.iter().enumerate() {
        assert_eq!(item.sub as usize, index);
        match &item.outcome {
            Err(refused) => reason(&refused.rejection),
            Ok(pieces) => {
                assert!(!pieces.is_empty(), "an item without a piece");
                for piece in pieces {
                    match piece {
                        Ok(reading) => good(reading, now),
                        Err(refused) => reason(&refused.rejection),
                    }
                }
            }
        }
    }
    wrapped(bytes, decoded);
}

/// A clock that stands still, so that a finding stays one.
fn now() -> Timestamp {
    Timestamp::from_micros(1_772_366_400_000_000).unwrap_or_else(Timestamp::now)
}

fn reason(rejection: &Rejection) {
    assert!(!rejection.field.is_empty() && !rejection.message.is_empty(), "{rejection:?}");
    assert!(rejection.field.len() < 4_000 && rejection.message.len() < 4_000, "a reason without end");
    assert!(!rejection.field.contains('\0') && !rejection.message.contains('\0'), "{rejection:?}");
}

/// A reading keeps its own rules, and is the same after another round.
fn good(reading: &Reading, now: Timestamp) {
    let names = [&reading.tenant, &reading.entity];
    for name in
        names.into_iter().chain(&reading.entity_type).chain(reading.values.iter().map(|(name, _)| name))
    {
        assert_eq!(check_name("", name), Ok(()));
    }
    assert_eq!(check_observed_at(reading.observed_at, now), Ok(()));
    let distinct: HashSet<_> = reading.values.iter().map(|(name, _)| name).collect();
    assert_eq!(distinct.len(), reading.values.len(), "a name twice");
    assert!(reading.values.len() + reading.refused.len() > 0, "a reading without a value");
    for (rejection, payload) in &reading.refused {
        reason(rejection);
        assert!(!payload.is_empty());
    }
    if reading.values.is_empty() {
        return;
    }
    let line = encode::reading(reading);
    let again = decode(line.as_bytes(), now).items.remove(0).outcome;
    let expect = Reading { refused: Vec::new(), ..reading.clone() };
    assert_eq!(again, Ok(vec![Ok(expect)]), "{line}");
}

/// Wrapping changes nothing.
fn wrapped(bytes: &[u8], plain: Decoded) {
    if bytes.starts_with(&[0xf3, 0x89, 0x9a, 0xc2]) {
        return;
    }
    assert_eq!(decode(&encode::kpl(&[("key", bytes)]), now()), plain, "aggregated");
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        assert_eq!(decode(&encode::gzip(bytes), now()), plain, "compressed");
    }
}
