//! What tests and drills make go wrong.

use super::error::{ApiError, ErrorKind};
use super::operations::Operation;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// The switches. All are off at the start.
#[derive(Debug, Default)]
pub(super) struct Faults {
    throttling: AtomicBool,
    failing: Mutex<HashMap<Operation, (u32, ErrorKind)>>,
    /// Every how many-th record of PutRecords fails; zero for none.
    every: AtomicU32,
    counted: AtomicU32,
}

impl Faults {
    pub(super) fn throttle(&self, on: bool) {
        self.throttling.store(on, Ordering::Relaxed);
    }

    pub(super) fn throttles(&self) -> bool {
        self.throttling.load(Ordering::Relaxed)
    }

    pub(super) fn fail_next(&self, operation: Operation, times: u32, error: ErrorKind) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if times == 0 {
            failing.remove(&operation);
        } else {
            failing.insert(operation, (times, error));
        }
    }

    /// The error this call shall fail with.
    pub(super) fn due(&self, operation: Operation) -> Option<ApiError> {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, error) = failing.get_mut(&operation)?;
        let error = *error;
        *left -= 1;
        if *left == 0 {
            failing.remove(&operation);
        }
        Some(ApiError::new(error, "This failure was asked for."))
    }

    pub(super) fn fail_every(&self, every: Option<NonZeroU32>) {
        self.every.store(every.map_or(0, NonZeroU32::get), Ordering::Relaxed);
        self.counted.store(0, Ordering::Relaxed);
    }

    /// Whether this record of PutRecords shall fail.
    pub(super) fn record_due(&self) -> bool {
        let every = self.every.load(Ordering::Relaxed);
        // The count may wrap: one record more or less fails then.
        every > 0 && self.counted.fetch_add(1, Ordering::Relaxed).wrapping_add(1).is_multiple_of(every)
    }
}
