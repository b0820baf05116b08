//! A component in this process: each call meets a fresh instance, under limits.

use crate::bindings::{promotion, validation};
use crate::ticker::Ticker;
use crate::{LoadError, PluginError, limits};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Instance, InstancePre, Linker};
use wasmtime::{Engine, PoolConcurrencyLimitError, ResourceLimiter, Store, Trap, UpdateDeadline};

pub(crate) const VALIDATION: &str = "eaves:rules/validation@1.0.0";
pub(crate) const PROMOTION: &str = "eaves:rules/promotion@1.0.0";

/// The engine, its clock, and what an instance may have.
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    pub(crate) ticker: Ticker,
    pub(crate) memory_bytes: usize,
    pub(crate) table_entries: usize,
}

/// A loaded component.
pub(crate) struct Guest {
    machine: Arc<Machine>,
    pre: InstancePre<State>,
    validation: validation::GuestIndices,
    promotion: Option<promotion::GuestIndices>,
}

/// What a call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Time that is left.
    pub(crate) left: Duration,
    /// Time that there was at first, for the message.
    pub(crate) limit: Duration,
    /// Most memory, in bytes. What the host gives at all is the limit beside it.
    pub(crate) memory_bytes: usize,
}

/// What a call took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) duration: Duration,
    pub(crate) memory_peak: usize,
}

/// What belongs to one instance: its limits.
pub(crate) struct State {
    memory_bytes: usize,
    table_entries: usize,
    memory_peak: usize,
    out_of_memory: bool,
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory_bytes;
        if granted {
            self.memory_peak = self.memory_peak.max(desired);
        }
        self.out_of_memory |= !granted;
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_entries)
    }
}

type Called<T> = (Result<T, PluginError>, Usage);

impl Guest {
    /// Prepares a component: it exports what a plugin exports, and nothing else.
    pub(crate) fn new(machine: Arc<Machine>, component: &Component) -> Result<Self, LoadError> {
        let wrong = |e: wasmtime::Error| LoadError::WrongWorld(line(&format!("{e:#}")));
        let mut promotes = false;
        for (name, item) in component.component_type().exports(&machine.engine) {
            match (name, &item.ty) {
                (VALIDATION, ComponentItem::ComponentInstance(_)) => {}
                (PROMOTION, ComponentItem::ComponentInstance(_)) => promotes = true,
                _ => return Err(LoadError::WrongWorld(format!("it exports {:?}", line(name)))),
            }
        }
        let pre = Linker::<State>::new(&machine.engine).instantiate_pre(component).map_err(wrong)?;
        let validation = validation::GuestIndices::new(&pre).map_err(wrong)?;
        let promotion = promotes.then(|| promotion::GuestIndices::new(&pre)).transpose().map_err(wrong)?;
        Ok(Self { machine, pre, validation, promotion })
    }

    /// Whether it decides which attributes are hot.
    pub(crate) fn promotes(&self) -> bool {
        self.promotion.is_some()
    }

    pub(crate) fn describe(&self, bounds: Bounds) -> Called<validation::Description> {
        self.call(bounds, answer_bytes(0, 0), |store, instance| {
            // The types of what it exports are compared here, before anything is asked.
            if let Some(promotion) = &self.promotion {
                promotion.load(&mut *store, instance)?;
            }
            self.validation.load(&mut *store, instance)?.call_describe(store)
        })
    }

    pub(crate) fn configure(
        &self,
        settings: &str,
        bounds: Bounds,
    ) -> Called<Result<validation::Interest, validation::SettingsFault>> {
        self.call(bounds, answer_bytes(0, 0), |store, instance| {
            self.validation.load(&mut *store, instance)?.call_configure(store, settings)
        })
    }

    pub(crate) fn validate(
        &self,
        batch: validation::Batch<'_>,
        settings: &str,
        bounds: Bounds,
    ) -> Called<Result<validation::Decision, validation::ValidateError>> {
        let bytes = answer_bytes(batch.bits.len(), batch.texts.blob.len());
        self.call(bounds, bytes, |store, instance| {
            self.validation.load(&mut *store, instance)?.call_validate(store, batch, settings)
        })
    }

    pub(crate) fn promote(
        &self,
        statistics: promotion::Statistics<'_>,
        settings: &str,
        bounds: Bounds,
    ) -> Called<Result<promotion::Decision, String>> {
        let Some(promotion) = &self.promotion else {
            return (Err(PluginError::NoPromotion), Usage::default());
        };
        let bytes = answer_bytes(statistics.types.len(), 0);
        self.call(bounds, bytes, |store, instance| {
            promotion.load(&mut *store, instance)?.call_promote(store, statistics, settings)
        })
    }

    /// Calls a fresh instance; afterwards nothing of it is left.
    fn call<T>(
        &self,
        bounds: Bounds,
        fuel: usize,
        call: impl FnOnce(&mut Store<State>, &Instance) -> wasmtime::Result<T>,
    ) -> Called<T> {
        if bounds.left.is_zero() {
            return (Err(PluginError::Deadline { limit: bounds.limit }), Usage::default());
        }
        let start = Instant::now();
        let machine = &self.machine;
        let state = State {
            memory_bytes: bounds.memory_bytes.min(machine.memory_bytes),
            table_entries: machine.table_entries,
            memory_peak: 0,
            out_of_memory: false,
        };
        let mut store = Store::new(&machine.engine, state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(fuel);
        let _running = machine.ticker.run();
        let end = start + bounds.left;
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            let over = Instant::now() >= end;
            Ok(if over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
        });
        let called = self.pre.instantiate(&mut store).and_then(|instance| call(&mut store, &instance));
        let called = called.map_err(|error| classify(error, store.data(), bounds.limit));
        let memory_peak = store.data().memory_peak;
        drop(store);
        (called, Usage { duration: start.elapsed(), memory_peak })
    }
}

/// How many bytes a plugin may answer with: enough to replace and explain every row.
fn answer_bytes(rows: usize, text_bytes: usize) -> usize {
    (8 << 20) + rows * 256 + text_bytes * 2
}

/// A plugin's text, fit for a log line.
pub(crate) fn line(text: &str) -> String {
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
