//! Whose plugins a tenant takes, and which settings it goes back to.

use crate::plugin_life::{MOODY, put_in_force, upload};
use crate::world::{Answer, World, said};
use anyhow::{Result, ensure};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const POLICY: &str = "/v1/plugin-policy";

/// What docs/plugins.md tells a publisher to sign.
fn signature(pair: &Ed25519KeyPair, wasm: &[u8]) -> String {
    let text = format!("eaves-plugin-v1:{}", hex::encode(Sha256::digest(wasm)));
    hex::encode(pair.sign(text.as_bytes()).as_ref())
}

fn expect(answer: &Answer, status: u16, field: &str) -> Result<()> {
    ensure!(
        answer.status == status && answer.json["field"] == field,
        "{status} {field}: {} {}",
        answer.status,
        answer.text
    );
    Ok(())
}

/// A tenant's administrator wants signatures: nobody else can, and from then on nothing unsigned is taken,
/// or put in force by whatever way. What is in force stays.
pub(crate) async fn only_what_a_publisher_signed_is_taken(w: &World) -> Result<()> {
    let t = "signing";
    w.execute(&format!("select tenant_create('{t}', false, 64)")).await?;
    for version in ["1.0.0", "1.1.0"] {
        upload(w, t, MOODY, "limits", version).await?;
        put_in_force(w, t, &format!("limits@{version}"), "activate", json!({})).await?;
    }
    let pair = Ed25519KeyPair::generate()?;
    let key = hex::encode(pair.public_key().as_ref());
    let want = |revision: u64| json!({"require_signature": true, "publishers": {"ci": key}, "expected_revision": revision, "why": "ticket 7"});
    nobody_else_sets_it(w, t, want(0)).await?;
    let set = w.admin(t, "PUT", POLICY, want(0)).await?;
    ensure!(set.status == 200, "{} {}", set.status, set.text);
    ensure!(set.json["revision"] == 1 && set.json["publishers"]["ci"] == key, "{}", set.text);
    ensure!(set.json["max_versions"] == 200, "the operator's limits stay: {}", set.text);
    let late = w.admin(t, "PUT", POLICY, want(0)).await?;
    ensure!(late.status == 409, "{} {}", late.status, late.text);
    ensure!(w.admin(t, "GET", POLICY, Value::Null).await?.json == set.json, "{}", set.text);

    let wasm = std::fs::read(MOODY)?;
    let good = signature(&pair, &wasm);
    let bring = |version: &str, signature: Option<&str>| {
        let mut body = json!({"name": "limits", "version": version, "wasm_base64": STANDARD.encode(&wasm)});
        if let Some(signature) = signature {
            body["signature"] = signature.into();
        }
        body
    };
    let foreign = signature(&Ed25519KeyPair::generate()?, &wasm);
    let of_other_bytes = signature(&pair, b"something else");
    for signature in [None, Some("zz"), Some(&*foreign), Some(&*of_other_bytes)] {
        let answer = w.admin(t, "POST", "/v1/plugins", bring("2.0.0", signature)).await?;
        expect(&answer, 422, "signature")?;
    }
    let taken = w.admin(t, "POST", "/v1/plugins", bring("2.0.0", Some(&good))).await?;
    ensure!(taken.status == 201 && taken.json["publisher"] == "ci", "{} {}", taken.status, taken.text);
    let args = ["plugin", "upload", MOODY, "--tenant", t, "--name", "limits", "--version", "2.1.0"];
    let done = w.eaves(&[&args[..], &["--signature", &good]].concat(), "").await?;
    ensure!(done.status.success(), "{}", said(&done));

    for how in ["activate", "shadow"] {
        let path = format!("/v1/plugins/limits/versions/1.0.0/{how}");
        expect(&w.admin(t, "POST", &path, json!({})).await?, 422, "signature")?;
    }
    let back = w.admin(t, "POST", "/v1/plugins/limits/rollback", json!({})).await?;
    expect(&back, 422, "signature")?;
    ensure!(back.json["detail"].as_str().is_some_and(|d| d.contains("version 1.0.0")), "{}", back.text);
    let standing = w.admin(t, "GET", "/v1/plugins", Value::Null).await?.json["standing"].clone();
    ensure!(standing["active"]["version"] == "1.1.0", "what is in force stays: {standing}");
    ensure!(standing["last_good"]["version"] == "1.0.0", "{standing}");
    ensure!(standing["last_good_allowed"] == false, "{standing}");

    put_in_force(w, t, "limits@2.0.0", "activate", json!({})).await?;
    let standing = put_in_force(w, t, "limits@2.1.0", "activate", json!({})).await?;
    ensure!(standing["last_good_allowed"] == true, "{standing}");
    let back = put_in_force(w, t, "limits", "rollback", json!({})).await?;
    ensure!(back["active"]["version"] == "2.0.0", "a signed one can be gone back to: {back}");
    let audit = w.admin(t, "GET", "/v1/plugins/limits/audit", Value::Null).await?.json;
    let why = |e: &Value| e["action"] == "policy" && e["why"] == "ticket 7" && e["by"] != "";
    ensure!(audit["entries"].as_array().is_some_and(|all| all.iter().any(why)), "{audit}");
    Ok(())
}

