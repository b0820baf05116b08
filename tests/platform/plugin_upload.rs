//! Components on their way in, through the real function.

use crate::plugin_life::MOODY;
use crate::world::{World, said};
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const BOUNDARY: &str = "a-boundary-that-is-in-no-component";

/// A form with these fields, as a browser sends it.
fn form(fields: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes(),
        );
        if *name == "wasm" {
            body.extend_from_slice(b"; filename=\"limits.wasm\"\r\nContent-Type: application/wasm");
        }
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

/// The component with so many bytes more, in a section that nobody reads.
fn grown(component: &[u8], bytes: usize) -> Vec<u8> {
    let mut grown = component.to_vec();
    let body = [&b"\x04many"[..], &vec![b'x'; bytes]].concat();
    grown.push(0);
    let mut left = body.len();
    while left > 127 {
        grown.push((left & 127) as u8 | 128);
        left >>= 7;
    }
    grown.push(left as u8);
    grown.extend(body);
    grown
}

/// `POST /v1/plugins` takes a component as it is, and in base64; what is wrong is named.
pub(crate) async fn a_form_and_base64_are_taken(w: &World) -> Result<()> {
    let t = "uploading";
    w.execute(&format!("select tenant_create('{t}', false, 64)")).await?;
    let wasm = std::fs::read(MOODY)?;
    let digest = hex::encode(Sha256::digest(&wasm));
    let (kind, body) =
        form(&[("name", b"limits"), ("version", b"1.0.0"), ("why", b"by form"), ("wasm", &wasm)]);
    let taken = w.post_bytes(t, "/v1/plugins", &kind, body).await?;
    ensure!(taken.status == 201, "{} {}", taken.status, taken.text);
    ensure!(taken.json["digest"] == digest && taken.json["state"] == "checked", "{}", taken.text);

    let body = json!({"name": "limits", "version": "1.1.0", "wasm_base64": STANDARD.encode(&wasm)});
    let taken = w.post_bytes(t, "/v1/plugins", "application/json", body.to_string().into_bytes()).await?;
    ensure!(taken.status == 201 && taken.json["digest"] == digest, "{} {}", taken.status, taken.text);

    type Parts<'a> = &'a [(&'a str, &'a [u8])];
    let wrong: [(Parts<'_>, u16, &str); 4] = [
        (&[("name", b"limits"), ("version", b"2.0.0")], 400, "wasm"),
        (&[("name", b"limits"), ("wasm", &wasm)], 400, "version"),
        (&[("name", b"limits"), ("version", b"2.0.0"), ("wasm", &wasm), ("colour", b"red")], 400, "colour"),
        (&[("name", b"limits"), ("version", b"2.0.0"), ("wasm", b"no component")], 422, "wasm"),
    ];
    for (fields, status, field) in wrong {
        let (kind, body) = form(fields);
        let refused = w.post_bytes(t, "/v1/plugins", &kind, body).await?;
        ensure!(
            refused.status == status && refused.json["field"] == field,
            "{field}: {} {}",
            refused.status,
            refused.text
        );
    }
    for (body, status, field) in [
        (json!({"name": "limits", "version": "2.0.0", "wasm_base64": "a b c"}), 400, "wasm_base64"),
        (json!({"name": "limits", "version": "2.0.0"}), 400, "wasm_base64"),
        (json!({"name": "limits", "version": "2.0.0", "wasm_base64": "", "upload": ""}), 400, "upload"),
    ] {
        let refused = w.admin(t, "POST", "/v1/plugins", body).await?;
        ensure!(
            refused.status == status && refused.json["field"] == field,
            "{field}: {} {}",
            refused.status,
            refused.text
        );
    }
    let refused = w.post_bytes(t, "/v1/plugins", "text/plain", b"x".to_vec()).await?;
    ensure!(refused.status == 415, "{} {}", refused.status, refused.text);
    Ok(())
}

async fn place(w: &World, tenant: &str, wasm: &[u8]) -> Result<Value> {
    let body = json!({"bytes": wasm.len(), "sha256": hex::encode(Sha256::digest(wasm))});
    let place = w.admin(tenant, "POST", "/v1/plugins/uploads", body).await?;
    ensure!(place.status == 201, "{} {}", place.status, place.text);
    Ok(place.json)
}

async fn put(w: &World, place: &Value, wasm: &[u8]) -> Result<()> {
    let url = place["url"].as_str().context("url")?;
    let status = w.put_at_url(url, &place["headers"], wasm.to_vec()).await?;
    ensure!(status == 200, "the object store says {status}");
    Ok(())
}

/// A component that no request can carry is put into the bucket, for its tenant, once.
pub(crate) async fn a_large_component_goes_through_the_bucket(w: &World) -> Result<()> {
    let (t, other) = ("uploading-large", "uploading-other");
    for tenant in [t, other] {
        w.execute(&format!("select tenant_create('{tenant}', false, 64)")).await?;
    }
    let wasm = grown(&std::fs::read(MOODY)?, 7 << 20);
    let direct = json!({"name": "limits", "version": "1.0.0", "wasm_base64": STANDARD.encode(&wasm)});
    let refused = w.admin(t, "POST", "/v1/plugins", direct).await?;
    ensure!(refused.status >= 400, "a request carried {} bytes", wasm.len());

    let to = place(w, t, &wasm).await?;
    let url = to["url"].as_str().context("url")?;
    for signed in ["content-length", "x-amz-checksum-sha256"] {
        ensure!(url.contains(signed) && to["headers"].get(signed).is_some(), "{signed} is not signed: {to}");
    }
    ensure!(url.contains("X-Amz-Expires=900"), "{url}");
    let id = to["upload"].as_str().context("upload")?;
    let take = |version: &str| json!({"name": "limits", "version": version, "upload": id});
    let early = w.admin(t, "POST", "/v1/plugins", take("1.0.0")).await?;
    ensure!(early.status == 404 && early.json["field"] == "upload", "{} {}", early.status, early.text);
    put(w, &to, &wasm).await?;
    // Nobody else's, whatever they know of it.
    let stolen = w.admin(other, "POST", "/v1/plugins", take("1.0.0")).await?;
    ensure!(stolen.status == 404 && stolen.json["field"] == "upload", "{} {}", stolen.status, stolen.text);
    let taken = w.admin(t, "POST", "/v1/plugins", take("1.0.0")).await?;
    ensure!(taken.status == 201, "{} {}", taken.status, taken.text);
    ensure!(taken.json["bytes"] == wasm.len() && taken.json["state"] == "checked", "{}", taken.text);
    let again = w.admin(t, "POST", "/v1/plugins", take("1.1.0")).await?;
    ensure!(again.status == 404, "{} {}", again.status, again.text);

    // Other bytes than were announced, where the store lets them in.
    let to = place(w, t, &wasm).await?;
    let mut changed = wasm.clone();
    *changed.last_mut().context("bytes")? ^= 1;
    let url = to["url"].as_str().context("url")?;
    if w.put_at_url(url, &to["headers"], changed).await? == 200 {
        let body = json!({"name": "limits", "version": "1.2.0", "upload": to["upload"]});
        let refused = w.admin(t, "POST", "/v1/plugins", body).await?;
        ensure!(
            refused.status == 400 && refused.json["field"] == "upload",
            "{} {}",
            refused.status,
            refused.text
        );
    }
    for (body, status, field) in [
        (json!({"bytes": 100 << 20, "sha256": "0".repeat(64)}), 413, Value::Null),
        (json!({"bytes": 1, "sha256": "zz"}), 400, json!("sha256")),
        (json!({"bytes": 0, "sha256": "0".repeat(64)}), 400, json!("bytes")),
    ] {
        let refused = w.admin(t, "POST", "/v1/plugins/uploads", body).await?;
        ensure!(
            refused.status == status && refused.json["field"] == field,
            "{} {}",
            refused.status,
            refused.text
        );
    }
    // The command line does the same by itself.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("limits.wasm");
    std::fs::write(&file, grown(&wasm, 100))?;
    let file = file.to_string_lossy().into_owned();
    let args = ["plugin", "upload", &file, "--tenant", t, "--name", "limits", "--version", "3.0.0"];
    let done = w.eaves(&args, "").await?;
    ensure!(done.status.success(), "{}", said(&done));
    let foreign = w.post(t, "/v1/plugins/uploads", json!({})).await?;
    ensure!(foreign.status == 403, "{} {}", foreign.status, foreign.text);
    Ok(())
}

/// The plugins' endpoints keep to the tenant's rates, in the buckets that its queries are counted in.
pub(crate) async fn requests_are_counted_with_all_others(w: &World) -> Result<()> {
    let (t, other) = ("counted", "counted-not");
    for tenant in [t, other] {
        w.execute(&format!("select tenant_create('{tenant}', false, 64)")).await?;
    }
    w.execute(&format!("select tenant_guards_set('{t}', null, null, 4, 1, null)")).await?;
    // Two functions and one bucket of four a minute.
    let (mut taken, mut refused) = (0, None);
    for path in ["/v1/plugins", "/v1/tenant", "/v1/plugins/none/versions"].into_iter().cycle().take(12) {
        let answer = match path {
            "/v1/tenant" => w.get(t, path).await?,
            path => w.admin(t, "GET", path, Value::Null).await?,
        };
        ensure!(answer.header("ratelimit-policy")? == "\"reads\";q=4;w=60", "{path}: {}", answer.text);
        match answer.status {
            429 => refused = Some(answer),
            _ => taken += 1,
        }
    }
    // Where Redis answers late, on a busy machine, each function counts for itself for a while.
    ensure!((4..=9).contains(&taken), "{taken} were taken");
    let refused = refused.context("none was refused")?;
    ensure!(
        refused.json["detail"].as_str().is_some_and(|d| d.contains("4 requests a minute")),
        "{}",
        refused.text
    );
    ensure!(refused.header("ratelimit")?.starts_with("\"reads\";r=0;t="), "{}", refused.header("ratelimit")?);
    let wait: u64 = refused.header("retry-after")?.parse()?;
    ensure!((1..=60).contains(&wait), "{wait}");
    // What works much has a bucket of its own, and what is refused is not worked on.
    let upload =
        json!({"name": "limits", "version": "1.0.0", "wasm_base64": STANDARD.encode(b"no component")});
    let first = w.admin(t, "POST", "/v1/plugins", upload.clone()).await?;
    ensure!(first.status == 422, "{} {}", first.status, first.text);
    ensure!(first.header("ratelimit-policy")? == "\"expensive\";q=1;w=60", "{}", first.text);
    let second = w.admin(t, "POST", "/v1/plugins", upload).await?;
    ensure!(second.status == 429 && second.json["type"] == "/docs#rate-limited", "{}", second.text);
    // Nobody else is held back.
    for _ in 0..6 {
        let answer = w.admin(other, "GET", "/v1/plugins", Value::Null).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text);
    }
    Ok(())
}

