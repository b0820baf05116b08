//! The JWT authorizer of the front: `eaves-auth` with the keys of the issuer here.
//!
//! API Gateway's own takes keys of RSA alone; ES256 and EdDSA are for the Lambda authorizer
//! (`functions/authorizer`), which checks with the same code, and for platforms here.

pub use super::issuer::{AUDIENCE, Claims, ISSUER, Issuer, Kind, keys_file};
pub use eaves_auth::{Authorized, Denied};

use anyhow::{Context as _, Result};
use eaves_auth::{Keys, Verifier};
use jsonwebtoken::jwk::JwkSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// A file and what was read from it.
struct Watched {
    path: PathBuf,
    /// When it was changed, and how long it is.
    version: Option<(SystemTime, u64)>,
}

/// Verifies tokens against an issuer's public keys.
pub struct Authorizer {
    keys: Mutex<(Arc<Keys>, Option<Watched>)>,
    verifier: Verifier,
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
        Ok(Self { keys, verifier: Verifier::new(issuer, audience) })
    }

    /// The same with the keys in a file. When it changes, the next token meets the new keys.
    pub fn watching(file: &Path, issuer: &str, audience: &str) -> Result<Self> {
        let mut watched = Watched { path: file.to_path_buf(), version: None };
        let keys = watched.changed().with_context(|| format!("read the keys in {}", file.display()))?;
        let keys = keys.with_context(|| format!("{} has no keys", file.display()))?;
        let keys = Mutex::new((Arc::new(keys), Some(watched)));
        Ok(Self { keys, verifier: Verifier::new(issuer, audience) })
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
        self.keys().text().to_owned()
    }

    /// Verifies the value of an `Authorization` header.
    pub fn check(&self, header: Option<&str>) -> Result<Arc<Authorized>, Denied> {
        self.verifier.check(&self.keys(), header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rsa::KeyPair;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::{Value, json};
    use std::time::{Duration, UNIX_EPOCH};

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
                Err(denied @ (Denied::Invalid(_) | Denied::UnknownKey)) => {
                    assert!(denied.to_string().contains(why), "{denied} instead of {why}");
                }
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
