//! The HTTP front before a real function.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use eaves_local::front::auth::{AUDIENCE, Authorizer, ISSUER, Issuer};
use eaves_local::front::{Front, FrontConfig};
use eaves_local::lambda::{FunctionConfig, FunctionHost};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

struct World {
    front: Front,
    query: FunctionHost,
    issuer: Issuer,
    client: Client,
    _dir: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let test = std::env::current_exe().unwrap();
        let binary = test.parent().and_then(Path::parent).unwrap().join("examples/obedient");
        let query = FunctionHost::spawn(FunctionConfig::new("obedient", binary, dir.path())).await.unwrap();
        let issuer = Issuer::load_or_make(&dir.path().join("key.pem")).unwrap();
        let jwks = issuer.jwks();
        let config = FrontConfig {
            listener: Front::bind(0).await.unwrap(),
            authorizer: Authorizer::new(&jwks, ISSUER, AUDIENCE).unwrap(),
            jwks: serde_json::to_string(&jwks).unwrap(),
            query: query.clone(),
            plugin_admin: query.clone(),
        };
        let front = Front::start(config).unwrap();
        Self { front, query, issuer, client: Client::new(), _dir: dir }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.front.url())
    }

    fn token(&self) -> String {
        self.issuer.token("acme", 7, "query:read", Duration::from_secs(60)).unwrap()
    }
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
