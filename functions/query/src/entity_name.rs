//! Names of entities and attributes in paths.

use crate::problem::Problem;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use eaves_model::reading::check_name;
use serde::de::DeserializeOwned;

/// The decoded parts of a path.
pub(crate) struct Names<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Names<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
        match path {
            Ok(Path(names)) => Ok(Self(names)),
            Err(_) => Err(Problem::bad_parameter("path", "a name is not UTF-8 after percent-decoding")),
        }
    }
}

/// Refuses what can be the name of nothing.
pub(crate) fn checked<'a>(field: &str, name: &'a str) -> Result<&'a str, Problem> {
    match check_name(field, name) {
        Ok(()) => Ok(name),
        Err(rejection) => Err(Problem::bad_parameter(field, rejection.message)),
    }
}
