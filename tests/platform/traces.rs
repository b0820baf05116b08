//! From the request that sent a reading to the row, in the spans that a collector gets from the
//! real binaries over OTLP.

use crate::events::{recorded, start};
use crate::world::{World, at};
use anyhow::{Context as _, Result, ensure};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine as _;
use eaves_local::lambda::FunctionHost;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

type Taken = Arc<Mutex<Vec<(String, Span)>>>;

/// A collector: what it took, each span with the name of its service.
struct Collector {
    url: String,
    taken: Taken,
    server: tokio::task::JoinHandle<()>,
}

impl Collector {
    async fn start() -> Result<Self> {
        let taken = Taken::default();
        let app = axum::Router::new().route("/v1/traces", post(take)).with_state(taken.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { url, taken, server })
    }

    /// The spans of a service that have come since the last look.
    fn take(&self, service: &str) -> Trace {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, others) = taken.drain(..).partition(|(name, _)| name == service);
        *taken = others;
        Trace(own.into_iter().map(|(_, span)| span).collect())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(taken): State<Taken>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|r| r.attributes).unwrap_or_default();
        let service = attributes.into_iter().find(|a| a.key == "service.name");
        let service = service.and_then(|a| a.value).map(|v| format!("{:?}", v.value)).unwrap_or_default();
        // As `Some(StringValue("eaves-ingest"))`.
        let service = service.split('"').nth(1).unwrap_or_default().to_owned();
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        taken.extend(spans.map(|span| (service.clone(), span)));
    }
    StatusCode::OK
}

/// The spans of one invocation.
struct Trace(Vec<Span>);

impl Trace {
    fn named(&self, name: &str) -> Result<&Span> {
        let names: Vec<&str> = self.0.iter().map(|s| s.name.as_str()).collect();
        self.0.iter().find(|s| s.name == name).with_context(|| format!("no span {name} in {names:?}"))
    }

