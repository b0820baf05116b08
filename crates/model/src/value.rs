//! Values that keep their type exactly, and how a wire value becomes one.

use crate::rejection::excerpt;
use crate::{Code, Decimal, Rejection, Timestamp, limits};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The type of an attribute. Fixed when the attribute is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// UTF-8 text up to [`limits::MAX_STRING_BYTES`].
    String,
    /// 64-bit signed.
    Integer,
    /// IEEE 754 double, never NaN or infinite.
    Float,
    /// Exact decimal, up to [`limits::MAX_DECIMAL_DIGITS`] digits; trailing zeros are kept.
    Decimal,
    /// True or false.
    Boolean,
    /// A point in time, microseconds.
    Timestamp,
}

impl ValueType {
    /// All types, in the order of their database codes.
    pub const ALL: [Self; 6] =
        [Self::String, Self::Integer, Self::Float, Self::Decimal, Self::Boolean, Self::Timestamp];

    /// The name in the API, the wire format and `attributes.value_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Decimal => "decimal",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no value type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a value type: use string, integer, float, decimal, boolean or timestamp")]
pub struct UnknownType(pub String);

impl FromStr for ValueType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        let found = Self::ALL.into_iter().find(|t| t.name() == text);
        found.ok_or_else(|| UnknownType(text.chars().take(40).collect()))
    }
}

/// One typed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// See [`ValueType::String`].
    String(Box<str>),
    /// See [`ValueType::Integer`].
    Integer(i64),
    /// See [`ValueType::Float`]. Finite: use [`Value::float`] for numbers from outside.
    Float(f64),
    /// See [`ValueType::Decimal`].
    Decimal(Decimal),
    /// See [`ValueType::Boolean`].
    Boolean(bool),
    /// See [`ValueType::Timestamp`].
    Timestamp(Timestamp),
}

impl Value {
    /// A float, or `None` for NaN and infinities.
    pub fn float(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self::Float(number))
    }

    /// This value's type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::String(_) => ValueType::String,
            Self::Integer(_) => ValueType::Integer,
            Self::Float(_) => ValueType::Float,
            Self::Decimal(_) => ValueType::Decimal,
            Self::Boolean(_) => ValueType::Boolean,
            Self::Timestamp(_) => ValueType::Timestamp,
        }
    }

    /// Orders values so that two are equal only where each bit and digit is: -0.0 is not 0.0, 1.50 is
    /// not 1.5, and a NaN is itself. It tells what was said apart; it does not say which number is larger.
    pub fn exact_cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.to_bits().cmp(&b.to_bits()),
            (Self::Decimal(a), Self::Decimal(b)) => (a.mantissa(), a.scale()).cmp(&(b.mantissa(), b.scale())),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            (a, b) => a.value_type().cmp(&b.value_type()),
        }
    }

    /// The value as JSON: numbers for integers, floats and decimals (exact digits),
    /// strings for timestamps (RFC 3339).
    pub fn write_json(&self, out: &mut String) {
        use fmt::Write as _;
        // Writing to a String cannot fail.
        let _infallible = match self {
            Self::String(s) => return out.push_str(&serde_json::Value::from(&**s).to_string()),
            Self::Integer(i) => write!(out, "{i}"),
            // The shortest text that reads back as the same double, recognisable as a float.
            Self::Float(f) => write!(out, "{f:?}"),
            Self::Decimal(d) => write!(out, "{d}"),
            Self::Boolean(b) => write!(out, "{b}"),
            Self::Timestamp(t) => write!(out, "\"{t}\""),
        };
    }
}

/// A value as a device sent it, before the attribute's type is known.
#[derive(Clone, Debug, PartialEq)]
pub enum WireValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A JSON string.
    Text(Box<str>),
    /// A number without fraction or exponent that fits 64 bits.
    Integer(i64),
    /// Any other number, as its digits stood in the record.
    Number(Box<str>),
    /// `{"type": "decimal", "value": "12.30"}`: the sender named the type.
    Typed(Value),
}

impl WireValue {
    /// The type an attribute gets if this is the first value seen of it.
    pub fn inferred_type(&self) -> ValueType {
        match self {
            Self::Boolean(_) => ValueType::Boolean,
            Self::Text(_) => ValueType::String,
            Self::Integer(_) => ValueType::Integer,
            Self::Number(_) => ValueType::Float,
            Self::Typed(v) => v.value_type(),
        }
    }

