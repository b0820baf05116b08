//! Records aggregated by the Kinesis Producer Library, taken apart without copying.
//!
//! Layout: magic `F3 89 9A C2`, a protobuf message, the MD5 of that message. The message
//! has the sub-records as its field 3, and their payload is field 3 of each; keys and
//! tags are of no use here. Reading those two fields by hand keeps a hostile message
//! with a million empty sub-records from being spread out in memory first.

use eaves_model::{Code, Rejection, limits};
use md5::{Digest as _, Md5};

pub(crate) const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
pub(crate) const DIGEST_BYTES: usize = 16;

/// The payloads of an aggregated record, or why it cannot be taken apart; `None` if the
/// record is not an aggregated one.
pub(crate) fn split(record: &[u8]) -> Option<Result<Vec<&[u8]>, Rejection>> {
    let rest = record.strip_prefix(&MAGIC)?;
    let broken = |why: &str| {
        let message = format!("starts as an aggregated (KPL) record, but {why}");
        Rejection::new(Code::UNDECODABLE, "record", message)
    };
    let Some(body) = rest.len().checked_sub(DIGEST_BYTES) else {
        return Some(Err(broken("is too short for its checksum")));
    };
    let (message, digest) = rest.split_at(body);
    if Md5::digest(message)[..] != *digest {
        return Some(Err(broken("its checksum does not match")));
    }
    let Some(subs) = sub_records(message) else {
        return Some(Err(broken("its message is broken")));
    };
    if subs.is_empty() {
        return Some(Err(broken("has no sub-record")));
    }
    if subs.len() > limits::MAX_READINGS_PER_RECORD {
        let message = format!("has over {} sub-records", limits::MAX_READINGS_PER_RECORD);
        return Some(Err(Rejection::new(Code::TOO_LONG, "record", message)));
    }
    Some(Ok(subs))
}

/// Stops one over the limit: the caller refuses then.
fn sub_records(message: &[u8]) -> Option<Vec<&[u8]>> {
    let mut subs = Vec::new();
    let mut rest = message;
    while !rest.is_empty() && subs.len() <= limits::MAX_READINGS_PER_RECORD {
        if let (3, Some(record)) = field(&mut rest)? {
            subs.push(payload(record)?);
        }
    }
    Some(subs)
}

fn payload(record: &[u8]) -> Option<&[u8]> {
    let (mut rest, mut data) = (record, None);
    while !rest.is_empty() {
        if let (3, Some(bytes)) = field(&mut rest)? {
            data = Some(bytes);
        }
    }
    data
}

/// The next field's number, and its bytes if it is of the length-delimited kind.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let tag = varint(rest)?;
    let bytes = match tag & 7 {
        0 => {
            varint(rest)?;
            None
        }
        1 => {
            take(rest, 8)?;
            None
        }
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Some(take(rest, length)?)
        }
        5 => {
            take(rest, 4)?;
            None
        }
        _ => return None,
    };
    Some((tag >> 3, bytes))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
