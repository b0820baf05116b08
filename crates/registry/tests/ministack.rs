//! The registry against a real DynamoDB and S3 emulator.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use eaves_model::TenantId;
use eaves_registry::{
    Change, OnFailure, Registry, RegistryError, TenantPolicy, Upload, Version, VersionState, Wanted,
    signed_text,
};
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
            compiler: String::new(),
        };
        let registry = Registry::connect(&self.config(), &settings).await.unwrap();
        registry.ensure_table().await.unwrap();
        registry
    }
}

const A: TenantId = TenantId(1);
const B: TenantId = TenantId(2);
const ME: Change<'_> = Change { by: "anna", why: "a test", seen: None };

fn wanted<'a>(version: &'a Version, settings: &'a str) -> Wanted<'a> {
    Wanted { version, settings, on_failure: OnFailure::Quarantine }
}

async fn state(registry: &Registry, version: &str) -> VersionState {
    registry.version(A, "range", version).await.unwrap().unwrap().state
}

#[tokio::test]
async fn the_life_of_a_version() {
    let emulator = Emulator::start();
    let registry = emulator.registry().await;
    registry.ensure_table().await.unwrap();
    assert_eq!(registry.pointer(A).await.unwrap().revision, 0);

    let one = registry.push(A, "range", "1.0.0", "wasm one", "artefact one").await.unwrap();
    let two = registry.push(A, "range", "1.1.0", "wasm two", "artefact two").await.unwrap();
    assert_eq!(one.state, VersionState::Checked);
    assert_eq!(registry.versions(A).await.unwrap(), [one.clone(), two.clone()]);
    assert_eq!(registry.wasm(&one.digest).await.unwrap(), "wasm one");

    let first = registry.activate_version(A, &wanted(&one, r#"{"max":1}"#), &ME).await.unwrap();
    let active = registry.active(A).await.unwrap().unwrap();
    assert_eq!((active.settings.as_str(), active.settings_version), (r#"{"max":1}"#, 1));
    assert_eq!((first.revision, active.by.as_str()), (1, "anna"));
    assert_eq!(registry.artefact(&active).await.unwrap(), "artefact one");

    registry.shadow(A, Some(&wanted(&two, r#"{"max":2}"#)), &ME).await.unwrap();
    assert_eq!(state(&registry, "1.1.0").await, VersionState::Shadow);
    let second = registry.activate_version(A, &wanted(&two, r#"{"max":2}"#), &ME).await.unwrap();
    assert_eq!(second.shadow, None, "what is active does not look on as well");
    assert_eq!(second.last_good.unwrap().version, "1.0.0");
    assert_eq!(state(&registry, "1.0.0").await, VersionState::Superseded);
    assert_eq!(state(&registry, "1.1.0").await, VersionState::Active);

    let back = registry.rollback(A, "range", &ME).await.unwrap();
    let active = registry.active(A).await.unwrap().unwrap();
    assert_eq!((active.version.as_str(), active.settings.as_str()), ("1.0.0", r#"{"max":1}"#));
    assert_eq!(state(&registry, "1.1.0").await, VersionState::RolledBack);
    assert_eq!(back.last_good, None);
    let error = registry.rollback(A, "range", &ME).await.unwrap_err();
    assert!(matches!(error, RegistryError::NothingBefore { .. }), "{error}");

    registry.deactivate(A).await.unwrap();
    assert_eq!(registry.active(A).await.unwrap(), None);
    registry.rollback(A, "range", &ME).await.unwrap();
    assert_eq!(registry.active(A).await.unwrap().unwrap().version, "1.0.0");

    let trail = registry.audit(A, None, 100).await.unwrap();
    let actions: Vec<&str> = trail.iter().rev().map(|e| e.action.as_str()).collect();
    let pushed = ["upload", "check", "upload", "check"];
    let changed = ["activate", "shadow", "activate", "rollback", "deactivate", "rollback"];
    assert_eq!(actions, [&pushed[..], &changed[..]].concat());
    assert!(trail.iter().all(|e| !e.digest.is_empty() && !e.by.is_empty()), "{trail:?}");
    assert_eq!(registry.settings_versions(A, "range").await.unwrap().len(), 2);

    no_update_is_lost(&registry, &one, &two).await;
    a_tenant_has_only_its_own(&registry, &one).await;
    a_new_artefact_leaves_the_old_in_place(&registry).await;
    what_was_used_is_not_replaced(&registry).await;
    nonsense_is_refused(&registry, &one).await;
}

async fn no_update_is_lost(registry: &Registry, one: &Version, two: &Version) {
    let seen = Change { seen: Some(registry.pointer(A).await.unwrap().revision), ..ME };
    let (by_a, by_b) = (wanted(one, r#"{"by":"a"}"#), wanted(two, r#"{"by":"b"}"#));
    let (a, b) =
        tokio::join!(registry.activate_version(A, &by_a, &seen), registry.activate_version(A, &by_b, &seen));
    let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
    assert!(matches!(lost, Err(RegistryError::Conflict { tenant: A })), "{lost:?}");
    let pointer = registry.pointer(A).await.unwrap();
    assert_eq!(pointer.active.unwrap().settings_digest, won.unwrap().active.unwrap().settings_digest);
    let late = registry.rollback(A, "range", &seen).await.unwrap_err();
    assert!(matches!(late, RegistryError::Conflict { .. }), "{late}");
}

async fn a_tenant_has_only_its_own(registry: &Registry, of_a: &Version) {
    assert_eq!(registry.active(B).await.unwrap(), None);
    assert_eq!(registry.versions(B).await.unwrap(), []);
    let error = registry.activate(B, "range", &of_a.digest, "{}").await.unwrap_err();
    assert!(matches!(error, RegistryError::NoSuchVersion { tenant: B, .. }), "{error}");
    assert!(!error.is_retryable());
    let both = registry.pointers(&[A, B]).await.unwrap();
    assert_eq!(both[&A], registry.pointer(A).await.unwrap());
    assert_eq!(both[&B].active, None);
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
    assert_eq!(registry.version(B, "range", "1.0.0").await.unwrap().unwrap().state, VersionState::Active);
}

async fn what_was_used_is_not_replaced(registry: &Registry) {
    let error = registry.push(B, "range", "1.0.0", "other wasm", "x").await.unwrap_err();
    assert!(matches!(error, RegistryError::VersionTaken { .. }), "{error}");
    // What nobody used is the author's to mend.
    registry.push(B, "range", "2.0.0", "first try", "x").await.unwrap();
    let again = registry.push(B, "range", "2.0.0", "second try", "y").await.unwrap();
    assert_eq!(registry.wasm(&again.digest).await.unwrap(), "second try");
}

async fn nonsense_is_refused(registry: &Registry, version: &Version) {
    for name in ["", "Range", "a b", "../x", &"a".repeat(65)] {
        let error = registry.push(A, name, "1", "w", "a").await.unwrap_err();
        assert!(matches!(error, RegistryError::BadName { .. }), "{name:?}: {error}");
    }
    for label in ["", "1#2", "a b", &"1".repeat(65)] {
        let error = registry.push(A, "range", label, "w", "a").await.unwrap_err();
        assert!(matches!(error, RegistryError::BadName { .. }), "{label:?}: {error}");
    }
    for settings in ["", "[]", "1", "{", "{\"a\":}"] {
        let error = registry.activate_version(A, &wanted(version, settings), &ME).await.unwrap_err();
        assert!(matches!(error, RegistryError::BadSettings(_)), "{settings:?}: {error}");
    }
    let error = registry.wasm(&"0".repeat(64)).await.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
}

#[tokio::test]
async fn uploads_are_limited_and_signed() {
    let emulator = Emulator::start();
    let registry = emulator.registry().await;
    let up = |version| Upload { name: "range", version, signature: None, by: "anna", why: "" };
    let stored = registry.upload(A, &up("1.0.0"), "a wasm".into()).await.unwrap();
    assert_eq!(stored.state, VersionState::Uploaded);
    let error = registry.activate_version(A, &wanted(&stored, "{}"), &ME).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotChecked { .. }), "{error}");
    registry.refused(A, &stored, "it imports wasi", "anna").await.unwrap();
    let refused = registry.version(A, "range", "1.0.0").await.unwrap().unwrap();
    assert_eq!((refused.state, refused.refusal.as_deref()), (VersionState::Refused, Some("it imports wasi")));

    let policy = TenantPolicy { max_bytes: 10, uploads_per_hour: 3, ..TenantPolicy::default() };
    let set = registry.set_policy(A, policy.clone(), "root", "tight").await.unwrap();
    let error = registry.set_policy(A, policy, "other", "blind").await.unwrap_err();
    assert!(matches!(error, RegistryError::Conflict { .. }), "{error}");
    let error = registry.upload(A, &up("1.1.0"), "eleven bytes".into()).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { most: 10, .. }), "{error}");
    registry.upload(A, &up("1.1.0"), "two".into()).await.unwrap();
    registry.upload(A, &up("1.2.0"), "three".into()).await.unwrap();
    let error = registry.upload(A, &up("1.3.0"), "four".into()).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooManyUploads { most: 3 }), "{error}");

    let pair = Ed25519KeyPair::generate().unwrap();
    let publishers = [("ci".to_owned(), hex::encode(pair.public_key().as_ref()))].into();
    let strict = TenantPolicy { require_signature: true, uploads_per_hour: 9, publishers, ..set };
    registry.set_policy(A, strict, "root", "signed only").await.unwrap();
    let error = registry.upload(A, &up("2.0.0"), "s".into()).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotSigned), "{error}");
    use sha2::Digest as _;
    let digest = hex::encode(sha2::Sha256::digest(b"s"));
    let signature = hex::encode(pair.sign(signed_text(&digest).as_bytes()).as_ref());
    let signed = Upload { signature: Some(&signature), ..up("2.0.0") };
    let error = registry.upload(A, &signed, "t".into()).await.unwrap_err();
    assert!(matches!(error, RegistryError::BadSignature), "{error}");
    let taken = registry.upload(A, &signed, "s".into()).await.unwrap();
    assert_eq!(taken.publisher.as_deref(), Some("ci"));
}

#[tokio::test]
async fn an_emulator_that_is_gone_is_a_retryable_error() {
    let emulator = Emulator::start();
    let registry = emulator.registry().await;
    drop(emulator);
    let error = registry.active(A).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}
