//! JSON strings: checked when they are scanned, unescaped only when they are used.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

/// A JSON string whose syntax has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<'a> {
    /// What stands between the quotes.
    pub(crate) raw: &'a str,
    /// Whether there is a backslash in it.
    pub(crate) escaped: bool,
}

/// A `\ud8xx` escape without its other half: legal JSON, but no Unicode text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoneSurrogate;

impl<'a> Text<'a> {
    /// The text itself.
    pub(crate) fn decode(self) -> Result<Cow<'a, str>, LoneSurrogate> {
        if !self.escaped {
            return Ok(Cow::Borrowed(self.raw));
        }
        let mut out = String::with_capacity(self.raw.len());
        let mut chars = self.raw.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\\' {
                out.push(escape(&mut chars)?);
            } else {
                out.push(c);
            }
        }
        Ok(Cow::Owned(out))
    }
}

fn escape(chars: &mut Peekable<Chars<'_>>) -> Result<char, LoneSurrogate> {
    Ok(match chars.next() {
        Some('n') => '\n',
        Some('t') => '\t',
        Some('r') => '\r',
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('u') => {
            let high = hex(chars);
            if !(0xd800..0xdc00).contains(&high) {
                return char::from_u32(high).ok_or(LoneSurrogate);
            }
            if chars.next() != Some('\\') || chars.next() != Some('u') {
                return Err(LoneSurrogate);
            }
            let low = hex(chars);
            if !(0xdc00..0xe000).contains(&low) {
                return Err(LoneSurrogate);
            }
            char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or(LoneSurrogate)?
        }
        // The scanner lets nothing else pass than the quote, the slash and the backslash.
        other => other.ok_or(LoneSurrogate)?,
    })
}

fn hex(chars: &mut Peekable<Chars<'_>>) -> u32 {
    let digits = chars.by_ref().take(4).filter_map(|c| c.to_digit(16));
    digits.fold(0, |number, digit| number * 16 + digit)
}

/// Writes `text` as a JSON string.
pub(crate) fn write(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            _ => drop(write!(out, "\\u{byte:04x}")),
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}
