//! From the slot's messages to changes of history, each with its place in the log.

use crate::numeric;
use crate::pgoutput::{self, Field, FormatError, Message, Relation};
use eaves_model::history::{Change, HistoryRow, Operation};

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts, in microseconds since 1970.
const EPOCH_2000: i64 = 946_684_800_000_000;
/// The table that is published, its partitions under its name.
const TABLE: (&str, &str) = ("public", "entity_values_ts");
/// For whom the schema puts messages into the log (`olap_note_partitions`).
const PREFIX: &str = "eaves.olap";

/// Columns of history with the numbers of their types, in the order of [`Decoder::columns`].
const COLUMNS: [(&str, u32); 12] = [
    ("tenant_id", 23),
    ("entity_id", 20),
    ("attribute_id", 23),
    ("observed_at", 1184),
    ("ingested_at", 1184),
    ("plugin_id", 23),
    ("value_bool", 16),
    ("value_int", 20),
    ("value_float", 701),
    ("value_decimal", 1700),
    ("value_timestamp", 1184),
    ("value", 25),
];

/// A stream that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A message is not in the protocol's format.
    #[error("the slot's messages are not those of pgoutput")]
    Format(#[from] FormatError),
    /// The table is another one, or has other columns.
    #[error("the slot tells of {found}; this version of Eaves knows {wanted}")]
    Table {
        /// What the stream has.
        found: String,
        /// What it should have.
        wanted: &'static str,
    },
    /// A message that does not belong where it is.
    #[error("the slot's messages are out of order: {0}")]
    Order(&'static str),
    /// A value that is not one of its column's type.
    #[error("column {column} has a value that is no {wanted}, in the transaction at {at}")]
    Value {
        /// The column.
        column: &'static str,
        /// Its type.
        wanted: &'static str,
        /// Where the transaction's commit stands in the log.
        at: u64,
    },
    /// What the schema says in the log cannot be read.
    #[error("the message {0:?} in the log is none of this version of Eaves")]
    Logical(String),
}

/// Reads the messages of one look into the slot.
#[derive(Debug)]
pub struct Decoder {
    /// Transactions whose commit is before this have been taken.
    from: u64,
    /// Those from here on are left for later.
    before: Option<u64>,
    /// A transaction number of about now, with all 64 bits.
    near_xid: u64,
    /// The table's number, and where each of [`COLUMNS`] stands in its tuples.
    columns: Option<(u32, [usize; COLUMNS.len()])>,
    transaction: Option<Transaction>,
    end_at: Option<u64>,
    committed_us: Option<i64>,
}

#[derive(Debug)]
struct Transaction {
    commit_at: u64,
    committed_us: i64,
    xid: u64,
    seq: u32,
    taken: bool,
}

impl Decoder {
    /// For the transactions from `from` on, and only those before `before` if it is given.
    /// `near_xid` is a transaction number of about the time when the slot was looked into.
    pub fn new(from: u64, before: Option<u64>, near_xid: u64) -> Self {
        Self { from, before, near_xid, columns: None, transaction: None, end_at: None, committed_us: None }
    }

    /// Takes the next message; the change in it, if it has one that is to be taken.
    pub fn read(&mut self, message: &[u8]) -> Result<Option<Change>, StreamError> {
        match pgoutput::read(message)? {
            Message::Begin { commit_at, committed_us, xid } => {
                if self.transaction.is_some() {
                    return Err(StreamError::Order("a transaction begins within another"));
                }
                let taken = commit_at >= self.from && self.before.is_none_or(|before| commit_at < before);
                let xid = widened(xid, self.near_xid);
                self.transaction = Some(Transaction { commit_at, committed_us, xid, seq: 0, taken });
                Ok(None)
            }
            Message::Commit { end_at, .. } => {
                let ended = self.transaction.take();
                let ended = ended.ok_or(StreamError::Order("a transaction ends that has not begun"))?;
                if ended.taken {
                    self.end_at = Some(end_at);
                    self.committed_us = Some(ended.committed_us.saturating_add(EPOCH_2000));
                }
                Ok(None)
            }
            // Partitions are described as well; their rows come as the table's.
            Message::Relation(relation) if (relation.schema, relation.name) != TABLE => Ok(None),
            Message::Relation(relation) => {
                self.columns = Some((relation.id, places(&relation)?));
                Ok(None)
            }
            Message::Insert { relation, new } => self.change(Operation::Insert, relation, &new),
            Message::Update { old: Some(_), .. } => {
                Err(StreamError::Order("the key of a row of history was changed"))
            }
            Message::Update { relation, old: None, new } => self.change(Operation::Update, relation, &new),
            Message::Delete { relation, old } => self.change(Operation::Delete, relation, &old),
            Message::Logical { prefix: PREFIX, content } => self.dropped(content),
            Message::Logical { .. } | Message::Other(_) => Ok(None),
        }
    }

    /// Whether a transaction has begun and not ended: what was read is not whole.
    pub fn is_within_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// The first byte of the log after the last transaction that was taken.
    pub fn end_at(&self) -> Option<u64> {
        self.end_at
    }

    /// When that was committed, microseconds since 1970.
    pub fn committed_us(&self) -> Option<i64> {
        self.committed_us
    }

    fn change(
        &mut self,
        operation: Operation,
        relation: u32,
        fields: &[Field<'_>],
    ) -> Result<Option<Change>, StreamError> {
        let places = match self.columns {
            Some((id, places)) if id == relation => places,
            _ => return Err(StreamError::Order("a row of a table that was not described")),
        };
        let Some((commit_at, seq, xid)) = self.next()? else { return Ok(None) };
        let row = Row { fields, places, at: commit_at };
        let row = if operation == Operation::Delete { row.key()? } else { row.all()? };
        Ok(Some(Change { operation, lsn: commit_at, seq, xid, row }))
    }

    /// `drop <from> <to>`: the points of these times are gone, microseconds since 1970.
    fn dropped(&mut self, content: &[u8]) -> Result<Option<Change>, StreamError> {
        let text = String::from_utf8_lossy(content);
        let unknown = || StreamError::Logical(text.chars().take(64).collect());
        let words: Vec<&str> = text.split(' ').collect();
        let range = match words[..] {
            ["drop", from, to] => from.parse::<i64>().ok().zip(to.parse::<i64>().ok()),
            _ => None,
        };
        let (from, to) = range.ok_or_else(unknown)?;
        let Some((lsn, seq, xid)) = self.next()? else { return Ok(None) };
        let row = HistoryRow { observed_at: from, timestamp: Some(to), ..HistoryRow::default() };
        Ok(Some(Change { operation: Operation::Drop, lsn, seq, xid, row }))
    }

    /// The next place in the current transaction; `None` if it is passed over.
    fn next(&mut self) -> Result<Option<(u64, u32, u64)>, StreamError> {
        let outside = StreamError::Order("a change outside of a transaction");
        let transaction = self.transaction.as_mut().ok_or(outside)?;
        transaction.seq = transaction.seq.saturating_add(1);
        Ok(transaction.taken.then_some((transaction.commit_at, transaction.seq, transaction.xid)))
    }
}

/// The 64-bit number of which `low` are the lower bits: the one nearest to `near`, before or after it,
/// since a transaction may have a number beyond the snapshot's last one and be on disk all the same. Those that a
/// server can tell apart are within two thousand million of each other.
fn widened(low: u32, near: u64) -> u64 {
    let distance = low.wrapping_sub(near as u32).cast_signed();
    near.saturating_add_signed(distance.into())
}

/// Where each column stands.
fn places(relation: &Relation<'_>) -> Result<[usize; COLUMNS.len()], StreamError> {
    let other = |found: String, wanted| Err(StreamError::Table { found, wanted });
    let mut places = [0; COLUMNS.len()];
    for (place, (name, kind)) in places.iter_mut().zip(COLUMNS) {
        match relation.columns.iter().position(|column| *column == (name, kind)) {
            Some(at) => *place = at,
            None => return other(format!("no column {name} of type {kind}"), "V6 of its schema"),
        }
    }
    // One that is not known would be missing in the files, and nobody would notice.
    match relation.columns.iter().find(|(name, _)| COLUMNS.iter().all(|(known, _)| known != name)) {
        Some((name, _)) => other(format!("a column {name}"), "V6 of its schema"),
        None => Ok(places),
    }
}

struct Row<'a> {
    fields: &'a [Field<'a>],
    places: [usize; COLUMNS.len()],
    at: u64,
}

