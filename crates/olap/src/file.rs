//! Changes as a Parquet file, and back.
//!
//! The same changes make the same bytes: nothing in a file says when or by whom it was made.
//!
//! Written here and not with the crate `parquet`, which would change the features of `num-traits` and
//! `zerocopy` under the whole workspace for what is needed of it: flat columns, one page each, PLAIN
//! and GZIP, which every engine reads. [`read`] is for these files only.

use crate::column::{COLUMNS, Column, Page, Values, schema};
use crate::thrift::Item;
use bytes::Bytes;
use eaves_model::history::{Change, HistoryRow, Operation};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::io::{Read as _, Write as _};

/// Rows of a row group: what is held in memory before it is encoded.
const GROUP: usize = 100_000;
/// What a file begins and ends with.
const MAGIC: &[u8; 4] = b"PAR1";
/// GZIP, by its number in `parquet.thrift`.
const GZIP: i32 = 2;
/// PLAIN and RLE, likewise.
const ENCODINGS: [i32; 2] = [0, 3];

/// A file that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A page could not be compressed, or is damaged.
    #[error("column {column} cannot be compressed, or is damaged")]
    Compression {
        /// The column.
        column: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no Parquet file of [`Builder`], or damaged.
    #[error("the file is damaged, or none of Eaves: its {0} cannot be read")]
    Damaged(&'static str),
    /// It has other columns.
    #[error("the file's columns are not those of this version of Eaves")]
    Columns,
    /// A value has no meaning.
    #[error("the file has a bad {column} in row {row}")]
    Value {
        /// The column.
        column: &'static str,
        /// The row, from 0, in its row group.
        row: usize,
    },
}

/// A file that is made. Rows are encoded a row group at a time.
#[derive(Debug)]
pub struct Builder {
    bytes: Vec<u8>,
    groups: Vec<Item>,
    changes: Vec<Change>,
    rows: u64,
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Its content.
    pub bytes: Bytes,
    /// Its rows.
    pub rows: u64,
}

impl Default for Builder {
    fn default() -> Self {
        Self { bytes: MAGIC.to_vec(), groups: Vec::new(), changes: Vec::new(), rows: 0 }
    }
}

impl Builder {
    /// Adds a row.
    pub fn push(&mut self, change: Change) -> Result<(), FileError> {
        self.changes.push(change);
        self.rows += 1;
        if self.changes.len() >= GROUP { self.encode() } else { Ok(()) }
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Its bytes; `None` if it has no rows.
    pub fn finish(mut self) -> Result<Option<Encoded>, FileError> {
        if self.rows == 0 {
            return Ok(None);
        }
        if !self.changes.is_empty() {
            self.encode()?;
        }
        let start = self.bytes.len();
        let footer = Item::of([
            (1, Item::Int(1)),
            (2, schema()),
            (3, long(self.rows)),
            (4, Item::List(self.groups)),
            (6, Item::text("eaves")),
        ]);
        footer.write(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - start).map_err(|_| FileError::Damaged("footer"))?;
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(MAGIC);
        Ok(Some(Encoded { bytes: Bytes::from(self.bytes), rows: self.rows }))
    }

    fn encode(&mut self) -> Result<(), FileError> {
        let changes = std::mem::take(&mut self.changes);
        let start = self.bytes.len();
        let (mut chunks, mut plain) = (Vec::with_capacity(COLUMNS.len()), 0);
        for (column, page) in COLUMNS.into_iter().zip(pages(&changes)) {
            let (chunk, uncompressed) = self.chunk(column, page, changes.len())?;
            chunks.push(chunk);
            plain += uncompressed;
        }
        self.groups.push(Item::of([
            (1, Item::List(chunks)),
            (2, long(plain)),
            (3, long(changes.len() as u64)),
            (6, long((self.bytes.len() - start) as u64)),
        ]));
        Ok(())
    }

    /// Writes a column of a row group, in one page. Returns its entry of the footer, and its size
    /// before compression.
    fn chunk(&mut self, column: Column, page: Page, rows: usize) -> Result<(Item, u64), FileError> {
        let (name, physical, _, optional) = column;
        let failed = |source| FileError::Compression { column: name, source };
        let plain = page.finish(optional);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&plain).map_err(failed)?;
        let packed = encoder.finish().map_err(failed)?;
        let size = |length: usize| i32::try_from(length).map_err(|_| FileError::Damaged("page"));
        let [encoding, levels] = ENCODINGS.map(Item::Int);
        let values = Item::of([(1, Item::Int(size(rows)?)), (2, encoding), (3, levels.clone()), (4, levels)]);
        let header = Item::of([
            (1, Item::Int(0)),
            (2, Item::Int(size(plain.len())?)),
            (3, Item::Int(size(packed.len())?)),
            (5, values),
        ]);
        let start = self.bytes.len();
        header.write(&mut self.bytes);
        let head = self.bytes.len() - start;
        self.bytes.extend(&packed);
        let uncompressed = (head + plain.len()) as u64;
        let meta = Item::of([
            (1, Item::Int(physical as i32)),
            (2, Item::List(ENCODINGS.map(Item::Int).to_vec())),
            (3, Item::List(vec![Item::text(name)])),
            (4, Item::Int(GZIP)),
            (5, long(rows as u64)),
            (6, long(uncompressed)),
            (7, long((head + packed.len()) as u64)),
            (9, long(start as u64)),
        ]);
        Ok((Item::of([(2, long(start as u64)), (3, meta)]), uncompressed))
    }
}

fn long(number: u64) -> Item {
    Item::Long(number.cast_signed())
}

fn pages(changes: &[Change]) -> [Page; COLUMNS.len()] {
    let mut pages: [Page; COLUMNS.len()] = Default::default();
    for Change { operation, lsn, seq, xid, row } in changes {
        pages[0].push_text(Some(operation.name()));
        pages[1].push(Some(&lsn.to_le_bytes()));
        pages[2].push(Some(&u64::from(*seq).to_le_bytes()));
        pages[3].push(Some(&xid.to_le_bytes()));
        pages[4].push(Some(&row.tenant.to_le_bytes()));
        pages[5].push(Some(&row.entity.to_le_bytes()));
        pages[6].push(Some(&row.attribute.to_le_bytes()));
        pages[7].push(Some(&row.observed_at.to_le_bytes()));
        pages[8].push(row.ingested_at.map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
        pages[9].push(row.plugin.map(i32::to_le_bytes).as_ref().map(<[u8; 4]>::as_slice));
        pages[10].push_bool(row.boolean);
        pages[11].push(row.integer.map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
        pages[12].push(row.float.map(f64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
        pages[13].push_text(row.decimal.as_deref());
        pages[14].push(row.timestamp.map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
        pages[15].push_text(row.text.as_deref());
    }
    pages
}

/// Reads a file of [`Builder`], row by row in its order.
pub fn read(bytes: Bytes, mut row: impl FnMut(Change)) -> Result<(), FileError> {
    let footer = footer(&bytes).ok_or(FileError::Damaged("footer"))?;
    // Both are read: numbers have one width then.
    let mut ours = Vec::new();
    Item::of([(2, schema())]).write(&mut ours);
    let ours = Item::read(&ours).map(|(item, _)| item);
    if footer.field(2).is_none() || footer.field(2) != ours.as_ref().and_then(|item| item.field(2)) {
        return Err(FileError::Columns);
    }
    let groups = footer.field(4).and_then(Item::list).ok_or(FileError::Damaged("footer"))?;
    for group in groups {
        let rows = group.field(3).and_then(Item::number).and_then(|rows| usize::try_from(rows).ok());
        let rows = rows.filter(|rows| *rows <= GROUP).ok_or(FileError::Damaged("row group"))?;
        let chunks = group.field(1).and_then(Item::list).ok_or(FileError::Damaged("row group"))?;
        let mut plain = Vec::with_capacity(COLUMNS.len());
        for (column, chunk) in COLUMNS.iter().zip(chunks) {
            plain.push(page(&bytes, column, chunk, rows)?);
        }
        changes(&plain, rows, &mut row)?;
    }
    Ok(())
}

fn footer(bytes: &[u8]) -> Option<Item> {
    let rest = bytes.strip_prefix(MAGIC)?.strip_suffix(MAGIC)?;
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let start = rest.len().checked_sub(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    Item::read(&rest[start..]).map(|(item, _)| item)
}

/// A column's page, unpacked.
fn page(bytes: &[u8], column: &Column, chunk: &Item, rows: usize) -> Result<Vec<u8>, FileError> {
    let damaged = || FileError::Damaged("page");
    let number =
        |item: &Item, id| item.field(id).and_then(Item::number).and_then(|n| usize::try_from(n).ok());
    let start = chunk.field(3).and_then(|meta| number(meta, 9)).ok_or_else(damaged)?;
    let rest = bytes.get(start..).ok_or_else(damaged)?;
    let (header, length) = Item::read(rest).ok_or_else(damaged)?;
    let values = header.field(5).and_then(|data| number(data, 1));
    let sizes = number(&header, 2).zip(number(&header, 3));
    let ((plain, packed), true) = (sizes.ok_or_else(damaged)?, values == Some(rows)) else {
        return Err(damaged());
    };
    let end = length.checked_add(packed).ok_or_else(damaged)?;
    let packed = rest.get(length..end).ok_or_else(damaged)?;
    // No more than it says, and not allocated before it is there.
    let mut unpacked = Vec::new();
    let limit = plain as u64 + 1;
    let done = GzDecoder::new(packed).take(limit).read_to_end(&mut unpacked);
    done.map_err(|source| FileError::Compression { column: column.0, source })?;
    if unpacked.len() == plain { Ok(unpacked) } else { Err(damaged()) }
}

fn changes(pages: &[Vec<u8>], rows: usize, take: &mut impl FnMut(Change)) -> Result<(), FileError> {
    let mut columns = Vec::with_capacity(COLUMNS.len());
    for ((_, _, _, optional), page) in COLUMNS.iter().zip(pages) {
        columns.push(Values::of(page, rows, *optional).ok_or(FileError::Damaged("page"))?);
    }
    let Ok(mut c) = <[Values<'_>; COLUMNS.len()]>::try_from(columns) else {
        return Err(FileError::Damaged("row group"));
    };
    for row in 0..rows {
        let bad = |at: usize| FileError::Value { column: COLUMNS[at].0, row };
        let operation = c[0].bytes().flatten().and_then(Operation::named).ok_or_else(|| bad(0))?;
        // What may not be null has a value where the page is long enough.
        let mut long =
            |at: usize| c[at].fixed::<8>().flatten().map(i64::from_le_bytes).ok_or_else(|| bad(at));
        let (lsn, seq, xid) = (long(1)?.cast_unsigned(), long(2)?, long(3)?.cast_unsigned());
        let (entity, observed_at) = (long(5)?, long(7)?);
        let mut int = |at: usize| c[at].fixed::<4>().flatten().map(i32::from_le_bytes).ok_or_else(|| bad(at));
        let (tenant, attribute) = (int(4)?, int(6)?);
        let mut maybe = |at: usize| c[at].fixed::<8>().ok_or_else(|| bad(at));
        let (ingested_at, integer, float, timestamp) = (maybe(8)?, maybe(11)?, maybe(12)?, maybe(14)?);
        let plugin = c[9].fixed::<4>().ok_or_else(|| bad(9))?.map(i32::from_le_bytes);
        let boolean = c[10].boolean().ok_or_else(|| bad(10))?;
        let mut text = |at: usize| match c[at].bytes() {
            Some(Some(bytes)) => String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| bad(at)),
            Some(None) => Ok(None),
            None => Err(bad(at)),
        };
        let (decimal, value) = (text(13)?, text(15)?);
        take(Change {
            operation,
            lsn,
            seq: u32::try_from(seq).map_err(|_| bad(2))?,
            xid,
            row: HistoryRow {
                tenant,
                entity,
                attribute,
                observed_at,
                ingested_at: ingested_at.map(i64::from_le_bytes),
                plugin,
                boolean,
                integer: integer.map(i64::from_le_bytes),
                float: float.map(f64::from_le_bytes),
                decimal,
                timestamp: timestamp.map(i64::from_le_bytes),
                text: value,
            },
        });
    }
    Ok(())
}