/// Not who may only change plugins; and not what makes no sense.
async fn nobody_else_sets_it(w: &World, t: &str, good: Value) -> Result<()> {
    let token = w.token(t, Some("plugins:read plugins:write")).await?;
    let url = format!("{}{POLICY}", w.platform.endpoints().api_url);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let refused = client.put(&url).bearer_auth(&token).json(&good).send().await?;
    ensure!(refused.status() == 403, "{}", refused.status());
    for (change, field) in [
        (json!({"publishers": {"ci": "zz"}}), "publishers"),
        (json!({"publishers": {"": good["publishers"]["ci"]}}), "publishers"),
        (json!({"publishers": {}}), "require_signature"),
        (json!({"max_versions": 1000}), "max_versions"),
        (json!({"memory_bytes": 1}), "memory_bytes"),
        (json!({"why": "x".repeat(1001)}), "why"),
    ] {
        let mut body = good.clone();
        for (name, value) in change.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        expect(&w.admin(t, "PUT", POLICY, body).await?, 400, field)?;
    }
    let mut blind = good;
    blind.as_object_mut().and_then(|body| body.remove("expected_revision"));
    expect(&w.admin(t, "PUT", POLICY, blind).await?, 400, "expected_revision")?;
    let policy = w.admin(t, "GET", POLICY, Value::Null).await?.json;
    ensure!(policy["revision"] == 0 && policy["require_signature"] == false, "{policy}");
    Ok(())
}

/// Settings are kept by number: a version is activated with those that it, or an earlier one, had.
pub(crate) async fn earlier_settings_come_back_by_their_number(w: &World) -> Result<()> {
    let t = "numbered";
    w.execute(&format!("select tenant_create('{t}', false, 64)")).await?;
    for version in ["1.0.0", "1.1.0"] {
        upload(w, t, MOODY, "limits", version).await?;
    }
    for max in [10, 20] {
        put_in_force(w, t, "limits@1.0.0", "activate", json!({"settings": {"max": max}})).await?;
    }
    let known = w.admin(t, "GET", "/v1/plugins/limits/versions", Value::Null).await?.json["settings"].clone();
    let numbers = |n: usize| json!([known[n]["number"], known[n]["settings"]]);
    ensure!(numbers(0) == json!([2, {"max": 20}]) && numbers(1) == json!([1, {"max": 10}]), "{known}");

    let back = put_in_force(w, t, "limits@1.1.0", "activate", json!({"settings_version": 1})).await?;
    let active = &back["active"];
    ensure!(active["version"] == "1.1.0" && active["settings_version"] == 1, "{back}");
    ensure!(active["settings"] == json!({"max": 10}), "{back}");
    let looks_on = put_in_force(w, t, "limits@1.0.0", "shadow", json!({"settings_version": 2})).await?;
    ensure!(looks_on["shadow"]["settings"] == json!({"max": 20}), "{looks_on}");
    let args = ["plugin", "decide", "--tenant", t, "--name", "limits", "--version", "1.1.0"];
    let done = w.eaves(&[&args[..], &["--settings-version", "2", "--json"]].concat(), "").await?;
    ensure!(done.status.success(), "{}", said(&done));
    let standing: Value = serde_json::from_slice(&done.stdout)?;
    ensure!(standing["active"]["settings"] == json!({"max": 20}), "{standing}");

    let path = "/v1/plugins/limits/versions/1.1.0/activate";
    for (body, status, field) in [
        (json!({"settings_version": 3}), 404, "settings_version"),
        (json!({"settings_version": 1, "settings": {}}), 400, "settings_version"),
        (json!({"settings_version": "1"}), 400, "body"),
    ] {
        expect(&w.admin(t, "POST", path, body).await?, status, field)?;
    }
    let standing = w.admin(t, "GET", "/v1/plugins", Value::Null).await?.json["standing"].clone();
    ensure!(standing["active"]["settings_version"] == 2, "what was refused changed nothing: {standing}");
    Ok(())
}
