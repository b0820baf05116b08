//! Checks that many plugins need. Each says nothing if all is well, and else the rejection.
//!
//! ```
//! use eaves_plugin_sdk::{Bound, Reading, Verdict, checks};
//!
//! fn validate(reading: &Reading<'_>) -> Verdict {
//!     let (min, max) = (Bound::from(-40.0), Bound::from(125.0));
//!     checks::range(&reading.value(), Some(&min), Some(&max)).unwrap_or(Verdict::accept())
//! }
//! ```

use crate::{Bound, Reading, Value, Verdict};
use std::cmp::Ordering;
use std::fmt::{self, Write as _};

/// Rejects what is outside (`below_range`, `above_range`) and what is no number
/// (`not_a_number`). Bounds are inside. Exact for integers and decimals.
#[inline]
pub fn range(value: &Value<'_>, min: Option<&Bound>, max: Option<&Bound>) -> Option<Verdict> {
    // Most values are floats within their range: two comparisons.
    let inside = match value {
        Value::Float(f) => {
            min.is_none_or(|min| *f >= min.as_f64()) && max.is_none_or(|max| *f <= max.as_f64())
        }
        _ => min.is_none() && max.is_none(),
    };
    if inside { None } else { out_of_range(value, min, max) }
}

#[inline(never)]
fn out_of_range(value: &Value<'_>, min: Option<&Bound>, max: Option<&Bound>) -> Option<Verdict> {
    let Some(order) = Bound::comparing(value) else {
        let what = format!("{} is not a number, and there is a range", Shown(value));
        return Some(Verdict::reject("not_a_number", what));
    };
    if let Some(min) = min.filter(|min| order(min) == Ordering::Less) {
        return Some(Verdict::reject(
            "below_range",
            sentence(format_args!("{} is below {min}", Shown(value))),
        ));
    }
    let max = max.filter(|max| order(max) == Ordering::Greater)?;
    Some(Verdict::reject("above_range", sentence(format_args!("{} is above {max}", Shown(value)))))
}

/// A text of usual length, without growing on the way.
fn sentence(text: fmt::Arguments<'_>) -> String {
    let mut sentence = String::with_capacity(64);
    // Writing to a string does not fail.
    let _ = sentence.write_fmt(text);
    sentence
}

/// Rejects what is none of these texts (`not_allowed`). Values of other types are compared as
/// they are shown.
pub fn one_of<T: AsRef<str>>(value: &Value<'_>, allowed: &[T]) -> Option<Verdict> {
    let among = |text: &str| allowed.iter().any(|a| a.as_ref() == text);
    let found = match value {
        Value::String(s) => among(s),
        other => among(&shown(other)),
    };
    if found { None } else { Some(not_allowed(value, allowed)) }
}

#[inline(never)]
fn not_allowed<T: AsRef<str>>(value: &Value<'_>, allowed: &[T]) -> Verdict {
    let all = allowed.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    Verdict::reject("not_allowed", format!("{} is none of {all}", Shown(value)))
}

/// Rejects texts of another shape, and what is no text (`wrong_pattern`): `#` is a digit, `@` a
/// letter, `?` any character, `*` any number of them, `\` takes the next as it is. Takes
/// at most the product of both lengths, whatever the text.
pub fn pattern(value: &Value<'_>, shape: &str) -> Option<Verdict> {
    if value.as_str().is_some_and(|text| fits(text, shape)) {
        return None;
    }
    Some(Verdict::reject("wrong_pattern", format!("{} does not look like {shape}", shown(value))))
}

/// Whether a text has a shape; see [`pattern`].
pub fn fits(text: &str, shape: &str) -> bool {
    let (text, shape): (Vec<char>, Vec<char>) = (text.chars().collect(), shape.chars().collect());
    let (mut t, mut s) = (0, 0);
    // Where to go on after the last `*`: in the shape, and how much of the text it takes.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let (wanted, length) = match shape.get(s) {
            Some('*') => {
                star = Some((s + 1, t));
                s += 1;
                continue;
            }
            Some('\\') => (shape.get(s + 1).is_some_and(|c| *c == text[t]), 2),
            Some('#') => (text[t].is_ascii_digit(), 1),
            Some('@') => (text[t].is_ascii_alphabetic(), 1),
            Some('?') => (true, 1),
            Some(c) => (*c == text[t], 1),
            None => (false, 0),
        };
        if wanted {
            (t, s) = (t + 1, s + length);
        } else if let Some((after, taken)) = star {
            star = Some((after, taken + 1));
            (t, s) = (taken + 1, after);
        } else {
            return false;
        }
    }
    shape[s.min(shape.len())..].iter().all(|c| *c == '*')
}

/// Change per second since the previous value; nothing if there is none, if it is not earlier, or
/// if one of both is no number. `value` is the reading's, or what it is converted to.
pub fn rate_per_second(reading: &Reading<'_>, value: &Value<'_>) -> Option<f64> {
    let previous = reading.previous()?;
    let micros = reading.observed_at().0 - previous.observed_at.0;
    let change = value.as_f64()? - previous.value.as_f64()?;
    (micros > 0).then(|| change / (micros as f64 / 1e6))
}

/// The value as a person would write it, cut to 40 characters.
pub fn shown(value: &Value<'_>) -> String {
    Shown(value).to_string()
}

/// The same, as part of a longer text.
struct Shown<'a>(&'a Value<'a>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(s) => f.write_str(s.char_indices().nth(40).map_or(s, |(end, _)| &s[..end])),
            Value::Integer(i) => i.fmt(f),
            Value::Float(number) => number.fmt(f),
            Value::Decimal(d) => d.fmt(f),
            Value::Boolean(b) => b.fmt(f),
            Value::Timestamp(t) => t.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn shapes() {
        for (text, shape) in [
            ("P-0042", "P-####"),
            ("", ""),
            ("", "*"),
            ("ab12", "@@##"),
            ("a-b-c", "*-c"),
            ("a*", r"a\*"),
            ("ü", "?"),
        ] {
            assert!(fits(text, shape), "{text} {shape}");
        }
        for (text, shape) in
            [("P-042", "P-####"), ("ab", r"a\*"), ("x", ""), ("a", r"a\"), ("٣", "#"), ("a-b-d", "*-c")]
        {
            assert!(!fits(text, shape), "{text} {shape}");
        }
        // Would take for ever if it went back and forth.
        assert!(!fits(&"a".repeat(2_000), &"a*".repeat(500).replace("a*a*", "*a*b")));
    }
}
