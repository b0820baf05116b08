//! Tokens and lists of keys, good and bad; an issuer on loopback that behaves and misbehaves.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use eaves_auth::{Denied, Keys, MAX_BYTES, Refused, Remote, Source, SourceError, Verifier};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "eaves";
const ALL: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// A key of the issuer.
struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    jwk: Value,
}

impl Signer {
    fn new(algorithm: Algorithm, kid: &str) -> Self {
        let pem = |der: &[u8]| {
            let text = STANDARD.encode(der);
            format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n").into_bytes()
        };
        let key = match algorithm {
            Algorithm::RS256 => {
                let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
                let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
                EncodingKey::from_rsa_pem(&pem(der.as_ref())).unwrap()
            }
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                EncodingKey::from_ec_pem(&pem(pair.to_pkcs8v1().unwrap().as_ref())).unwrap()
            }
            _ => {
                let pair = Ed25519KeyPair::generate().unwrap();
                EncodingKey::from_ed_pem(&pem(pair.to_pkcs8v1().unwrap().as_ref())).unwrap()
            }
        };
        let mut jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        jwk.common.key_id = Some(kid.into());
        Self { key, algorithm, jwk: serde_json::to_value(jwk).unwrap() }
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"alg": self.algorithm, "kid": self.jwk["kid"]}), claims)
    }

    /// With any header that can be read as one.
    fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let header: Header = serde_json::from_value(header.clone()).unwrap();
        let algorithm = header.alg;
        assert!(algorithm == self.algorithm, "{algorithm:?}");
        let token = jsonwebtoken::encode(&header, claims, &self.key).unwrap();
        format!("Bearer {token}")
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "tenant": "acme", "exp": now() + 60})
}

fn list(keys: &[&Value]) -> String {
    json!({"keys": keys}).to_string()
}

fn offered(keys: &[&Value]) -> Arc<Keys> {
    Arc::new(Keys::offered(list(keys).as_bytes()).unwrap())
}

fn verifier() -> Verifier {
    Verifier::new(ISSUER, AUDIENCE)
}

#[test]
fn each_key_is_good_for_its_own_algorithm() {
    let signers = ALL.map(|algorithm| Signer::new(algorithm, &format!("{algorithm:?}")));
    let keys = offered(&signers.each_ref().map(|s| &s.jwk));
    assert_eq!(keys.names().collect::<Vec<_>>(), ["RS256", "ES256", "EdDSA"]);
    for signer in &signers {
        let token = signer.sign(&claims());
        let verifier = verifier();
        assert_eq!(verifier.check(&keys, Some(&token)).unwrap().claims["tenant"], "acme");
        // Again, from memory, and by the same keys only.
        assert!(verifier.check(&keys, Some(&token)).is_ok());
        let others: Vec<&Value> = signers.iter().map(|s| &s.jwk).filter(|jwk| **jwk != signer.jwk).collect();
        assert_eq!(verifier.check(&offered(&others), Some(&token)), Err(Denied::UnknownKey));
        // Under the name of each other key.
        for other in signers.iter().filter(|other| other.algorithm != signer.algorithm) {
            let token = signer.sign_as(&json!({"alg": signer.algorithm, "kid": other.jwk["kid"]}), &claims());
            let denied = verifier.check(&keys, Some(&token)).unwrap_err();
            assert_eq!(denied.to_string(), "the token's algorithm is not that of its key");
        }
    }
}

#[test]
fn a_key_that_the_token_brings_along_is_not_looked_at() {
    let (known, own) = (Signer::new(Algorithm::ES256, "known"), Signer::new(Algorithm::ES256, "own"));
    let keys = offered(&[&known.jwk]);
    for header in [
        json!({"alg": "ES256", "kid": "known", "jwk": own.jwk}),
        json!({"alg": "ES256", "kid": "known", "jku": "https://evil.example/jwks.json"}),
        json!({"alg": "ES256", "kid": "own", "jwk": own.jwk}),
        json!({"alg": "ES256", "jwk": own.jwk}),
    ] {
        let token = own.sign_as(&header, &claims());
        assert!(verifier().check(&keys, Some(&token)).is_err(), "{header}");
    }
}

#[test]
fn unsigned_tokens_and_public_keys_as_secrets_are_denied() {
    for algorithm in ALL {
        let signer = Signer::new(algorithm, "one");
        let keys = offered(&[&signer.jwk]);
        let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
        for alg in ["none", "None", ""] {
            let head = part(&json!({"alg": alg, "kid": "one"}));
            let token = format!("{head}.{}.", part(&claims()));
            assert!(verifier().check(&keys, Some(&token)).is_err(), "{alg}");
        }
        for member in ["n", "x", "y"] {
            let Some(text) = signer.jwk[member].as_str() else { continue };
            for secret in [text.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(text).unwrap()] {
                let mut header = Header::new(Algorithm::HS256);
                header.kid = Some("one".into());
                let key = EncodingKey::from_secret(&secret);
                let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
                assert!(verifier().check(&keys, Some(&token)).is_err(), "{member}");
            }
        }
    }
}

