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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        _a: Option<u8>,
    }

    #[test]
    fn an_error_names_its_field() {
        assert!(json::<Body>(&Bytes::from_static(b" ")).is_ok());
        let problem = json::<Body>(&Bytes::from_static(br#"{"b": 1}"#)).unwrap_err();
        assert_eq!(serde_json::to_value(&problem).unwrap()["field"], "b");
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes: Vec<u8>, text: String) {
            let _ = json::<Body>(&Bytes::from(bytes));
            let _ = json::<serde_json::Map<String, serde_json::Value>>(&Bytes::from(text));
        }
    }
}
