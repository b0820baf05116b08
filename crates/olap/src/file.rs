//! Changes as a Parquet file, and back.
//!
//! The same changes make the same bytes: nothing in a file says when or by whom it was made.

use bytes::Bytes;
use eaves_model::history::{Change, HistoryRow, Operation};
use parquet::basic::Compression;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;
use std::sync::Arc;

/// Rows of a row group: what is held in memory before it is encoded.
const GROUP: usize = 100_000;

/// The columns, in their order. `docs/olap.md` says what they mean, and schemas/redshift loads them.
const SCHEMA: &str = "message history {
  required binary operation (UTF8);
  required int64 lsn;
  required int64 seq;
  required int64 xid;
  required int32 tenant_id;
  required int64 entity_id;
  required int32 attribute_id;
  required int64 observed_at (TIMESTAMP(MICROS, true));
  optional int64 ingested_at (TIMESTAMP(MICROS, true));
  optional int32 plugin_id;
  optional boolean value_bool;
  optional int64 value_int;
  optional double value_float;
  optional binary value_decimal (UTF8);
  optional int64 value_timestamp (TIMESTAMP(MICROS, true));
  optional binary value (UTF8);
}";

/// A file that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is no Parquet file, or damaged.
    #[error("the Parquet file is damaged, or cannot be made")]
    Parquet(#[from] ParquetError),
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
pub struct Builder {
    writer: SerializedFileWriter<Vec<u8>>,
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

impl Builder {
    /// An empty one.
    pub fn new() -> Result<Self, FileError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("eaves".into())
            .build();
        let writer = SerializedFileWriter::new(Vec::new(), schema()?, Arc::new(properties))?;
        Ok(Self { writer, changes: Vec::new(), rows: 0 })
    }

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
        let bytes = Bytes::from(self.writer.into_inner()?);
        Ok(Some(Encoded { bytes, rows: self.rows }))
    }

    fn encode(&mut self) -> Result<(), FileError> {
        let changes = std::mem::take(&mut self.changes);
        let mut group = self.writer.next_row_group()?;
        let g = &mut group;
        let bytes = |text: &str| ByteArray::from(text);
        required::<ByteArrayType>(g, changes.iter().map(|c| bytes(c.operation.name())))?;
        required::<Int64Type>(g, changes.iter().map(|c| c.lsn.cast_signed()))?;
        required::<Int64Type>(g, changes.iter().map(|c| i64::from(c.seq)))?;
        required::<Int64Type>(g, changes.iter().map(|c| c.xid.cast_signed()))?;
        required::<Int32Type>(g, changes.iter().map(|c| c.row.tenant))?;
        required::<Int64Type>(g, changes.iter().map(|c| c.row.entity))?;
        required::<Int32Type>(g, changes.iter().map(|c| c.row.attribute))?;
        required::<Int64Type>(g, changes.iter().map(|c| c.row.observed_at))?;
        optional::<Int64Type>(g, changes.iter().map(|c| c.row.ingested_at))?;
        optional::<Int32Type>(g, changes.iter().map(|c| c.row.plugin))?;
        optional::<BoolType>(g, changes.iter().map(|c| c.row.boolean))?;
        optional::<Int64Type>(g, changes.iter().map(|c| c.row.integer))?;
        optional::<DoubleType>(g, changes.iter().map(|c| c.row.float))?;
        optional::<ByteArrayType>(g, changes.iter().map(|c| c.row.decimal.as_deref().map(bytes)))?;
        optional::<Int64Type>(g, changes.iter().map(|c| c.row.timestamp))?;
        optional::<ByteArrayType>(g, changes.iter().map(|c| c.row.text.as_deref().map(bytes)))?;
        group.close()?;
        Ok(())
    }
}

/// Reads a file, row by row in its order.
pub fn read(bytes: Bytes, mut row: impl FnMut(Change)) -> Result<(), FileError> {
    let reader = SerializedFileReader::new(bytes)?;
    if reader.metadata().file_metadata().schema() != schema()?.as_ref() {
        return Err(FileError::Columns);
    }
    for index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(index)?;
        for change in changes(group.as_ref())? {
            row(change);
        }
    }
    Ok(())
}