#[test]
fn tokens_for_others_or_other_times_are_denied() {
    for algorithm in ALL {
        let signer = Signer::new(algorithm, "one");
        let keys = offered(&[&signer.jwk]);
        for (name, value, why) in [
            ("iss", json!("https://evil.example"), "issuer"),
            ("aud", json!("other"), "audience"),
            ("aud", json!(["other"]), "audience"),
            ("exp", json!(now() - 1), "expired"),
            ("exp", json!("never"), ""),
            ("exp", Value::Null, ""),
            ("nbf", json!(now() + 60), "not valid yet"),
            ("iat", json!(now() + 60), "future"),
            ("iat", json!("now"), "future"),
        ] {
            let mut claims = claims();
            claims[name] = value.clone();
            let denied = verifier().check(&keys, Some(&signer.sign(&claims))).unwrap_err().to_string();
            assert!(denied.contains(why), "{name} {value}: {denied}");
        }
        let mut listed = claims();
        listed["aud"] = json!(["other", AUDIENCE]);
        assert!(verifier().check(&keys, Some(&signer.sign(&listed))).is_ok());
    }
}

#[test]
fn an_issuers_list_may_have_other_keys_too() {
    let [rsa, ec, ed] = ALL.map(|algorithm| Signer::new(algorithm, &format!("{algorithm:?}")));
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    let without = |jwk: &Value, name: &str| {
        let mut jwk = jwk.clone();
        jwk.as_object_mut().unwrap().remove(name);
        jwk
    };
    // Those that name no algorithm are good for the one of their kind.
    let silent = [&rsa, &ec, &ed].map(|s| without(&s.jwk, "alg"));
    let keys = offered(&silent.each_ref());
    for signer in [&rsa, &ec, &ed] {
        assert!(verifier().check(&keys, Some(&signer.sign(&claims()))).is_ok(), "{:?}", signer.algorithm);
    }
    let passed_over = [
        with(&rsa.jwk, "use", json!("enc")),
        with(&rsa.jwk, "alg", json!("RS512")),
        with(&rsa.jwk, "alg", json!("ES256")),
        with(&rsa.jwk, "alg", json!("made-up")),
        with(&rsa.jwk, "alg", json!(7)),
        with(&rsa.jwk, "n", json!("???")),
        with(&ec.jwk, "crv", json!("P-384")),
        with(&ec.jwk, "x", json!("AAAA")),
        with(&ed.jwk, "crv", json!("X25519")),
        with(&ed.jwk, "kty", json!("AKP")),
        with(&ec.jwk, "kid", json!("")),
        without(&ec.jwk, "kid"),
        json!({"kty": "oct", "kid": "secret", "alg": "HS256", "k": "c2VjcmV0"}),
        json!({"kty": "oct", "kid": "secret", "k": "c2VjcmV0"}),
        json!({}),
        json!(null),
        json!("key"),
    ];
    for key in &passed_over {
        // Either it is not there, or nothing is signed with it.
        let token = match Keys::offered(list(&[key]).as_bytes()) {
            Err(_) => continue,
            Ok(keys) => (Arc::new(keys), [&rsa, &ec, &ed].map(|s| s.sign(&claims()))),
        };
        for text in &token.1 {
            assert!(verifier().check(&token.0, Some(text)).is_err(), "{key}");
        }
    }
    let mut mixed: Vec<&Value> = passed_over.iter().collect();
    mixed.push(&ec.jwk);
    assert_eq!(offered(&mixed).names().last(), Some("ES256"));
    // Of two of one name the first.
    let second = Signer::new(Algorithm::ES256, "ES256");
    let keys = offered(&[&ec.jwk, &second.jwk]);
    assert!(verifier().check(&keys, Some(&ec.sign(&claims()))).is_ok());
    assert!(verifier().check(&keys, Some(&second.sign(&claims()))).is_err());
    // A list of one's own has none of these.
    let strict: JwkSet = serde_json::from_value(json!({"keys": [without(&ec.jwk, "alg")]})).unwrap();
    assert!(Keys::of(&strict).is_err());
    for bad in ["", "{", "[]", "{}", r#"{"keys": {}}"#, r#"{"keys": []}"#] {
        assert!(Keys::offered(bad.as_bytes()).is_err(), "{bad}");
    }
    let many = vec![&ec.jwk; 101];
    assert!(Keys::offered(list(&many).as_bytes()).is_err());
}

