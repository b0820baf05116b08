//! Lambda entry point: settings, clients, router.

use eaves_fn_query::{Context, router};
use eaves_settings::ProcessEnv;
use eaves_telemetry::trace::Invocation;
use lambda_http::Adapter;
use lambda_http::request::LambdaRequest;
use lambda_runtime::{LambdaEvent, service_fn};
use mimalloc::MiMalloc;
use std::sync::Arc;
use tower::Service as _;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// On one thread: an instance has one request at a time, most of which is waiting, and handing it from thread
/// to thread costs more than there is to share.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    eaves_telemetry::init("eaves-query");
    let env = eaves_secrets::resolved(ProcessEnv).await?;
    let context = Context::start(&env).await.inspect_err(|e| {
        tracing::error!(error = format!("{e:#}"), "query.start_failed");
    })?;
    let http = Adapter::from(router(Arc::new(context)));
    lambda_runtime::run(service_fn(move |event: LambdaEvent<LambdaRequest>| {
        let mut http = http.clone();
        async move {
            let (id, xray) = (event.context.request_id.clone(), event.context.xray_trace_id.clone());
            let sender = sender(&event.payload);
            let (xray, sender) = (xray.as_deref(), sender.as_deref());
            let invocation = Invocation { function: "query", request_id: &id, xray, sender };
            invocation.run(http.call(event)).await
        }
    }))
    .await
}

/// The span that the caller says the request is part of.
fn sender(request: &LambdaRequest) -> Option<String> {
    let LambdaRequest::ApiGatewayV2(request) = request else { return None };
    request.headers.get("traceparent")?.to_str().ok().map(str::to_owned)
}
