//! Several attributes of an entity over time: their histories, buckets of time, latest values.

mod buckets;
mod export;
mod latest;
mod page;
mod raw;

pub(crate) use export::*;
pub(crate) use latest::*;
pub(crate) use raw::*;

use crate::params::Params;
use crate::problem::Problem;

/// Most attributes of one answer.
const MOST_ATTRIBUTES: usize = 50;

/// The attributes that a request names: at least one.
fn wanted(params: &Params) -> Result<Vec<String>, Problem> {
    let names = params.names("attributes", MOST_ATTRIBUTES)?.unwrap_or_default();
    if names.is_empty() {
        let detail =
            format!("name 1 to {MOST_ATTRIBUTES} attributes, such as attributes=temperature,pressure");
        return Err(Problem::bad_parameter("attributes", detail));
    }
    Ok(names)
}

/// Whether a text is a cursor.
pub(crate) fn takes_cursor(text: &str) -> bool {
    page::Page::from_cursor(text, crate::window::Windows::default()).is_ok()
}
