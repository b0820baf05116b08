//! The shape of a reading: `{"tenant", "entity", "type"?, "observed_at", "traceparent"?, "values": {…}}`.

use crate::budget::{Budget, take};
use crate::json::{Broken, Cursor, Scalar};
use crate::text::{LoneSurrogate, Text};
use crate::{limits as own, value};
use eaves_model::reading::{check_name, check_observed_at};
use eaves_model::rejection::excerpt;
use eaves_model::{Code, Reading, Rejection, Timestamp, TraceParent, WireValue, limits};
use std::borrow::Cow;

const TIME_EXAMPLE: &str = "such as \"2026-03-01T12:00:00.25Z\"";

/// A reading while it is read. The first thing wrong with it is kept, and reading goes
/// on to its end, so that the readings behind it are found.
#[derive(Default)]
pub(crate) struct Draft {
    tenant: Option<Box<str>>,
    entity: Option<Box<str>>,
    entity_type: Option<Box<str>>,
    observed_at: Option<Timestamp>,
    trace: Option<Box<TraceParent>>,
    values: Vec<(Box<str>, WireValue)>,
    refused: Vec<(Rejection, String)>,
    /// Names in `refused`.
    refused_names: Vec<Box<str>>,
    seen: Seen,
    problem: Option<Rejection>,
}

/// Which fields have been met, whether good or not.
#[derive(Default)]
struct Seen {
    tenant: bool,
    entity: bool,
    entity_type: bool,
    observed_at: bool,
    trace: bool,
    values: bool,
}

