//! A cursor over JSON text: RFC 8259, no recursion, no copies.
//!
//! One thing is taken that JSON does not have: `NaN` and `Infinity` where a value may
//! stand. Producers write them (Python's `json` does by default), and naming the value
//! that holds one helps more than refusing the record around it.

use crate::limits::MAX_DEPTH;
use crate::text::Text;
use eaves_model::rejection::excerpt;
use eaves_model::{Code, Rejection};

/// Where JSON breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    at: usize,
    expected: &'static str,
    deep: bool,
}

impl Broken {
    /// As the reason to refuse `field`, which is `text` or begins at its byte `start`.
    pub(crate) fn refuse(&self, field: &str, text: &str, start: usize) -> Rejection {
        if self.deep {
            return too_deep(field);
        }
        let found = match text.get(self.at..) {
            None | Some("") => "the end".into(),
            Some(rest) => excerpt(rest.split(['\n', '\r']).next().unwrap_or(rest)),
        };
        let at = self.at.saturating_sub(start);
        let message = format!("is not JSON: expected {} at byte {at}, found {found}", self.expected);
        Rejection::new(Code::UNDECODABLE, field, message)
    }
}

pub(crate) fn too_deep(field: &str) -> Rejection {
    Rejection::new(Code::TOO_DEEP, field, format!("is nested over {MAX_DEPTH} levels deep"))
}

/// A value that is neither list nor object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Boolean(bool),
    Text(Text<'a>),
    Number(Number<'a>),
    /// `NaN`, `Infinity` and the like, as they stand.
    NotFinite(&'a str),
}

/// A number's digits, and its value if it is an integer of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number<'a> {
    pub(crate) digits: &'a str,
    pub(crate) integer: Option<i64>,
}

/// A value that was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skipped<'a> {
    pub(crate) raw: &'a str,
    /// Levels of lists and objects in it.
    pub(crate) depth: usize,
}

