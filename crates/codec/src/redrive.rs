//! Frames around quarantined bytes that are sent again.
//!
//! A redriven record goes through the stream like any other and must still be told from
//! what a device sends. It begins with a frame: magic `FA 45 52 01`, the quarantine row's
//! id (8 bytes, big-endian) and the row's secret token (16 bytes); the payload follows as
//! it was kept. The token is random and never leaves the platform, so a device cannot make
//! a frame that the database knows. `FA` begins neither UTF-8 text, gzip nor an aggregated
//! record: bytes with a frame that nobody knows are undecodable, as a whole.
//!
//! Only a whole Kinesis record can have a frame; inside an aggregated one it is payload.

use crate::encode;
use eaves_model::{Reading, Timestamp};

const MAGIC: [u8; 4] = [0xfa, b'E', b'R', 1];
const FRAME_BYTES: usize = MAGIC.len() + 8 + 16;
/// Longest partition key that Kinesis takes, in characters.
const LONGEST_KEY: usize = 256;
/// What Kinesis takes of one record, less room for the longest key.
const MOST_BYTES: usize = 1024 * 1024 - 4 * LONGEST_KEY;

/// Which quarantine row a record is sent again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The row.
    pub id: i64,
    /// The row's secret, by which the database knows its own.
    pub token: [u8; 16],
}

/// A payload that cannot be sent again: with its frame it is over what Kinesis takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the payload of {bytes} bytes does not fit a record, compressed or not")]
pub struct TooLarge {
    /// Its size.
    pub bytes: usize,
}

/// The record that sends `payload` again. What was unpacked from a compressed record may
/// be larger than a record can be: it is compressed then, which the decoder sees by itself.
pub fn wrap(marker: Marker, payload: &[u8]) -> Result<Vec<u8>, TooLarge> {
    let framed = |payload: &[u8]| {
        let mut out = Vec::with_capacity(FRAME_BYTES + payload.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&marker.id.to_be_bytes());
        out.extend_from_slice(&marker.token);
        out.extend_from_slice(payload);
        out
    };
    if payload.len() + FRAME_BYTES <= MOST_BYTES {
        return Ok(framed(payload));
    }
    let too_large = Err(TooLarge { bytes: payload.len() });
    // Of bytes that are compressed or aggregated themselves, another layer would hide that.
    if crate::gzip::is_gzip(payload) || crate::kpl::split(payload).is_some() {
        return too_large;
    }
    let packed = encode::gzip(payload);
    if packed.is_empty() || packed.len() + FRAME_BYTES > MOST_BYTES { too_large } else { Ok(framed(&packed)) }
}

/// The frame of a record and what stands in it; `None` for a record of a device.
pub fn unwrap(record: &[u8]) -> Option<(Marker, &[u8])> {
    let rest = record.strip_prefix(&MAGIC)?;
    let (id, rest) = rest.split_first_chunk::<8>()?;
    let (token, payload) = rest.split_first_chunk::<16>()?;
    Some((Marker { id: i64::from_be_bytes(*id), token: *token }, payload))
}

/// The partition key for a payload: that of the reading in it, so that it goes where its
/// entity's other readings go.
pub fn partition_key(id: i64, payload: &[u8], now: Timestamp) -> String {
    let first = crate::decode(payload, now).items.into_iter().find_map(|item| {
        let pieces = item.outcome.ok()?;
        pieces.into_iter().find_map(Result::ok)
    });
    let key = |r: Reading| format!("{}/{}", r.tenant, r.entity).chars().take(LONGEST_KEY).collect();
    first.map_or_else(|| format!("redrive/{id}"), key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: Marker = Marker { id: 258, token: [7; 16] };

    #[test]
    fn what_is_wrapped_comes_out() {
        for payload in [&b""[..], b"\x00\xff", br#"{"tenant":"a"}"#] {
            let record = wrap(MARKER, payload).unwrap();
            assert_eq!(unwrap(&record), Some((MARKER, payload)));
        }
        assert_eq!(unwrap(b"{}"), None);
        assert_eq!(unwrap(&MAGIC), None, "cut off");
    }

    #[test]
    fn a_frame_is_undecodable_where_nobody_knows_it() {
        let reading = br#"{"tenant":"a","entity":"e","observed_at":"2026-03-01T12:00:00Z","values":{"x":1}}"#;
        let record = wrap(MARKER, reading).unwrap();
        let now = "2026-03-02T00:00:00Z".parse().unwrap();
        let item = crate::decode(&record, now).items.remove(0);
        // The lines behind the first bytes must not be read either.
        assert_eq!(item.outcome.unwrap_err().payload, record);
        assert_eq!(partition_key(1, reading, now), "a/e");
        assert_eq!(partition_key(1, b"\xff", now), "redrive/1");
    }

    #[test]
    fn large_text_is_compressed_and_what_stays_large_is_refused() {
        let text = vec![b' '; 3 << 20];
        let record = wrap(MARKER, &text).unwrap();
        let (_, payload) = unwrap(&record).unwrap();
        assert!(crate::gzip::is_gzip(payload) && record.len() <= MOST_BYTES);
        let mut gzip = vec![0x1f, 0x8b];
        gzip.resize(2 << 20, 0);
        assert_eq!(wrap(MARKER, &gzip), Err(TooLarge { bytes: 2 << 20 }));
    }
}
