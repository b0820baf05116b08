//! The Lambda authorizer: the real binary over the Runtime API, asked with the recorded event, with an issuer
//! on loopback that lists its keys, exchanges them, and misbehaves; and the whole way from a request
//! through the front and the authorizer to query and plugin-admin.

use crate::events::recorded;
use crate::world::World;
use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use eaves_local::front::auth::{AUDIENCE, Authorizer, ISSUER, Issuer, Kind, keys_file};
use eaves_local::front::{Front, FrontConfig};
use eaves_local::lambda::{FunctionConfig, FunctionError, FunctionHost};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// How the issuer answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// With the list of its keys.
    Well,
    /// Never.
    Silent,
    /// With a list that goes on and on.
    Megabytes,
    /// With a 500.
    Broken,
    /// With another address.
    Elsewhere,
    /// With a page for people.
    Html,
}

struct Shared {
    keys: PathBuf,
    mood: Mutex<Mood>,
    asked: AtomicUsize,
}

/// An issuer with keys of its own that serves their list.
struct Idp {
    key: PathBuf,
    url: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Idp {
    async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let key = dir.path().join("key.pem");
        Issuer::load_or_make(&key)?;
        let shared = Arc::new(Shared {
            keys: keys_file(&key),
            mood: Mutex::new(Mood::Well),
            asked: AtomicUsize::new(0),
        });
        let app = Router::new()
            .route("/jwks.json", get(serve))
            .route("/other.json", get(async |State(idp): State<Arc<Shared>>| list(&idp)))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}/jwks.json", listener.local_addr()?);
        let server = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { key, url, shared, server, _dir: dir })
    }

    fn be(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    fn signer(&self) -> Result<Issuer> {
        Issuer::load(&self.key)
    }

    fn token(&self) -> Result<String> {
        self.signer()?.token("acme", 1, "query:read", Duration::from_secs(600))
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn list(idp: &Shared) -> Response {
    std::fs::read(&idp.keys).unwrap_or_default().into_response()
}

async fn serve(State(idp): State<Arc<Shared>>) -> Response {
    idp.asked.fetch_add(1, Ordering::SeqCst);
    let mood = *idp.mood.lock().unwrap_or_else(PoisonError::into_inner);
    match mood {
        Mood::Well => list(&idp),
        Mood::Silent => std::future::pending().await,
        Mood::Megabytes => {
            let part = Bytes::from(vec![b' '; 64 * 1024]);
            let parts =
                futures_util::stream::iter((0..256).map(move |_| Ok::<_, std::io::Error>(part.clone())));
            Body::from_stream(parts).into_response()
        }
        Mood::Broken => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Elsewhere => Redirect::temporary("/other.json").into_response(),
        Mood::Html => "<html>".into_response(),
    }
}

/// The authorizer of an issuer, with times that a test can wait for.
async fn start(w: &World, idp: &Idp, more: &[(&str, &str)]) -> Result<FunctionHost> {
    let mut config = config(w, &idp.url);
    let short = [
        ("EAVES_JWT_KEYS_TTL_S", "1"),
        ("EAVES_JWT_KEYS_PAUSE_S", "1"),
        ("EAVES_JWT_KEYS_TIMEOUT_MS", "500"),
    ];
    config.env.extend(short.iter().chain(more).map(|(name, value)| ((*name).into(), (*value).into())));
    Ok(FunctionHost::spawn(config).await?)
}

/// The binary beside the others; all that it is told.
pub(crate) fn config(w: &World, keys_url: &str) -> FunctionConfig {
    let name = "eaves-authorizer";
    let logs = w.query().log_dir.join("authorizer");
    let mut config = FunctionConfig::new(name, w.program().with_file_name(name), logs);
    config.timeout = Duration::from_secs(10);
    let told =
        [("EAVES_JWT_ISSUER", ISSUER), ("EAVES_JWT_AUDIENCE", AUDIENCE), ("EAVES_JWT_KEYS_URL", keys_url)];
    config.env.extend(told.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    config
}

/// The recorded event with another token.
pub(crate) fn event(token: &str) -> Result<Value> {
    let mut event = recorded("authorizer/request.json")?;
    let header = Value::from(format!("Bearer {token}"));
    event["headers"]["authorization"] = header.clone();
    event["identitySource"] = json!([header]);
    Ok(event)
}

async fn ask(host: &FunctionHost, token: &str) -> Result<Value, FunctionError> {
    let event = event(token).unwrap_or_default();
    host.invoke(&event).await
}

async fn ensure_in(host: &FunctionHost, token: &str, what: &str) -> Result<()> {
    let verdict = ask(host, token).await?;
    ensure!(verdict["isAuthorized"] == true, "{what}: {verdict}");
    let context = &verdict["context"];
    ensure!(context["tenant"] == "acme" && context["tenant_id"] == "1", "{what}: {verdict}");
    let strings = context.as_object().is_some_and(|c| c.values().all(Value::is_string));
    ensure!(strings && context["exp"].is_string(), "{what}: {verdict}");
    Ok(())
}

async fn ensure_out(host: &FunctionHost, token: &str, what: &str) -> Result<()> {
    let verdict = ask(host, token).await?;
    ensure!(verdict == json!({"isAuthorized": false, "context": {}}), "{what}: {verdict}");
    Ok(())
}

/// A token with any claims, under any header.
fn sign(issuer: &Issuer, kid: Option<&str>, change: &[(&str, Value)]) -> Result<String> {
    let whole = issuer.token("acme", 1, "query:read", Duration::from_secs(60))?;
    let mut header = jsonwebtoken::decode_header(&whole)?;
    header.kid = kid.map(str::to_owned);
    let mut claims = jsonwebtoken::dangerous::insecure_decode::<Value>(&whole)?.claims;
    for (name, value) in change {
        claims[*name] = value.clone();
    }
    Ok(jsonwebtoken::encode(&header, &claims, issuer.key())?)
}

/// Tokens of all three kinds, through two exchanges of keys without a restart; a retired key; and all that
/// is wrong with a token, for each kind.
pub(crate) async fn keys_of_each_kind_come_and_go(w: &World) -> Result<()> {
    let idp = Idp::start().await?;
    let host = start(w, &idp, &[]).await?;
    let first = idp.token()?;
    ensure_in(&host, &first, "RS256").await?;
    let mut signers = vec![idp.signer()?];
    for (kind, name) in [(Kind::Es256, "ES256"), (Kind::EdDsa, "EdDSA")] {
        signers.push(Issuer::rotate(&idp.key, kind)?);
        let token = idp.token()?;
        // It may have asked less than a second ago.
        w.until(10, &format!("a token signed with {name} is taken"), || async {
            Ok(ask(&host, &token).await?["isAuthorized"] == true)
        })
        .await?;
        ensure_in(&host, &token, name).await?;
        ensure_in(&host, &first, "the first key's").await?;
    }
    ensure!(host.restarts() == 0, "it was started again");

    let now = jiff::Timestamp::now().as_second();
    let stranger = tempfile::tempdir()?;
    for (n, signer) in signers.iter().enumerate() {
        let kid = Some(signer.kid());
        for change in [
            ("iss", json!("https://evil.example")),
            ("aud", json!("other")),
            ("exp", json!(now - 1)),
            ("exp", json!(null)),
            ("nbf", json!(now + 60)),
            ("iat", json!(now + 60)),
        ] {
            ensure_out(&host, &sign(signer, kid, std::slice::from_ref(&change))?, &format!("{n} {change:?}"))
                .await?;
        }
        ensure_in(&host, &sign(signer, kid, &[])?, "as it should be").await?;
        ensure_out(&host, &sign(signer, None, &[])?, "no kid").await?;
        ensure_out(&host, &sign(signer, Some("made-up"), &[])?, "an unknown kid").await?;
        // The next one's name: another algorithm, or another key.
        let other = &signers[(n + 1) % signers.len()];
        ensure_out(&host, &sign(signer, Some(other.kid()), &[])?, "another key's name").await?;
        let path = stranger.path().join(format!("{n}.pem"));
        Issuer::load_or_make(&path)?;
        let foreign = Issuer::rotate(&path, [Kind::Rs256, Kind::Es256, Kind::EdDsa][n])?;
        ensure_out(&host, &sign(&foreign, kid, &[])?, "a stranger's key under the name").await?;
    }

    Issuer::retire(&idp.key, signers[0].kid())?;
    w.until(10, "the retired key's token is refused", || async {
        Ok(ask(&host, &first).await?["isAuthorized"] == false)
    })
    .await?;
    ensure_in(&host, &idp.token()?, "the key that signs").await?;

    // Not what API Gateway sends to it: an invocation that fails, and no verdict.
    let other = host.invoke(&recorded("query/entity.json")?).await;
    ensure!(matches!(other, Err(FunctionError::Reported { .. })), "{other:?}");
    host.stop(Duration::from_secs(2)).await;
    Ok(())
}

/// Key ids that nobody has do not become requests to the issuer.
pub(crate) async fn made_up_keys_do_not_flood_the_issuer(w: &World) -> Result<()> {
    let idp = Idp::start().await?;
    let pause = [("EAVES_JWT_KEYS_TTL_S", "3600"), ("EAVES_JWT_KEYS_PAUSE_S", "3600")];
    let host = start(w, &idp, &pause).await?;
    let signer = idp.signer()?;
    for n in 0..200 {
        ensure_out(&host, &sign(&signer, Some(&format!("made-up-{n}")), &[])?, "a made-up key").await?;
    }
    ensure_in(&host, &idp.token()?, "a real one").await?;
    ensure!(idp.asked() == 1, "the issuer was asked {} times", idp.asked());
    host.stop(Duration::from_secs(2)).await;
    Ok(())
}

/// Whatever the issuer does, the last keys are good for their time; without any there is no verdict, and
/// the log says why.
pub(crate) async fn an_issuer_that_is_away_locks_nobody_out_at_once(w: &World) -> Result<()> {
    let idp = Idp::start().await?;
    let token = idp.token()?;
    let patient = start(w, &idp, &[]).await?;
    ensure_in(&patient, &token, "well").await?;
    for mood in [Mood::Silent, Mood::Megabytes, Mood::Broken, Mood::Elsewhere, Mood::Html] {
        let before = idp.asked();
        idp.be(mood);
        w.until(10, "the issuer is asked again", || async {
            let began = Instant::now();
            ensure_in(&patient, &token, "keys of before").await?;
            ensure!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
            Ok(idp.asked() > before)
        })
        .await?;
        // One that has never had any.
        let mut config = config(w, &idp.url);
        config.log_dir = config.log_dir.join(format!("new-{}", mood as u8));
        config.env.insert("EAVES_JWT_KEYS_TIMEOUT_MS".into(), "500".into());
        let log = config.log_dir.join("eaves-authorizer-0.log");
        let new = FunctionHost::spawn(config).await?;
        let failed = ask(&new, &token).await;
        ensure!(matches!(failed, Err(FunctionError::Reported { .. })), "{failed:?}");
        new.stop(Duration::from_secs(2)).await;
        let log = std::fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))?;
        ensure!(log.contains("the issuer's keys cannot be fetched"), "{log}");
        ensure!(log.contains("\"issuer_failures\":1"), "{log}");
        ensure!(!log.contains(&token), "the token is in the log");
    }
    idp.be(Mood::Well);
    let short = start(w, &idp, &[("EAVES_JWT_KEYS_STALE_S", "2")]).await?;
    ensure_in(&short, &token, "well again").await?;
    idp.be(Mood::Broken);
    w.until(10, "the last keys have had their time", || async {
        Ok(matches!(ask(&short, &token).await, Err(FunctionError::Reported { .. })))
    })
    .await?;
    idp.be(Mood::Well);
    w.until(10, "the issuer is back", || async {
        Ok(ask(&short, &token).await.is_ok_and(|verdict| verdict["isAuthorized"] == true))
    })
    .await?;
    for host in [patient, short] {
        host.stop(Duration::from_secs(2)).await;
    }
    Ok(())
}

/// Over TLS: from a server whose authority is trusted, and from no other.
pub(crate) async fn keys_come_over_tls_from_a_server_that_is_trusted(w: &World) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let key = dir.path().join("key.pem");
    let issuer = Issuer::load_or_make(&key)?;
    std::fs::copy(keys_file(&key), dir.path().join("jwks.json"))?;
    std::fs::write(dir.path().join("leaf.ext"), "subjectAltName=DNS:localhost\n")?;
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for command in [
        format!("req -x509 -days 2 -subj /CN=authority {ec} -keyout ca.key -out ca.pem"),
        format!("req -subj /CN=server {ec} -keyout leaf.key -out leaf.csr"),
        "x509 -req -days 2 -CAcreateserial -in leaf.csr -CA ca.pem -CAkey ca.key -extfile leaf.ext -out leaf.pem"
            .into(),
    ] {
        let made = Command::new("openssl").args(command.split(' ')).current_dir(dir.path()).output().await?;
        ensure!(made.status.success(), "{command}: {}", String::from_utf8_lossy(&made.stderr));
    }
    let serve = "s_server -accept 127.0.0.1:0 -cert leaf.pem -key leaf.key -WWW";
    let mut server = Command::new("openssl");
    server.args(serve.split(' ')).current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = server.stdin(Stdio::null()).kill_on_drop(true).spawn()?;
    let mut said = BufReader::new(server.stdout.take().context("its output")?).lines();
    let port = loop {
        let line = said.next_line().await?.context("openssl ended")?;
        if let Some(port) = line.strip_prefix("ACCEPT ").and_then(|at| at.rsplit(':').next()) {
            break port.to_owned();
        }
    };
    let url = format!("https://localhost:{port}/jwks.json");
    let token = issuer.token("acme", 1, "query:read", Duration::from_secs(600))?;
    for trusted in [true, false] {
        let mut config = config(w, &url);
        config.log_dir = config.log_dir.join(format!("tls-{trusted}"));
        let authority =
            if trusted { dir.path().join("ca.pem") } else { "/etc/ssl/certs/ca-certificates.crt".into() };
        config.env.insert("SSL_CERT_FILE".into(), authority.display().to_string());
        let host = FunctionHost::spawn(config).await?;
        if trusted {
            ensure_in(&host, &token, "over TLS").await?;
        } else {
            let failed = ask(&host, &token).await;
            ensure!(matches!(failed, Err(FunctionError::Reported { .. })), "{failed:?}");
        }
        host.stop(Duration::from_secs(2)).await;
    }
    Ok(())
}

