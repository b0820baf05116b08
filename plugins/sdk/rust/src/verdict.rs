//! What a plugin says of one value.

use crate::Value;
use std::borrow::Cow;

/// What becomes of a value: accepted, rejected or replaced, and what is derived from it.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Verdict {
    /// Nothing for "accepted as it is", by far the most frequent verdict: it costs nothing.
    pub(crate) more: Option<Box<More>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct More {
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
        Self { more: None }
    }

    /// The value is not taken. `code` is for machines (`above_range`: snake case, up to 64
    /// characters), `text` for people (one line; it is cut at 500 bytes).
    pub fn reject(code: impl Into<Cow<'static, str>>, text: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Outcome::Reject { code: code.into(), text: text.into() })
    }

    /// Another value is taken in its place. It must be of the attribute's type.
    pub fn replace<'a>(value: impl Into<Value<'a>>) -> Self {
        Self::of(Outcome::Replace(value.into().into_owned()))
    }

    /// Adds a value of another attribute, for the same entity and time.
    pub fn and_derive<'a>(
        mut self,
        attribute: impl Into<Cow<'static, str>>,
        value: impl Into<Value<'a>>,
    ) -> Self {
        let more =
            self.more.get_or_insert_with(|| Box::new(More { outcome: Outcome::Accept, derived: Vec::new() }));
        more.derived.push((attribute.into(), value.into().into_owned()));
        self
    }

    fn of(outcome: Outcome) -> Self {
        Self { more: Some(Box::new(More { outcome, derived: Vec::new() })) }
    }
}
