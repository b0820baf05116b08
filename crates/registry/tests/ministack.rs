//! The registry against a real DynamoDB and S3 emulator.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use eaves_model::TenantId;
use eaves_registry::{Registry, RegistryError};
use eaves_settings::Secret;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BUCKET: &str = "plugins";
const REGION: &str = "eu-central-1";

/// An emulator of its own, gone when dropped.
struct Emulator {
    child: Child,
    port: u16,
    _state: tempfile::TempDir,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Emulator {
    fn start() -> Self {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/ministack");
        assert!(program.exists(), "{} is missing: run `make setup`", program.display());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let state = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("SERVICES", "dynamodb,s3")
            // A bucket of another region answers with a redirect.
            .env("MINISTACK_REGION", REGION)
            .env("LOG_LEVEL", "WARNING")
            .env("TMPDIR", state.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let emulator = Self { child, port, _state: state };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !emulator.put_bucket() {
            assert!(Instant::now() < deadline, "the emulator does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        emulator
    }

    fn put_bucket(&self) -> bool {
        let Ok(mut socket) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let request = format!(
            "PUT /{BUCKET} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.port
        );
        let mut answer = String::new();
        let said = socket.write_all(request.as_bytes()).and_then(|()| socket.read_to_string(&mut answer));
        said.is_ok() && answer.starts_with("HTTP/1.1 200")
    }

    fn config(&self) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(format!("http://127.0.0.1:{}", self.port))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "test", "test", None, None, "t",
            )))
            .build()
    }

    async fn registry(&self) -> Registry {
        let settings = eaves_settings::Registry {
            table: "registry".into(),
            bucket: BUCKET.into(),
            signing_key: Secret::new(""),
            refresh: Duration::ZERO,
        };
        let registry = Registry::connect(&self.config(), &settings).await.unwrap();
        registry.ensure_table().await.unwrap();
        registry
    }
}

const A: TenantId = TenantId(1);
const B: TenantId = TenantId(2);

#[tokio::test]
async fn plugins_are_pushed_activated_and_fetched() {
    let emulator = Emulator::start();
    let registry = emulator.registry().await;
    registry.ensure_table().await.unwrap();
    assert_eq!(registry.active(A).await.unwrap(), None);

    let one = registry.push(A, "range", "1.0.0", "wasm one", "artefact one").await.unwrap();
    let two = registry.push(A, "range", "1.1.0", "wasm two", "artefact two").await.unwrap();
    assert_ne!(one.digest, two.digest);
    assert_eq!(registry.versions(A).await.unwrap(), [one.clone(), two.clone()]);
    assert_eq!(registry.wasm(&one.digest).await.unwrap(), "wasm one");

    let first = registry.activate(A, "range", &one.digest, r#"{"max":1}"#).await.unwrap();
    assert_eq!(registry.active(A).await.unwrap(), Some(first.clone()));
    assert_eq!((first.revision, first.version.as_str()), (1, "1.0.0"));
    assert_eq!(registry.artefact(&first).await.unwrap(), "artefact one");

    let second = registry.activate(A, "range", &two.digest, "{}").await.unwrap();
    assert_eq!(registry.active(A).await.unwrap(), Some(second.clone()));
    assert_ne!(first.settings_digest, second.settings_digest);

    registry.deactivate(A).await.unwrap();
    assert_eq!(registry.active(A).await.unwrap(), None);
    let again = registry.activate(A, "range", &one.digest, "{}").await.unwrap();
    assert_eq!(again.revision, 4);

    no_update_is_lost(&registry, &one.digest, &two.digest).await;
    a_tenant_has_only_its_own(&registry, &one.digest).await;
    a_new_artefact_leaves_the_old_in_place(&registry).await;
    nonsense_is_refused(&registry, &one.digest).await;
}

async fn no_update_is_lost(registry: &Registry, one: &str, two: &str) {
    let seen = registry.active(A).await.unwrap().unwrap().revision;
    let (a, b) = tokio::join!(
        registry.activate_after(seen, A, "range", one, r#"{"by":"a"}"#),
        registry.activate_after(seen, A, "range", two, r#"{"by":"b"}"#),
    );
    let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
    assert!(matches!(lost, Err(RegistryError::Conflict { tenant: A })), "{lost:?}");
    assert_eq!(registry.active(A).await.unwrap(), Some(won.unwrap()));
}

async fn a_tenant_has_only_its_own(registry: &Registry, digest_of_a: &str) {
    assert_eq!(registry.active(B).await.unwrap(), None);
    assert_eq!(registry.versions(B).await.unwrap(), []);
    let error = registry.activate(B, "range", digest_of_a, "{}").await.unwrap_err();
    assert!(matches!(error, RegistryError::NoSuchVersion { tenant: B, .. }), "{error}");
    assert!(!error.is_retryable());
}

async fn a_new_artefact_leaves_the_old_in_place(registry: &Registry) {
    let old = registry.push(B, "range", "1.0.0", "wasm b", "for the old engine").await.unwrap();
    let active = registry.activate(B, "range", &old.digest, "{}").await.unwrap();
    let new = registry.push(B, "range", "1.0.0", "wasm b", "for the new engine").await.unwrap();
    assert_eq!(old.digest, new.digest);
    assert_eq!(registry.versions(B).await.unwrap().len(), 1);
    assert_eq!(registry.artefact(&active).await.unwrap(), "for the old engine");
    let active = registry.activate(B, "range", &new.digest, "{}").await.unwrap();
    assert_eq!(registry.artefact(&active).await.unwrap(), "for the new engine");
}

async fn nonsense_is_refused(registry: &Registry, digest: &str) {
    for name in ["", "Range", "a b", "../x", &"a".repeat(65)] {
        let error = registry.push(A, name, "1", "w", "a").await.unwrap_err();
        assert!(matches!(error, RegistryError::BadName { .. }), "{name:?}: {error}");
    }
    for settings in ["", "[]", "1", "{", "{\"a\":}"] {
        let error = registry.activate(A, "range", digest, settings).await.unwrap_err();
        assert!(matches!(error, RegistryError::BadSettings(_)), "{settings:?}: {error}");
    }
    let error = registry.wasm(&"0".repeat(64)).await.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
}

#[tokio::test]
async fn an_emulator_that_is_gone_is_a_retryable_error() {
    let emulator = Emulator::start();
    let registry = emulator.registry().await;
    drop(emulator);
    let error = registry.active(A).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}
