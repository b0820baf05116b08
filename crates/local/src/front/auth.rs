//! The JWT authorizer.
//!
//! Checks what API Gateway's JWT authorizer checks: the signature by a key of the issuer (found by
//! `kid`), `iss`, `aud`, `exp`, `nbf`, `iat`. Each key is good for the one algorithm that the
//! issuer's list names for it: what a token's header says decides nothing. (API Gateway takes keys
//! of RSA alone; ES256 and EdDSA are for authorizers that take them, and for platforms here.) Only
//! claims of a token that passed reach a function.

pub use super::issuer::{AUDIENCE, Claims, ISSUER, Issuer, Kind, keys_file};

use anyhow::{Context as _, Result};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No token in the `Authorization` header.
    #[error("the token is missing")]
    Missing,
    /// The token does not hold.
    #[error("{0}")]
    Invalid(String),
}

impl Denied {
    /// The `www-authenticate` header of the answer.
    pub fn challenge(&self) -> String {
        match self {
            Self::Missing => "Bearer".into(),
            Self::Invalid(why) => {
                format!(
                    "Bearer scope=\"\" error=\"invalid_token\" error_description=\"{}\"",
                    why.replace('"', "'")
                )
            }
        }
    }
}

/// What the authorizer hands on of a token that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorized {
    /// All claims, as strings.
    pub claims: BTreeMap<String, String>,
}

/// A public key and the one algorithm that it is good for.
struct Key {
    id: String,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The keys that are taken at a time.
struct Keys {
    all: Vec<Key>,
    /// As it is served.
    text: String,
}

/// A file and what was read from it.
struct Watched {
    path: PathBuf,
    /// When it was changed, and how long it is.
    version: Option<(SystemTime, u64)>,
}

/// A token that held when it was checked, and until when it does.
#[derive(Clone)]
struct Held {
    /// By these keys, and by no others.
    keys: Arc<Keys>,
    authorized: Arc<Authorized>,
    /// Seconds since 1970.
    until: f64,
}

/// Most tokens that are remembered.
const REMEMBERED: usize = 1_000;

/// Verifies tokens against an issuer's public keys.
pub struct Authorizer {
    keys: Mutex<(Arc<Keys>, Option<Watched>)>,
    /// Tokens that hold: a client sends the same one with each request.
    held: Cache<String, Held>,
    issuer: String,
    audience: String,
}

impl Keys {
    fn of(set: &JwkSet) -> Result<Self> {
        let key = |jwk: &Jwk| -> Result<Key> {
            let id = jwk.common.key_id.clone().context("a key has no kid")?;
            let named = jwk.common.key_algorithm.with_context(|| format!("the key {id} has no alg"))?;
            let algorithm = Algorithm::try_from(named)
                .ok()
                .filter(|a| matches!(a, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA))
                .with_context(|| format!("the key {id} is for {named}; RS256, ES256 and EdDSA are taken"))?;
            Ok(Key { id, algorithm, key: DecodingKey::from_jwk(jwk)? })
        };
        let all = set.keys.iter().map(key).collect::<Result<_>>()?;
        Ok(Self { all, text: serde_json::to_string(set)? })
    }
}

impl Watched {
    /// The keys, if the file has changed since.
    fn changed(&mut self) -> Result<Option<Keys>> {
        let about = std::fs::metadata(&self.path)?;
        let version = Some((about.modified()?, about.len()));
        if version == self.version {
            return Ok(None);
        }
        let keys = Keys::of(&serde_json::from_slice(&std::fs::read(&self.path)?)?)?;
        self.version = version;
        Ok(Some(keys))
    }
}

impl Authorizer {
    /// Takes tokens of `issuer` for `audience` signed with one of `keys`.
    pub fn new(keys: &JwkSet, issuer: &str, audience: &str) -> Result<Self> {
        let keys = Mutex::new((Arc::new(Keys::of(keys)?), None));
        let held = Cache::new(REMEMBERED);
        Ok(Self { keys, held, issuer: issuer.into(), audience: audience.into() })
    }

    /// The same with the keys in a file. When it changes, the next token meets the new keys.
    pub fn watching(file: &Path, issuer: &str, audience: &str) -> Result<Self> {
        let mut watched = Watched { path: file.to_path_buf(), version: None };
        let keys = watched.changed().with_context(|| format!("read the keys in {}", file.display()))?;
        let keys = keys.with_context(|| format!("{} has no keys", file.display()))?;
        let keys = Mutex::new((Arc::new(keys), Some(watched)));
        let held = Cache::new(REMEMBERED);
        Ok(Self { keys, held, issuer: issuer.into(), audience: audience.into() })
    }

