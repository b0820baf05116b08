//! The messages of PostgreSQL's output plugin `pgoutput`, protocol version 1, tuples in binary form.
//!
//! Source: PostgreSQL's manual, "Logical Replication Message Formats". Whatever the bytes are, reading
//! them ends in a message or in an error that says where it stopped making sense; unknown kinds are
//! passed over only where the manual says that a consumer may.

/// A message. Texts and values are parts of what was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Message<'a> {
    /// A transaction begins.
    Begin {
        /// Where its commit stands in the log, bytes.
        commit_at: u64,
        /// When it was committed, microseconds since 2000.
        committed_us: i64,
        /// Its number, modulo 2^32.
        xid: u32,
    },
    /// It ends.
    Commit {
        /// As in its [`Message::Begin`].
        commit_at: u64,
        /// The first byte of the log after its commit.
        end_at: u64,
    },
    /// What the tuples of a table look like from here on.
    Relation(Relation<'a>),
    /// A row came.
    Insert {
        /// The table's number.
        relation: u32,
        /// The row.
        new: Vec<Field<'a>>,
    },
    /// A row was changed.
    Update {
        /// The table's number.
        relation: u32,
        /// Its old key, if that changed.
        old: Option<Vec<Field<'a>>>,
        /// The row as it is now.
        new: Vec<Field<'a>>,
    },
    /// A row is gone.
    Delete {
        /// The table's number.
        relation: u32,
        /// Its key; what is no key is null.
        old: Vec<Field<'a>>,
    },
    /// What somebody put into the log with `pg_logical_emit_message`.
    Logical {
        /// Whom it is for.
        prefix: &'a str,
        /// What it says.
        content: &'a [u8],
    },
    /// Origin, type and truncation: nothing that is published here.
    Other(u8),
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Relation<'a> {
    /// Its number.
    pub id: u32,
    /// Its schema; empty for `pg_catalog`.
    pub schema: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its columns: names and types' numbers.
    pub columns: Vec<(&'a str, u32)>,
}

/// A value of a tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// Null.
    Null,
    /// Stored apart and not changed, and so not sent.
    Unchanged,
    /// As text.
    Text(&'a [u8]),
    /// In the type's binary form.
    Binary(&'a [u8]),
}

/// A message that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It ends too early.
    #[error("a message of kind {kind:?} ends at byte {at}, where {wanted} more are due")]
    Short {
        /// Its first byte.
        kind: char,
        /// Where it ends.
        at: usize,
        /// How many bytes are missing at least.
        wanted: usize,
    },
    /// Something in it has no meaning.
    #[error("a message of kind {kind:?} has {found} at byte {at}, where {wanted} is due")]
    Bad {
        /// Its first byte.
        kind: char,
        /// Where.
        at: usize,
        /// What is there.
        found: u8,
        /// What would do.
        wanted: &'static str,
    },
    /// There is more than the message needs.
    #[error("a message of kind {kind:?} has {extra} bytes after its end")]
    Extra {
        /// Its first byte.
        kind: char,
        /// How many.
        extra: usize,
    },
    /// It has no byte at all.
    #[error("an empty message")]
    Empty,
}

/// Reads one message.
pub fn read(bytes: &[u8]) -> Result<Message<'_>, FormatError> {
    let (&kind, _) = bytes.split_first().ok_or(FormatError::Empty)?;
    let mut r = Reader { kind: char::from(kind), bytes, at: 1 };
    let message = match kind {
        b'B' => Message::Begin { commit_at: r.u64()?, committed_us: r.i64()?, xid: r.u32()? },
        b'C' => {
            r.take(1)?;
            let (commit_at, end_at) = (r.u64()?, r.u64()?);
            r.take(8)?;
            Message::Commit { commit_at, end_at }
        }
        b'R' => Message::Relation(relation(&mut r)?),
        b'I' => {
            let relation = r.u32()?;
            r.expect(b'N', "the new row ('N')")?;
            Message::Insert { relation, new: tuple(&mut r)? }
        }
        b'U' => {
            let relation = r.u32()?;
            let old = match r.u8()? {
                b'K' | b'O' => {
                    let old = tuple(&mut r)?;
                    r.expect(b'N', "the new row ('N')")?;
                    Some(old)
                }
                b'N' => None,
                found => return Err(r.bad(found, "a row ('K', 'O' or 'N')")),
            };
            Message::Update { relation, old, new: tuple(&mut r)? }
        }
        b'D' => {
            let relation = r.u32()?;
            match r.u8()? {
                b'K' | b'O' => Message::Delete { relation, old: tuple(&mut r)? },
                found => return Err(r.bad(found, "the old row ('K' or 'O')")),
            }
        }
        b'M' => {
            r.take(1 + 8)?;
            let prefix = r.text()?;
            let length = r.length()?;
            Message::Logical { prefix, content: r.take(length)? }
        }
        // Theirs are not published: nothing of them is needed.
        b'O' | b'Y' | b'T' => return Ok(Message::Other(kind)),
        found => {
            return Err(FormatError::Bad {
                kind: r.kind,
                at: 0,
                found,
                wanted: "a kind of protocol version 1",
            });
        }
    };
    match bytes.len() - r.at {
        0 => Ok(message),
        extra => Err(FormatError::Extra { kind: r.kind, extra }),
    }
}

