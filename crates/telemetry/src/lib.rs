//! Logs, metrics and traces of the functions: JSON lines with stable dotted fields, metrics in
//! CloudWatch's Embedded Metric Format under constant names, spans over OTLP.

mod histogram;
pub mod metrics;
pub mod trace;

pub use histogram::Histogram;
#[doc(hidden)]
pub use tracing;

use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// Starts JSON logging to standard error, filtered by `EAVES_LOG` (default `info`), and the
/// export of traces under the service's name if `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector.
///
/// Call once, first thing in `main`. Standard output stays free for metrics.
pub fn init(service: &str) {
    let logs = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_events(FmtSpan::NONE)
        .with_writer(std::io::stderr);
    begin(service, "info", logs);
}

/// The same for a program that people run: plain lines, `EAVES_LOG` is `warn` by default.
pub fn init_for_people(service: &str) {
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let logs =
        tracing_subscriber::fmt::layer().with_target(false).with_ansi(colours).with_writer(std::io::stderr);
    begin(service, "warn", logs);
}

fn begin(service: &str, level: &str, logs: impl Layer<Registry> + Send + Sync) {
    let quiet = |wanted: &str| EnvFilter::try_new(format!("{wanted},{}=off", trace::TARGET));
    let wanted = std::env::var("EAVES_LOG").ok().filter(|wanted| !wanted.is_empty());
    let filter = wanted.and_then(|wanted| quiet(&wanted).ok()).or_else(|| quiet(level).ok());
    let (tracer, failure) = match trace::start(service) {
        None => (None, None),
        Some(Ok(tracer)) => (Some(tracer), None),
        Some(Err(e)) => (None, Some(e)),
    };
    let spans = tracer.map(|tracer| {
        let traced = filter_fn(|metadata| metadata.target() == trace::TARGET && metadata.is_span());
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        layer
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(traced.with_max_level_hint(LevelFilter::INFO))
    });
    let started = tracing_subscriber::registry().with(logs.with_filter(filter)).with(spans).try_init();
    // A second call (a test that runs two handlers) keeps the first subscriber.
    drop(started);
    if let Some(error) = failure {
        tracing::error!(error, "no traces: the exporter cannot be set up");
    }
}