    /// The span, which must be a child of that one, or of one of its children.
    fn below(&self, name: &str, ancestor: &Span) -> Result<&Span> {
        let span = self.named(name)?;
        let mut at = span;
        while at.parent_span_id != ancestor.span_id {
            let parent = self.0.iter().find(|s| s.span_id == at.parent_span_id);
            at = parent.with_context(|| format!("{name} is not below {}", ancestor.name))?;
        }
        ensure!(span.trace_id == ancestor.trace_id, "{name} is in another trace");
        ensure!(span.start_time_unix_nano >= ancestor.start_time_unix_nano, "{name} began before its parent");
        Ok(span)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> String {
    let value = span.attributes.iter().find(|a| a.key == key).and_then(|a| a.value.as_ref());
    value.map(|v| format!("{:?}", v.value)).unwrap_or_default()
}

async fn stop(host: FunctionHost) {
    host.stop(Duration::from_secs(2)).await;
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// `POST /v1/telemetry` in a caller's trace: its record says which span sent it.
async fn sent(w: &World, collector: &Collector) -> Result<(Span, Vec<u8>)> {
    let mut event = recorded("query/telemetry.json")?;
    event["headers"]["traceparent"] = json!(format!("00-{TRACE}-{CALLER}-01"));
    let reading = json!({"entity": "traced-1", "observed_at": at(0), "values": {"traced_level": 7}});
    event["body"] = json!(reading.to_string());
    let query = start(w.query(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]).await?;
    let answer = query.invoke(&event).await?;
    stop(query).await;
    ensure!(answer["statusCode"] == 202, "{answer}");
    // With the answer the trace has left: Lambda may stop the process then.
    let trace = collector.take("eaves-query");
    let root = trace.named("query")?;
    ensure!((hex(&root.trace_id), hex(&root.parent_span_id)) == (TRACE.into(), CALLER.into()), "{root:?}");
    let publish = trace.below("publish", root)?.clone();
    let record = w.record_with("traced-1").await?;
    let reading: Value = serde_json::from_slice(&record)?;
    let expected = format!("00-{TRACE}-{}-01", hex(&publish.span_id));
    ensure!(reading["traceparent"] == expected, "{reading}");
    Ok((publish, record))
}

/// The recorded batch with this record instead of its own, in a shard that nobody else has.
fn batch(shard: &str, record: &[u8]) -> Result<Value> {
    let mut event = recorded("ingest/kinesis.json")?;
    let mut one = event["Records"][0].clone();
    one["kinesis"]["data"] = json!(base64::engine::general_purpose::STANDARD.encode(record));
    let sequence = one["kinesis"]["sequenceNumber"].as_str().context("sequenceNumber")?;
    one["eventID"] = json!(format!("{shard}:{sequence}"));
    one["kinesis"]["approximateArrivalTimestamp"] = json!(jiff::Timestamp::now().as_second() as f64);
    event["Records"] = json!([one]);
    Ok(event)
}

/// A request's trace is linked from that of the batch that writes its reading, below the span
/// that Lambda made; a query's spans tell which source was chosen and what was asked of it.
pub(crate) async fn a_reading_is_followed_from_the_request_to_the_row(w: &World) -> Result<()> {
    let collector = Collector::start().await?;
    let (publish, record) = sent(w, &collector).await?;

    let mut config = w.ingest().clone();
    config.xray = Some("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1".into());
    let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str())];
    let ingest = start(&config, &endpoint).await?;
    let answer = ingest.invoke(&batch("shardId-000000009998", &record)?).await?;
    stop(ingest).await;
    ensure!(answer["batchItemFailures"] == json!([]), "{answer}");
    let trace = collector.take("eaves-ingest");
    let root = trace.named("ingest")?;
    ensure!(hex(&root.trace_id) == "5759e988bd862e3fe1be46a994272793", "{root:?}");
    ensure!(hex(&root.parent_span_id) == "53995c3f42cd8ad8", "{root:?}");
    for child in ["decode", "ids", "plugin", "commit"] {
        trace.below(child, root)?;
    }
    ensure!(attribute(trace.named("ids")?, "tenant").contains("acme"), "{:?}", trace.0);
    let links: Vec<_> = root.links.iter().map(|l| (&l.trace_id, &l.span_id)).collect();
    ensure!(links == [(&publish.trace_id, &publish.span_id)], "{links:?}");
    w.entity("acme", "traced-1", "traced_level").await?;

    let query = start(w.query(), &endpoint).await?;
    let mut event = recorded("query/entity.json")?;
    event["rawPath"] = json!("/v1/entities/traced-1");
    event["requestContext"]["http"]["path"] = json!("/v1/entities/traced-1");
    event["rawQueryString"] = json!("consistency=strong");
    let answer = query.invoke(&event).await?;
    stop(query).await;
    ensure!(answer["statusCode"] == 200, "{answer}");
    let trace = collector.take("eaves-query");
    let root = trace.named("query")?;
    // Nobody traced the caller: a trace of its own.
    ensure!(root.parent_span_id.is_empty() && root.links.is_empty(), "{root:?}");
    let source = trace.below("source", root)?;
    ensure!(attribute(source, "source").contains("primary"), "{source:?}");
    ensure!(attribute(source, "reason").contains("strong consistency"), "{source:?}");
    let statement = trace.below("statement", root)?;
    ensure!(attribute(statement, "db.query.text").to_lowercase().contains("select"), "{statement:?}");
    Ok(())
}

/// Readings are taken whether or not somebody collects traces.
pub(crate) async fn a_collector_that_is_away_stops_nothing(w: &World) -> Result<()> {
    // A port that was free a moment ago and is closed.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let away = format!("http://127.0.0.1:{port}");
    let ingest = start(w.ingest(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &away)]).await?;
    let reading = crate::world::reading("acme", "untraced-1", r#"{"untraced_level":1}"#);
    let answer = ingest.invoke(&batch("shardId-000000009997", reading.as_bytes())?).await?;
    stop(ingest).await;
    ensure!(answer["batchItemFailures"] == json!([]), "{answer}");
    w.entity("acme", "untraced-1", "untraced_level").await?;
    Ok(())
}