impl Draft {
    /// Reads the value at the cursor. After an error the cursor's place means nothing.
    pub(crate) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        now: Timestamp,
        budget: &mut Budget,
    ) -> Result<(), Broken> {
        if cursor.peek() != b'{' {
            let skipped = cursor.skip()?;
            self.problem(if skipped.depth > own::MAX_DEPTH {
                crate::json::too_deep("")
            } else {
                let message = format!("{} is not a reading: send a JSON object", excerpt(skipped.raw));
                Rejection::new(Code::BAD_SHAPE, "", message)
            });
            return Ok(());
        }
        let mut more = cursor.enter()?;
        while more {
            let key = cursor.key()?;
            self.member(key, cursor, now, budget)?;
            more = cursor.more()?;
        }
        Ok(())
    }

    /// Whose it is, unless that is in doubt.
    pub(crate) fn tenant(&self) -> Option<String> {
        self.tenant.as_deref().map(str::to_owned)
    }

    /// The reading, or what is wrong with it and whose it is.
    pub(crate) fn finish(mut self) -> Result<Reading, (Rejection, Option<String>)> {
        if self.problem.is_none() {
            let missing = |field: &str, what: &str| {
                Some(Rejection::new(Code::MISSING_FIELD, field, format!("is missing: {what}")))
            };
            self.problem = if !self.seen.tenant {
                missing("tenant", "give the tenant's name")
            } else if !self.seen.entity {
                missing("entity", "give the device's name")
            } else if !self.seen.observed_at {
                missing("observed_at", &format!("give an RFC 3339 time, {TIME_EXAMPLE}"))
            } else if !self.seen.values {
                missing("values", "give an object of names with values")
            } else if self.values.is_empty() && self.refused.is_empty() {
                missing("values", "there is no value in it")
            } else {
                self.duplicate_value()
            };
        }
        match (self.problem, self.tenant, self.entity, self.observed_at) {
            (None, Some(tenant), Some(entity), Some(observed_at)) => Ok(Reading {
                tenant,
                entity,
                entity_type: self.entity_type,
                observed_at,
                trace: self.trace,
                values: self.values,
                refused: self.refused,
            }),
            (Some(problem), tenant, ..) => Err((problem, tenant.map(String::from))),
            // Not reached: a field that was met is set or has left a problem.
            (None, tenant, ..) => {
                Err((Rejection::new(Code::BAD_SHAPE, "", "is not a reading"), tenant.map(String::from)))
            }
        }
    }

    fn problem(&mut self, rejection: Rejection) {
        self.problem.get_or_insert(rejection);
    }

    fn member(
        &mut self,
        key: Text<'_>,
        cursor: &mut Cursor<'_>,
        now: Timestamp,
        budget: &mut Budget,
    ) -> Result<(), Broken> {
        let name = key.decode().unwrap_or(Cow::Borrowed(key.raw));
        let again = match &*name {
            "tenant" => std::mem::replace(&mut self.seen.tenant, true),
            "entity" => std::mem::replace(&mut self.seen.entity, true),
            "type" => std::mem::replace(&mut self.seen.entity_type, true),
            "observed_at" => std::mem::replace(&mut self.seen.observed_at, true),
            "values" => std::mem::replace(&mut self.seen.values, true),
            "traceparent" => std::mem::replace(&mut self.seen.trace, true),
            _ => {
                let message =
                    "is not a field of a reading: use tenant, entity, type, observed_at, traceparent, values";
                self.problem(Rejection::new(Code::UNKNOWN_FIELD, shown(&name), message));
                cursor.skip()?;
                return Ok(());
            }
        };
        if again {
            if name == "tenant" {
                self.tenant = None;
            }
            self.problem(duplicate(&name));
            cursor.skip()?;
            return Ok(());
        }
        match &*name {
            "tenant" => self.tenant = self.name("tenant", cursor)?,
            "entity" => self.entity = self.name("entity", cursor)?,
            "type" => self.entity_type = self.name("type", cursor)?,
            "observed_at" => self.observed_at = self.time(cursor, now)?,
            "traceparent" => self.trace = self.trace(cursor)?,
            _ => self.values(cursor, budget)?,
        }
        Ok(())
    }

    fn name(&mut self, field: &str, cursor: &mut Cursor<'_>) -> Result<Option<Box<str>>, Broken> {
        let found = if cursor.peek() == b'"' {
            match cursor.scalar()? {
                Scalar::Text(text) => checked(field, text),
                _ => return cursor.broken("a string"),
            }
        } else {
            let raw = cursor.skip()?.raw;
            let message = format!("{} is not a string", excerpt(raw));
            Err(Rejection::new(Code::BAD_SHAPE, field, message))
        };
        Ok(found.map_err(|why| self.problem(why)).ok())
    }

    fn time(&mut self, cursor: &mut Cursor<'_>, now: Timestamp) -> Result<Option<Timestamp>, Broken> {
        let bad = |message: String| Rejection::new(Code::BAD_TIME, "observed_at", message);
        let found = if cursor.peek() == b'"' {
            match cursor.scalar()? {
                Scalar::Text(text) => {
                    let text = text.decode().unwrap_or(Cow::Borrowed(text.raw));
                    let time = text.parse::<Timestamp>().map_err(|e| bad(e.to_string()));
                    time.and_then(|t| check_observed_at(t, now).map(|()| t))
                }
                _ => return cursor.broken("a string"),
            }
        } else {
            let raw = cursor.skip()?.raw;
            Err(bad(format!("{} is not a string: give an RFC 3339 time, {TIME_EXAMPLE}", excerpt(raw))))
        };
        Ok(found.map_err(|why| self.problem(why)).ok())
    }

    /// What is no traceparent says nothing, as its standard has it; only another type than a
    /// string is a mistake in the message.
    fn trace(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Box<TraceParent>>, Broken> {
        if cursor.peek() != b'"' {
            let message = format!("{} is not a string", excerpt(cursor.skip()?.raw));
            self.problem(Rejection::new(Code::BAD_SHAPE, "traceparent", message));
            return Ok(None);
        }
        match cursor.scalar()? {
            Scalar::Text(text) => Ok(text.decode().ok().and_then(|t| t.parse().ok()).map(Box::new)),
            _ => cursor.broken("a string"),
        }
    }

    fn values(&mut self, cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<(), Broken> {
        if cursor.peek() != b'{' {
            let raw = cursor.skip()?.raw;
            let message = format!("{} is not an object of names with values", excerpt(raw));
            self.problem(Rejection::new(Code::BAD_SHAPE, "values", message));
            return Ok(());
        }
        let mut more = cursor.enter()?;
        while more {
            let start = cursor.at;
            let key = cursor.key()?;
            let value = value::read(cursor)?;
            self.value(key, value, cursor.since(start), budget);
            more = cursor.more()?;
        }
        Ok(())
    }

    fn value(
        &mut self,
        key: Text<'_>,
        value: Result<WireValue, Rejection>,
        member: &str,
        budget: &mut Budget,
    ) {
        if self.values.len() + self.refused.len() >= limits::MAX_VALUES_PER_READING {
            let message = format!("has over {} values", limits::MAX_VALUES_PER_READING);
            return self.problem(Rejection::new(Code::TOO_LONG, "values", message));
        }
        if !take(&mut budget.values) {
            let message = format!("the record has over {} values in all", own::MAX_VALUES_PER_RECORD);
            return self.problem(Rejection::new(Code::TOO_LONG, "values", message));
        }
        match (checked("values", key), value) {
            (Ok(name), Ok(value)) => self.values.push((name, value)),
            (Ok(name), Err(why)) => {
                let why = Rejection { field: format!("values.{}", shown(&name)), ..why };
                self.refused.push((why, member.to_owned()));
                self.refused_names.push(name);
            }
            (Err(why), _) => {
                self.refused.push((why, member.to_owned()));
                self.refused_names.push(key.decode().unwrap_or(Cow::Borrowed(key.raw)).into());
            }
        }
    }

    fn duplicate_value(&self) -> Option<Rejection> {
        let count = self.values.len() + self.refused_names.len();
        let mut names = self.values.iter().map(|(name, _)| name).chain(&self.refused_names);
        let twice = if count <= 24 {
            // Comparing lengths first, this is a few nanoseconds a value.
            let mut earlier = Vec::with_capacity(count);
            names.find(|name| {
                let found = earlier.contains(name);
                earlier.push(*name);
                found
            })
        } else {
            let mut sorted: Vec<_> = names.collect();
            sorted.sort_unstable();
            sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
        };
        twice.map(|name| duplicate(&format!("values.{}", shown(name))))
    }
}

fn duplicate(field: &str) -> Rejection {
    Rejection::new(Code::DUPLICATE_KEY, field, "stands there twice: which one is meant is a guess")
}

fn checked(field: &str, text: Text<'_>) -> Result<Box<str>, Rejection> {
    let name = text.decode().map_err(|LoneSurrogate| {
        let message = format!("{} has half of a surrogate pair", excerpt(text.raw));
        Rejection::new(Code::BAD_NAME, field, message)
    })?;
    check_name(field, &name)?;
    Ok(name.into())
}

/// A key as part of a field's path: whole if it could be a name, else its beginning.
fn shown(key: &str) -> Cow<'_, str> {
    match check_name("", key) {
        Ok(()) => Cow::Borrowed(key),
        Err(_) => Cow::Owned(excerpt(key)),
    }
}