/// From a request to its answer: front, authorizer, function. With what API Gateway answers where it is
/// not let in.
pub(crate) async fn a_request_with_an_es256_token_reaches_query(w: &World) -> Result<()> {
    w.put("acme", "authorized", crate::world::reading("acme", "authorized", r#"{"auth_level":7}"#)).await?;
    w.entity("acme", "authorized", "auth_level").await?;
    let idp = Idp::start().await?;
    let function = start(w, &idp, &[]).await?;
    let config = FrontConfig {
        listener: Front::bind(0).await?,
        // Its own verdict would be another one: it knows none of these keys.
        authorizer: Authorizer::new(
            &Issuer::load(&w.platform.endpoints().token_key)?.jwks(),
            ISSUER,
            AUDIENCE,
        )?,
        ask: Some(function.clone()),
        query: w.platform.query().clone(),
        plugin_admin: w.platform.plugin_admin().clone(),
    };
    let front = Front::start(config)?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let get = |path: &str, token: Option<String>| {
        let request = client.get(format!("{}{path}", front.url()));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        async move {
            let answer = request.send().await?;
            let status = answer.status().as_u16();
            Ok::<_, anyhow::Error>((status, answer.json::<Value>().await?))
        }
    };
    let id = w.count("select tenant_id::bigint from tenants where name = 'acme'").await?;
    let path = "/v1/entities/authorized";
    let soon = Duration::from_secs(600);
    for kind in [Kind::Es256, Kind::EdDsa] {
        let issuer = Issuer::rotate(&idp.key, kind)?;
        let token = issuer.token("acme", id, "query:read", soon)?;
        w.until(10, "the new key is known", || async { Ok(get(path, Some(token.clone())).await?.0 == 200) })
            .await?;
        let (status, body) = get(path, Some(token.clone())).await?;
        ensure!(status == 200 && body["entity"]["attributes"]["auth_level"]["value"] == 7, "{status} {body}");
        // The tenant is the token's, and scopes are.
        let other = issuer.token("globex", id, "query:read", soon)?;
        let (status, body) = get(path, Some(other)).await?;
        ensure!(status == 403 && body["detail"].as_str().is_some_and(|d| d.contains("tenant_id")), "{body}");
        let (status, body) = get("/v1/plugin-policy", Some(token)).await?;
        ensure!(status == 403 && body["detail"].as_str().is_some_and(|d| d.contains("scopes")), "{body}");
        let reader = issuer.token("acme", id, "plugins:read", soon)?;
        let (status, body) = get("/v1/plugin-policy", Some(reader)).await?;
        ensure!(status == 200, "{status} {body}");
        let (status, body) = get(path, Some(issuer.token("nobody", 1, "query:read", soon)?)).await?;
        ensure!(status == 403, "{status} {body}");
    }
    // As API Gateway says it: without a token, with one that is refused, without the authorizer.
    ensure!(get(path, None).await? == (401, json!({"message": "Unauthorized"})));
    let platforms = w.token("acme", None).await?;
    ensure!(get(path, Some(platforms.clone())).await? == (403, json!({"message": "Forbidden"})));
    ensure!(get("/healthz", None).await?.0 == 200);
    function.stop(Duration::from_secs(2)).await;
    ensure!(get(path, Some(platforms)).await? == (500, json!({"message": "Internal Server Error"})));
    front.stop(Duration::from_secs(2)).await;
    Ok(())
}
