//! The registry against a real DynamoDB and S3 emulator.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use eaves_model::TenantId;
use eaves_registry::{
    Change, OnFailure, Registry, RegistryError, TenantPolicy, Upload, Version, VersionState, Wanted,
    signed_text,
};
use sha2::Digest as _;
use support::Emulator;

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

    Box::pin(no_update_is_lost(&registry, &one, &two)).await;
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
    // Nor is it lost which settings it takes.
    let schema = r#"{"type":"object"}"#;
    let told = registry.push_described(B, ("range", "2.0.0"), "second try", "y", schema).await.unwrap();
    assert_eq!(told.settings_schema, schema);
    assert_eq!(registry.version(B, "range", "2.0.0").await.unwrap().unwrap().settings_schema, schema);
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

    // Three labels are known by now, the refused one too.
    let few = TenantPolicy { max_versions: 4, uploads_per_hour: 9, ..set };
    let set = registry.set_policy(A, few, "root", "few").await.unwrap();
    registry.upload(A, &up("1.3.0"), "four".into()).await.unwrap();
    let error = registry.upload(A, &up("1.4.0"), "five".into()).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooManyVersions { most: 4 }), "{error}");
    registry.upload(A, &up("1.3.0"), "4".into()).await.unwrap();
    registry.upload(B, &up("1.4.0"), "five".into()).await.unwrap();

    let pair = Ed25519KeyPair::generate().unwrap();
    let publishers = [("ci".to_owned(), hex::encode(pair.public_key().as_ref()))].into();
    let strict =
        TenantPolicy { require_signature: true, max_versions: 9, uploads_per_hour: 99, publishers, ..set };
    registry.set_policy(A, strict, "root", "signed only").await.unwrap();
    let error = registry.upload(A, &up("2.0.0"), "s".into()).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotSigned), "{error}");
    let signature = signature(&pair, b"s");
    let signed = Upload { signature: Some(&signature), ..up("2.0.0") };
    let error = registry.upload(A, &signed, "t".into()).await.unwrap_err();
    assert!(matches!(error, RegistryError::BadSignature), "{error}");
    let taken = registry.upload(A, &signed, "s".into()).await.unwrap();
    assert_eq!(taken.publisher.as_deref(), Some("ci"));
}

/// What an ed25519 publisher gives a component.
fn signature(pair: &Ed25519KeyPair, wasm: &[u8]) -> String {
    let digest = hex::encode(sha2::Sha256::digest(wasm));
    hex::encode(pair.sign(signed_text(&digest).as_bytes()).as_ref())
}

/// What is not signed comes into force by no way: not by activation, shadow or rollback, and not in
/// place of a version that keeps failing. What is in force stays.
#[tokio::test]
async fn what_is_not_signed_comes_back_by_no_way() {
    let emulator = Emulator::start();
    let registry = emulator.registry().await;
    let one = registry.push(A, "range", "1.0.0", "one", "artefact").await.unwrap();
    let two = registry.push(A, "range", "2.0.0", "two", "artefact").await.unwrap();
    registry.activate_version(A, &wanted(&one, "{}"), &ME).await.unwrap();
    registry.activate_version(A, &wanted(&two, "{}"), &ME).await.unwrap();
    let before = registry.pointer(A).await.unwrap();
    assert_eq!(before.fallback().map(|a| &*a.version), Some("1.0.0"));

    let pair = Ed25519KeyPair::generate().unwrap();
    let publishers = [("ci".to_owned(), hex::encode(pair.public_key().as_ref()))].into();
    let strict = TenantPolicy { require_signature: true, publishers, ..TenantPolicy::default() };
    let strict = registry.set_policy(A, strict, "root", "signed only").await.unwrap();
    let now = registry.pointer(A).await.unwrap();
    assert_eq!(now.revision, before.revision + 1, "instances look again");
    assert_eq!(now.active, before.active, "what is in force stays");
    assert_eq!((now.fallback(), now.last_good.as_ref()), (None, before.last_good.as_ref()));
    let error = registry.rollback(A, "range", &ME).await.unwrap_err();
    let named = matches!(&error, RegistryError::UnsignedBefore { version, .. } if version == "1.0.0");
    assert!(named, "{error}");
    for error in [
        registry.activate_version(A, &wanted(&one, "{}"), &ME).await.unwrap_err(),
        registry.shadow(A, Some(&wanted(&one, "{}")), &ME).await.unwrap_err(),
    ] {
        assert!(matches!(error, RegistryError::NotSigned), "{error}");
    }
    assert_eq!(registry.pointer(A).await.unwrap(), now);

    // Its author signs what was in force, and it may be again.
    let signed = signature(&pair, b"one");
    let upload = Upload { name: "range", version: "1.0.0", signature: Some(&signed), by: "anna", why: "" };
    let again = registry.upload(A, &upload, "one".into()).await.unwrap();
    registry.checked(A, &again, "", "artefact".into(), "anna").await.unwrap();
    let back = registry.rollback(A, "range", &ME).await.unwrap();
    assert_eq!(back.active.unwrap().version, "1.0.0");
    let signed = signature(&pair, b"three");
    let upload = Upload { version: "3.0.0", signature: Some(&signed), ..upload };
    let three = registry.upload(A, &upload, "three".into()).await.unwrap();
    let three = registry.checked(A, &three, "", "artefact".into(), "anna").await.unwrap();
    let after = registry.activate_version(A, &wanted(&three, "{}"), &ME).await.unwrap();
    assert_eq!(after.fallback().map(|a| &*a.version), Some("1.0.0"), "it is signed by now");

    // A publisher that is not trusted any more.
    let other = Ed25519KeyPair::generate().unwrap();
    let publishers = [("new".to_owned(), hex::encode(other.public_key().as_ref()))].into();
    registry.set_policy(A, TenantPolicy { publishers, ..strict }, "root", "the key is lost").await.unwrap();
    assert_eq!(registry.pointer(A).await.unwrap().fallback(), None);
    let error = registry.rollback(A, "range", &ME).await.unwrap_err();
    assert!(matches!(error, RegistryError::UnsignedBefore { .. }), "{error}");
    registry.deactivate(A).await.unwrap();
    assert_eq!(registry.active(A).await.unwrap(), None);
}