    fn keys(&self) -> Arc<Keys> {
        let mut held = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let (keys, watched) = &mut *held;
        match watched.as_mut().map(Watched::changed) {
            Some(Ok(Some(changed))) => *keys = Arc::new(changed),
            // The keys of before are better than none, and no door is opened by them.
            Some(Err(e)) => tracing::warn!(error = format!("{e:#}"), "the keys of tokens cannot be read"),
            Some(Ok(None)) | None => {}
        }
        Arc::clone(keys)
    }

    /// The public keys, as served at `/.well-known/jwks.json`.
    pub fn jwks(&self) -> String {
        self.keys().text.clone()
    }

    /// What a token signed with the key has to say.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        // One algorithm, whatever a token's header says: no `none`, no HS256 with the
        // public key as its secret.
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        validation
    }

    /// Verifies the value of an `Authorization` header.
    pub fn check(&self, header: Option<&str>) -> Result<Arc<Authorized>, Denied> {
        let token = header.map(str::trim).filter(|h| !h.is_empty()).ok_or(Denied::Missing)?;
        let token = match token.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            Some(_) => return Err(Denied::Missing),
            None => token,
        };
        let keys = self.keys();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        if let Some(held) = self.held.get(token).filter(|h| Arc::ptr_eq(&h.keys, &keys) && now < h.until) {
            return Ok(held.authorized);
        }
        let invalid = |why: &str| Denied::Invalid(why.to_owned());
        let head = jsonwebtoken::decode_header(token).map_err(|_| invalid("the token is no JWT"))?;
        let kid = head.kid.ok_or_else(|| invalid("the token names no key"))?;
        let key = keys.all.iter().find(|known| known.id == kid);
        let key = key.ok_or_else(|| invalid("the token's key is not known"))?;
        if head.alg != key.algorithm {
            return Err(invalid("the token's algorithm is not that of its key"));
        }
        let data =
            jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &self.validation(key.algorithm));
        let claims = data.map_err(|e| invalid(reason(e.kind())))?.claims;
        if claims.get("iat").is_some_and(|iat| iat.as_f64().is_none_or(|iat| iat > now)) {
            return Err(invalid("the token was made in the future"));
        }
        let until = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
        let claims = claims.into_iter().map(|(name, value)| (name, claim_text(&value))).collect();
        let authorized = Arc::new(Authorized { claims });
        self.held.insert(token.to_owned(), Held { keys, authorized: Arc::clone(&authorized), until });
        Ok(authorized)
    }
}

fn reason(kind: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token has another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            "the token's algorithm is not that of its key"
        }
        ErrorKind::InvalidSignature => "the token's signature is wrong",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks exp, iss or aud",
        _ => "the token is not valid",
    }
}

