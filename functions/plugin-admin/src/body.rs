//! JSON bodies, each error naming what is wrong.

use crate::problem::Problem;
use axum::body::Bytes;
use serde::de::DeserializeOwned;

/// The body as `T`; an empty one is `{}`.
pub(crate) fn json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    let bytes: &[u8] = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    serde_json::from_slice(bytes).map_err(|e| {
        let text = e.to_string();
        // serde names fields in backquotes.
        let field = text.split('`').nth(1).unwrap_or("body").to_owned();
        Problem::bad_body(&field, text)
    })
}

/// Words of a caller for the audit trail.
pub(crate) fn why(text: Option<String>) -> Result<String, Problem> {
    let text = text.unwrap_or_default();
    if text.chars().count() > 1000 {
        return Err(Problem::bad_body("why", "has over 1,000 characters"));
    }
    Ok(text)
}
