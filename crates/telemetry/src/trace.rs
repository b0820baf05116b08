//! Traces: one for each invocation, exported over OTLP where a collector is named.
//!
//! Without `OTEL_EXPORTER_OTLP_ENDPOINT` nothing is set up, and [`span!`](crate::span) makes
//! spans that no subscriber wants: a load and a branch each. Spans are for batches and
//! statements, never for single values. `docs/tracing.md` lists them.

mod xray;

use eaves_model::TraceParent;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of spans that go into traces. Logs do not show them.
pub const TARGET: &str = "eaves_trace";

/// Longest an answer waits for the collector, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long answers do not wait after a collector that did not take the spans.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// Most links a span has: the standard's default.
pub const MOST_LINKS: usize = 128;

/// A span of the trace: `span!("commit", points = 12)`. Its fields become attributes.
#[macro_export]
macro_rules! span {
    ($name:expr $(, $($fields:tt)*)?) => {
        $crate::tracing::info_span!(target: $crate::trace::TARGET, $name $(, $($fields)*)?)
    };
}

struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// Until when nobody waits for the collector.
    unanswered: Mutex<Option<Instant>>,
}

static EXPORTING: OnceLock<Exporting> = OnceLock::new();

/// Whether spans are exported.
pub fn enabled() -> bool {
    EXPORTING.get().is_some()
}

/// Sets the export up as the environment says. `None` if it names no collector; the error is
/// for the log.
pub(crate) fn start(service: &str) -> Option<Result<SdkTracer, String>> {
    let set = |name: &str| std::env::var(name).is_ok_and(|v| !v.is_empty());
    let named = set("OTEL_EXPORTER_OTLP_ENDPOINT") || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let disabled = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|v| v.eq_ignore_ascii_case("true"));
    if !named || disabled {
        return None;
    }
    let mut exporter = SpanExporter::builder().with_http();
    if !set("OTEL_EXPORTER_OTLP_TIMEOUT") && !set("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT") {
        exporter = exporter.with_timeout(PATIENCE);
    }
    let exporter = match exporter.build() {
        Ok(exporter) => exporter,
        Err(e) => return Some(Err(e.to_string())),
    };
    let mut resource = Resource::builder();
    if !set("OTEL_SERVICE_NAME") {
        let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").ok().filter(|name| !name.is_empty());
        resource = resource.with_service_name(function.unwrap_or_else(|| service.to_owned()));
    }
    if let Ok(environment) = std::env::var("EAVES_ENVIRONMENT") {
        resource = resource.with_attribute(KeyValue::new("deployment.environment.name", environment));
    }
    // The sampler, limits of spans and the sizes of the batches: from the standard's variables.
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    let tracer = provider.tracer("eaves");
    let exporting = Exporting { provider, tracer: tracer.clone(), unanswered: Mutex::new(None) };
    // A second start (a test) keeps the first.
    EXPORTING.set(exporting).ok().map(|()| Ok(tracer))
}

/// What an invocation is, before it begins.
#[derive(Debug, Clone, Copy, Default)]
pub struct Invocation<'a> {
    /// The function's name: the span's.
    pub function: &'static str,
    /// Lambda's number of it.
    pub request_id: &'a str,
    /// The header `Lambda-Runtime-Trace-Id`, which is also `_X_AMZN_TRACE_ID`: the parent, if it
    /// names a span.
    pub xray: Option<&'a str>,
    /// A caller's header `traceparent`: the parent if X-Ray names none, else a link.
    pub sender: Option<&'a str>,
}

impl Invocation<'_> {
    /// Does the work in a span of its own. The trace has left when this returns, since Lambda
    /// stops the process with the answer.
    pub async fn run<T>(self, work: impl Future<Output = T>) -> T {
        if !enabled() {
            return work.await;
        }
        let span = self.span();
        let done = work.instrument(span.clone()).await;
        drop(span);
        flush().await;
        done
    }

    fn span(self) -> Span {
        let kind = match self.function {
            "ingest" => "consumer",
            "query" | "plugin-admin" => "server",
            _ => "internal",
        };
        let span = crate::span!(
            "invocation",
            otel.name = self.function,
            otel.kind = kind,
            faas.invocation_id = self.request_id
        );
        let lambda = self.xray.and_then(xray::parent);
        let sender: Option<TraceParent> = self.sender.and_then(|text| text.parse().ok());
        if let Some(parent) = lambda.or(sender) {
            let context = Context::new().with_remote_span_context(context(&parent));
            // Fails only for a span that is not recorded or has begun.
            drop(span.set_parent(context));
        }
        if let (Some(_), Some(sender)) = (lambda, sender) {
            span.add_link(context(&sender));
        }
        span
    }
}

fn context(parent: &TraceParent) -> SpanContext {
    let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span) = (TraceId::from(parent.trace_id), SpanId::from(parent.span_id));
    SpanContext::new(trace, span, flags, true, TraceState::default())
}

/// Links the current span to what sent the work.
pub fn link(senders: &[TraceParent]) {
    let span = Span::current();
    for sender in senders {
        span.add_link(context(sender));
    }
}

/// The current span, to be sent along; `None` where nothing is exported.
pub fn current() -> Option<TraceParent> {
    if !enabled() {
        return None;
    }
    let context = Span::current().context();
    let span = context.span();
    let at = span.span_context();
    at.is_valid().then(|| TraceParent {
        trace_id: u128::from_be_bytes(at.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(at.span_id().to_bytes()),
        sampled: at.is_sampled(),
    })
}

/// Marks the current span as failed.
pub fn failed(why: &str) {
    if enabled() {
        Span::current().set_status(Status::error(why.to_owned()));
    }
}

/// A child of the current span that ends now: for work of which one knows only afterwards
/// whether it is worth a span.
pub fn past(name: &'static str, began: SystemTime, attributes: &[(&'static str, i64)]) {
    let Some(exporting) = EXPORTING.get() else { return };
    let attributes = attributes.iter().map(|(key, value)| KeyValue::new(*key, *value));
    let span = exporting.tracer.span_builder(name).with_start_time(began).with_attributes(attributes);
    span.start_with_context(&exporting.tracer, &Span::current().context()).end();
}

/// Sends what has ended. Waits for the collector, but neither long nor again and again for one
/// that does not answer.
pub async fn flush() {
    let Some(exporting) = EXPORTING.get() else { return };
    let unanswered = || exporting.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
    if unanswered().is_some_and(|until| Instant::now() < until) {
        return;
    }
    // It blocks: on a thread where that holds up nobody.
    let done = tokio::task::spawn_blocking(|| exporting.provider.force_flush()).await;
    let failure = match done {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(e.to_string()),
        Err(e) => Some(e.to_string()),
    };
    if let Some(error) = &failure {
        tracing::warn!(error, "the trace was not taken by the collector");
    }
    *unanswered() = failure.map(|_| Instant::now() + AFTER_FAILURE);
}
