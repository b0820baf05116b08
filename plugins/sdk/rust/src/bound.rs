//! A bound of a range, compared exactly with each kind of number.

use crate::{Decimal, Value};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::cmp::Ordering;
use std::fmt;

/// A JSON number, or a string with the digits of a decimal.
#[derive(Debug)]
pub struct Bound {
    float: f64,
    exact: Option<Decimal>,
}

/// Below this, doubles hold every integer, and every number that is larger stays larger.
const EXACT_IN_FLOAT: u64 = 1 << 53;

impl Bound {
    /// The nearest double: what a float is compared with.
    pub fn as_f64(&self) -> f64 {
        self.float
    }

    /// How a value compares with any bound; `None` if it is no number.
    pub fn comparing(value: &Value<'_>) -> Option<impl Fn(&Bound) -> Ordering> {
        let (float, exact) = match value {
            Value::Float(f) => (*f, None),
            Value::Integer(i) if i.unsigned_abs() < EXACT_IN_FLOAT => (*i as f64, None),
            Value::Integer(i) => (*i as f64, Some(Decimal::from(*i))),
            Value::Decimal(d) => (d.to_f64(), Some(*d)),
            _ => return None,
        };
        Some(move |bound: &Bound| match (exact, bound.exact) {
            (Some(value), Some(bound)) => value.cmp(&bound),
            // Neither side is NaN; `total_cmp` would put -0 below 0.
            _ => float.partial_cmp(&bound.float).unwrap_or(Ordering::Equal),
        })
    }
}

impl From<f64> for Bound {
    fn from(number: f64) -> Self {
        Self { float: number, exact: number.to_string().parse().ok() }
    }
}

impl From<i64> for Bound {
    fn from(number: i64) -> Self {
        Self { float: number as f64, exact: Some(number.into()) }
    }
}

impl From<Decimal> for Bound {
    fn from(number: Decimal) -> Self {
        Self { float: number.to_f64(), exact: Some(number) }
    }
}

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.exact, other.exact) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => self.float.partial_cmp(&other.float),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exact {
            Some(exact) => exact.fmt(f),
            None => self.float.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Bound;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a decimal number in a string")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Bound, E> {
                Ok(Bound { float: number as f64, exact: Some(number.into()) })
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Bound, E> {
                Ok(Bound { float: number as f64, exact: Decimal::new(number.into(), 0) })
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Bound, E> {
                Ok(Bound { float: number, exact: number.to_string().parse().ok() })
            }

            fn visit_str<E: Error>(self, digits: &str) -> Result<Bound, E> {
                let exact: Decimal = digits
                    .parse()
                    .map_err(|_| E::custom(format!("{digits:?} is not a number such as -12.5")))?;
                Ok(Bound { float: exact.to_f64(), exact: Some(exact) })
            }
        }

        deserializer.deserialize_any(Number)
    }
}
