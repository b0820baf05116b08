//! Which plugin versions a tenant has, and which one is active with which settings.
//!
//! Rows are in DynamoDB, components and compiled artefacts in S3. Every change is a
//! conditional write, so that of two operators who act at once one is told
//! ([`RegistryError::Conflict`]) instead of losing what the other did. This crate knows
//! nothing of WebAssembly: it keeps bytes and never looks into an artefact.
//!
//! Start with [`Registry`].

mod error;
mod files;
mod registry;
mod rows;

pub use error::{RegistryError, ServiceError};
pub use registry::Registry;
pub use rows::{Activation, Version};
