//! Query parameters, each error naming the parameter.

use crate::entity_name::checked;
use crate::problem::Problem;
use crate::window;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use eaves_freshness::{Consistency, Demand, Purpose, UnknownConsistency, UnknownPurpose};
use eaves_model::Timestamp;
use eaves_model::rejection::excerpt;
use std::time::Duration;

/// Longest `max_staleness`.
const LONGEST_STALENESS: Duration = Duration::from_secs(86_400);

/// The query parameters of a request.
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Ok(Query(pairs)) = query else {
            return Err(Problem::bad_parameter("?", "the query string cannot be read"));
        };
        Ok(Self(pairs))
    }
}

impl Params {
    /// Refuses parameters that are not in `known`, and any given twice. What has an age that
    /// can be bounded has a purpose, too.
    pub(crate) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        let mut known = known.to_vec();
        // Where an answer may be old it may also have to be new enough: see `token`.
        if known.contains(&"max_staleness") {
            known.extend(["purpose", "token", "wait"]);
        }
        for (i, (name, _)) in self.0.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let shown: String = name.chars().take(64).collect();
                let detail = match &known[..] {
                    [] => "no such parameter; there are none here".to_owned(),
                    known => format!("no such parameter; known are {}", known.join(", ")),
                };
                return Err(Problem::bad_parameter(&shown, detail));
            }
            if self.0[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::bad_parameter(name, "is given twice"));
            }
        }
        Ok(self)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        // A `+` of an offset that was not escaped arrives as a blank.
        let parsed = text.parse().or_else(|_| text.replace(' ', "+").parse());
        parsed
            .map(Some)
            .map_err(|e: eaves_model::time::BadTimestamp| Problem::bad_parameter(name, e.to_string()))
    }

    /// Newest first or oldest first, from `order`.
    pub(crate) fn descending(&self, default: bool) -> Result<bool, Problem> {
        match self.get("order") {
            None => Ok(default),
            Some("desc") => Ok(true),
            Some("asc") => Ok(false),
            Some(other) => {
                let detail = format!("{} is neither asc nor desc", excerpt(other));
                Err(Problem::bad_parameter("order", detail))
            }
        }
    }

    /// A list of names separated by commas, each a name and each once.
    pub(crate) fn names(&self, field: &str, most: usize) -> Result<Option<Vec<String>>, Problem> {
        let Some(text) = self.get(field) else { return Ok(None) };
        let mut names: Vec<String> = Vec::new();
        for name in text.split(',').filter(|_| !text.is_empty()) {
            let name = checked(field, name)?;
            if names.iter().any(|earlier| earlier == name) {
                return Err(Problem::bad_parameter(field, format!("names {} twice", excerpt(name))));
            }
            names.push(name.to_owned());
        }
        if names.len() > most {
            let detail = format!("names {} attributes, at most {most} are answered at once", names.len());
            return Err(Problem::too_many(field, detail));
        }
        Ok(Some(names))
    }

    /// A duration such as `90s`, `5m`, `1h` or `7d`, in microseconds.
    pub(crate) fn span(&self, field: &str) -> Result<Option<i64>, Problem> {
        self.get(field)
            .map(|text| window::span(text).ok_or_else(|| window::bad_span(field, text)))
            .transpose()
    }

    /// A yes or no; no if it is not given.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => {
                let detail = format!("{} is neither true nor false", excerpt(other));
                Err(Problem::bad_parameter(name, detail))
            }
        }
    }

    pub(crate) fn limit(&self, default: u32, most: u32) -> Result<u32, Problem> {
        self.number("limit", default, most)
    }

    /// A number from 1 to `most`.
    pub(crate) fn number(&self, name: &str, default: u32, most: u32) -> Result<u32, Problem> {
        let Some(text) = self.get(name) else { return Ok(default) };
        check_limit(text.parse().ok(), most).ok_or_else(|| {
            Problem::bad_parameter(name, format!("{} is not a number from 1 to {most}", excerpt(text)))
        })
    }

    /// Whether what costs too much may be read from the sources of analytics.
    pub(crate) fn may_move(&self) -> Result<bool, Problem> {
        match self.get("on_expensive") {
            None | Some("refuse") => Ok(false),
            Some("analytics") => Ok(true),
            Some(other) => {
                let detail = format!("{} is neither refuse nor analytics", excerpt(other));
                Err(Problem::bad_parameter("on_expensive", detail))
            }
        }
    }

    /// What is asked of the answer's age.
    pub(crate) fn demand(&self) -> Result<Demand, Problem> {
        let consistency = self.get("consistency").map(str::parse::<Consistency>).transpose();
        let consistency = consistency
            .map_err(|e: UnknownConsistency| Problem::bad_parameter("consistency", e.to_string()))?;
        let purpose = self.get("purpose").map(str::parse::<Purpose>).transpose();
        let purpose =
            purpose.map_err(|e: UnknownPurpose| Problem::bad_parameter("purpose", e.to_string()))?;
        let max_staleness = match self.get("max_staleness") {
            None => None,
            Some(text) => Some(staleness(text).ok_or_else(|| {
                let detail = format!(
                    "{} is not a duration such as 2s, 500ms or 1.5 (seconds), at most a day",
                    excerpt(text)
                );
                Problem::bad_parameter("max_staleness", detail)
            })?),
        };
        Demand::new(consistency, max_staleness, purpose)
            .map_err(|e| Problem::bad_parameter("purpose", e.to_string()))
    }
}

/// A limit from 1 to `most`.
pub(crate) fn check_limit(limit: Option<u32>, most: u32) -> Option<u32> {
    limit.filter(|n| (1..=most).contains(n))
}

/// A duration such as `2s` or `500ms`.
pub(crate) fn staleness(text: &str) -> Option<Duration> {
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let seconds = digits.parse::<f64>().ok()? * unit;
    Duration::try_from_secs_f64(seconds).ok().filter(|d| *d <= LONGEST_STALENESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        assert_eq!(staleness("2s"), Some(Duration::from_secs(2)));
        assert_eq!(staleness("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(staleness("1.5"), Some(Duration::from_millis(1500)));
        for bad in ["", "s", "-1s", "1e9", "inf", "NaN", "2h", "86401", "1.2.3"] {
            assert_eq!(staleness(bad), None, "{bad}");
        }
    }
}