fn changes(group: &dyn RowGroupReader) -> Result<Vec<Change>, FileError> {
    let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
    let operations = column::<ByteArrayType>(group, 0, rows)?;
    let [lsn, seq, xid] = [1, 2, 3].map(|at| column::<Int64Type>(group, at, rows));
    let (lsn, seq, xid) = (lsn?, seq?, xid?);
    let tenants = column::<Int32Type>(group, 4, rows)?;
    let entities = column::<Int64Type>(group, 5, rows)?;
    let attributes = column::<Int32Type>(group, 6, rows)?;
    let observed = column::<Int64Type>(group, 7, rows)?;
    let ingested = column::<Int64Type>(group, 8, rows)?;
    let plugins = column::<Int32Type>(group, 9, rows)?;
    let booleans = column::<BoolType>(group, 10, rows)?;
    let integers = column::<Int64Type>(group, 11, rows)?;
    let floats = column::<DoubleType>(group, 12, rows)?;
    let decimals = column::<ByteArrayType>(group, 13, rows)?;
    let timestamps = column::<Int64Type>(group, 14, rows)?;
    let texts = column::<ByteArrayType>(group, 15, rows)?;
    let text = |column: &'static str, row: usize, bytes: &Option<ByteArray>| match bytes {
        None => Ok(None),
        Some(bytes) => match String::from_utf8(bytes.data().to_vec()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(FileError::Value { column, row }),
        },
    };
    let mut changes = Vec::with_capacity(rows);
    for row in 0..rows {
        let bad = |column| FileError::Value { column, row };
        let operation = operations[row].as_ref().and_then(|name| Operation::named(name.data()));
        changes.push(Change {
            operation: operation.ok_or_else(|| bad("operation"))?,
            lsn: lsn[row].ok_or_else(|| bad("lsn"))?.cast_unsigned(),
            seq: seq[row].and_then(|seq| u32::try_from(seq).ok()).ok_or_else(|| bad("seq"))?,
            xid: xid[row].ok_or_else(|| bad("xid"))?.cast_unsigned(),
            row: HistoryRow {
                tenant: tenants[row].ok_or_else(|| bad("tenant_id"))?,
                entity: entities[row].ok_or_else(|| bad("entity_id"))?,
                attribute: attributes[row].ok_or_else(|| bad("attribute_id"))?,
                observed_at: observed[row].ok_or_else(|| bad("observed_at"))?,
                ingested_at: ingested[row],
                plugin: plugins[row],
                boolean: booleans[row],
                integer: integers[row],
                float: floats[row],
                decimal: text("value_decimal", row, &decimals[row])?,
                timestamp: timestamps[row],
                text: text("value", row, &texts[row])?,
            },
        });
    }
    Ok(changes)
}

/// A column's values; `None` is null.
fn column<T: DataType>(
    group: &dyn RowGroupReader,
    at: usize,
    rows: usize,
) -> Result<Vec<Option<T::T>>, FileError> {
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(at)?);
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (read, _, _) = reader.read_records(rows, Some(&mut levels), None, &mut values)?;
    if read != rows {
        return Err(ParquetError::EOF(format!("column {at} has {read} rows of {rows}")).into());
    }
    // A column that may not be null has no levels.
    if values.len() == rows {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut values = values.into_iter();
    Ok(levels.into_iter().map(|level| if level > 0 { values.next() } else { None }).collect())
}

fn schema() -> Result<Arc<Type>, FileError> {
    Ok(Arc::new(parse_message_type(SCHEMA)?))
}

fn required<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: impl Iterator<Item = T::T>,
) -> Result<(), FileError> {
    let values: Vec<T::T> = values.collect();
    write::<T>(group, &values, None)
}

fn optional<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), FileError> {
    let mut levels = Vec::new();
    let keep = |value: Option<T::T>| {
        levels.push(i16::from(value.is_some()));
        value
    };
    let values: Vec<T::T> = values.filter_map(keep).collect();
    write::<T>(group, &values, Some(&levels))
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), FileError> {
    let mut column = group.next_column()?.ok_or(FileError::Columns)?;
    column.typed::<T>().write_batch(values, levels, None)?;
    Ok(column.close()?)
}
