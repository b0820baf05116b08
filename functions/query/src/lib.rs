//! The query function: telemetry in, answers with their freshness out, over HTTP.
//!
//! An axum router behind API Gateway's JWT authorizer. The tenant comes from the verified
//! claims in the request context and from nowhere else; SQL stays in `eaves-store`,
//! routing decisions in `eaves-freshness`. Start with [`router`], then `entity` for the
//! shape of an endpoint and `sources` for how a source is chosen, tried and left.

mod answer;
mod attributes;
mod caller;
mod context;
mod docs;
mod entity;
mod entity_name;
mod filter;
mod freshness;
mod history;
mod hot;
mod memory;
mod openapi;
mod params;
mod problem;
mod quarantine;
mod router;
mod search;
mod sources;
mod stream;
mod telemetry;
mod usage;

pub use context::{Context, StartError};
pub use openapi::document;
pub use router::router;
pub use stream::{Outgoing, Stream, StreamError};

#[doc(hidden)]
pub mod testing {
    //! For tests outside this crate.
    pub use crate::filter::Filter;
}