/// A claim as API Gateway hands it on: strings as they are, lists as `[a b]`.
fn claim_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(claim_text).collect();
            format!("[{}]", items.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rsa::KeyPair;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;
    use std::time::Duration;

    struct World {
        issuer: Issuer,
        authorizer: Authorizer,
        _dir: tempfile::TempDir,
    }

    fn world() -> World {
        let dir = tempfile::tempdir().unwrap();
        let issuer = Issuer::load_or_make(&dir.path().join("key.pem")).unwrap();
        let authorizer = Authorizer::new(&issuer.jwks(), ISSUER, AUDIENCE).unwrap();
        World { issuer, authorizer, _dir: dir }
    }

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    fn good() -> Value {
        json!({"iss": ISSUER, "aud": AUDIENCE, "tenant": "acme", "tenant_id": 1, "exp": now() + 60})
    }

    impl World {
        fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
            let mut header = Header::new(Algorithm::RS256);
            header.kid = kid.map(str::to_owned);
            jsonwebtoken::encode(&header, claims, self.issuer.key()).unwrap()
        }

        fn check(&self, token: &str) -> Result<Arc<Authorized>, Denied> {
            self.authorizer.check(Some(&format!("Bearer {token}")))
        }

        fn denied(&self, token: &str, why: &str) {
            match self.check(token) {
                Err(Denied::Invalid(text)) => assert!(text.contains(why), "{text} instead of {why}"),
                other => panic!("{why}: {other:?}"),
            }
        }

        fn denied_claims(&self, change: &[(&str, Value)], why: &str) {
            let mut claims = good();
            for (name, value) in change {
                claims[*name] = value.clone();
            }
            self.denied(&self.sign(Some(self.issuer.kid()), &claims), why);
        }
    }

    #[test]
    fn a_token_of_the_issuer_is_taken_with_its_claims_as_strings() {
        let world = world();
        let token = world.issuer.token("acme", 7, "read write", Duration::from_secs(60)).unwrap();
        let authorized = world.check(&token).unwrap();
        assert_eq!(authorized.claims["tenant"], "acme");
        assert_eq!(authorized.claims["tenant_id"], "7");
        assert_eq!(authorized.claims["scope"], "read write");
        assert!(authorized.claims["exp"].parse::<u64>().is_ok());
        assert!(world.authorizer.check(Some(&token)).is_ok(), "also without the scheme");
        assert_eq!(world.authorizer.check(Some("Basic dXNlcjpwYXNz")), Err(Denied::Missing));
        assert_eq!(world.authorizer.check(None), Err(Denied::Missing));
    }

    #[test]
    fn a_token_that_held_is_held_no_longer_than_its_time_and_its_keys() {
        let world = world();
        let short = now() + 2;
        let token =
            world.sign(Some(world.issuer.kid()), &json!({"iss": ISSUER, "aud": AUDIENCE, "exp": short}));
        let mut taken = 0;
        while world.check(&token).is_ok() {
            taken += 1;
            assert!(now() < short + 1, "it has expired");
        }
        assert!(taken > 1, "taken again and again");
        world.denied(&token, "expired");

        let token = world.sign(Some(world.issuer.kid()), &good());
        world.check(&token).unwrap();
        world.check(&token).unwrap();
        let other = self::world().issuer.jwks();
        world.authorizer.keys.lock().unwrap().0 = Arc::new(Keys::of(&other).unwrap());
        world.denied(&token, "not known");
    }

    #[test]
    fn an_unsigned_token_is_denied() {
        let world = world();
        let part = |v: Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let claims = part(good());
        for alg in ["none", "None", "NONE", ""] {
            let header = part(json!({"alg": alg, "typ": "JWT", "kid": world.issuer.kid()}));
            world.denied(&format!("{header}.{claims}."), "");
        }
        let signed = world.sign(Some(world.issuer.kid()), &good());
        let (unsigned, _) = signed.rsplit_once('.').unwrap();
        world.denied(&format!("{unsigned}."), "");
    }

    #[test]
    fn the_public_key_as_an_hmac_secret_is_denied() {
        let world = world();
        let jwks = serde_json::to_value(world.issuer.jwks()).unwrap();
        let modulus = jwks["keys"][0]["n"].as_str().unwrap().to_owned();
        let raw = URL_SAFE_NO_PAD.decode(&modulus).unwrap();
        let pair = KeyPair::from_der(world.issuer.key().as_bytes()).unwrap();
        let public = aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref().to_vec();
        let pem = format!(
            "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
            STANDARD.encode(&public)
        );
        for secret in [modulus.into_bytes(), raw, public, pem.into_bytes()] {
            let mut header = Header::new(Algorithm::HS256);
            header.kid = Some(world.issuer.kid().to_owned());
            let token = jsonwebtoken::encode(&header, &good(), &EncodingKey::from_secret(&secret)).unwrap();
            world.denied(&token, "not that of its key");
        }
    }

    #[test]
    fn tokens_for_others_or_other_times_are_denied() {
        let world = world();
        world.denied_claims(&[("iss", json!("https://evil.example"))], "issuer");
        world.denied_claims(&[("aud", json!("other"))], "audience");
        world.denied_claims(&[("exp", json!(now() - 1))], "expired");
        world.denied_claims(&[("exp", Value::Null)], "");
        world.denied_claims(&[("exp", json!("never"))], "");
        world.denied_claims(&[("nbf", json!(now() + 60))], "not valid yet");
        world.denied_claims(&[("iat", json!(now() + 60))], "future");
        for missing in ["iss", "aud", "exp"] {
            let mut claims = good();
            claims.as_object_mut().unwrap().remove(missing);
            world.denied(&world.sign(Some(world.issuer.kid()), &claims), "lacks");
        }
    }

    #[test]
    fn unknown_retired_and_foreign_keys_are_denied() {
        let (world, other) = (world(), self::world());
        world.denied(&world.sign(None, &good()), "names no key");
        world.denied(&world.sign(Some("retired"), &good()), "not known");
        // Another issuer's key under this issuer's kid.
        world.denied(&other.sign(Some(world.issuer.kid()), &good()), "signature");
        let token = world.sign(Some(world.issuer.kid()), &good());
        let (head, rest) = token.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let mut claims = good();
        claims["tenant"] = json!("globex");
        let forged = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        world.denied(&forged, "signature");
    }
}
