//! Bounded decompression.

use crate::budget::Budget;
use eaves_model::{Code, Rejection, limits};
use flate2::read::MultiGzDecoder;
use std::io::Read as _;

const MAGIC: [u8; 2] = [0x1f, 0x8b];

pub(crate) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The plain bytes of all members together, or why not.
pub(crate) fn inflate(bytes: &[u8], budget: &mut Budget) -> Result<Vec<u8>, Rejection> {
    let bad = |message: String| Err(Rejection::new(Code::BAD_GZIP, "record", message));
    let most = budget.unpacked.min(budget.inflate);
    let mut plain = Vec::with_capacity(bytes.len().saturating_mul(4).min(most));
    // One byte over the limit tells "exactly full" from "more to come".
    let result = MultiGzDecoder::new(bytes).take(most as u64 + 1).read_to_end(&mut plain);
    budget.inflate = budget.inflate.saturating_sub(plain.len());
    if plain.len() > most {
        return bad(format!(
            "unpacks to over {} bytes (all sub-records of a record together): send smaller records",
            limits::MAX_UNPACKED_BYTES
        ));
    }
    match result {
        Ok(_) => {
            budget.unpacked -= plain.len();
            Ok(plain)
        }
        Err(e) => bad(format!("is a broken gzip stream: {e}")),
    }
}