/// What the issuer on loopback does.
#[derive(Clone)]
enum Mode {
    Serve(String),
    /// Takes the connection and says nothing.
    Silent,
    /// Without a length, for ever.
    Endless,
    /// A whole answer, as it is.
    Raw(String),
}

struct Server {
    url: String,
    mode: Arc<Mutex<Mode>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let (mode, asked) = (Arc::new(Mutex::new(mode)), Arc::new(AtomicUsize::new(0)));
        let (behave, count) = (mode.clone(), asked.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let mode = behave.lock().unwrap().clone();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _read = stream.read(&mut request).await;
                    match mode {
                        Mode::Serve(list) => {
                            let answer = format!(
                                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{list}",
                                list.len()
                            );
                            drop(stream.write_all(answer.as_bytes()).await);
                        }
                        Mode::Raw(answer) => drop(stream.write_all(answer.as_bytes()).await),
                        Mode::Endless => {
                            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await);
                            while stream.write_all(&[b' '; 65_536]).await.is_ok() {}
                        }
                        Mode::Silent => drop(stream.read(&mut request).await),
                    }
                });
            }
        });
        Self { url, mode, asked }
    }

    fn be(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn remote(&self, change: impl FnOnce(&mut Source)) -> Remote {
        let hour = Duration::from_secs(3_600);
        let timeout = Duration::from_millis(500);
        let mut source = Source { url: self.url.clone(), timeout, ttl: hour, pause: hour, stale: hour };
        change(&mut source);
        Remote::new(source, ISSUER, AUDIENCE).unwrap()
    }
}

#[tokio::test]
async fn made_up_key_ids_do_not_reach_the_issuer() {
    let (signer, other) = (Signer::new(Algorithm::ES256, "one"), Signer::new(Algorithm::ES256, "other"));
    let server = Server::start(Mode::Serve(list(&[&signer.jwk]))).await;
    let remote = server.remote(|_| {});
    assert_eq!(remote.check(None).await, Err(Refused::Denied(Denied::Missing)));
    assert_eq!(server.asked(), 0, "nothing is asked before there is a token");
    for _ in 0..3 {
        assert!(remote.check(Some(&signer.sign(&claims()))).await.is_ok());
    }
    for n in 0..50 {
        let header = json!({"alg": "ES256", "kid": format!("made-up-{n}")});
        let denied = remote.check(Some(&other.sign_as(&header, &claims()))).await.unwrap_err();
        assert_eq!(denied, Refused::Denied(Denied::UnknownKey));
    }
    assert_eq!(server.asked(), 1);
    assert_eq!(remote.take_failures(), 0);
}

#[tokio::test]
async fn a_new_key_is_found_when_a_token_names_it_and_a_retired_one_is_refused_in_time() {
    let (old, new) = (Signer::new(Algorithm::RS256, "old"), Signer::new(Algorithm::EdDSA, "new"));
    let server = Server::start(Mode::Serve(list(&[&old.jwk]))).await;
    let remote = server.remote(|source| source.pause = Duration::ZERO);
    let (by_old, by_new) = (old.sign(&claims()), new.sign(&claims()));
    assert!(remote.check(Some(&by_old)).await.is_ok());
    assert_eq!(remote.check(Some(&by_new)).await, Err(Refused::Denied(Denied::UnknownKey)));
    server.be(Mode::Serve(list(&[&old.jwk, &new.jwk])));
    assert!(remote.check(Some(&by_new)).await.is_ok());
    assert!(remote.check(Some(&by_old)).await.is_ok(), "both are taken");
    server.be(Mode::Serve(list(&[&new.jwk])));
    assert!(remote.check(Some(&by_old)).await.is_ok(), "for as long as the list is");
    let remote = server.remote(|source| (source.ttl, source.pause) = Default::default());
    server.be(Mode::Serve(list(&[&old.jwk, &new.jwk])));
    assert!(remote.check(Some(&by_old)).await.is_ok());
    server.be(Mode::Serve(list(&[&new.jwk])));
    assert_eq!(remote.check(Some(&by_old)).await, Err(Refused::Denied(Denied::UnknownKey)));
    assert!(remote.check(Some(&by_new)).await.is_ok());
}

