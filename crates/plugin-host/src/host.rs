//! The host: one per process.

use crate::artefact::Artefact;
use crate::guest::{Guest, Machine};
use crate::plugin::Plugin;
use crate::ticker::Ticker;
use crate::worker::{self, WorkerLimits};
use crate::{CompileError, HostConfig, LoadError, StartError, engine, scan};
use std::path::Path;
use std::sync::Arc;
use wasmtime::component::Component;

/// Compiles, loads and runs plugins. A clone is the same host.
#[derive(Clone)]
pub struct Host {
    config: Arc<HostConfig>,
    machine: Arc<Machine>,
}

impl Host {
    /// Sets up the engine, its pool of instances and the clock.
    pub fn new(config: HostConfig) -> Result<Self, StartError> {
        let engine = engine::runner(&config).map_err(StartError::Engine)?;
        let ticker = Ticker::start(&engine, config.tick).map_err(StartError::Ticker)?;
        let (memory_bytes, table_entries) = (config.memory_bytes, config.table_entries);
        let machine = Arc::new(Machine { engine, ticker, memory_bytes, table_entries });
        Ok(Self { config: Arc::new(config), machine })
    }

    /// Scans, compiles in this process, signs, and tries whether the result is a plugin.
    ///
    /// For components of one's own, as in tests and on the author's machine. What others
    /// upload is compiled by [`Host::check_and_compile_in_worker`].
    pub fn check_and_compile(&self, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
        scan::scan(wasm, &self.config.scan)?;
        let code = worker::precompile(wasm).map_err(CompileError::Compile)?;
        self.seal(wasm, &code)
    }

    /// The same, compiling in a limited process: `exe args…` must call
    /// [`crate::compile_worker`].
    pub fn check_and_compile_in_worker(
        &self,
        exe: &Path,
        args: &[&str],
        wasm: &[u8],
        limits: &WorkerLimits,
    ) -> Result<Vec<u8>, CompileError> {
        scan::scan(wasm, &self.config.scan)?;
        let code = worker::compile_in_worker(exe, args, wasm, limits)?;
        self.seal(wasm, &code)
    }

    /// Signs the machine code of `wasm`, and tries whether it is a plugin.
    pub fn seal(&self, wasm: &[u8], code: &[u8]) -> Result<Vec<u8>, CompileError> {
        let artefact = Artefact::seal(&self.config.signing_key, &self.machine.engine, wasm, code);
        self.load(&artefact)?;
        Ok(artefact)
    }

    /// Loads an artefact and asks the plugin what it is.
    pub fn load(&self, artefact: &[u8]) -> Result<Plugin, LoadError> {
        let artefact = Artefact::open(&self.config.signing_key, artefact)?;
        let body = artefact.body_for(&self.machine.engine)?;
        #[expect(
            unsafe_code,
            reason = "the body is what this platform compiled and signed, for this very engine"
        )]
        // SAFETY: `Artefact::open` verified the signature over the body and over the identity
        // of the engine it was compiled for, and `body_for` compared that with this engine.
        let component =
            unsafe { Component::deserialize(&self.machine.engine, body) }.map_err(LoadError::Load)?;
        let guest = Guest::new(self.machine.clone(), &component)?;
        Plugin::start(guest, artefact.digest(), self.config.describe_deadline)
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("config", &self.config).finish_non_exhaustive()
    }
}
