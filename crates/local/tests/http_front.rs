//! The HTTP front before a real function.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eaves_local::front::auth::{AUDIENCE, Authorizer, ISSUER, Issuer, Kind, keys_file};
use eaves_local::front::{Front, FrontConfig};
use eaves_local::lambda::{FunctionConfig, FunctionHost};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

struct World {
    front: Front,
    query: FunctionHost,
    issuer: Issuer,
    client: Client,
    dir: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let test = std::env::current_exe().unwrap();
        let binary = test.parent().and_then(Path::parent).unwrap().join("examples/obedient");
        let query = FunctionHost::spawn(FunctionConfig::new("obedient", binary, dir.path())).await.unwrap();
        let issuer = Issuer::load_or_make(&dir.path().join("key.pem")).unwrap();
        let keys = keys_file(&dir.path().join("key.pem"));
        let config = FrontConfig {
            listener: Front::bind(0).await.unwrap(),
            authorizer: Authorizer::watching(&keys, ISSUER, AUDIENCE).unwrap(),
            ask: None,
            query: query.clone(),
            plugin_admin: query.clone(),
        };
        let front = Front::start(config).unwrap();
        Self { front, query, issuer, client: Client::new(), dir }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.front.url())
    }

    fn token(&self) -> String {
        self.issuer.token("acme", 7, "query:read", Duration::from_secs(60)).unwrap()
    }

    async fn ask(&self, token: &str) -> reqwest::Response {
        self.client.get(self.url("/v1/entities/a")).bearer_auth(token).send().await.unwrap()
    }

    /// 401 that says why, and nothing of the function.
    async fn denied(&self, token: &str, why: &str) {
        let answer = self.ask(token).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{why}: {token}");
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.contains("invalid_token") && challenge.contains(why), "{why}: {challenge}");
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({"message": "Unauthorized"}), "{why}");
    }

    fn claims(&self, change: &[(&str, Value)]) -> Value {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "t", "tenant": "acme", "tenant_id": "7", "scope": "query:read",
            "iat": now, "nbf": now, "exp": now + 60,
        });
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        claims
    }

    fn key_file(&self) -> std::path::PathBuf {
        self.dir.path().join("key.pem")
    }
}

/// A token with any header and claims, signed with any key.
fn sign(issuer: &Issuer, algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, issuer.key()).unwrap()
}

