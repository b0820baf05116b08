//! What the cache does for reads, as metrics: added up in memory, written with a request every
//! few seconds.

use eaves_telemetry::metrics::{
    CACHE_FILL_MS, CACHE_HITS, CACHE_MISSES, CACHE_STALENESS_MS, CACHE_WAITS, Unit, emit,
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long figures wait.
const PACE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Figures {
    since: Option<Instant>,
    hits: u32,
    misses: u32,
    waits: u32,
    stalest: Duration,
    slowest: Duration,
}

/// Figures that were not written yet.
#[derive(Default)]
pub(crate) struct Told(Mutex<Figures>);

impl Told {
    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cache answered, with an entry of this age.
    pub(crate) fn hit(&self, age: Duration) {
        let mut figures = self.lock();
        figures.hits += 1;
        figures.stalest = figures.stalest.max(age);
    }

    /// It had nothing young enough, and to read and fill in took so long.
    pub(crate) fn miss(&self, took: Duration) {
        let mut figures = self.lock();
        figures.misses += 1;
        figures.slowest = figures.slowest.max(took);
    }

    /// A request waited for another one's read.
    pub(crate) fn wait(&self) {
        self.lock().waits += 1;
    }

    /// Writes what is due.
    pub(crate) fn write(&self) {
        let figures = {
            let mut figures = self.lock();
            if figures.since.get_or_insert_with(Instant::now).elapsed() < PACE {
                return;
            }
            std::mem::replace(&mut *figures, Figures { since: Some(Instant::now()), ..Figures::default() })
        };
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let mut values = vec![
            (CACHE_HITS, Unit::Count, f64::from(figures.hits)),
            (CACHE_MISSES, Unit::Count, f64::from(figures.misses)),
            (CACHE_WAITS, Unit::Count, f64::from(figures.waits)),
        ];
        if figures.hits > 0 {
            values.push((CACHE_STALENESS_MS, Unit::Milliseconds, ms(figures.stalest)));
        }
        if figures.misses > 0 {
            values.push((CACHE_FILL_MS, Unit::Milliseconds, ms(figures.slowest)));
        }
        if figures.hits + figures.misses + figures.waits > 0 {
            emit("query", &values);
        }
    }
}