fn relation<'a>(r: &mut Reader<'a>) -> Result<Relation<'a>, FormatError> {
    let id = r.u32()?;
    let (schema, name) = (r.text()?, r.text()?);
    r.take(1)?;
    let count = r.u16()?;
    // Not trusted for an allocation: each column takes ten bytes at least.
    let mut columns = Vec::with_capacity(usize::from(count).min(r.left() / 10));
    for _ in 0..count {
        r.take(1)?;
        let name = r.text()?;
        let kind = r.u32()?;
        r.take(4)?;
        columns.push((name, kind));
    }
    Ok(Relation { id, schema, name, columns })
}

fn tuple<'a>(r: &mut Reader<'a>) -> Result<Vec<Field<'a>>, FormatError> {
    let count = r.u16()?;
    let mut fields = Vec::with_capacity(usize::from(count).min(r.left()));
    for _ in 0..count {
        fields.push(match r.u8()? {
            b'n' => Field::Null,
            b'u' => Field::Unchanged,
            kind @ (b't' | b'b') => {
                let length = r.length()?;
                let value = r.take(length)?;
                if kind == b't' { Field::Text(value) } else { Field::Binary(value) }
            }
            found => return Err(r.bad(found, "a field ('n', 'u', 't' or 'b')")),
        });
    }
    Ok(fields)
}

struct Reader<'a> {
    kind: char,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let taken = self.bytes[self.at..].get(..count);
        let short = FormatError::Short {
            kind: self.kind,
            at: self.bytes.len(),
            wanted: count.saturating_sub(self.left()),
        };
        let taken = taken.ok_or(short)?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, FormatError> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, FormatError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A length: signed in the protocol, and never below 0.
    fn length(&mut self) -> Result<usize, FormatError> {
        let at = self.at;
        let length = self.array().map(i32::from_be_bytes)?;
        usize::try_from(length).map_err(|_| FormatError::Bad {
            kind: self.kind,
            at,
            found: self.bytes[at],
            wanted: "a length of 0 or more",
        })
    }

    /// A text that ends with a zero byte.
    fn text(&mut self) -> Result<&'a str, FormatError> {
        let (from, kind) = (self.at, self.kind);
        let rest = &self.bytes[from..];
        let short = FormatError::Short { kind, at: self.bytes.len(), wanted: 1 };
        let length = rest.iter().position(|byte| *byte == 0).ok_or(short)?;
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|e| {
            let at = from + e.valid_up_to();
            FormatError::Bad { kind, at, found: self.bytes[at], wanted: "UTF-8" }
        })
    }

    fn expect(&mut self, byte: u8, wanted: &'static str) -> Result<(), FormatError> {
        match self.u8()? {
            found if found == byte => Ok(()),
            found => Err(self.bad(found, wanted)),
        }
    }

    fn bad(&self, found: u8, wanted: &'static str) -> FormatError {
        FormatError::Bad { kind: self.kind, at: self.at - 1, found, wanted }
    }
}
