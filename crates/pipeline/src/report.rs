//! What became of a batch, in numbers.

use serde::Serialize;

/// Counts of one batch. Values are attribute values; records are stream records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Records handed in.
    pub records: u64,
    /// Records skipped because the shard's checkpoint already covers them.
    pub duplicates: u64,
    /// Values taken, those that plugins derived not counted.
    pub accepted: u64,
    /// Values added by plugins.
    pub derived: u64,
    /// Values refused with a reason.
    pub rejected: u64,
    /// Readings or whole records put aside with their payload.
    pub quarantined: u64,
    /// Calls of a plugin that trapped, ran out of a limit or answered nonsense.
    pub plugin_failures: u64,
    /// Cache writes that failed; the next read then costs a database round trip.
    pub cache_failures: u64,
    /// Records read again because staging had been emptied.
    pub replayed: u64,
    /// Whether staging was found emptied by a crash or failover.
    pub staging_lost: bool,
}

impl Report {
    /// Adds another batch's counts to these.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.duplicates += other.duplicates;
        self.accepted += other.accepted;
        self.derived += other.derived;
        self.rejected += other.rejected;
        self.quarantined += other.quarantined;
        self.plugin_failures += other.plugin_failures;
        self.cache_failures += other.cache_failures;
        self.replayed += other.replayed;
        self.staging_lost |= other.staging_lost;
    }
}
