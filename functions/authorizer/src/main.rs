//! The authorizer Lambda: see the library.

use eaves_auth::{Remote, Source};
use eaves_settings::{ProcessEnv, functions::Authorizer as Settings};
use eaves_telemetry::trace::Invocation;
use lambda_runtime::{LambdaEvent, run, service_fn};
use std::sync::Arc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    eaves_telemetry::init("eaves-authorizer");
    let Settings { issuer, audience, keys } = Settings::read(&ProcessEnv)?;
    let source =
        Source { url: keys.url, timeout: keys.timeout, ttl: keys.ttl, pause: keys.pause, stale: keys.stale };
    let issuer = Arc::new(Remote::new(source, &issuer, &audience)?);
    run(service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let issuer = issuer.clone();
        async move {
            let (id, xray) = (event.context.request_id.as_str(), event.context.xray_trace_id.as_deref());
            let invocation = Invocation { function: "authorizer", request_id: id, xray, sender: None };
            let answer = invocation.run(eaves_fn_authorizer::handle(&issuer, event.payload)).await;
            answer.map_err(lambda_runtime::Error::from)
        }
    }))
    .await
}
