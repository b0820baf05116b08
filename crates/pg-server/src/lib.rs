//! Private PostgreSQL servers: a primary and streaming replicas on loopback, for the
//! local platform and for tests.
//!
//! It runs servers and nothing more: it knows no schema and sends no SQL. It never
//! touches a server it did not start. As root it runs the server as the operating
//! system's user `postgres`, since PostgreSQL refuses root. On Linux a server ends with
//! the process that started it, however that one dies. Start with [`PgServer::start`].

mod binaries;
mod error;
mod process;
mod server;
mod user;

pub use error::PgError;
pub use server::{PgOptions, PgServer};
