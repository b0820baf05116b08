//! The query function: telemetry in, answers with their freshness out, over HTTP.
//!
//! An axum router behind an authorizer of API Gateway. The tenant comes from the verified
//! claims in the request context and from nowhere else; SQL stays in `eaves-store`,
//! routing decisions in `eaves-freshness`. Start with [`router`], then `entity` for the
//! shape of an endpoint and `sources` for how a source is chosen, tried and left.

mod admin;
mod answer;
mod attributes;
mod body;
mod caller;
mod compress;
mod context;
mod docs;
mod entities;
mod entity;
mod entity_body;
mod entity_name;
mod fields;
mod figures;
mod filter;
mod flight;
mod format;
mod freshness;
mod guard;
mod held;
mod history;
mod hot;
mod memory;
mod names;
mod openapi;
mod params;
mod problem;
mod quarantine;
mod rate;
mod request;
mod router;
mod search;
mod series;
mod sources;
mod stream;
mod telemetry;
mod tenant;
mod token;
mod told;
mod usage;
mod warm;
mod window;

pub use context::{Context, StartError};
pub use openapi::document;
pub use router::router;
pub use stream::{Outgoing, Placed, Stream, StreamError};

#[doc(hidden)]
pub mod testing {
    //! For tests outside this crate.
    pub use crate::filter::Filter;

    /// What the smaller parsers make of a text: each takes it or refuses it.
    pub fn takes(text: &str) -> Vec<(&'static str, bool)> {
        vec![
            ("Accept", crate::format::Format::accepted(text).is_some()),
            ("duration", crate::window::span(text).is_some()),
            ("series cursor", crate::series::takes_cursor(text)),
            ("search cursor", crate::search::takes_cursor(text)),
            ("list cursor", crate::entities::takes_cursor(text)),
        ]
    }
}
