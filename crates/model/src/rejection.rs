//! Why a record or value was not taken.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A stable, machine-readable reason, in snake case.
///
/// The platform's own codes are the constants below; a plugin brings its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(pub Cow<'static, str>);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Code = Code(Cow::Borrowed($text));)*
            /// Every code of the platform itself.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];
        }
    };
}

codes! {
    /// Bytes that are neither JSON nor gzip of JSON.
    UNDECODABLE = "undecodable";
    /// A JSON object that has not the shape of a reading.
    BAD_SHAPE = "bad_shape";
    /// A gzip stream that unpacks to more than the limit, or is broken.
    BAD_GZIP = "bad_gzip";
    /// JSON nested deeper than a reading can be.
    TOO_DEEP = "too_deep";
    /// A required field is not there.
    MISSING_FIELD = "missing_field";
    /// A field that the format does not know.
    UNKNOWN_FIELD = "unknown_field";
    /// The same key twice in one object.
    DUPLICATE_KEY = "duplicate_key";
    /// A tenant, entity, type or attribute name that is empty, too long or has control characters.
    BAD_NAME = "bad_name";
    /// No such tenant.
    UNKNOWN_TENANT = "unknown_tenant";
    /// A redriven record holds a reading of another tenant than the one it was kept for.
    OTHER_TENANT = "other_tenant";
    /// The tenant is strict and the entity is not registered.
    UNKNOWN_ENTITY = "unknown_entity";
    /// The tenant is strict and the attribute is not registered.
    UNKNOWN_ATTRIBUTE = "unknown_attribute";
    /// `observed_at` is not a time, or outside what is taken.
    BAD_TIME = "bad_time";
    /// Observed longer before its arrival than the tenant or the attribute takes.
    TOO_LATE = "too_late";
    /// Dated further after its arrival than the tenant or the attribute takes.
    TOO_FAR_AHEAD = "too_far_ahead";
    /// The point has another value already, and its tenant lets the first one hold.
    POINT_CONFLICT = "point_conflict";
    /// The value has another type than the attribute.
    TYPE_MISMATCH = "type_mismatch";
    /// The value is not one the format can carry (null, list, object, NaN, infinite).
    BAD_VALUE = "bad_value";
    /// A number that its type cannot hold exactly.
    OUT_OF_RANGE = "out_of_range";
    /// A string, list or record longer than the limit.
    TOO_LONG = "too_long";
    /// The tenant's plugin trapped, ran out of time or memory, or answered nonsense.
    PLUGIN_FAILED = "plugin_failed";
    /// The tenant's plugin could not be loaded.
    PLUGIN_UNAVAILABLE = "plugin_unavailable";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a record or value was not taken: a code, the field, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field}: {message} ({code})")]
pub struct Rejection {
    /// What kind of fault.
    pub code: Code,
    /// Where: a path such as `values.temperature` or `observed_at`.
    pub field: String,
    /// What was found and what would be right.
    pub message: String,
}

impl Rejection {
    /// A rejection of `field`.
    pub fn new(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, field: field.into(), message: message.into() }
    }
}

/// Input text for a message: quoted, at most 40 characters, control characters escaped.
pub fn excerpt(text: &str) -> String {
    let mut cut: String = text.chars().take(40).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}
