//! The form of an answer: JSON, newline-delimited JSON or CSV, as `Accept` says.

use crate::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use eaves_model::rejection::excerpt;
use serde_json::value::RawValue;

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// One object, with metadata.
    #[default]
    Json,
    /// A line for each point or entity.
    Ndjson,
    /// A row for each point or entity, the first one names the columns.
    Csv,
}

impl Format {
    const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// The one that `Accept` likes most; `None` if it likes none.
    pub(crate) fn accepted(accept: &str) -> Option<Self> {
        let liked = Self::ALL.map(|format| (format, quality(accept, format)));
        let most = liked.iter().map(|(_, q)| *q).max().unwrap_or(0);
        liked.into_iter().find(|(_, q)| *q == most && most > 0).map(|(format, _)| format)
    }
}

/// How much a format is liked, in thousandths: what names it closest decides.
fn quality(accept: &str, format: Format) -> u32 {
    let own = format.media_type().split(';').next().unwrap_or_default();
    let family = own.split('/').next().unwrap_or_default();
    let mut best = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
        let name = parts.next().unwrap_or_default();
        let closeness = match name.as_str() {
            _ if name == own => 3,
            "application/ndjson" | "application/jsonl" if format == Format::Ndjson => 3,
            _ if name.strip_suffix("/*") == Some(family) => 2,
            "*/*" | "*" => 1,
            _ => continue,
        };
        let q = parts.find_map(|p| p.strip_prefix("q=").map(str::to_owned));
        let q = q.map_or(1.0, |q| q.parse::<f64>().unwrap_or(0.0)).clamp(0.0, 1.0);
        if closeness > best.0 {
            best = (closeness, (q * 1000.0) as u32);
        }
    }
    best.1
}

impl<S: Send + Sync> FromRequestParts<S> for Format {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut accept = String::new();
        for value in parts.headers.get_all(ACCEPT) {
            accept.push_str(if accept.is_empty() { "" } else { "," });
            accept.push_str(value.to_str().unwrap_or_default());
        }
        if accept.trim().is_empty() {
            return Ok(Self::Json);
        }
        Self::accepted(&accept).ok_or_else(|| {
            let known = "application/json, application/x-ndjson or text/csv";
            Problem::not_acceptable(format!("{} takes none of {known}", excerpt(&accept)))
        })
    }
}

/// An answer that is also a list of things: points or entities.
pub(crate) trait Listed {
    /// Where the next page begins.
    fn next_cursor(&self) -> Option<&str>;

    /// Each thing as one JSON object.
    fn lines(&self) -> serde_json::Result<Vec<String>>;

    /// Each thing as a row, after a row with the names of the columns.
    fn rows(&self) -> Vec<Vec<String>>;
}

/// The lines of newline-delimited JSON.
pub(crate) fn ndjson(listed: &impl Listed) -> serde_json::Result<String> {
    let mut text = String::new();
    for line in listed.lines()? {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// A CSV document (RFC 4180); `None` if it cannot be written.
pub(crate) fn csv(listed: &impl Listed) -> Option<String> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in listed.rows() {
        writer.write_record(&row).ok()?;
    }
    String::from_utf8(writer.into_inner().ok()?).ok()
}

/// A JSON value as the text in a cell: a string without its quotes, all else as it stands.
pub(crate) fn cell(value: &RawValue) -> String {
    let text = value.get();
    if text.starts_with('"') { serde_json::from_str(text).unwrap_or_default() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_and_most_liked_form_is_taken() {
        for (accept, expect) in [
            ("*/*", Some(Format::Json)),
            ("application/json", Some(Format::Json)),
            ("application/x-ndjson", Some(Format::Ndjson)),
            ("application/ndjson", Some(Format::Ndjson)),
            ("text/csv", Some(Format::Csv)),
            ("TEXT/CSV; q=1.0", Some(Format::Csv)),
            ("text/*", Some(Format::Csv)),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Format::Json)),
            ("text/csv;q=0.5, application/x-ndjson", Some(Format::Ndjson)),
            ("*/*, application/json;q=0", Some(Format::Ndjson)),
            ("text/csv, */*;q=0.1", Some(Format::Csv)),
            ("image/png", None),
            ("application/json;q=0", None),
            ("application/json;q=x", None),
        ] {
            assert_eq!(Format::accepted(accept), expect, "{accept}");
        }
    }
}
