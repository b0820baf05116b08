//! What can go wrong, by operation.

use crate::scan::Refused;
use std::time::Duration;

/// The host could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine does not take the configuration.
    #[error("set up wasmtime")]
    Engine(#[source] wasmtime::Error),
    /// No thread for the clock.
    #[error("start the thread that keeps deadlines")]
    Ticker(#[source] std::io::Error),
}

/// A plugin that was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It was refused before compiling.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The compiler does not take it.
    #[error("compile the plugin: {0}")]
    Compile(String),
    /// Compiling took more memory or processor time than it may.
    #[error("the compiler was stopped ({0}): the plugin costs more to compile than a plugin may")]
    OverLimit(String),
    /// Compiling took too long.
    #[error("the compiler was stopped after {limit:?}: the plugin takes too long to compile")]
    Timeout {
        /// How long it may take.
        limit: Duration,
    },
    /// The compiler's process could not be run.
    #[error("run the compiler in a process of its own")]
    Worker(#[source] std::io::Error),
    /// It compiles, but is no plugin.
    #[error(transparent)]
    NotAPlugin(#[from] LoadError),
}

/// An artefact that was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes do not start like an artefact.
    #[error("these bytes are not a compiled plugin of Eaves")]
    NotAnArtefact,
    /// Not signed with this platform's key, or changed since.
    #[error("the compiled plugin's signature is not right: it was changed, or signed with another key")]
    BadSignature,
    /// Signed here, but compiled for another engine.
    #[error("the plugin was compiled for {artefact} and this is {host}")]
    OtherEngine {
        /// What it was compiled for.
        artefact: String,
        /// What runs here.
        host: String,
    },
    /// Signed here, and of another component than the one that was asked for.
    #[error("the compiled plugin is of the component {found}, and {wanted} was asked for: it was exchanged")]
    OtherComponent {
        /// SHA-256 of the component that was asked for, in hex.
        wanted: String,
        /// Of the one that it was compiled from.
        found: String,
    },
    /// There was no memory, or no descriptor, for it.
    #[error("keep the compiled plugin in memory")]
    Keep(#[source] std::io::Error),
    /// wasmtime does not take it.
    #[error("load the compiled plugin")]
    Load(#[source] wasmtime::Error),
    /// It does not export what a plugin exports.
    #[error("the component is not a plugin for eaves:rules@1.0.0: {0}")]
    WrongWorld(String),
    /// The process that runs plugins could not be asked.
    #[error(transparent)]
    Runner(PluginError),
    /// It could not say what it is.
    #[error("the plugin could not describe itself: {0}")]
    Describe(#[source] PluginError),
}

/// A batch that a plugin did not judge.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// It ran longer than it may.
    #[error("the plugin was stopped after {limit:?}")]
    Deadline {
        /// How long it may run.
        limit: Duration,
    },
    /// It asked for more memory than it may have, and did not come to an end.
    #[error("the plugin needs more than {limit} bytes of memory")]
    Memory {
        /// The limit.
        limit: usize,
    },
    /// It crashed.
    #[error("the plugin crashed: {trap}")]
    Trapped {
        /// What the engine says.
        trap: String,
    },
    /// It does not take the settings.
    #[error("the plugin's settings are wrong{}: {message}", at(path))]
    Settings {
        /// Where, such as `attributes.temperature.min`.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// It says that it could not judge the batch.
    #[error("the plugin failed: {0}")]
    Failed(String),
    /// It answered nonsense.
    #[error("the plugin's answer is wrong: {0}")]
    BadAnswer(#[from] BadAnswer),
    /// The batch itself is wrong: a row names what is not there, or it or its previous value
    /// has another type than its attribute. The fault is the caller's.
    #[error("row {row} of the batch does not fit its entities and attributes")]
    BadBatch {
        /// The row.
        row: usize,
    },
    /// It does not decide which attributes are hot: it has no `promote`.
    #[error("the plugin does not decide which attributes are hot")]
    NoPromotion,
    /// All instances are in use.
    #[error("more plugin calls at once than the host has room for")]
    Busy,
    /// The process that runs plugins ended during the call. Another one serves the next.
    #[error("the process that runs plugins ended during the call: {how}")]
    RunnerDied {
        /// Its exit status, or what it said that it should not.
        how: String,
    },
    /// The process that runs plugins could not be started.
    #[error("start the process that runs plugins")]
    Runner(#[source] std::io::Error),
}

impl CompileError {
    /// Whether it says nothing of the plugin, and the same may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Worker(_) => true,
            Self::NotAPlugin(error) => error.is_retryable(),
            _ => false,
        }
    }
}

impl LoadError {
    /// Whether it says nothing of the plugin, and the same may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Keep(_) => true,
            Self::Runner(error) | Self::Describe(error) => error.is_retryable(),
            _ => false,
        }
    }
}

impl PluginError {
    /// Whether the same call may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy | Self::Runner(_))
    }
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" at {path}") }
}

/// What in a plugin's answer is nonsense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{list}{}: {problem}", index.map_or(String::new(), |i| format!("[{i}]")))]
pub struct BadAnswer {
    /// The list of the answer, by its name in the WIT package.
    pub list: &'static str,
    /// Where in the list.
    pub index: Option<usize>,
    /// What is wrong there.
    pub problem: String,
}
