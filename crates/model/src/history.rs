//! A row of history as it is kept, and a change of it: what is carried to object storage.

/// A row of `entity_values_ts`. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HistoryRow {
    /// The tenant.
    pub tenant: i32,
    /// The entity.
    pub entity: i64,
    /// The attribute.
    pub attribute: i32,
    /// When it was observed.
    pub observed_at: i64,
    /// When it was taken; `None` only in a change that has no row left.
    pub ingested_at: Option<i64>,
    /// The version of the rules that let it pass.
    pub plugin: Option<i32>,
    /// A boolean.
    pub boolean: Option<bool>,
    /// An integer.
    pub integer: Option<i64>,
    /// A float, bit for bit.
    pub float: Option<f64>,
    /// A decimal, as PostgreSQL writes it: digits and scale are kept.
    pub decimal: Option<String>,
    /// A point in time.
    pub timestamp: Option<i64>,
    /// A text.
    pub text: Option<String>,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// It was there when history was copied.
    Copy,
    /// It came.
    Insert,
    /// It took the place of the one with its key.
    Update,
    /// It is gone: only the key is set.
    Delete,
    /// All points from `observed_at` to before `timestamp` are gone, of every tenant: the row's
    /// key is 0.
    Drop,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Copy, Self::Insert, Self::Update, Self::Delete, Self::Drop];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Drop => "drop",
        }
    }

    /// By its name.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name().as_bytes() == name)
    }
}

/// A version of a row. Versions are ordered by (`lsn`, `seq`), and no two are the same but in copies,
/// which are older than every change of their epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What happened.
    pub operation: Operation,
    /// Where its transaction's commit stands in the log, bytes; in a copy where the slot began.
    pub lsn: u64,
    /// Its number within the transaction, from 1; 0 in a copy.
    pub seq: u32,
    /// Its transaction, widened to 64 bits; 0 in a copy.
    pub xid: u64,
    /// The row.
    pub row: HistoryRow,
}
