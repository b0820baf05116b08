//! The Lambda host with a real function.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use eaves_local::lambda::{FunctionConfig, FunctionError, FunctionHost};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn obedient() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    target.join("examples/obedient")
}

fn config(dir: &tempfile::TempDir) -> FunctionConfig {
    FunctionConfig::new("obedient", obedient(), dir.path())
}

async fn started(change: impl FnOnce(&mut FunctionConfig)) -> (FunctionHost, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    change(&mut config);
    (FunctionHost::spawn(config).await.unwrap(), dir)
}

#[tokio::test]
async fn an_event_is_answered_and_only_the_functions_own_environment_is_seen() {
    let (host, _dir) = started(|c| drop(c.env.insert("EAVES_DB_HOST".into(), "h".into()))).await;
    let answer = host.invoke(&json!({"n": 1})).await.unwrap();
    assert_eq!(answer["event"], json!({"n": 1}));
    assert_eq!(answer["pid"].as_u64().unwrap(), u64::from(host.pid().unwrap()));
    assert_eq!(answer["arn"], "arn:aws:lambda:us-east-1:000000000000:function:obedient");
    let variables: Vec<&str> =
        answer["variables"].as_array().unwrap().iter().filter_map(|v| v.as_str()).collect();
    assert!(variables.contains(&"EAVES_DB_HOST") && variables.contains(&"AWS_REGION"));
    assert!(!variables.contains(&"HOME"), "the host's own environment leaked: {variables:?}");
    assert!(host.start_time().unwrap() > Duration::ZERO);
    host.stop(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_reported_error_is_no_crash() {
    let (host, _dir) = started(|_| ()).await;
    let pid = host.pid();
    let error = host.invoke(&json!({"do": "fail"})).await.unwrap_err();
    assert!(matches!(&error, FunctionError::Reported { message, .. } if message == "as told"), "{error:?}");
    assert!(host.invoke(&json!({})).await.is_ok());
    assert_eq!(host.pid(), pid);
}

#[tokio::test]
async fn a_crash_is_told_and_the_function_started_again() {
    let (host, _dir) = started(|_| ()).await;
    let before = host.pid();
    let error = host.invoke(&json!({"do": "crash"})).await.unwrap_err();
    assert!(matches!(&error, FunctionError::Crashed(why) if why.contains("SIGABRT")), "{error:?}");
    assert!(host.invoke(&json!({})).await.is_ok());
    assert_ne!(host.pid(), before);
    assert_eq!(host.restarts(), 1);
}

#[tokio::test]
async fn one_that_overruns_its_time_is_killed() {
    let (host, _dir) = started(|c| c.timeout = Duration::from_millis(300)).await;
    let before = host.pid();
    let since = Instant::now();
    let error = host.invoke(&json!({"do": "sleep", "ms": 60_000})).await.unwrap_err();
    assert_eq!(error, FunctionError::TimedOut(Duration::from_millis(300)));
    assert!(since.elapsed() < Duration::from_secs(10));
    assert!(host.invoke(&json!({})).await.is_ok());
    assert_ne!(host.pid(), before);
}

#[tokio::test]
async fn an_instance_works_on_one_event_at_a_time() {
    let (host, _dir) = started(|c| {
        c.instances = 2;
        c.queue_timeout = Duration::from_millis(200);
    })
    .await;
    let sleep = json!({"do": "sleep", "ms": 3000});
    let busy: Vec<_> = (0..2)
        .map(|_| {
            let (host, sleep) = (host.clone(), sleep.clone());
            tokio::spawn(async move { host.invoke(&sleep).await })
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    // Both are busy once a third finds no room; until then one may still be starting.
    loop {
        match host.invoke(&json!({})).await {
            Err(FunctionError::Throttled(_)) => break,
            other => assert!(other.is_ok() && Instant::now() < deadline, "{other:?}"),
        }
    }
    let mut pids = std::collections::BTreeSet::new();
    for call in busy {
        pids.insert(call.await.unwrap().unwrap()["pid"].as_u64().unwrap());
    }
    assert_eq!(pids.len(), 2);
}

#[tokio::test]
async fn payloads_over_lambdas_limit_are_refused_both_ways() {
    let (host, _dir) = started(|_| ()).await;
    let large = json!("x".repeat(7 * 1024 * 1024));
    assert!(matches!(host.invoke(&large).await, Err(FunctionError::TooLarge(_))));
    let error = host.invoke(&json!({"do": "grow"})).await.unwrap_err();
    assert!(
        matches!(&error, FunctionError::Reported { error_type, .. } if error_type.contains("TooLarge")),
        "{error:?}"
    );
    assert!(host.invoke(&json!({})).await.is_ok());
}

#[tokio::test]
async fn a_function_that_does_not_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    config.env.insert("FAIL_AT_START".into(), "1".into());
    let error = FunctionHost::spawn(config.clone()).await.unwrap_err().to_string();
    assert!(error.contains("the setting X is missing"), "{error}");
    config.binary = dir.path().join("nothing");
    let error = FunctionHost::spawn(config).await.unwrap_err().to_string();
    assert!(error.contains("cargo build"), "{error}");
}

#[tokio::test]
async fn nothing_runs_after_the_stop() {
    let (host, _dir) = started(|_| ()).await;
    let pid = host.pid().unwrap();
    let under_way = tokio::spawn({
        let host = host.clone();
        async move { host.invoke(&json!({"do": "sleep", "ms": 60_000})).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    host.stop(Duration::from_millis(500)).await;
    assert_eq!(under_way.await.unwrap(), Err(FunctionError::Stopping));
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(host.invoke(&json!({})).await, Err(FunctionError::Stopping));
}