#[tokio::test]
async fn whatever_the_issuer_does_the_last_keys_are_good_for_their_time() {
    let signer = Signer::new(Algorithm::ES256, "one");
    let token = signer.sign(&claims());
    let served = Mode::Serve(list(&[&signer.jwk]));
    let long = format!(r#"{{"keys": [], "padding": "{}"}}"#, "x".repeat(MAX_BYTES));
    let bad = [
        Mode::Silent,
        Mode::Endless,
        Mode::Serve(long),
        Mode::Serve("<html>".into()),
        Mode::Serve(list(&[])),
        Mode::Raw(String::new()),
        Mode::Raw("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n".into()),
        Mode::Raw("HTTP/1.1 204 No Content\r\n\r\n".into()),
        Mode::Raw("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".into()),
        Mode::Raw("HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"keys\": [".into()),
        Mode::Raw("\0\0\0\0".into()),
    ];
    for (n, bad) in bad.into_iter().enumerate() {
        let began = Instant::now();
        let server = Server::start(served.clone()).await;
        // Fetched again for each token, and good for an hour; then for no time.
        let (old, none) = (
            server.remote(|source| (source.ttl, source.pause) = Default::default()),
            server.remote(|source| (source.ttl, source.pause, source.stale) = Default::default()),
        );
        assert!(old.check(Some(&token)).await.is_ok());
        server.be(bad);
        assert!(old.check(Some(&token)).await.is_ok(), "{n}: keys of a moment ago");
        assert_eq!(old.take_failures(), 1, "{n}");
        assert_eq!(none.check(Some(&token)).await, Err(Refused::Away), "{n}: no keys at all");
        assert_eq!(none.take_failures(), 1, "{n}");
        server.be(served.clone());
        assert!(old.check(Some(&token)).await.is_ok());
        assert_eq!(old.take_failures(), 0, "{n}: it is back");
        assert!(began.elapsed() < Duration::from_secs(5), "{n}: {:?}", began.elapsed());
    }
    // While there are none, the issuer is not asked for each token either.
    let server = Server::start(Mode::Silent).await;
    let remote = server.remote(|_| {});
    for _ in 0..20 {
        assert_eq!(remote.check(Some(&token)).await, Err(Refused::Away));
    }
    assert_eq!((server.asked(), remote.take_failures()), (1, 1));
}

#[tokio::test]
async fn who_comes_together_asks_once() {
    let signer = Signer::new(Algorithm::ES256, "one");
    let token = signer.sign(&claims());
    let server = Server::start(Mode::Serve(list(&[&signer.jwk]))).await;
    let remote = Arc::new(server.remote(|source| source.pause = Duration::ZERO));
    let all: Vec<_> = (0..32)
        .map(|_| {
            let (remote, token) = (remote.clone(), token.clone());
            tokio::spawn(async move { remote.check(Some(&token)).await.is_ok() })
        })
        .collect();
    for one in all {
        assert!(one.await.unwrap());
    }
    assert_eq!(server.asked(), 1);
}

#[test]
fn keys_come_over_https_or_from_the_machine_itself() {
    let second = Duration::from_secs(1);
    let new = |url: &str| {
        let source = Source { url: url.into(), timeout: second, ttl: second, pause: second, stale: second };
        Remote::new(source, ISSUER, AUDIENCE).map(drop)
    };
    for good in
        ["https://issuer.example/jwks.json", "http://127.0.0.1:80/", "http://[::1]/", "http://localhost/"]
    {
        assert_eq!(new(good), Ok(()), "{good}");
    }
    for bad in [
        "http://issuer.example/",
        "http://127.0.0.1@evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://localhost.evil.example/",
        "https://user:secret@issuer.example/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://",
        "issuer.example",
        "",
    ] {
        assert_eq!(new(bad), Err(SourceError::Url(bad.into())), "{bad}");
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[A-Za-z0-9_-]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "RS256", "ES256", "EdDSA", "sig"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(member(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn member() -> impl Strategy<Value = String> {
    let names = vec!["kty", "kid", "alg", "use", "crv", "x", "y", "n", "e", "k", "key_ops", "keys"];
    prop_oneof![prop::sample::select(names).prop_map(str::to_owned), "[a-z]{1,4}"]
}

proptest! {
    #[test]
    fn no_list_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200), keys in json_value()) {
        let _ = Keys::offered(&bytes);
        let _ = Keys::offered(keys.to_string().as_bytes());
        let _ = Keys::offered(json!({"keys": keys}).to_string().as_bytes());
        let _ = Keys::offered(json!({"keys": [keys]}).to_string().as_bytes());
    }

    #[test]
    fn no_header_is_too_strange(text in ".{0,120}", head in json_value(), body in json_value(), tail in ".{0,40}") {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "one",
            "x": URL_SAFE_NO_PAD.encode([7; 32])});
        let keys = offered(&[&key]);
        let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let verifier = verifier();
        prop_assert!(verifier.check(&keys, Some(&text)).is_err());
        for head in [head, json!({"alg": "EdDSA", "kid": "one"})] {
            let token = format!("Bearer {}.{}.{tail}", part(&head), part(&body));
            prop_assert!(verifier.check(&keys, Some(&token)).is_err());
        }
    }
}
