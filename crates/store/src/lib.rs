//! The only crate that knows SQL: migrations, the write path, the flush, reads, and what
//! an operator asks.
//!
//! It holds no rule of the domain: which value is taken, or which source answers, is
//! decided elsewhere. Its statements are unnamed and keep no session state, so that
//! PgBouncer in transaction mode or RDS Proxy may stand in between; only [`migrate`]
//! needs a direct connection. Each part logs in as its own role and can do no more than
//! that. Start with [`ingest::IngestStore::commit`] and `schemas/postgresql`.

pub mod admin;
pub mod advice;
mod db;
mod error;
pub mod flush;
pub mod hot;
mod iam;
pub mod ingest;
mod micros;
mod migrate;
pub mod olap;
pub mod quarantine;
pub mod read;
pub mod superadmin;

pub use db::{Db, connect};
pub use error::StoreError;
pub use migrate::{migrate, migrate_to};