/// A position in JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    pub(crate) at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// All of the text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The text from `start` to here.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The byte here, or 0 at the end: no JSON token begins with it.
    #[inline]
    pub(crate) fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    #[inline]
    pub(crate) fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Whether a list stands here that has nothing in it.
    pub(crate) fn is_empty_list(&self) -> bool {
        let mut ahead = self.clone();
        ahead.at += usize::from(ahead.peek() == b'[');
        ahead.space();
        ahead.peek() == b']'
    }

    /// Steps over the line's end, behind which nothing else may stand.
    pub(crate) fn end_line(&mut self) -> Result<(), Broken> {
        while matches!(self.peek(), b' ' | b'\r' | b'\t') {
            self.at += 1;
        }
        match self.peek() {
            b'\n' => self.at += 1,
            _ if self.at_end() => {}
            _ => return self.broken("the end of the line"),
        }
        Ok(())
    }

    pub(crate) fn broken<T>(&self, expected: &'static str) -> Result<T, Broken> {
        Err(Broken { at: self.at, expected, deep: false })
    }

    /// Steps over `byte`, which is ASCII.
    #[inline]
    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Broken> {
        if self.peek() != byte {
            return self.broken(expected);
        }
        self.at += 1;
        Ok(())
    }

    /// Enters an object whose `{` stands here; false if it is empty.
    pub(crate) fn enter(&mut self) -> Result<bool, Broken> {
        self.expect(b'{', "an object")?;
        self.space();
        let more = self.peek() != b'}';
        self.at += usize::from(!more);
        Ok(more)
    }

    /// After a member: true before another, false behind the object's end.
    pub(crate) fn more(&mut self) -> Result<bool, Broken> {
        self.space();
        match self.peek() {
            b',' => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            b'}' => {
                self.at += 1;
                Ok(false)
            }
            _ => self.broken("',' or '}'"),
        }
    }

    /// A key with its colon and the space around it.
    #[inline]
    pub(crate) fn key(&mut self) -> Result<Text<'a>, Broken> {
        if self.peek() != b'"' {
            return self.broken("a key in double quotes");
        }
        let key = self.string()?;
        self.space();
        self.expect(b':', "':'")?;
        self.space();
        Ok(key)
    }

    /// A value that is neither list nor object.
    #[inline]
    pub(crate) fn scalar(&mut self) -> Result<Scalar<'a>, Broken> {
        match self.peek() {
            b'"' => Ok(Scalar::Text(self.string()?)),
            b'0'..=b'9' => Ok(Scalar::Number(self.number()?)),
            b'-' if self.text.as_bytes().get(self.at + 1).is_some_and(u8::is_ascii_digit) => {
                Ok(Scalar::Number(self.number()?))
            }
            _ => self.word(),
        }
    }

    /// Passes over a value of any kind, however deep, and checks its syntax.
    pub(crate) fn skip(&mut self) -> Result<Skipped<'a>, Broken> {
        let start = self.at;
        let mut depth = 0;
        match self.pass(&mut depth) {
            Ok(()) => Ok(Skipped { raw: self.since(start), depth }),
            Err(broken) => Err(Broken { deep: depth > MAX_DEPTH, ..broken }),
        }
    }

    fn pass(&mut self, deepest: &mut usize) -> Result<(), Broken> {
        // The closing brackets that are due.
        let mut open: Vec<u8> = Vec::new();
        loop {
            let close = match self.peek() {
                b'{' => b'}',
                b'[' => b']',
                _ => 0,
            };
            if close == 0 {
                self.scalar()?;
            } else {
                self.at += 1;
                open.push(close);
                *deepest = open.len().max(*deepest);
                self.space();
                if self.peek() != close {
                    if close == b'}' {
                        self.key()?;
                    }
                    continue;
                }
            }
            loop {
                let Some(close) = open.last().copied() else { return Ok(()) };
                self.space();
                match self.peek() {
                    b',' => break,
                    byte if byte == close => drop(open.pop()),
                    _ if close == b'}' => return self.broken("',' or '}'"),
                    _ => return self.broken("',' or ']'"),
                }
                self.at += 1;
            }
            self.at += 1;
            self.space();
            if open.last() == Some(&b'}') {
                self.key()?;
            }
        }
    }

    fn string(&mut self) -> Result<Text<'a>, Broken> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        self.at = start;
        let mut escaped = false;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..0x20) => return self.broken("no control character in a string"),
                Some(_) => self.at += 1,
                None => return self.broken("a closing double quote"),
            }
        }
        let raw = self.since(start);
        self.at += 1;
        Ok(Text { raw, escaped })
    }

    fn escape(&mut self) -> Result<(), Broken> {
        let bytes = self.text.as_bytes();
        match bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match bytes.get(self.at + 2..self.at + 6) {
                Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => self.at += 6,
                _ => return self.broken("four hexadecimal digits after \\u"),
            },
            _ => return self.broken("a JSON escape"),
        }
        Ok(())
    }

    /// Digits from here on, at least one.
    #[inline]
    fn digits(&mut self) -> Result<(), Broken> {
        if !self.peek().is_ascii_digit() {
            return self.broken("a digit");
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    #[inline]
    fn number(&mut self) -> Result<Number<'a>, Broken> {
        let start = self.at;
        self.at += usize::from(self.peek() == b'-');
        if self.peek() == b'0' {
            self.at += 1;
            if self.peek().is_ascii_digit() {
                return self.broken("no further digit after a leading 0");
            }
        } else {
            self.digits()?;
        }
        let whole = self.at;
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), b'+' | b'-'));
            self.digits()?;
        }
        let digits = self.since(start);
        let integer = if whole == self.at { digits.parse().ok() } else { None };
        Ok(Number { digits, integer })
    }

    fn word(&mut self) -> Result<Scalar<'a>, Broken> {
        let rest = self.rest();
        let length = rest.bytes().take_while(|b| b.is_ascii_alphabetic() || matches!(b, b'+' | b'-')).count();
        let word = &rest[..length];
        let bare = word.trim_start_matches(['+', '-']);
        let scalar = match word {
            "true" => Scalar::Boolean(true),
            "false" => Scalar::Boolean(false),
            "null" => Scalar::Null,
            _ if ["nan", "inf", "infinity"].iter().any(|w| bare.eq_ignore_ascii_case(w)) => {
                Scalar::NotFinite(word)
            }
            _ => return self.broken("a value"),
        };
        self.at += length;
        Ok(scalar)
    }
}
