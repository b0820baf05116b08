//! Thrift's compact protocol, as far as Parquet's metadata needs it.
//!
//! Source: "Thrift compact protocol encoding" in the Apache Thrift repository. Reading is for what may be
//! damaged: every length is checked against what is there, and structures nest so far and no further.

use std::collections::BTreeMap;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;
/// How deep structures may nest: Parquet's do six levels.
const DEPTH: u32 = 16;

/// A value to write, or one that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Bool(bool),
    /// An i32 when it is written: most numbers of Parquet are.
    Int(i32),
    Long(i64),
    Bytes(Vec<u8>),
    List(Vec<Item>),
    Struct(BTreeMap<i16, Item>),
}

impl Item {
    /// A structure of numbered fields.
    pub(crate) fn of(fields: impl IntoIterator<Item = (i16, Item)>) -> Self {
        Self::Struct(fields.into_iter().collect())
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }

    /// A field of a structure.
    pub(crate) fn field(&self, id: i16) -> Option<&Item> {
        match self {
            Self::Struct(fields) => fields.get(&id),
            _ => None,
        }
    }

    /// A number of any width.
    pub(crate) fn number(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(i64::from(*number)),
            Self::Long(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Item]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Bool(true) => TRUE,
            Self::Bool(false) => FALSE,
            Self::Int(_) => I32,
            Self::Long(_) => I64,
            Self::Bytes(_) => BINARY,
            Self::List(_) => LIST,
            Self::Struct(_) => STRUCT,
        }
    }

    /// Appends it to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            // In a field it is the field's kind that says which.
            Self::Bool(_) => {}
            Self::Int(number) => varint(zigzag(i64::from(*number)), out),
            Self::Long(number) => varint(zigzag(*number), out),
            Self::Bytes(bytes) => {
                varint(bytes.len() as u64, out);
                out.extend(bytes);
            }
            Self::List(items) => {
                let kind = items.first().map_or(STRUCT, Self::kind);
                match u8::try_from(items.len()) {
                    Ok(short @ 0..15) => out.push(short << 4 | kind),
                    _ => {
                        out.push(0xF0 | kind);
                        varint(items.len() as u64, out);
                    }
                }
                items.iter().for_each(|item| item.write(out));
            }
            Self::Struct(fields) => {
                let mut last = 0;
                for (id, item) in fields {
                    // Parquet's fields are numbered from 1 to 15 or so.
                    match u8::try_from(id - last) {
                        Ok(step @ 1..=15) => out.push(step << 4 | item.kind()),
                        _ => {
                            out.push(item.kind());
                            varint(zigzag(i64::from(*id)), out);
                        }
                    }
                    item.write(out);
                    last = *id;
                }
                out.push(0);
            }
        }
    }

    /// Reads a structure from the beginning of `bytes`, and how many bytes it takes; `None` if they
    /// are none.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut reader = Reader { bytes, at: 0 };
        let item = reader.structure(DEPTH)?;
        Some((item, reader.at))
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

pub(crate) fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A number at the beginning of `bytes`, and how many bytes it takes.
pub(crate) fn unvarint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7F).checked_shl(7 * at as u32)?;
        if byte & 0x80 == 0 {
            return Some((number, at + 1));
        }
    }
    None
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u64> {
        let (number, length) = unvarint(self.bytes.get(self.at..)?)?;
        self.at += length;
        Some(number)
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    fn structure(&mut self, depth: u32) -> Option<Item> {
        let depth = depth.checked_sub(1)?;
        let (mut fields, mut last) = (BTreeMap::new(), 0_i16);
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(Item::Struct(fields));
            }
            let id = match head >> 4 {
                0 => i16::try_from(self.signed()?).ok()?,
                step => last.checked_add(i16::from(step))?,
            };
            last = id;
            let item = match head & 0x0F {
                TRUE => Item::Bool(true),
                FALSE => Item::Bool(false),
                kind => self.item(kind, depth)?,
            };
            fields.insert(id, item);
        }
    }

    fn item(&mut self, kind: u8, depth: u32) -> Option<Item> {
        match kind {
            // In a list each takes a byte.
            TRUE | FALSE => Some(Item::Bool(self.byte()? == TRUE)),
            BYTE => self.byte().map(|byte| Item::Int(i32::from(byte))),
            I16 | I32 | I64 => self.signed().map(Item::Long),
            DOUBLE => {
                self.at = self.at.checked_add(8).filter(|at| *at <= self.bytes.len())?;
                Some(Item::Long(0))
            }
            BINARY => {
                let length = usize::try_from(self.number()?).ok()?;
                let bytes = self.bytes.get(self.at..self.at.checked_add(length)?)?;
                self.at += length;
                Some(Item::Bytes(bytes.to_vec()))
            }
            LIST | SET => {
                let depth = depth.checked_sub(1)?;
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => usize::try_from(self.number()?).ok()?,
                    short => usize::from(short),
                };
                // Each takes a byte at least.
                if count > self.bytes.len() - self.at {
                    return None;
                }
                (0..count).map(|_| self.item(head & 0x0F, depth)).collect::<Option<_>>().map(Item::List)
            }
            STRUCT => self.structure(depth),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let many = (0..40).map(|n| Item::Long(n - 20)).collect();
        let item = Item::of([
            (1, Item::Long(i64::MIN)),
            (2, Item::List(vec![Item::of([]), Item::of([(3, Item::text("wärme"))])])),
            (8, Item::Bool(false)),
            (9, Item::Bool(true)),
            (200, Item::List(many)),
        ]);
        let mut bytes = Vec::new();
        item.write(&mut bytes);
        let length = bytes.len();
        bytes.push(7);
        assert_eq!(Item::read(&bytes), Some((item, length)));
        for cut in 0..length {
            assert_eq!(Item::read(&bytes[..cut]), None, "{cut}");
        }
    }
}