/// Limits go to where they are kept to, with what is in force, at once.
#[tokio::test]
async fn limits_hold_from_the_moment_they_are_set() {
    let emulator = Emulator::start();
    let registry = emulator.registry().await;
    let tight = TenantPolicy { ms_per_1000: 7, memory_bytes: 2 << 20, ..TenantPolicy::default() };
    let set = registry.set_policy(A, tight.clone(), "root", "before there is a plugin").await.unwrap();
    let limits = async || {
        let pointer = registry.pointer(A).await.unwrap();
        (pointer.ms_per_1000, pointer.memory_bytes)
    };
    assert_eq!(limits().await, (7, 2 << 20));
    let one = registry.push(A, "range", "1.0.0", "one", "artefact").await.unwrap();
    registry.shadow(A, Some(&wanted(&one, "{}")), &ME).await.unwrap();
    assert_eq!(limits().await, (7, 2 << 20));
    registry.activate_version(A, &wanted(&one, "{}"), &ME).await.unwrap();
    let active = registry.pointer(A).await.unwrap();
    let wide = TenantPolicy { ms_per_1000: 90, memory_bytes: 32 << 20, ..set };
    // Two administrators at once: one is told, and loses nothing of the other's.
    let rename = TenantPolicy { max_versions: 3, ..wide.clone() };
    let (a, b) = tokio::join!(
        registry.set_policy(A, wide.clone(), "root", "wider"),
        registry.set_policy(A, rename, "anna", "fewer")
    );
    let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
    assert!(matches!(lost, Err(RegistryError::Conflict { tenant: A })), "{lost:?}");
    assert_eq!(registry.policy(A).await.unwrap(), won.unwrap());
    assert_eq!(limits().await, (90, 32 << 20));
    let pointer = registry.pointer(A).await.unwrap();
    assert_eq!((pointer.revision, pointer.active), (active.revision + 1, active.active));
    assert_eq!(registry.pointer(B).await.unwrap().memory_bytes, 64 << 20, "another tenant");
    for (bytes, wanted) in [(0, "is not from"), (1 << 40, "67108864")] {
        let policy = TenantPolicy { memory_bytes: bytes, ..registry.policy(A).await.unwrap() };
        let error = registry.set_policy(A, policy, "root", "").await.unwrap_err();
        let named = matches!(&error, RegistryError::BadPolicy { field: "memory_bytes", .. });
        assert!(named && error.to_string().contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn an_emulator_that_is_gone_is_a_retryable_error() {
    let emulator = Emulator::start();
    let registry = emulator.registry().await;
    drop(emulator);
    let error = registry.active(A).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}
