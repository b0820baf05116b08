//! What becomes of requests, and what the cache does for reads, as metrics: added up in memory,
//! written with a request every few seconds.

use axum::response::Response;
use eaves_telemetry::metrics::{
    BUDGETS_MISSED, CACHE_FILL_MS, CACHE_HITS, CACHE_MISSES, CACHE_STALENESS_MS, CACHE_WAITS, REQUESTS_SHED,
    Unit, emit,
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long figures wait.
const PACE: Duration = Duration::from_secs(5);

/// A mark on an answer: the request was told to come back because there is enough to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shed;

#[derive(Default)]
struct Figures {
    since: Option<Instant>,
    /// Those that were shed and that missed, since the instance began.
    counted: (u64, u64),
    shed: u32,
    missed: u32,
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

    /// What an answer says of itself.
    pub(crate) fn answer(&self, response: &Response) {
        let shed = response.extensions().get::<Shed>().is_some();
        let missed = response.headers().get("x-sla-met").is_some_and(|met| met == "false");
        if shed || missed {
            let mut figures = self.lock();
            figures.shed += u32::from(shed);
            figures.missed += u32::from(missed);
            figures.counted.0 += u64::from(shed);
            figures.counted.1 += u64::from(missed);
        }
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
        let values = self.due(PACE);
        if !values.is_empty() {
            emit("query", &values);
        }
    }

    /// Since the instance began.
    pub(crate) fn shed_and_missed(&self) -> (u64, u64) {
        self.lock().counted
    }

    /// What came together since it was last taken, if that was so long ago.
    fn due(&self, pace: Duration) -> Vec<(&'static str, Unit, f64)> {
        let figures = {
            let mut figures = self.lock();
            if figures.since.get_or_insert_with(Instant::now).elapsed() < pace {
                return Vec::new();
            }
            let (since, counted) = (Some(Instant::now()), figures.counted);
            std::mem::replace(&mut *figures, Figures { since, counted, ..Figures::default() })
        };
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let mut values = Vec::new();
        for (name, count) in [(REQUESTS_SHED, figures.shed), (BUDGETS_MISSED, figures.missed)] {
            if count > 0 {
                values.push((name, Unit::Count, f64::from(count)));
            }
        }
        if figures.hits + figures.misses + figures.waits > 0 {
            values.extend([
                (CACHE_HITS, Unit::Count, f64::from(figures.hits)),
                (CACHE_MISSES, Unit::Count, f64::from(figures.misses)),
                (CACHE_WAITS, Unit::Count, f64::from(figures.waits)),
            ]);
        }
        if figures.hits > 0 {
            values.push((CACHE_STALENESS_MS, Unit::Milliseconds, ms(figures.stalest)));
        }
        if figures.misses > 0 {
            values.push((CACHE_FILL_MS, Unit::Milliseconds, ms(figures.slowest)));
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problem;
    use axum::response::IntoResponse as _;
    use eaves_telemetry::metrics::emf_line;

    #[test]
    fn what_was_shed_and_what_missed_its_budget_is_in_the_line() {
        let told = Told::default();
        let missed = || ([("x-sla-met", "false")], "").into_response();
        assert!(told.due(PACE).is_empty(), "the first ones wait");
        told.answer(&Problem::shed("enough to do").into_response());
        told.answer(&missed());
        told.answer(&missed());
        // Met, and an answer that says nothing of it; a source that is away is no shedding.
        told.answer(&([("x-sla-met", "true")], "").into_response());
        told.answer(&Problem::unavailable("away", Duration::from_secs(1)).into_response());
        let line: serde_json::Value =
            serde_json::from_str(&emf_line("query", &told.due(Duration::ZERO))).unwrap();
        assert_eq!((&line["requests_shed"], &line["budgets_missed"]), (&1.0.into(), &2.0.into()), "{line}");
        let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        assert_eq!(metrics.len(), 2, "nothing was asked of the cache: {line}");
        assert!(told.due(Duration::ZERO).is_empty(), "told once");
        assert_eq!(told.shed_and_missed(), (1, 2));
        told.hit(Duration::from_millis(3));
        assert_eq!(told.due(Duration::ZERO).len(), 4);
    }
}
