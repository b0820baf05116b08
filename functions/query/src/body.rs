//! JSON bodies of queries, each error naming the body or the field.

use crate::problem::Problem;
use serde::Deserialize;

/// Longest body of a query.
pub(crate) const MOST_BYTES: usize = 128 * 1024;

/// The object in a body; `example` is what one looks like.
pub(crate) fn object<'a, T: Deserialize<'a>>(body: &'a [u8], example: &str) -> Result<T, Problem> {
    if body.len() > MOST_BYTES {
        return Err(Problem::too_large("the body", MOST_BYTES));
    }
    // A list would be taken for the fields in order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        let detail = format!("cannot be read: send an object such as {example}");
        return Err(Problem::bad_body("body", detail));
    }
    serde_json::from_slice(body).map_err(|e| Problem::bad_body("body", format!("cannot be read: {e}")))
}
