//! A loaded plugin, called with batches.

use crate::bindings::{self, PluginPre, ValidateError};
use crate::columns::{Calls, Tables};
use crate::host::Inner;
use crate::{LoadError, PluginError, answer, limits};
use eaves_model::batch::{Batch, Decision};
use eaves_model::reading::check_name;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::{PoolConcurrencyLimitError, ResourceLimiter, Store, Trap, UpdateDeadline};

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The attributes it wants to see; empty for all.
    pub attributes: Vec<String>,
    /// The types of entities it wants to see; empty for all.
    pub entity_types: Vec<String>,
    /// A JSON Schema of its settings; empty if it has none.
    pub settings_schema: String,
}

/// A plugin that is ready to be called, from several threads at once if need be.
pub struct Plugin {
    host: Arc<Inner>,
    pre: PluginPre<State>,
    digest: String,
    description: Description,
}

/// What belongs to one instance: its limits.
pub(crate) struct State {
    memory_bytes: usize,
    table_entries: usize,
    out_of_memory: bool,
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory_bytes;
        self.out_of_memory |= !granted;
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_entries)
    }
}

impl Plugin {
    pub(crate) fn start(host: Arc<Inner>, pre: PluginPre<State>, digest: String) -> Result<Self, LoadError> {
        let empty = String::new;
        let description = Description {
            name: empty(),
            version: empty(),
            attributes: Vec::new(),
            entity_types: Vec::new(),
            settings_schema: empty(),
        };
        let mut plugin = Self { host, pre, digest, description };
        plugin.description = plugin.ask_what_it_is().map_err(LoadError::Describe)?;
        Ok(plugin)
    }

    /// What it says of itself.
    pub fn describe(&self) -> &Description {
        &self.description
    }

    /// SHA-256 of the component, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Judges a batch, within `deadline`. `settings` is a JSON object.
    ///
    /// Rows of attributes and entities that the plugin does not want to see are accepted
    /// without asking it. A large batch is judged in several calls, cut between readings.
    pub fn validate(
        &self,
        batch: &Batch,
        settings: &str,
        deadline: Duration,
    ) -> Result<Decision, PluginError> {
        let end = Instant::now() + deadline;
        let tables = Tables::of(batch);
        let mut decision = Decision::default();
        for call in Calls::new(batch, &self.description) {
            let call = call?;
            let fuel = answer_bytes(call.rows(), call.text_bytes());
            let columns = call.columns(&tables);
            let left = end.saturating_duration_since(Instant::now());
            let answer = self.call(left, deadline, fuel, |store, plugin| {
                plugin.eaves_rules_validation().call_validate(store, columns, settings)
            })?;
            let answer = answer.map_err(told)?;
            answer::decode(answer, &call, &mut decision)?;
        }
        Ok(decision)
    }

    /// Asks whether the plugin takes these settings.
    pub fn check_settings(&self, settings: &str, deadline: Duration) -> Result<(), PluginError> {
        let empty = Batch::default();
        let tables = Tables::of(&empty);
        let call = Calls::empty(&empty);
        let answer = self.call(deadline, deadline, answer_bytes(0, 0), |store, plugin| {
            plugin.eaves_rules_validation().call_validate(store, call.columns(&tables), settings)
        })?;
        answer.map(drop).map_err(told)
    }

    fn ask_what_it_is(&self) -> Result<Description, PluginError> {
        let deadline = self.host.config.describe_deadline;
        let said = self.call(deadline, deadline, answer_bytes(0, 0), |store, plugin| {
            plugin.eaves_rules_validation().call_describe(store)
        })?;
        described(said)
    }

    /// Calls a fresh instance; afterwards nothing of it is left.
    fn call<T>(
        &self,
        left: Duration,
        limit: Duration,
        fuel: usize,
        call: impl FnOnce(&mut Store<State>, &bindings::Plugin) -> wasmtime::Result<T>,
    ) -> Result<T, PluginError> {
        if left.is_zero() {
            return Err(PluginError::Deadline { limit });
        }
        let config = &self.host.config;
        let state = State {
            memory_bytes: config.memory_bytes,
            table_entries: config.table_entries,
            out_of_memory: false,
        };
        let mut store = Store::new(&self.host.engine, state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(fuel);
        let _running = self.host.ticker.run();
        let end = Instant::now() + left;
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            let over = Instant::now() >= end;
            Ok(if over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
        });
        let called = self.pre.instantiate(&mut store).and_then(|plugin| call(&mut store, &plugin));
        called.map_err(|error| classify(error, store.data(), limit))
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("digest", &self.digest)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

/// How many bytes a plugin may answer with: enough to replace and explain every row.
fn answer_bytes(rows: usize, text_bytes: usize) -> usize {
    (8 << 20) + rows * 256 + text_bytes * 2
}

fn told(error: ValidateError) -> PluginError {
    match error {
        ValidateError::Settings(fault) => {
            PluginError::Settings { path: line(&fault.path), message: line(&fault.message) }
        }
        ValidateError::Failed(why) => PluginError::Failed(line(&why)),
    }
}

/// A plugin's text, fit for a log line.
fn line(text: &str) -> String {
    text.chars().take(limits::MAX_REASON_BYTES).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn classify(error: wasmtime::Error, state: &State, limit: Duration) -> PluginError {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => PluginError::Deadline { limit },
        // Rust and C abort when they are refused memory: say what the cause was.
        _ if state.out_of_memory => PluginError::Memory { limit: state.memory_bytes },
        Some(trap) => PluginError::Trapped { trap: trap.to_string() },
        None if error.is::<PoolConcurrencyLimitError>() => PluginError::Busy,
        // Not a trap: what the plugin returned could not be lifted (a list beyond its
        // memory, a text that is not UTF-8, more than it may answer with).
        None => PluginError::Trapped { trap: line(&format!("{error:#}")) },
    }
}

fn described(said: bindings::Description) -> Result<Description, PluginError> {
    let bad = |list, index, problem: &str| {
        PluginError::BadAnswer(crate::BadAnswer { list, index, problem: problem.into() })
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if said.name.is_empty() || said.name.len() > 64 || !said.name.chars().all(plain) {
        return Err(bad("name", None, "not 1 to 64 lower case letters, digits and hyphens"));
    }
    if said.version.is_empty() || said.version.len() > 64 || said.version.chars().any(char::is_control) {
        return Err(bad("version", None, "not 1 to 64 characters"));
    }
    for (list, names) in [("attributes", &said.attributes), ("entity-types", &said.entity_types)] {
        if names.len() > limits::MAX_DERIVED_ATTRIBUTES {
            return Err(bad(list, None, "over 1,000 names"));
        }
        for (index, name) in names.iter().enumerate() {
            check_name(list, name).map_err(|e| bad(list, Some(index), &e.message))?;
        }
    }
    if said.settings_schema.len() > 64 << 10 {
        return Err(bad("settings-schema", None, "over 64 KiB"));
    }
    if !said.settings_schema.is_empty() {
        serde_json::from_str::<serde::de::IgnoredAny>(&said.settings_schema)
            .map_err(|e| bad("settings-schema", None, &format!("not JSON: {e}")))?;
    }
    Ok(Description {
        name: said.name,
        version: said.version,
        attributes: said.attributes,
        entity_types: said.entity_types,
        settings_schema: said.settings_schema,
    })
}
