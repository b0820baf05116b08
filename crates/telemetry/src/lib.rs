//! Logs and metrics of the functions: JSON lines with stable dotted fields, and
//! metrics in CloudWatch's Embedded Metric Format under constant names.

mod histogram;
pub mod metrics;

pub use histogram::Histogram;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Starts JSON logging to standard error, filtered by `EAVES_LOG` (default `info`).
///
/// Call once, first thing in `main`. Standard output stays free for metrics.
pub fn init() {
    let filter = EnvFilter::try_from_env("EAVES_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_events(FmtSpan::NONE)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
    // A second call (a test that runs two handlers) keeps the first subscriber.
    drop(started);
}
