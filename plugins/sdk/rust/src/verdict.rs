//! What a plugin says of one value.

use crate::Value;
use std::borrow::Cow;

/// What becomes of a value: accepted, rejected or replaced, and what is derived from it.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) derived: Vec<(Cow<'static, str>, Value<'static>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Accept,
    Reject { code: Cow<'static, str>, text: Cow<'static, str> },
    Replace(Value<'static>),
}

impl Verdict {
    /// The value is taken as it is.
    pub const fn accept() -> Self {
        Self { outcome: Outcome::Accept, derived: Vec::new() }
    }

    /// The value is not taken. `code` is for machines (`above_range`: snake case, up to 64
    /// characters), `text` for people (one line; it is cut at 500 bytes).
    pub fn reject(code: impl Into<Cow<'static, str>>, text: impl Into<Cow<'static, str>>) -> Self {
        let outcome = Outcome::Reject { code: code.into(), text: text.into() };
        Self { outcome, derived: Vec::new() }
    }

    /// Another value is taken in its place. It must be of the attribute's type.
    pub fn replace<'a>(value: impl Into<Value<'a>>) -> Self {
        Self { outcome: Outcome::Replace(value.into().into_owned()), derived: Vec::new() }
    }

    /// Adds a value of another attribute, for the same entity and time.
    pub fn and_derive<'a>(
        mut self,
        attribute: impl Into<Cow<'static, str>>,
        value: impl Into<Value<'a>>,
    ) -> Self {
        self.derived.push((attribute.into(), value.into().into_owned()));
        self
    }
}
