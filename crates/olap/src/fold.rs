//! History from the files: of each point the latest version.
//!
//! The result is a list of counts and checksums by tenant and day, which the database can make of its
//! rows, too (`olap_fingerprint`): comparing the two says whether the files are history.

use eaves_model::history::{Change, HistoryRow, Operation};
use md5::{Digest as _, Md5};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
/// 2000-01-01T00:00:00Z, from which PostgreSQL counts, in microseconds since 1970.
const EPOCH_2000: i64 = 946_684_800_000_000;

/// Counts and checksums by (tenant, days since 1970).
pub type Days = BTreeMap<(i32, i32), Day>;

/// The points of a tenant and a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Day {
    /// How many.
    pub points: u64,
    /// The sum of their hashes.
    pub checksum: i128,
}

/// Which transactions a snapshot of the database sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// All before this one.
    xmin: u64,
    /// None from this one on.
    xmax: u64,
    /// Of those between not these.
    running: HashSet<u64>,
}

impl Snapshot {
    /// From `pg_current_snapshot()` as text: `xmin:xmax:running,…`.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let running = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        let running = running.map(|xid| xid.parse().ok()).collect::<Option<_>>()?;
        parts.next().is_none().then_some(Self { xmin, xmax, running })
    }

    /// Whether it sees what this transaction did, given that it was committed at some time.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }
}

type Key = (i32, i64, i32, i64);
type Version = (u64, u32);

/// Folds the rows of an epoch's files, in any order.
#[derive(Debug)]
pub struct Fold {
    snapshot: Snapshot,
    tenant: Option<i32>,
    /// The latest version of each point, and its row's hash if there is a row.
    points: HashMap<Key, (Version, Option<u64>)>,
    dropped: Vec<(Version, i64, i64)>,
    repeated: u64,
    rows: u64,
}

impl Fold {
    /// As the snapshot sees history; of one tenant, or of all.
    pub fn new(snapshot: Snapshot, tenant: Option<i32>) -> Self {
        Self { snapshot, tenant, points: HashMap::new(), dropped: Vec::new(), repeated: 0, rows: 0 }
    }

    /// Takes a row of a file.
    pub fn take(&mut self, change: &Change) {
        self.rows += 1;
        let version = (change.lsn, change.seq);
        if change.operation != Operation::Copy && !self.snapshot.sees(change.xid) {
            return;
        }
        let row = &change.row;
        if change.operation == Operation::Drop {
            self.dropped.push((version, row.observed_at, row.timestamp.unwrap_or(i64::MAX)));
            return;
        }
        if self.tenant.is_some_and(|tenant| tenant != row.tenant) {
            return;
        }
        let hash = (change.operation != Operation::Delete).then(|| hash(row));
        let key = (row.tenant, row.entity, row.attribute, row.observed_at);
        let held = self.points.entry(key).or_insert((version, hash));
        if held.0 < version {
            *held = (version, hash);
        } else if held.0 == version && held.1 != hash {
            // Two contents of one version: one of the files is not what its name says.
            self.repeated += 1;
        }
    }

    /// Rows that were taken.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows that contradict another one of the same version.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// History, counted.
    pub fn days(&self) -> Days {
        let mut days = Days::new();
        for (key, (version, hash)) in &self.points {
            let (tenant, _, _, at) = *key;
            let gone =
                self.dropped.iter().any(|(drop, from, to)| version < drop && (*from..*to).contains(&at));
            let Some(hash) = hash.filter(|_| !gone) else { continue };
            let day = i32::try_from(at.div_euclid(DAY)).unwrap_or(i32::MAX);
            let sum = days.entry((tenant, day)).or_default();
            sum.points += 1;
            sum.checksum += i128::from(hash);
        }
        days
    }
}

