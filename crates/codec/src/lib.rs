//! What devices send, taken apart: the bytes of a Kinesis record become readings.
//!
//! The format is described in `docs/wire-format.md`: a JSON reading, a list of
//! readings or newline-delimited readings, optionally gzipped, optionally several
//! of those aggregated by the Kinesis Producer Library.
//!
//! [`decode`] never fails as a whole and never panics: every piece of the record is
//! either a reading or a [`Refused`] with a reason that names the field and with the
//! bytes it stands for. It does not know which tenants or attributes exist, does no
//! type inference and no I/O. What it may take of memory and time is bounded by the
//! limits of [`eaves_model::limits`] and [`limits`], whatever the bytes are.
//!
//! Start with [`decode`], then `document` (where one reading ends and the next
//! begins) and `reading` (the shape of one). [`encode`] is the way back.

mod budget;
mod document;
pub mod encode;
mod gzip;
mod json;
mod kpl;
mod reading;
pub mod redrive;
mod text;
mod value;

use budget::Budget;
use eaves_model::{Code, Reading, Rejection, Timestamp};

/// Bounds of the decoder beyond those in [`eaves_model::limits`].
pub mod limits {
    /// Deepest nesting that is still reported as an ordinary bad value.
    pub const MAX_DEPTH: usize = 32;
    /// Most values in one record after decompression and de-aggregation.
    pub const MAX_VALUES_PER_RECORD: usize = 500_000;
    /// Most bytes inflated in all while taking one record apart, refused gzip streams
    /// included: one bomb spends a part of it and its neighbours are still read.
    pub const MAX_INFLATE_WORK: usize = 64 * 1024 * 1024;
}

/// A record taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// One item for an ordinary record, one per sub-record of an aggregated one. Never empty.
    pub items: Vec<SubRecord>,
}

/// A user's record, or one of those aggregated into a Kinesis record.
#[derive(Clone, Debug, PartialEq)]
pub struct SubRecord {
    /// Its index in the aggregated record; 0 in an ordinary one.
    pub sub: u32,
    /// Its pieces in order, never none; or why nothing of it could be read.
    pub outcome: Result<Vec<Result<Reading, Refused>>, Refused>,
}

/// A piece that could not be taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Why.
    pub rejection: Rejection,
    /// Its bytes, complete: as they stood in the record, or in what the record unpacked to.
    pub payload: Vec<u8>,
    /// The tenant it names, if that much could be read without doubt.
    pub tenant: Option<String>,
}

impl Refused {
    fn new(rejection: Rejection, payload: &[u8]) -> Self {
        Self { rejection, payload: payload.to_vec(), tenant: None }
    }
}

/// Counts the pieces of a reading: values it has, taken or refused. What is not a reading
/// is one piece, since nobody can say how many values are in it.
pub fn pieces(reading: &Reading) -> u32 {
    u32::try_from(reading.values.len() + reading.refused.len()).unwrap_or(u32::MAX)
}

/// Takes a record apart. `now` bounds how far ahead `observed_at` may be.
pub fn decode(record: &[u8], now: Timestamp) -> Decoded {
    let mut budget = Budget::default();
    let mut item =
        |sub: usize, bytes: &[u8]| SubRecord { sub: sub as u32, outcome: unpack(bytes, now, &mut budget) };
    if redrive::unwrap(record).is_some() {
        let message = "has the frame of a redrive, but not one that the platform knows";
        let why = Rejection::new(Code::UNDECODABLE, "record", message);
        return Decoded { items: vec![SubRecord { sub: 0, outcome: Err(Refused::new(why, record)) }] };
    }
    let items = match kpl::split(record) {
        None => vec![item(0, record)],
        Some(Ok(subs)) => subs.into_iter().enumerate().map(|(i, bytes)| item(i, bytes)).collect(),
        Some(Err(why)) => vec![SubRecord { sub: 0, outcome: Err(Refused::new(why, record)) }],
    };
    Decoded { items }
}

fn unpack(
    bytes: &[u8],
    now: Timestamp,
    budget: &mut Budget,
) -> Result<Vec<Result<Reading, Refused>>, Refused> {
    if !gzip::is_gzip(bytes) {
        return document::decode(bytes, now, budget);
    }
    match gzip::inflate(bytes, budget) {
        Ok(plain) => document::decode(&plain, now, budget),
        Err(why) => Err(Refused::new(why, bytes)),
    }
}