/// Days since 1970.
fn day() -> i64 {
    jiff::Timestamp::now().as_second() / 86_400
}

/// A quota of the day, set from the command line, is counted over both functions.
pub(crate) async fn a_quota_is_one_for_all_functions(w: &World) -> Result<()> {
    let t = "by-the-day";
    let eaves = async |args: &[&str]| -> Result<String> {
        let done = w.eaves(args, "").await?;
        ensure!(done.status.success(), "{}", said(&done));
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    };
    eaves(&["tenant", "create", t]).await?;
    eaves(&["tenant", "set", t, "--quota", "reads=4,expensive=none", "--rate-limit", "values=7"]).await?;
    let listed = eaves(&["tenant", "list"]).await?;
    let row = listed.lines().find(|line| line.starts_with(t)).context("the tenant is not listed")?;
    ensure!(listed.contains("QUOTAS") && row.contains("reads=4,expensive=none"), "{listed}");
    ensure!(row.contains(" values=7 "), "{listed}");
    let wrong = w.eaves(&["tenant", "set", t, "--quota", "reads=many"], "").await?;
    ensure!(!wrong.status.success() && said(&wrong).contains("reads=6000"), "{}", said(&wrong));

    let began = day();
    let (mut taken, mut refused) = (0, None);
    for path in ["/v1/plugins", "/v1/tenant", "/v1/plugins/none/versions"].into_iter().cycle().take(12) {
        let answer = match path {
            "/v1/tenant" => w.get(t, path).await?,
            path => w.admin(t, "GET", path, Value::Null).await?,
        };
        let policy = answer.header("ratelimit-policy")?;
        ensure!(policy == "\"reads\";q=600000;w=60, \"reads-day\";q=4;w=86400", "{path}: {policy}");
        match answer.status {
            429 => refused = Some(answer),
            _ => taken += 1,
        }
    }
    if day() != began {
        // It turned in between: what that brings is seen in crates/cache.
        return Ok(());
    }
    // Where Redis answers late, on a busy machine, each function counts for itself for a while.
    ensure!((4..=8).contains(&taken), "{taken} were taken");
    let refused = refused.context("none was refused")?;
    ensure!(refused.json["type"] == "/docs#quota-exceeded", "{}", refused.text);
    ensure!(
        refused.json["detail"].as_str().is_some_and(|d| d.contains("4 requests a day")),
        "{}",
        refused.text
    );
    let wait: i64 = refused.header("retry-after")?.parse()?;
    let left = 86_400 - jiff::Timestamp::now().as_second() % 86_400;
    ensure!((left..left + 60).contains(&wait), "{wait} s, where the day has {left}");
    // Without it goes on, once the functions have heard of it.
    eaves(&["tenant", "set", t, "--quota", "default"]).await?;
    w.until(40, "the quota is gone", || async {
        let both = [w.get(t, "/v1/tenant").await?, w.admin(t, "GET", "/v1/plugins", Value::Null).await?];
        Ok(both.iter().all(|answer| answer.status == 200))
    })
    .await
}
