//! The clock behind deadlines: a thread that moves the engine's epoch while plugins run.
//!
//! Each move makes every running plugin stop and look whether its time is over. So a tick
//! that comes late, as on a busy machine, never ends a call before its time.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak, mpsc};
use std::thread;
use std::time::Duration;
use wasmtime::Engine;

/// Moves the epoch by one per tick as long as a [`Running`] is alive, and sleeps otherwise.
#[derive(Debug)]
pub(crate) struct Ticker {
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
        let (started, is_started) = mpsc::channel::<()>();
        thread::Builder::new().name("plugin-clock".into()).spawn(move || {
            drop(started);
            while let Some(shared) = weak.upgrade() {
                if !wait_for_a_call(&shared) {
                    continue;
                }
                drop(shared);
                let Some(engine) = engine.upgrade() else { return };
                tick_while_running(&engine, &weak, tick);
            }
        })?;
        // A thread that is only just starting needs more of the kernel than one that runs: the
        // process that runs plugins locks itself next.
        let _ = is_started.recv();
        Ok(Self { running })
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

fn tick_while_running(engine: &Engine, shared: &Weak<Shared>, tick: Duration) {
    while shared.upgrade().is_some_and(|s| *s.calls.lock().unwrap_or_else(PoisonError::into_inner) > 0) {
        thread::sleep(tick);
        engine.increment_epoch();
    }
}
