//! Points as PostgreSQL's binary COPY format. This runs once per value: nothing is
//! allocated for one (but for decimals, which are rare).

use crate::micros::Micros;
use bytes::{BufMut as _, Bytes, BytesMut};
use eaves_model::batch::Point;
use eaves_model::{Decimal, Timestamp, Value};
use tokio_postgres::types::{ToSql as _, Type};

/// A message of this size and no more at once.
const PIECE: usize = 128 * 1024;
/// The format's signature, flags and header extension (PostgreSQL manual, COPY).
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A typical row: fields, lengths, one 8-byte value.
const ROW: usize = 88;
/// Value columns, in the order of the statement.
const COLUMNS: usize = 6;

/// The statement that takes [`encode`]'s bytes. `ingested_at` has its default, the
/// transaction's time, unless the rows are stamped with another.
pub(super) fn statement(slot: i16, stamped: bool) -> String {
    // Only our own two leaves, whatever the database says.
    let leaf = if slot == 0 { 0 } else { 1 };
    let stamp = if stamped { ", ingested_at" } else { "" };
    format!(
        "copy public.entity_values_ingest_{leaf} (entity_id, observed_at, tenant_id, attribute_id, plugin_id, \
         value_bool, value_int, value_float, value_decimal, value_timestamp, value{stamp}) \
         from stdin (format binary)"
    )
}

/// The points as bytes, in pieces.
pub(super) fn encode(points: &[Point], stamp: Option<Timestamp>) -> Vec<Bytes> {
    let stamp = stamp.map(|at| Micros(at).wire());
    let mut out = BytesMut::with_capacity(HEADER.len() + points.len() * (ROW + 12) + 2);
    out.put_slice(HEADER);
    for point in points {
        row(&mut out, point, stamp.is_some());
        if let Some(micros) = stamp {
            out.put_i32(8);
            out.put_i64(micros);
        }
    }
    out.put_i16(-1);
    let mut rest = out.freeze();
    let mut pieces = Vec::with_capacity(rest.len() / PIECE + 1);
    while rest.len() > PIECE {
        pieces.push(rest.split_to(PIECE));
    }
    pieces.push(rest);
    pieces
}

fn row(out: &mut BytesMut, point: &Point, stamped: bool) {
    out.put_i16(5 + COLUMNS as i16 + i16::from(stamped));
    out.put_i32(8);
    out.put_i64(point.entity.0);
    out.put_i32(8);
    out.put_i64(Micros(point.observed_at).wire());
    out.put_i32(4);
    out.put_i32(point.tenant.0);
    out.put_i32(4);
    out.put_i32(point.attribute.0);
    match point.plugin {
        Some(plugin) => {
            out.put_i32(4);
            out.put_i32(plugin.0);
        }
        None => out.put_i32(-1),
    }
    match &point.value {
        Value::Boolean(b) => column(out, 0, |out| {
            out.put_i32(1);
            out.put_u8(u8::from(*b));
        }),
        Value::Integer(i) => column(out, 1, |out| {
            out.put_i32(8);
            out.put_i64(*i);
        }),
        Value::Float(f) => column(out, 2, |out| {
            out.put_i32(8);
            out.put_f64(*f);
        }),
        Value::Decimal(d) => column(out, 3, |out| decimal(out, *d)),
        Value::Timestamp(t) => column(out, 4, |out| {
            out.put_i32(8);
            out.put_i64(Micros(*t).wire());
        }),
        Value::String(s) => column(out, 5, |out| {
            out.put_i32(s.len() as i32);
            out.put_slice(s.as_bytes());
        }),
    }
}

fn decimal(out: &mut BytesMut, number: Decimal) {
    if number.is_zero() {
        // rust_decimal's own conversion forgets how many zeros a zero has.
        out.put_i32(8);
        for part in [0, 0, 0, number.scale() as i16] {
            out.put_i16(part);
        }
        return;
    }
    let at = out.len();
    out.put_i32(0);
    // Cannot fail: every Decimal is a numeric.
    let _ = number.to_sql(&Type::NUMERIC, out);
    let length = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// The value in its column, null in the others.
fn column(out: &mut BytesMut, at: usize, value: impl FnOnce(&mut BytesMut)) {
    const NULLS: [u8; 4 * COLUMNS] = [0xff; 4 * COLUMNS];
    out.put_slice(&NULLS[..4 * at]);
    value(out);
    out.put_slice(&NULLS[4 * (at + 1)..]);
}
