//! Names of the files: what a file holds follows from its name, so that a retry writes the same.

/// Under which all epochs are.
pub const PREFIX: &str = "olap/history";

/// The changes of the transactions that were committed from `from` on and before `to`.
pub fn changes(epoch: &str, from: u64, to: u64) -> String {
    format!("{PREFIX}/{epoch}/changes/{from:016x}-{to:016x}.parquet")
}

/// A part of the copy: so many rows were copied before it. Rows are as they were when they were read,
/// so each attempt writes a file of its own, and the list of files says which one counts.
pub fn copy(epoch: &str, before: u64, attempt: u32) -> String {
    format!("{PREFIX}/{epoch}/copy/{before:012}-{attempt:08x}.parquet")
}

/// A new epoch's name: `now_us` are microseconds since 1970, `random` tells servers apart that do not
/// know of each other.
pub fn epoch(now_us: u64, random: u32) -> String {
    format!("{:011}_{random:08x}", now_us / 1_000_000)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_sort_as_the_log_does() {
        assert!(super::changes("e", 9, 0x10) < super::changes("e", 0x10, 0x11));
        assert!(super::epoch(1_000_000, 7) < super::epoch(2_000_000, 1));
        let epoch = super::epoch(u64::MAX, u32::MAX);
        assert!(epoch.len() <= 40, "{epoch}");
    }
}