impl Row<'_> {
    fn key(&self) -> Result<HistoryRow, StreamError> {
        Ok(HistoryRow {
            tenant: self.due(0, "int4", i32::from_be_bytes)?,
            entity: self.due(1, "int8", i64::from_be_bytes)?,
            attribute: self.due(2, "int4", i32::from_be_bytes)?,
            observed_at: self.due(3, "timestamptz", micros)?,
            ..HistoryRow::default()
        })
    }

    fn all(&self) -> Result<HistoryRow, StreamError> {
        Ok(HistoryRow {
            ingested_at: Some(self.due(4, "timestamptz", micros)?),
            plugin: self.fixed(5, "int4", i32::from_be_bytes)?,
            boolean: self.fixed(6, "bool", |[byte]: [u8; 1]| byte != 0)?,
            integer: self.fixed(7, "int8", i64::from_be_bytes)?,
            float: self.fixed(8, "float8", f64::from_be_bytes)?,
            decimal: self.some(9, "numeric", numeric::text)?,
            timestamp: self.fixed(10, "timestamptz", micros)?,
            text: self.some(11, "text", |bytes| String::from_utf8(bytes.to_vec()).ok())?,
            ..self.key()?
        })
    }

    fn bad(&self, column: usize, wanted: &'static str) -> StreamError {
        StreamError::Value { column: COLUMNS[column].0, wanted, at: self.at }
    }

    fn some<T>(
        &self,
        column: usize,
        wanted: &'static str,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StreamError> {
        let bad = || self.bad(column, wanted);
        match self.fields.get(self.places[column]) {
            Some(Field::Null) => Ok(None),
            Some(Field::Binary(bytes)) => read(bytes).map(Some).ok_or_else(bad),
            // A text's binary form is the text; of other types text is not asked for. A value that
            // was not sent cannot be known: no statement of the schema changes a row without it.
            Some(Field::Text(_) | Field::Unchanged) | None => Err(bad()),
        }
    }

    fn fixed<T, const N: usize>(
        &self,
        column: usize,
        wanted: &'static str,
        read: impl FnOnce([u8; N]) -> T,
    ) -> Result<Option<T>, StreamError> {
        self.some(column, wanted, |bytes| <[u8; N]>::try_from(bytes).ok().map(read))
    }

    fn due<T, const N: usize>(
        &self,
        column: usize,
        wanted: &'static str,
        read: impl FnOnce([u8; N]) -> T,
    ) -> Result<T, StreamError> {
        self.fixed(column, wanted, read)?.ok_or_else(|| self.bad(column, wanted))
    }
}

fn micros(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes).saturating_add(EPOCH_2000)
}

#[cfg(test)]
mod tests {
    use super::widened;

    #[test]
    fn a_transaction_number_gets_its_upper_half() {
        assert_eq!(widened(5, 9), 5);
        assert_eq!(widened(5, (3 << 32) | 9), (3 << 32) | 5);
        assert_eq!(widened(u32::MAX, (3 << 32) | 9), (3 << 32) - 1);
        // Begun after the snapshot, and on disk before its log position was read.
        assert_eq!(widened(9, 9), 9);
        assert_eq!(widened(12, (3 << 32) | 9), (3 << 32) | 12);
        assert_eq!(widened(2, (3 << 32) - 1), (3 << 32) | 2);
    }
}
