//! Which plugin versions a tenant has, where each is in its life, and what is in force.
//!
//! Rows are in DynamoDB, components and compiled artefacts in S3. Every change is a
//! conditional write, so that of two operators who act at once one is told
//! ([`RegistryError::Conflict`]) instead of losing what the other did; and every change
//! leaves a row of the audit trail. This crate knows nothing of WebAssembly: it keeps bytes
//! and never looks into an artefact.
//!
//! Start with [`Registry`]; [`VersionState`] is the life of a version.

mod audit;
mod change;
mod error;
mod files;
mod in_force;
mod inbox;
mod job;
mod operator;
mod places;
mod policy;
mod presign;
mod recompile;
mod registry;
mod rows;
mod signature;
mod upload;
mod version;

pub use audit::AuditEntry;
pub use change::{Change, SettingsVersion, Wanted};
pub use error::{RegistryError, ServiceError};
pub use inbox::Invitation;
pub use job::Job;
pub use places::{PLATFORM_BACKTESTS, Places, TENANT_BACKTESTS};
pub use policy::{MAX_MEMORY_BYTES, TenantPolicy};
pub use recompile::Compiled;
pub use registry::Registry;
pub use signature::signed_text;
pub use upload::Upload;
pub use version::{Activation, OnFailure, Pointer, Version, VersionState};