/// The same with a secret.
fn sign_with_secret(secret: &[u8], kid: &str, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

#[tokio::test]
async fn only_bearers_of_a_token_reach_the_function_and_it_sees_their_claims() {
    let world = World::start().await;
    let denied = world.client.get(world.url("/v1/entities/a")).send().await.unwrap();
    assert_eq!(denied.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(denied.headers()["www-authenticate"], "Bearer");
    assert_eq!(denied.json::<Value>().await.unwrap(), serde_json::json!({"message": "Unauthorized"}));
    let forged = world.client.get(world.url("/v1/entities/a")).bearer_auth("a.b.c").send().await.unwrap();
    assert_eq!(forged.status(), StatusCode::UNAUTHORIZED);
    assert!(forged.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"));

    let answer =
        world.client.get(world.url("/v1/entities/a?x=1")).bearer_auth(world.token()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key("apigw-requestid"));
    let event = answer.json::<Value>().await.unwrap()["event"].take();
    assert_eq!(event["rawPath"], "/v1/entities/a");
    let claims = &event["requestContext"]["authorizer"]["jwt"]["claims"];
    assert_eq!((&claims["tenant"], &claims["tenant_id"]), (&Value::from("acme"), &Value::from("7")));
}

#[tokio::test]
async fn public_routes_need_no_token_for_get_alone() {
    let world = World::start().await;
    for path in ["/healthz", "/openapi.json", "/docs"] {
        let answer = world.client.get(world.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let event = answer.json::<Value>().await.unwrap()["event"].take();
        assert!(event["requestContext"]["authorizer"].is_null());
        let post = world.client.post(world.url(path)).send().await.unwrap();
        assert_eq!(post.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let jwks: Value =
        world.client.get(world.url("/.well-known/jwks.json")).send().await.unwrap().json().await.unwrap();
    assert_eq!(jwks["keys"][0]["alg"], "RS256");
    assert!(jwks["keys"][0].get("d").is_none(), "the private key was served");
}

#[tokio::test]
async fn limits_and_failures_answer_as_api_gateway_does() {
    let world = World::start().await;
    let post = |body: Vec<u8>| {
        world.client.post(world.url("/v1/telemetry")).bearer_auth(world.token()).body(body).send()
    };
    assert_eq!(post(vec![b' '; 11 * 1024 * 1024]).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    // Over Lambda's own limit, though below the gateway's.
    assert_eq!(post(vec![b' '; 7 * 1024 * 1024]).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(post(b"{}".to_vec()).await.unwrap().status(), StatusCode::OK);

    world.query.stop(Duration::from_secs(2)).await;
    let answer = post(b"{}".to_vec()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json::<Value>().await.unwrap()["message"], "Service Unavailable");
    let url = world.url("/healthz");
    world.front.stop(Duration::from_secs(2)).await;
    assert!(world.client.get(url).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn forged_and_foreign_tokens_are_denied_whatever_the_kind_of_key() {
    let mut world = World::start().await;
    for (kind, algorithm) in
        [(Kind::Rs256, Algorithm::RS256), (Kind::Es256, Algorithm::ES256), (Kind::EdDsa, Algorithm::EdDSA)]
    {
        world.issuer = Issuer::rotate(&world.key_file(), kind).unwrap();
        let issuer = &world.issuer;
        let kid = issuer.kid();
        let good = world.claims(&[]);
        let ours = |claims: &Value| sign(issuer, algorithm, Some(kid), claims);
        assert_eq!(world.ask(&ours(&good)).await.status(), StatusCode::OK, "{algorithm:?}");
        assert_eq!(world.ask(&world.token()).await.status(), StatusCode::OK, "{algorithm:?}");

        // No signature, or none that is looked at.
        let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
        for alg in ["none", "None", "nOnE", ""] {
            let header = part(&json!({"alg": alg, "typ": "JWT", "kid": kid}));
            world.denied(&format!("{header}.{}.", part(&good)), "").await;
            world.denied(&format!("{header}.{}", part(&good)), "").await;
        }
        let signed = ours(&good);
        let (unsigned, signature) = signed.rsplit_once('.').unwrap();
        world.denied(&format!("{unsigned}."), "").await;
        let (head, _) = unsigned.split_once('.').unwrap();
        let forged = format!("{head}.{}.{signature}", part(&world.claims(&[("tenant", json!("globex"))])));
        world.denied(&forged, "signature").await;

        // The public key, which everybody has, as the secret of an HMAC.
        let jwk = serde_json::to_value(&issuer.jwks().keys[0]).unwrap();
        let mut secrets = vec![jwk.to_string().into_bytes(), kid.as_bytes().to_vec()];
        for field in ["n", "x", "y"] {
            let Some(text) = jwk[field].as_str() else { continue };
            secrets.push(text.as_bytes().to_vec());
            secrets.push(URL_SAFE_NO_PAD.decode(text).unwrap());
        }
        for secret in secrets {
            world.denied(&sign_with_secret(&secret, kid, &good), "not that of its key").await;
        }
        // Another algorithm's key under this one's name, and the other way round.
        let elsewhere = tempfile::tempdir().unwrap();
        let path = elsewhere.path().join("key.pem");
        Issuer::load_or_make(&path).unwrap();
        for (other, theirs) in [
            (Kind::Rs256, Algorithm::RS256),
            (Kind::Es256, Algorithm::ES256),
            (Kind::EdDsa, Algorithm::EdDSA),
        ] {
            let stranger = Issuer::rotate(&path, other).unwrap();
            let why = if theirs == algorithm { "signature" } else { "not that of its key" };
            world.denied(&sign(&stranger, theirs, Some(kid), &good), why).await;
            world.denied(&sign(&stranger, theirs, Some(stranger.kid()), &good), "not known").await;
        }
        // A key that the token brings along.
        let mut header = Header::new(algorithm);
        header.jwk = Some(Issuer::load(&path).unwrap().jwks().keys[0].clone());
        header.jku = Some("https://evil.example/jwks.json".into());
        let own = jsonwebtoken::encode(&header, &good, issuer.key()).unwrap();
        world.denied(&own, "names no key").await;

        let now = good["iat"].as_u64().unwrap();
        for (change, why) in [
            (("iss", json!("https://evil.example")), "issuer"),
            (("iss", json!(format!("{ISSUER}/"))), "issuer"),
            (("aud", json!("other")), "audience"),
            (("aud", json!(["other", "another"])), "audience"),
            (("exp", json!(now - 1)), "expired"),
            (("exp", json!("never")), ""),
            (("exp", Value::Null), ""),
            (("nbf", json!(now + 60)), "not valid yet"),
            (("iat", json!(now + 60)), "future"),
        ] {
            world.denied(&ours(&world.claims(&[change])), why).await;
        }
        for missing in ["iss", "aud", "exp"] {
            let mut claims = world.claims(&[]);
            claims.as_object_mut().unwrap().remove(missing);
            world.denied(&ours(&claims), "lacks").await;
        }
    }
}

#[tokio::test]
async fn a_key_is_exchanged_while_tokens_are_used_and_a_retired_one_is_refused() {
    let world = World::start().await;
    let (path, old) = (world.key_file(), world.token());
    let jwks = async || {
        let url = world.url("/.well-known/jwks.json");
        let keys: Value = world.client.get(url).send().await.unwrap().json().await.unwrap();
        let named =
            |key: &Value| (key["kid"].as_str().unwrap().to_owned(), key["alg"].as_str().unwrap().to_owned());
        keys["keys"].as_array().unwrap().iter().map(named).collect::<Vec<_>>()
    };
    assert_eq!(jwks().await, [(world.issuer.kid().to_owned(), "RS256".to_owned())]);
    let new = Issuer::rotate(&path, Kind::EdDsa).unwrap();
    let fresh = new.token("acme", 7, "query:read", Duration::from_secs(60)).unwrap();
    // Both, until the old one is retired.
    assert_eq!(world.ask(&old).await.status(), StatusCode::OK);
    assert_eq!(world.ask(&fresh).await.status(), StatusCode::OK);
    assert_eq!(jwks().await.len(), 2);
    Issuer::retire(&path, world.issuer.kid()).unwrap();
    world.denied(&old, "not known").await;
    assert_eq!(world.ask(&fresh).await.status(), StatusCode::OK);
    assert_eq!(jwks().await, [(new.kid().to_owned(), "EdDSA".to_owned())]);
    // A list that cannot be read opens no door and closes none.
    std::fs::write(keys_file(&path), "{").unwrap();
    assert_eq!(world.ask(&fresh).await.status(), StatusCode::OK);
    world.denied(&old, "not known").await;
}
