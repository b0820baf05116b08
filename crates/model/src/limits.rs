//! Bounds on what a device may send. They are part of the wire format
//! (`docs/wire-format.md`); beyond them a record or value is refused with a
//! reason that names the field.

/// Longest tenant, entity, type or attribute name, in characters.
pub const MAX_NAME_CHARS: usize = 255;
/// Longest string value, in bytes of UTF-8.
pub const MAX_STRING_BYTES: usize = 64 * 1024;
/// Most values in one reading.
pub const MAX_VALUES_PER_READING: usize = 10_000;
/// Most readings in one Kinesis record after decompression and de-aggregation.
pub const MAX_READINGS_PER_RECORD: usize = 100_000;
/// Most bytes one record may unpack to; stops gzip bombs.
pub const MAX_UNPACKED_BYTES: usize = 16 * 1024 * 1024;
/// Earliest `observed_at` taken: 2000-01-01T00:00:00Z, in microseconds since 1970.
pub const EARLIEST_OBSERVED_MICROS: i64 = 946_684_800_000_000;
/// How far ahead of the platform's clock `observed_at` may be: one day.
pub const MAX_AHEAD_MICROS: i64 = 86_400_000_000;
/// Most significant digits of a decimal value.
pub const MAX_DECIMAL_DIGITS: u32 = 28;
