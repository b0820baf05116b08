//! Exact decimals without a big dependency: a plugin should stay small.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// An exact decimal number: a coefficient and how many of its digits stand after the point.
///
/// Equality and order go by the number, so 12.30 equals 12.3; [`fmt::Display`] keeps the zeros.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    // In two halves, because an i128 would align every value to 16 bytes.
    low: u64,
    high: i64,
    scale: u8,
}

/// A text that is not a decimal of at most 28 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadDecimal;

impl fmt::Display for BadDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a decimal of at most 28 digits")
    }
}

impl std::error::Error for BadDecimal {}

const MAX_SCALE: u8 = 28;

impl Decimal {
    /// `coefficient / 10^scale`; `None` beyond 96 bits or 28 digits after the point.
    pub fn new(coefficient: i128, scale: u8) -> Option<Self> {
        let fits = coefficient.unsigned_abs() < 1 << 96 && scale <= MAX_SCALE;
        fits.then(|| Self::unchecked(coefficient, scale))
    }

    /// All digits as one integer.
    pub fn coefficient(&self) -> i128 {
        i128::from(self.high) << 64 | i128::from(self.low)
    }

    /// How many of the digits stand after the point.
    pub fn scale(&self) -> u8 {
        self.scale
    }

    /// The nearest double.
    pub fn to_f64(&self) -> f64 {
        // Parsing rounds once and correctly; dividing two rounded numbers would round thrice.
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// The decimal nearest to a double with `scale` digits after the point.
    pub fn from_f64(number: f64, scale: u8) -> Option<Self> {
        if !number.is_finite() || scale > MAX_SCALE {
            return None;
        }
        format!("{number:.*}", usize::from(scale)).parse().ok()
    }

    const fn unchecked(coefficient: i128, scale: u8) -> Self {
        Self { low: coefficient as u64, high: (coefficient >> 64) as i64, scale }
    }

    /// Whole part, and the digits after the point widened to 28: both fit and order as the number.
    fn parts(&self) -> (i128, i128) {
        let unit = 10_i128.pow(self.scale.into());
        let widen = 10_i128.pow((MAX_SCALE - self.scale).into());
        (self.coefficient() / unit, self.coefficient() % unit * widen)
    }
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Self {
        Self::unchecked(number.into(), 0)
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.scale == other.scale {
            return self.coefficient().cmp(&other.coefficient());
        }
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.high < 0 { "-" } else { "" };
        let scale = usize::from(self.scale);
        let magnitude = self.coefficient().unsigned_abs();
        // Most fit in 64 bits, and dividing 128 takes long.
        let digits = match u64::try_from(magnitude) {
            Ok(small) if scale == 0 => return write!(f, "{sign}{small}"),
            Ok(small) => format!("{small:0>width$}", width = scale + 1),
            Err(_) => format!("{magnitude:0>width$}", width = scale + 1),
        };
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let point = if scale == 0 { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

impl FromStr for Decimal {
    type Err = BadDecimal;

    fn from_str(text: &str) -> Result<Self, BadDecimal> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let digit = |c: char| c.is_ascii_digit();
        if whole.is_empty() || !whole.chars().chain(fraction.chars()).all(digit) || digits.ends_with('.') {
            return Err(BadDecimal);
        }
        let coefficient: i128 = format!("{whole}{fraction}").parse().map_err(|_| BadDecimal)?;
        let scale = u8::try_from(fraction.len()).map_err(|_| BadDecimal)?;
        Self::new(if negative { -coefficient } else { coefficient }, scale).ok_or(BadDecimal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn text_comes_back_with_its_zeros() {
        for text in ["0", "12.30", "-0.05", "79228162514264337593543950335", "0.0000000000000000000000000001"]
        {
            assert_eq!(d(text).to_string(), text);
        }
        for text in ["", "-", ".5", "1.", "1e3", "79228162514264337593543950336", "1 "] {
            assert_eq!(text.parse::<Decimal>(), Err(BadDecimal), "{text:?}");
        }
    }

    #[test]
    fn order_is_that_of_the_numbers() {
        assert_eq!(d("12.30"), d("12.3"));
        assert!(d("-0.5") < d("-0.49"));
        assert!(d("-0.5") < d("0"));
        assert!(d("79228162514264337593543950335") > d("0.0000000000000000000000000001"));
        assert!(d("1.5") > d("1.4999999999999999999999999999"));
    }

    #[test]
    fn doubles_round_to_the_scale() {
        assert_eq!(Decimal::from_f64(22.222222, 2).unwrap().to_string(), "22.22");
        assert_eq!(d("0.1").to_f64(), 0.1);
        assert!(Decimal::from_f64(f64::NAN, 2).is_none());
    }
}
