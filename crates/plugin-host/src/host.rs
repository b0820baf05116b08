//! The host: one per process.

use crate::arrival::Arrival;
use crate::artefact::{self, Artefact};
use crate::engine::Pool;
use crate::guest::{Guest, Machine};
use crate::lockdown::Lock;
use crate::plugin::{Backend, Plugin};
use crate::remote::{Runner, RunnerCommand};
use crate::ticker::Ticker;
use crate::worker::{self, WorkerLimits};
use crate::{CompileError, HostConfig, LoadError, PluginError, StartError, engine, mapped, scan};
use std::path::Path;
use std::sync::Arc;
use wasmtime::Engine;

/// How often a plugin may try to describe itself in time before it is refused for good.
const DESCRIBE_TRIES: u32 = 3;

/// Compiles, loads and runs plugins. A clone is the same host.
#[derive(Clone)]
pub struct Host {
    config: Arc<HostConfig>,
    /// What artefacts are compared with.
    engine: Engine,
    place: Place,
}

/// Where plugins run.
#[derive(Clone)]
enum Place {
    Here(Arc<Machine>),
    Runner(Arc<Runner>),
}

impl Host {
    /// A host that runs plugins in this process: for authors, tests and measurements.
    ///
    /// A process that holds credentials uses [`Host::isolated`].
    pub fn new(config: HostConfig) -> Result<Self, StartError> {
        let machine = Arc::new(Machine::start(&config.pool(), config.tick)?);
        Ok(Self { config: Arc::new(config), engine: machine.engine.clone(), place: Place::Here(machine) })
    }

    /// A host that runs plugins in a process of their own, which holds nothing and can open
    /// nothing (`docs/security.md`). `command` must call [`crate::run_plugins`]. The process is
    /// started when the first plugin is loaded, and again when it has ended.
    pub fn isolated(config: HostConfig, command: RunnerCommand) -> Result<Self, StartError> {
        let engine = engine::compiler().map_err(StartError::Engine)?;
        let runner = Runner::new(command, config.pool(), config.tick);
        Ok(Self { config: Arc::new(config), engine, place: Place::Runner(Arc::new(runner)) })
    }

    /// How the process that runs plugins is locked; none if plugins run in this one, or if
    /// none was loaded yet.
    pub fn lock(&self) -> Option<Lock> {
        match &self.place {
            Place::Here(_) => None,
            Place::Runner(runner) => runner.lock(),
        }
    }

    /// What tells this engine from others: its version, configuration and target, as 32 hex
    /// digits.
    pub fn engine_id(&self) -> String {
        hex::encode(&engine::identity(&self.engine)[..16])
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
        let artefact = artefact::seal(&self.config.signing_key, &self.engine, wasm, code);
        let arrived = self.arrived(&artefact)?;
        let mut tries = 1;
        loop {
            match self.load_arrived(&arrived) {
                Ok(_) => return Ok(artefact),
                // The deadline is by the clock: on a busy machine a good plugin may be late, once.
                Err(LoadError::Describe(PluginError::Deadline { .. })) if tries < DESCRIBE_TRIES => {
                    tries += 1
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Takes an artefact that comes bit by bit, and verifies it meanwhile.
    pub fn arrival(&self) -> Arrival {
        Arrival::new(self.config.signing_key.clone(), engine::identity(&self.engine))
    }

    /// Loads an artefact and asks the plugin what it is.
    pub fn load(&self, artefact: &[u8]) -> Result<Plugin, LoadError> {
        self.load_arrived(&self.arrived(artefact)?)
    }

    /// The same, of an artefact that must be of the component with this digest ([`Artefact::of`]).
    pub fn load_of(&self, digest: &str, artefact: &[u8]) -> Result<Plugin, LoadError> {
        self.load_arrived(&self.arrived(artefact)?.of(digest)?)
    }

    /// An artefact whose bytes are all there.
    pub fn arrived(&self, artefact: &[u8]) -> Result<Artefact, LoadError> {
        let mut arrival = self.arrival();
        arrival.push(artefact)?;
        arrival.finish()
    }

    /// Loads what has arrived, and was verified: it is mapped where it runs, and read as it is used.
    pub fn load_arrived(&self, artefact: &Artefact) -> Result<Plugin, LoadError> {
        let backend = match &self.place {
            Place::Here(machine) => {
                #[expect(
                    unsafe_code,
                    reason = "the code is what this platform compiled and signed, for this very engine"
                )]
                // SAFETY: only `Arrival` makes an `Artefact`: it verified the signature of the code and of
                // the identity of the engine it was compiled for, and compared that with the
                // engine of this program, which has one.
                let component =
                    unsafe { mapped::component(&machine.engine, &artefact.code) }.map_err(LoadError::Load)?;
                Backend::Here(Guest::new(machine.clone(), &component)?)
            }
            Place::Runner(runner) => Backend::Away(runner.load(artefact.code.clone())?),
        };
        Plugin::start(backend, artefact.digest().to_owned(), self.config.describe_deadline)
    }
}

impl HostConfig {
    /// For tests: the artefact, signed, as if another engine had made it.
    #[doc(hidden)]
    pub fn of_another_engine(&self, artefact: &[u8]) -> Option<Vec<u8>> {
        artefact::of_another_engine(&self.signing_key, artefact)
    }

    fn pool(&self) -> Pool {
        Pool {
            concurrency: self.concurrency,
            memory_bytes: self.memory_bytes,
            table_entries: self.table_entries,
        }
    }
}

impl Machine {
    pub(crate) fn start(pool: &Pool, tick: std::time::Duration) -> Result<Self, StartError> {
        let engine = engine::runner(pool).map_err(StartError::Engine)?;
        let ticker = Ticker::start(&engine, tick).map_err(StartError::Ticker)?;
        let Pool { memory_bytes, table_entries, .. } = *pool;
        Ok(Self { engine, ticker, memory_bytes, table_entries })
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("config", &self.config).finish_non_exhaustive()
    }
}
