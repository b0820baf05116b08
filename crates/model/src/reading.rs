//! A reading: what one device saw at one time.

use crate::rejection::excerpt;
use crate::{Code, Rejection, Timestamp, TraceParent, WireValue, limits};

/// One message of a device: an entity, a time, several values.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The tenant's name as the record gave it.
    pub tenant: Box<str>,
    /// The tenant's own name for the entity.
    pub entity: Box<str>,
    /// The entity's type, if the device said it.
    pub entity_type: Option<Box<str>>,
    /// When the values were seen.
    pub observed_at: Timestamp,
    /// What sent it, for whoever follows it. Boxed: hardly any reading says so.
    pub trace: Option<Box<TraceParent>>,
    /// Attribute names with their values. Names are unique.
    pub values: Vec<(Box<str>, WireValue)>,
    /// Values of this reading that could not be taken, each with its JSON as it stood
    /// there, name included: `"x": null`.
    pub refused: Vec<(Rejection, String)>,
}

/// Checks a tenant, entity, type or attribute name.
pub fn check_name(field: &str, name: &str) -> Result<(), Rejection> {
    let bad = |message: String| Err(Rejection::new(Code::BAD_NAME, field, message));
    if name.is_empty() {
        return bad("is empty: give a name of 1 to 255 characters".into());
    }
    // Bytes bound characters from above, so most names need no count.
    if name.len() > limits::MAX_NAME_CHARS && name.chars().count() > limits::MAX_NAME_CHARS {
        return bad(format!("{} has over {} characters", excerpt(name), limits::MAX_NAME_CHARS));
    }
    if name.chars().any(char::is_control) {
        return bad(format!("{} has control characters", excerpt(name)));
    }
    Ok(())
}

/// Checks that `observed_at` is neither before the year 2000 nor over a day ahead of `now`.
pub fn check_observed_at(observed_at: Timestamp, now: Timestamp) -> Result<(), Rejection> {
    let micros = observed_at.as_micros();
    let early = micros < limits::EARLIEST_OBSERVED_MICROS;
    let late = micros > now.as_micros().saturating_add(limits::MAX_AHEAD_MICROS);
    if !early && !late {
        return Ok(());
    }
    let why = if early { "is before 2000-01-01" } else { "is over a day in the future" };
    Err(Rejection::new(Code::BAD_TIME, "observed_at", format!("{observed_at} {why}")))
}
