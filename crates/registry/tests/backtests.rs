//! How many backtests are under way at once, against a real DynamoDB emulator.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use eaves_model::TenantId;
use eaves_registry::{Job, PLATFORM_BACKTESTS, Registry, RegistryError, TENANT_BACKTESTS, Version};
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;
use support::Emulator;

const A: TenantId = TenantId(1);
const LEASE: Duration = Duration::from_secs(300);
/// Over as soon as it began: the worker was killed.
const OVER: Duration = Duration::ZERO;

async fn version(registry: &Registry, tenant: TenantId, name: &str) -> Version {
    registry.push(tenant, name, "1.0.0", "wasm", "artefact").await.unwrap()
}

/// Asks for a backtest of the tenant's plugin of this name.
async fn ask(
    registry: &Registry,
    tenant: TenantId,
    name: &str,
    lease: Duration,
) -> Result<Job, RegistryError> {
    let version = version(registry, tenant, name).await;
    let job = Job::new(&version, r#"{"max":1}"#, "anna", json!({}));
    registry.job_start(tenant, job, "to see", lease).await
}

fn tenant_is_full(asked: &Result<Job, RegistryError>) -> bool {
    matches!(asked, Err(RegistryError::TooManyBacktests { most: TENANT_BACKTESTS }))
}

fn platform_is_full(asked: &Result<Job, RegistryError>) -> bool {
    matches!(asked, Err(RegistryError::BacktestsFull { most: PLATFORM_BACKTESTS }))
}

#[tokio::test]
async fn a_tenant_has_two_places_over_all_its_plugins() {
    let emulator = Emulator::start();
    let registry = emulator.registry().await;
    let mut first = ask(&registry, A, "one", LEASE).await.unwrap();
    let second = ask(&registry, A, "two", LEASE).await.unwrap();
    for name in ["one", "two", "three", "four", "five"] {
        let asked = ask(&registry, A, name, LEASE).await;
        assert!(tenant_is_full(&asked), "{name}: {asked:?}");
    }
    assert_eq!(registry.jobs(A, "three").await.unwrap(), [], "what is refused leaves nothing");
    ask(&registry, TenantId(2), "one", LEASE).await.unwrap();

    // Its worker keeps it; asking to cancel alone frees nothing, because the worker still works.
    assert!(registry.job_hold(A, &mut first, LEASE).await.unwrap());
    registry.job_cancel(A, &first, "anna", "enough").await.unwrap();
    let asked = ask(&registry, A, "three", LEASE).await;
    assert!(tenant_is_full(&asked), "{asked:?}");
    assert!(!registry.job_save(A, &first).await.unwrap(), "the worker sees that it is to stop");
    registry.job_leave(A, &first).await.unwrap();
    let third = ask(&registry, A, "three", LEASE).await.unwrap();

    // One that is done, twice told: the second time the place is somebody else's.
    for _ in 0..2 {
        registry.job_leave(A, &second).await.unwrap();
    }
    let fourth = ask(&registry, A, "four", LEASE).await.unwrap();
    registry.job_leave(A, &second).await.unwrap();
    let asked = ask(&registry, A, "five", LEASE).await;
    assert!(tenant_is_full(&asked), "{asked:?}");
    let kept: HashSet<String> = [third, fourth].map(|job| format!("{:?}", job.places.unwrap())).into();
    assert_eq!(kept.len(), 2, "two backtests in one place: {kept:?}");
}

#[tokio::test]
async fn a_killed_worker_does_not_keep_its_place() {
    let emulator = Emulator::start();
    let registry = emulator.registry().await;
    let mut killed = ask(&registry, A, "one", OVER).await.unwrap();
    let mut slow = ask(&registry, A, "two", OVER).await.unwrap();
    // It comes back before anybody wanted the place, and has it still.
    assert!(registry.job_hold(A, &mut killed, OVER).await.unwrap());
    let third = ask(&registry, A, "three", LEASE).await.unwrap();
    let fourth = ask(&registry, A, "four", LEASE).await.unwrap();
    assert!(!registry.job_hold(A, &mut killed, LEASE).await.unwrap(), "its place is another's by now");
    assert!(!registry.job_hold(A, &mut slow, LEASE).await.unwrap());
    // Nor does it take away what is not its own.
    registry.job_leave(A, &killed).await.unwrap();
    registry.job_leave(A, &slow).await.unwrap();
    let asked = ask(&registry, A, "five", LEASE).await;
    assert!(tenant_is_full(&asked), "{asked:?}");
    registry.job_leave(A, &third).await.unwrap();
    assert!(registry.job_hold(A, &mut slow, LEASE).await.unwrap(), "any free place will do");
    registry.job_leave(A, &fourth).await.unwrap();
    // One of an earlier release, which was given none.
    let mut old = Job { places: None, ..killed };
    assert!(registry.job_hold(A, &mut old, LEASE).await.unwrap() && old.places.is_some());
}

/// Two administrators, and then many tenants, ask at the same moment: no place is given twice.
#[tokio::test]
async fn who_asks_at_the_same_moment_gets_no_more() {
    let emulator = Emulator::start();
    let registry = emulator.registry().await;
    let names = ["one", "two", "three", "four"];
    for name in names {
        version(&registry, A, name).await;
    }
    let asked = futures_util::future::join_all(names.map(|name| ask(&registry, A, name, LEASE))).await;
    assert_eq!(asked.iter().filter(|a| a.is_ok()).count(), 2, "{asked:?}");
    assert_eq!(asked.iter().filter(|a| tenant_is_full(a)).count(), 2, "{asked:?}");

    let others = (2..=9).map(|n| ask(&registry, TenantId(n), "one", LEASE));
    let others = futures_util::future::join_all(others).await;
    let given = others.iter().filter(|a| a.is_ok()).count();
    assert_eq!(given, usize::from(PLATFORM_BACKTESTS - TENANT_BACKTESTS), "{others:?}");
    assert_eq!(others.iter().filter(|a| platform_is_full(a)).count(), 8 - given, "{others:?}");
    // One that was refused for the platform's sake holds no place of its tenant's.
    let of = |which: fn(&Result<Job, RegistryError>) -> bool| {
        let at = others.iter().position(which).unwrap();
        (TenantId(at as i32 + 2), &others[at])
    };
    let ((waits, _), (runs, job)) = (of(platform_is_full), of(Result::is_ok));
    registry.job_leave(runs, job.as_ref().unwrap()).await.unwrap();
    ask(&registry, waits, "one", LEASE).await.unwrap();
    let second = ask(&registry, waits, "two", LEASE).await;
    assert!(platform_is_full(&second), "its own second place was free: {second:?}");
    let mine: Vec<Job> = asked.into_iter().flatten().collect();
    registry.job_leave(A, &mine[0]).await.unwrap();
    ask(&registry, waits, "two", LEASE).await.unwrap();
}

#[tokio::test]
async fn the_trail_says_who_asked_and_who_cancelled() {
    let emulator = Emulator::start();
    let registry = emulator.registry().await;
    let job = ask(&registry, A, "one", LEASE).await.unwrap();
    // Two who cancel: the first one did.
    registry.job_cancel(A, &job, "bob", "the wrong one").await.unwrap();
    registry.job_cancel(A, &job, "carol", "again").await.unwrap();
    let trail = registry.audit(A, Some("one"), 10).await.unwrap();
    let of: Vec<_> = trail.iter().map(|e| (&*e.action, &*e.by, &*e.why)).collect();
    let asked = [("backtest_cancel", "bob", "the wrong one"), ("backtest", "anna", "to see")];
    assert_eq!(of[..2], asked);
    for entry in &trail[..2] {
        assert_eq!((&*entry.version, &entry.digest), ("1.0.0", &job.digest));
        assert_eq!(entry.settings_digest, job.settings_digest);
        assert!(entry.digest.len() == 64 && entry.settings_digest.len() == 64 && entry.at >= job.asked_at);
    }
    // What was refused is in no trail.
    ask(&registry, A, "two", LEASE).await.unwrap();
    let asked = ask(&registry, A, "three", LEASE).await;
    assert!(tenant_is_full(&asked), "{asked:?}");
    let trail = registry.audit(A, Some("three"), 10).await.unwrap();
    assert!(trail.iter().all(|e| e.action != "backtest"), "{trail:?}");
}
