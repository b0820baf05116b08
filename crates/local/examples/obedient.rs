//! A function that does as its event says: for the tests of the Lambda host.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var_os("FAIL_AT_START").is_some() {
        return Err("the setting X is missing".into());
    }
    run(service_fn(obey)).await
}

async fn obey(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let order = event.payload["do"].as_str().unwrap_or("echo");
    match order {
        "sleep" => {
            let ms = event.payload["ms"].as_u64().unwrap_or(1000);
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        "crash" => std::process::abort(),
        "fail" => return Err("as told".into()),
        "grow" => return Ok(Value::String("x".repeat(7 * 1024 * 1024))),
        _ => {}
    }
    Ok(json!({
        "event": event.payload,
        "pid": std::process::id(),
        "arn": event.context.invoked_function_arn,
        "deadline_ms": event.context.deadline,
        "variables": std::env::vars().map(|(name, _)| name).collect::<Vec<_>>(),
    }))
}
