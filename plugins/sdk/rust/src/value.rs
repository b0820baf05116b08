//! Typed values.

use crate::Decimal;
use std::borrow::Cow;

pub use crate::bindings::ValueType;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// One value, of its attribute's type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// UTF-8 text.
    String(Cow<'a, str>),
    /// 64-bit signed integer.
    Integer(i64),
    /// Double; never NaN or infinite, and must not be when a plugin answers it.
    Float(f64),
    /// Exact decimal.
    Decimal(Decimal),
    /// True or false.
    Boolean(bool),
    /// A point in time.
    Timestamp(Timestamp),
}

impl<'a> Value<'a> {
    /// Its type.
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

    /// The number as a double, rounded if it must be; `None` for what is no number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Integer(i) => Some(*i as f64),
            Self::Float(f) => Some(*f),
            Self::Decimal(d) => Some(d.to_f64()),
            _ => None,
        }
    }

    /// The text; `None` for other types.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(s) => Some(s),
            _ => None,
        }
    }

    /// The value with a text of its own.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::String(s) => Value::String(Cow::Owned(s.into_owned())),
            Self::Integer(i) => Value::Integer(i),
            Self::Float(f) => Value::Float(f),
            Self::Decimal(d) => Value::Decimal(d),
            Self::Boolean(b) => Value::Boolean(b),
            Self::Timestamp(t) => Value::Timestamp(t),
        }
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Boolean(flag)
    }
}

impl From<Decimal> for Value<'_> {
    fn from(number: Decimal) -> Self {
        Self::Decimal(number)
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(time: Timestamp) -> Self {
        Self::Timestamp(time)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(Cow::Owned(text))
    }
}