/// The row's hash, as `olap_fingerprint` makes it: the first 60 bits of an MD5 (of what is meant to
/// be equal, not of what an attacker chose).
fn hash(row: &HistoryRow) -> u64 {
    let time = |micros: i64| format!("{:016x}", micros.saturating_sub(EPOCH_2000));
    let mut text = format!("{}|{}|{}|", row.entity, row.attribute, time(row.observed_at));
    let or_nothing = |part: Option<String>| part.unwrap_or_default();
    for part in [
        or_nothing(row.ingested_at.map(time)),
        or_nothing(row.plugin.map(|plugin| plugin.to_string())),
        or_nothing(row.boolean.map(|value| u8::from(value).to_string())),
        or_nothing(row.integer.map(|value| value.to_string())),
        or_nothing(row.float.map(|value| format!("{:016x}", value.to_bits()))),
        or_nothing(row.decimal.clone()),
        or_nothing(row.timestamp.map(time)),
    ] {
        text.push_str(&part);
        text.push('|');
    }
    match &row.text {
        None => text.push('n'),
        Some(value) => {
            // Writing to a String cannot fail.
            let _ = write!(text, "v{value}");
        }
    }
    let digest = Md5::digest(text.as_bytes());
    let first = digest.iter().take(8).fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
    first >> 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(operation: Operation, version: Version, xid: u64, at: i64, integer: Option<i64>) -> Change {
        let row = HistoryRow {
            tenant: 1,
            entity: 7,
            attribute: 3,
            observed_at: at,
            ingested_at: Some(9),
            integer,
            ..HistoryRow::default()
        };
        Change { operation, lsn: version.0, seq: version.1, xid, row }
    }

    fn dropped(version: Version, from: i64, to: i64) -> Change {
        let row = HistoryRow { observed_at: from, timestamp: Some(to), ..HistoryRow::default() };
        Change { operation: Operation::Drop, lsn: version.0, seq: version.1, xid: 1, row }
    }

    fn points(changes: &[Change], snapshot: &str) -> Vec<(i32, u64)> {
        let fold = |changes: &mut dyn Iterator<Item = &Change>| {
            let mut fold = Fold::new(Snapshot::read(snapshot).unwrap(), None);
            changes.for_each(|change| fold.take(change));
            assert_eq!(fold.repeated(), 0);
            fold.days()
        };
        let days = fold(&mut changes.iter());
        assert_eq!(days, fold(&mut changes.iter().rev()), "the order of the files makes no difference");
        days.into_iter().map(|((_, day), found)| (day, found.points)).collect()
    }

    #[test]
    fn the_latest_version_that_is_seen_counts() {
        use Operation::{Copy, Delete, Insert, Update};
        let history = [
            change(Copy, (10, 0), 0, 5, Some(1)),
            change(Update, (20, 1), 100, 5, Some(2)),
            change(Delete, (20, 2), 100, 5, None),
            change(Insert, (30, 1), 101, 5, Some(3)),
            change(Insert, (30, 2), 101, DAY, Some(4)),
            change(Insert, (40, 1), 102, -1, Some(5)),
        ];
        assert_eq!(points(&history, "103:103:"), [(-1, 1), (0, 1), (1, 1)]);
        assert_eq!(points(&history, "101:103:101"), [(-1, 1)], "deleted, and what follows is not seen");
        assert_eq!(points(&history, "100:100:"), [(0, 1)], "the copy alone");
    }

    #[test]
    fn what_was_dropped_is_gone_and_what_came_after_is_not() {
        let history = [
            change(Operation::Insert, (20, 1), 1, 5, Some(1)),
            change(Operation::Insert, (20, 2), 1, DAY, Some(1)),
            dropped((30, 1), 0, DAY),
            change(Operation::Insert, (40, 1), 1, 6, Some(1)),
        ];
        assert_eq!(points(&history, "9:9:"), [(0, 1), (1, 1)]);
    }

    #[test]
    fn a_version_with_two_contents_is_told() {
        let mut fold = Fold::new(Snapshot::read("9:9:").unwrap(), None);
        for integer in [1, 1, 2] {
            fold.take(&change(Operation::Insert, (20, 1), 1, 5, Some(integer)));
        }
        assert_eq!(fold.repeated(), 1);
    }

    #[test]
    fn a_snapshot_is_read_or_refused() {
        let snapshot = Snapshot::read("10:20:12,15").unwrap();
        assert_eq!(
            [9, 10, 12, 15, 19, 20].map(|xid| snapshot.sees(xid)),
            [true, true, false, false, true, false]
        );
        for bad in ["", "10", "10:20", "10:20:x", "10:20:1:2"] {
            assert_eq!(Snapshot::read(bad), None, "{bad}");
        }
    }
}
