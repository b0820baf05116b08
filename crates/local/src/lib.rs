//! Draft.
mod backoff;
pub mod esm;
mod files;
pub mod front;
pub mod lambda;
pub mod process;
mod secrets;