    /// The value as one of type `wanted`, or why it cannot be: only conversions that
    /// lose nothing are made (an integer for a float attribute if the double holds it
    /// exactly; digits for a decimal; an RFC 3339 string for a timestamp).
    pub fn resolve(self, wanted: ValueType, field: &str) -> Result<Value, Rejection> {
        let mismatch = |found: &str| {
            let message = format!("{found} does not fit the attribute's type {wanted}");
            Err(Rejection::new(Code::TYPE_MISMATCH, field, message))
        };
        let range = |digits: &str, why: String| {
            let message = format!("{} {why}", excerpt(digits));
            Err(Rejection::new(Code::OUT_OF_RANGE, field, message))
        };
        match (self, wanted) {
            (Self::Typed(v), _) if v.value_type() == wanted => Ok(v),
            (Self::Typed(v), _) => mismatch(&format!("a value of type {}", v.value_type())),
            (Self::Boolean(b), ValueType::Boolean) => Ok(Value::Boolean(b)),
            (Self::Boolean(b), _) => mismatch(&format!("the boolean {b}")),
            (Self::Text(s), ValueType::String) => Ok(Value::String(s)),
            (Self::Text(s), ValueType::Timestamp) => {
                s.parse().map(Value::Timestamp).map_err(|e: crate::time::BadTimestamp| {
                    Rejection::new(Code::TYPE_MISMATCH, field, e.to_string())
                })
            }
            (Self::Text(s), ValueType::Decimal) => match decimal(&s) {
                Ok(d) => Ok(Value::Decimal(d)),
                Err(_) => mismatch(&format!("the string {}", excerpt(&s))),
            },
            (Self::Text(s), _) => mismatch(&format!("the string {}", excerpt(&s))),
            (Self::Integer(i), ValueType::Integer) => Ok(Value::Integer(i)),
            (Self::Integer(i), ValueType::Float) if i.unsigned_abs() <= 1 << 53 => Ok(Value::Float(i as f64)),
            (Self::Integer(i), ValueType::Float) => {
                range(&i.to_string(), "is beyond the integers a float holds exactly".into())
            }
            (Self::Integer(i), ValueType::Decimal) => Ok(Value::Decimal(Decimal::from(i))),
            (Self::Integer(i), _) => mismatch(&format!("the integer {i}")),
            (Self::Number(n), ValueType::Float) => match n.parse::<f64>() {
                Ok(f) if f.is_finite() => Ok(Value::Float(f)),
                _ => range(&n, "is beyond the range of a float".into()),
            },
            (Self::Number(n), ValueType::Decimal) => match decimal(&n) {
                Ok(d) => Ok(Value::Decimal(d)),
                Err(why) => range(&n, why),
            },
            (Self::Number(n), ValueType::Integer) if n.bytes().all(|b| b == b'-' || b.is_ascii_digit()) => {
                range(&n, "is beyond 64-bit integers".into())
            }
            (Self::Number(n), _) => mismatch(&format!("the number {}", excerpt(&n))),
        }
    }
}

/// An exact decimal from its digits (`-12.30`, `1.5e3`), or why not, as the end of a sentence.
pub fn decimal(digits: &str) -> Result<Decimal, String> {
    let plain = !digits.contains(['e', 'E']);
    let parsed = if plain { Decimal::from_str_exact(digits) } else { Decimal::from_scientific(digits) };
    parsed
        .map_err(|_| format!("is not a decimal of at most {} significant digits", limits::MAX_DECIMAL_DIGITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wire: WireValue, wanted: ValueType, expect: Result<&str, &str>) {
        let got = wire.clone().resolve(wanted, "values.x");
        match (got, expect) {
            (Ok(v), Ok(text)) => {
                let mut json = String::new();
                v.write_json(&mut json);
                assert_eq!(json, text, "{wire:?} as {wanted}");
            }
            (Err(r), Err(text)) => assert!(r.to_string().contains(text), "{r}"),
            (got, _) => panic!("{wire:?} as {wanted}: {got:?}"),
        }
    }

    #[test]
    fn only_lossless_conversions_are_made() {
        use ValueType as T;
        use WireValue as W;
        check(W::Integer(72), T::Float, Ok("72.0"));
        check(W::Integer(i64::MAX), T::Float, Err("out_of_range"));
        check(W::Integer(i64::MAX), T::Decimal, Ok("9223372036854775807"));
        check(W::Number("0.1".into()), T::Decimal, Ok("0.1"));
        check(W::Number("12.30".into()), T::Decimal, Ok("12.30"));
        check(W::Number("1e400".into()), T::Float, Err("range of a float"));
        check(W::Number("18446744073709551616".into()), T::Integer, Err("64-bit"));
        check(W::Number("72.5".into()), T::Integer, Err("type_mismatch"));
        check(W::Text("72".into()), T::Integer, Err("type_mismatch"));
        check(W::Text("12.30".into()), T::Decimal, Ok("12.30"));
        check(W::Text("2026-01-01T00:00:00Z".into()), T::Timestamp, Ok("\"2026-01-01T00:00:00Z\""));
        check(W::Text("yesterday".into()), T::Timestamp, Err("RFC 3339"));
        check(W::Boolean(true), T::Integer, Err("type_mismatch"));
        check(W::Number("0.12345678901234567890123456789".into()), T::Decimal, Err("28 significant"));
    }
}
