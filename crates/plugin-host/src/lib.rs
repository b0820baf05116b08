//! Runs tenants' plugins: WebAssembly components for the worlds of `eaves:rules@1.0.0`.
//!
//! The only crate that knows wasmtime. It takes a batch as columns into a fresh
//! instance, under limits of memory, tables, stack and time, and checks everything
//! the plugin answers. It refuses to give a plugin any import, to compile what
//! [`scan`] has not passed, and to load an artefact that it has not signed itself.
//!
//! Start with [`Host`] and [`Plugin`]. A [`Host::isolated`] runs plugins in a process that holds
//! nothing and can open nothing ([`run_plugins`]). [`worker`] compiles in such a process, too;
//! [`mod@component`] makes a component from a core module.

mod answer;
mod answers;
mod arrival;
mod artefact;
mod bindings;
#[doc(hidden)]
pub mod checks;
mod columns;
pub mod component;
mod config;
mod description;
mod descriptor;
mod engine;
mod error;
mod guest;
mod host;
mod lockdown;
mod mapped;
mod memory_file;
mod message;
#[cfg(target_os = "linux")]
mod offer;
mod plugin;
mod previous;
mod promotion;
mod remote;
mod runner;
pub mod scan;
pub mod speed;
mod ticker;
mod wire;
pub mod worker;

pub use arrival::Arrival;
pub use artefact::Artefact;
pub use component::componentize;
pub use config::{BadKey, HostConfig, SigningKey};
pub use description::{Description, Interest};
pub use error::{BadAnswer, CompileError, LoadError, PluginError, StartError};
pub use host::Host;
pub use lockdown::Lock;
pub use plugin::{CallStats, Plugin};
pub use remote::RunnerCommand;
#[doc(hidden)]
pub use runner::locked;
pub use runner::run_plugins;
pub use worker::{compile_in_worker, compile_worker};

/// The most reasons, derived values and the like that a plugin may answer with.
pub mod limits {
    /// Longest reason code, in bytes.
    pub const MAX_CODE_BYTES: usize = 64;
    /// Longest reason text, in bytes.
    pub const MAX_REASON_BYTES: usize = 500;
    /// Most different derived attributes in one answer.
    pub const MAX_DERIVED_ATTRIBUTES: usize = 1_000;
    /// Most names in each list of what a plugin wants to see.
    pub const MAX_INTEREST_NAMES: usize = 10_000;
    /// Most settings that a loaded plugin's answers to `configure` are remembered for.
    pub const MAX_SETTINGS_REMEMBERED: usize = 64;
    /// Most derived values for each row of the batch.
    pub const MAX_DERIVED_PER_ROW: usize = 16;
    /// Most rows in one call: larger batches are taken apart between readings.
    pub const MAX_ROWS_PER_CALL: usize = 50_000;
    /// Most bytes of texts in one call, a last reading more or less.
    pub const MAX_TEXT_PER_CALL: usize = 8 << 20;
}
