//! The columns of a file: what they are called, and how their values are laid out in a page.
//!
//! Source: "Parquet: Encodings" (PLAIN, and RLE's bit-packed runs for definition levels), "Thrift
//! definitions" (`parquet.thrift`).

use crate::thrift::{Item, unvarint, varint};

/// A column's physical type, by its number in `parquet.thrift`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Physical {
    Boolean = 0,
    Int32 = 1,
    Int64 = 2,
    Double = 5,
    Bytes = 6,
}

/// What its values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Plain,
    Utf8,
    /// Microseconds since 1970, UTC.
    Time,
}

/// A column: name, type, meaning, whether it may be null.
pub(crate) type Column = (&'static str, Physical, Meaning, bool);

/// All of them, in their order. `docs/olap.md` says what they mean, and schemas/redshift loads them.
pub(crate) const COLUMNS: [Column; 16] = [
    ("operation", Physical::Bytes, Meaning::Utf8, false),
    ("lsn", Physical::Int64, Meaning::Plain, false),
    ("seq", Physical::Int64, Meaning::Plain, false),
    ("xid", Physical::Int64, Meaning::Plain, false),
    ("tenant_id", Physical::Int32, Meaning::Plain, false),
    ("entity_id", Physical::Int64, Meaning::Plain, false),
    ("attribute_id", Physical::Int32, Meaning::Plain, false),
    ("observed_at", Physical::Int64, Meaning::Time, false),
    ("ingested_at", Physical::Int64, Meaning::Time, true),
    ("plugin_id", Physical::Int32, Meaning::Plain, true),
    ("value_bool", Physical::Boolean, Meaning::Plain, true),
    ("value_int", Physical::Int64, Meaning::Plain, true),
    ("value_float", Physical::Double, Meaning::Plain, true),
    ("value_decimal", Physical::Bytes, Meaning::Utf8, true),
    ("value_timestamp", Physical::Int64, Meaning::Time, true),
    ("value", Physical::Bytes, Meaning::Utf8, true),
];

/// The schema as the footer has it.
pub(crate) fn schema() -> Item {
    let count = i32::try_from(COLUMNS.len()).unwrap_or(0);
    let root = Item::of([(4, Item::text("history")), (5, Item::Int(count))]);
    let element = |(name, physical, meaning, optional): Column| {
        let mut fields =
            vec![(1, Item::Int(physical as i32)), (3, Item::Int(i32::from(optional))), (4, Item::text(name))];
        match meaning {
            Meaning::Plain => {}
            // Twice: as readers of old know it, and as the newer ones do.
            Meaning::Utf8 => fields.extend([(6, Item::Int(0)), (10, Item::of([(1, Item::of([]))]))]),
            Meaning::Time => {
                let unit = Item::of([(2, Item::of([]))]);
                let logical = Item::of([(8, Item::of([(1, Item::Bool(true)), (2, unit)]))]);
                fields.extend([(6, Item::Int(10)), (10, logical)]);
            }
        }
        Item::of(fields)
    };
    Item::List(std::iter::once(root).chain(COLUMNS.into_iter().map(element)).collect())
}

/// A page's values before they are compressed: definition levels, if the column may be null, and the
/// values that there are.
#[derive(Debug, Default)]
pub(crate) struct Page {
    rows: usize,
    levels: Vec<u8>,
    values: Vec<u8>,
    booleans: usize,
}

impl Page {
    /// The next row's value; `None` is null.
    pub(crate) fn push(&mut self, value: Option<&[u8]>) {
        set(&mut self.levels, self.rows, value.is_some());
        self.rows += 1;
        self.values.extend(value.unwrap_or_default());
    }

    /// A text: its length goes before it.
    pub(crate) fn push_text(&mut self, text: Option<&str>) {
        if let Some(text) = text {
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            self.values.extend(length.to_le_bytes());
        }
        self.push(text.map(str::as_bytes));
    }

    /// A boolean: a bit.
    pub(crate) fn push_bool(&mut self, value: Option<bool>) {
        if let Some(value) = value {
            set(&mut self.values, self.booleans, value);
            self.booleans += 1;
        }
        self.push(value.map(|_| &[][..]));
    }

    /// Its bytes.
    pub(crate) fn finish(self, optional: bool) -> Vec<u8> {
        if !optional {
            return self.values;
        }
        // One bit-packed run: so many groups of eight.
        let mut run = Vec::with_capacity(self.levels.len() + 10);
        varint((self.levels.len() as u64) << 1 | 1, &mut run);
        run.extend(&self.levels);
        let length = u32::try_from(run.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(run);
        bytes.extend(self.values);
        bytes
    }
}

fn set(bits: &mut Vec<u8>, at: usize, on: bool) {
    if at.is_multiple_of(8) {
        bits.push(0);
    }
    if let (Some(last), true) = (bits.last_mut(), on) {
        *last |= 1 << (at % 8);
    }
}

fn is_set(bits: &[u8], at: usize) -> Option<bool> {
    bits.get(at / 8).map(|byte| byte >> (at % 8) & 1 == 1)
}

/// A page that is read, row by row.
pub(crate) struct Values<'a> {
    levels: Option<&'a [u8]>,
    values: &'a [u8],
    row: usize,
    booleans: usize,
}

impl<'a> Values<'a> {
    /// Of a page of `rows` rows; `None` if it is not one of [`Page`]'s.
    pub(crate) fn of(bytes: &'a [u8], rows: usize, optional: bool) -> Option<Self> {
        if !optional {
            return Some(Self { levels: None, values: bytes, row: 0, booleans: 0 });
        }
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (run, values) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let (head, skipped) = unvarint(run)?;
        let levels = run.get(skipped..)?;
        let groups = rows.div_ceil(8);
        let whole = head == (groups as u64) << 1 | 1 && levels.len() == groups;
        whole.then_some(Self { levels: Some(levels), values, row: 0, booleans: 0 })
    }

    /// Whether the next row has a value; `None` at the page's end.
    fn next(&mut self) -> Option<bool> {
        let there = match self.levels {
            None => true,
            Some(levels) => is_set(levels, self.row)?,
        };
        self.row += 1;
        Some(there)
    }

    /// The next row's value of `N` bytes. The outer `None` is a page that is too short.
    pub(crate) fn fixed<const N: usize>(&mut self) -> Option<Option<[u8; N]>> {
        if !self.next()? {
            return Some(None);
        }
        let (value, rest) = self.values.split_first_chunk::<N>()?;
        self.values = rest;
        Some(Some(*value))
    }

    /// The next row's text or name.
    pub(crate) fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        if !self.next()? {
            return Some(None);
        }
        let (length, rest) = self.values.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        self.values = rest;
        Some(Some(value))
    }

    /// The next row's boolean.
    pub(crate) fn boolean(&mut self) -> Option<Option<bool>> {
        if !self.next()? {
            return Some(None);
        }
        let value = is_set(self.values, self.booleans)?;
        self.booleans += 1;
        Some(Some(value))
    }
}
