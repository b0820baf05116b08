//! A shard's throughput: token buckets that refill each second.

use std::time::Instant;

/// Bytes a shard takes each second.
pub(super) const WRITE_BYTES: f64 = 1024.0 * 1024.0;
/// Records a shard takes each second.
pub(super) const WRITE_RECORDS: f64 = 1000.0;
/// Calls of GetRecords a shard answers each second.
pub(super) const READ_CALLS: f64 = 5.0;
/// Bytes a shard gives each second.
pub(super) const READ_BYTES: f64 = 2.0 * 1024.0 * 1024.0;

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    level: f64,
    filled: Instant,
}

impl Bucket {
    fn new(per_second: f64, now: Instant) -> Self {
        Self { per_second, level: per_second, filled: now }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.level = (self.level + elapsed * self.per_second).min(self.per_second);
        self.filled = now;
    }
}

/// What one shard may still take and give.
#[derive(Debug)]
pub(super) struct Throughput {
    write_bytes: Bucket,
    write_records: Bucket,
    read_calls: Bucket,
    read_bytes: Bucket,
}

impl Throughput {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            write_bytes: Bucket::new(WRITE_BYTES, now),
            write_records: Bucket::new(WRITE_RECORDS, now),
            read_calls: Bucket::new(READ_CALLS, now),
            read_bytes: Bucket::new(READ_BYTES, now),
        }
    }

    /// Takes what a record needs; false if there is not enough.
    pub(super) fn write(&mut self, bytes: usize, now: Instant) -> bool {
        self.write_bytes.refill(now);
        self.write_records.refill(now);
        if self.write_bytes.level < bytes as f64 || self.write_records.level < 1.0 {
            return false;
        }
        self.write_bytes.level -= bytes as f64;
        self.write_records.level -= 1.0;
        true
    }

    /// Takes a call of GetRecords; false if there have been too many, or if what earlier
    /// calls gave is not made up for yet: one call may give 10 MB, and calls of the next
    /// five seconds are then refused.
    pub(super) fn read(&mut self, now: Instant) -> bool {
        self.read_calls.refill(now);
        self.read_bytes.refill(now);
        if self.read_calls.level < 1.0 || self.read_bytes.level <= 0.0 {
            return false;
        }
        self.read_calls.level -= 1.0;
        true
    }

    /// Takes what an answer gave.
    pub(super) fn gave(&mut self, bytes: usize) {
        self.read_bytes.level -= bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_second_gives_a_thousand_records_or_a_mebibyte() {
        let start = Instant::now();
        let mut shard = Throughput::new(start);
        assert_eq!((0..2000).filter(|_| shard.write(10, start)).count(), 1000);
        let later = start + Duration::from_millis(500);
        assert_eq!((0..2000).filter(|_| shard.write(10, later)).count(), 500);
        let later = start + Duration::from_secs(10);
        assert!(shard.write(1024 * 1024, later) && !shard.write(1, later));
    }

    #[test]
    fn a_large_answer_is_made_up_for() {
        let start = Instant::now();
        let mut shard = Throughput::new(start);
        assert_eq!((0..10).filter(|_| shard.read(start)).count(), 5);
        let later = start + Duration::from_secs(2);
        assert!(shard.read(later));
        shard.gave(10 * 1024 * 1024);
        assert!(!shard.read(later + Duration::from_millis(3900)));
        assert!(shard.read(later + Duration::from_millis(4100)));
    }
}
