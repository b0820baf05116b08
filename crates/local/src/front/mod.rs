//! The HTTP API in front of the query function: API Gateway's HTTP API with a JWT
//! authorizer, or a Lambda authorizer, and payload format 2.0.

pub mod auth;
pub mod event;
mod issuer;
mod server;

pub use server::{Front, FrontConfig};
