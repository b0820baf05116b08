//! The clock behind deadlines: a thread that moves the engine's epoch while plugins run.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};
use wasmtime::Engine;

/// Moves the epoch by one per tick as long as a [`Running`] is alive, and sleeps otherwise.
#[derive(Debug)]
pub(crate) struct Ticker {
    tick: Duration,
    running: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    calls: Mutex<usize>,
    changed: Condvar,
}

/// A call under way.
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: &Engine, tick: Duration) -> std::io::Result<Self> {
        let running = Arc::<Shared>::default();
        let weak = Arc::downgrade(&running);
        let engine = engine.weak();
        thread::Builder::new().name("plugin-clock".into()).spawn(move || {
            while let Some(shared) = weak.upgrade() {
                if !wait_for_a_call(&shared) {
                    continue;
                }
                drop(shared);
                let Some(engine) = engine.upgrade() else { return };
                tick_while_running(&engine, &weak, tick);
            }
        })?;
        Ok(Self { tick, running })
    }

    /// Keeps the clock going until the guard is dropped.
    pub(crate) fn run(&self) -> Running<'_> {
        let mut calls = self.running.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls += 1;
        if *calls == 1 {
            self.running.changed.notify_one();
        }
        Running(&self.running)
    }

    /// A duration in ticks, one more than fits, because the first tick may come at once.
    pub(crate) fn ticks(&self, duration: Duration) -> u64 {
        let ticks = duration.as_nanos() / self.tick.as_nanos().max(1);
        u64::try_from(ticks).unwrap_or(u64::MAX / 2).min(u64::MAX / 2) + 1
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.calls.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}

/// False after a while without a call, so that the thread sees when its host is gone.
fn wait_for_a_call(shared: &Shared) -> bool {
    let calls = shared.calls.lock().unwrap_or_else(PoisonError::into_inner);
    let patience = Duration::from_millis(500);
    let waited = shared.changed.wait_timeout_while(calls, patience, |calls| *calls == 0);
    let (calls, _) = waited.unwrap_or_else(PoisonError::into_inner);
    *calls > 0
}

/// Goes by the clock, not by sleeps: on a busy machine a sleep takes longer than asked.
fn tick_while_running(engine: &Engine, shared: &Weak<Shared>, tick: Duration) {
    let started = Instant::now();
    let mut ticked = 0;
    while shared.upgrade().is_some_and(|s| *s.calls.lock().unwrap_or_else(PoisonError::into_inner) > 0) {
        thread::sleep(tick);
        let due = started.elapsed().as_nanos() / tick.as_nanos().max(1);
        while ticked < due {
            engine.increment_epoch();
            ticked += 1;
        }
    }
}
