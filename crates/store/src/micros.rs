//! [`Timestamp`] as PostgreSQL's timestamptz.

use bytes::{BufMut as _, BytesMut};
use eaves_model::Timestamp;
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts, in microseconds since 1970.
const EPOCH_2000: i64 = 946_684_800_000_000;

/// A point in time on its way to or from the database, to the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Micros(pub(crate) Timestamp);

impl Micros {
    /// As the binary format has it: microseconds since 2000.
    pub(crate) fn wire(self) -> i64 {
        self.0.as_micros() - EPOCH_2000
    }
}

impl ToSql for Micros {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.wire());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Micros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        let time = micros.checked_add(EPOCH_2000).and_then(Timestamp::from_micros);
        time.map(Self).ok_or_else(|| "a time outside the years 1 to 9999".into())
    }

    accepts!(TIMESTAMPTZ);
}
