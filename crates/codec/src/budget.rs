//! What one record may still cost.

use crate::limits as own;
use eaves_model::limits;

/// Counted down over all sub-records of a record, so that many small ones are bounded
/// like one large one.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Readings and refused pieces still taken.
    pub(crate) pieces: usize,
    /// Values still taken.
    pub(crate) values: usize,
    /// Bytes that gzip streams may still unpack to.
    pub(crate) unpacked: usize,
    /// Bytes that may still be inflated, kept or not.
    pub(crate) inflate: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            pieces: limits::MAX_READINGS_PER_RECORD,
            values: own::MAX_VALUES_PER_RECORD,
            unpacked: limits::MAX_UNPACKED_BYTES,
            inflate: own::MAX_INFLATE_WORK,
        }
    }
}

/// Takes one from a budget; false if nothing is left.
pub(crate) fn take(budget: &mut usize) -> bool {
    let left = *budget > 0;
    *budget = budget.saturating_sub(1);
    left
}
