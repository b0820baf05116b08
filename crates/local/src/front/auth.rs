//! The JWT authorizer, and the issuer whose tokens it takes.
//!
//! Checks what API Gateway's JWT authorizer checks: the signature by a key of the issuer
//! (found by `kid`, RS256 only), `iss`, `aud`, `exp`, `nbf`, `iat`. Only claims of a token
//! that passed reach a function.

use crate::files;
use anyhow::{Context as _, Result};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Issuer of local tokens.
pub const ISSUER: &str = "https://eaves.local";
/// Audience of local tokens.
pub const AUDIENCE: &str = "eaves";

/// What a local token says.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// Who it was made for.
    pub sub: String,
    /// The tenant's name.
    pub tenant: String,
    /// The tenant's id, as a string: API Gateway hands all claims on as strings.
    pub tenant_id: String,
    /// What it allows, separated by spaces.
    pub scope: String,
    /// When it was made, seconds since 1970.
    pub iat: u64,
    /// From when it holds.
    pub nbf: u64,
    /// Until when it holds.
    pub exp: u64,
}

/// The issuer: a key pair kept in a file of mode 0600.
pub struct Issuer {
    key: EncodingKey,
    jwk: Jwk,
    kid: String,
}

impl Issuer {
    /// The key in the file, made if there is none.
    pub fn load_or_make(path: &Path) -> Result<Self> {
        if !path.exists() {
            files::replace(path, make_key()?.as_bytes(), 0o600).context("keep the key that signs tokens")?;
        }
        Self::load(path)
    }

    /// The key in the file.
    pub fn load(path: &Path) -> Result<Self> {
        let pem = std::fs::read(path).with_context(|| format!("read the key {}", path.display()))?;
        let key = EncodingKey::from_rsa_pem(&pem)
            .with_context(|| format!("{} holds no RSA key", path.display()))?;
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { key, jwk, kid })
    }

    /// The public keys, as served at `/.well-known/jwks.json`.
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: vec![self.jwk.clone()] }
    }

    /// A token for a tenant.
    pub fn token(&self, tenant: &str, tenant_id: i64, scope: &str, ttl: Duration) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: format!("eaves-cli:{tenant}"),
            tenant: tenant.into(),
            tenant_id: tenant_id.to_string(),
            scope: scope.into(),
            iat: now,
            nbf: now,
            exp: now + ttl.as_secs(),
        };
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.kid.clone());
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?)
    }
}

/// A new RSA key as PKCS#8 PEM.
fn make_key() -> Result<String> {
    let pair = KeyPair::generate(KeySize::Rsa2048).ok().context("make an RSA key")?;
    let der: Pkcs8V1Der<'_> = pair.as_der().ok().context("encode the RSA key")?;
    let text = STANDARD.encode(der.as_ref());
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Ok(pem)
}

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

/// Verifies tokens against an issuer's public keys.
pub struct Authorizer {
    keys: Vec<(String, DecodingKey)>,
    validation: Validation,
}

impl Authorizer {
    /// Takes tokens of `issuer` for `audience` signed with one of `keys`.
    pub fn new(keys: &JwkSet, issuer: &str, audience: &str) -> Result<Self> {
        let key = |jwk: &Jwk| -> Result<(String, DecodingKey)> {
            let kid = jwk.common.key_id.clone().context("a key has no kid")?;
            Ok((kid, DecodingKey::from_jwk(jwk)?))
        };
        let keys = keys.keys.iter().map(key).collect::<Result<_>>()?;
        // One algorithm, whatever a token's header says: no `none`, no HS256 with the
        // public key as its secret.
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        Ok(Self { keys, validation })
    }

    /// Verifies the value of an `Authorization` header.
    pub fn check(&self, header: Option<&str>) -> Result<Authorized, Denied> {
        let token = header.map(str::trim).filter(|h| !h.is_empty()).ok_or(Denied::Missing)?;
        let token = match token.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            Some(_) => return Err(Denied::Missing),
            None => token,
        };
        let invalid = |why: &str| Denied::Invalid(why.to_owned());
        let head = jsonwebtoken::decode_header(token).map_err(|_| invalid("the token is no JWT"))?;
        let kid = head.kid.ok_or_else(|| invalid("the token names no key"))?;
        let key = self.keys.iter().find(|(known, _)| *known == kid);
        let (_, key) = key.ok_or_else(|| invalid("the token's key is not known"))?;
        let data = jsonwebtoken::decode::<Map<String, Value>>(token, key, &self.validation);
        let claims = data.map_err(|e| invalid(reason(e.kind())))?.claims;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if claims.get("iat").is_some_and(|iat| iat.as_f64().is_none_or(|iat| iat > now as f64)) {
            return Err(invalid("the token was made in the future"));
        }
        let claims = claims.into_iter().map(|(name, value)| (name, claim_text(&value))).collect();
        Ok(Authorized { claims })
    }
}

fn reason(kind: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token has another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => "the token's algorithm is not RS256",
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
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

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
            jsonwebtoken::encode(&header, claims, &self.issuer.key).unwrap()
        }

        fn check(&self, token: &str) -> Result<Authorized, Denied> {
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
            self.denied(&self.sign(Some(&self.issuer.kid), &claims), why);
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
    fn an_unsigned_token_is_denied() {
        let world = world();
        let part = |v: Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let claims = part(good());
        for alg in ["none", "None", "NONE", ""] {
            let header = part(json!({"alg": alg, "typ": "JWT", "kid": world.issuer.kid}));
            world.denied(&format!("{header}.{claims}."), "");
        }
        let signed = world.sign(Some(&world.issuer.kid), &good());
        let (unsigned, _) = signed.rsplit_once('.').unwrap();
        world.denied(&format!("{unsigned}."), "");
    }

    #[test]
    fn the_public_key_as_an_hmac_secret_is_denied() {
        let world = world();
        let jwks = serde_json::to_value(world.issuer.jwks()).unwrap();
        let modulus = jwks["keys"][0]["n"].as_str().unwrap().to_owned();
        let raw = URL_SAFE_NO_PAD.decode(&modulus).unwrap();
        let pair = KeyPair::from_der(world.issuer.key.as_bytes()).unwrap();
        let public = aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref().to_vec();
        let pem = format!(
            "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
            STANDARD.encode(&public)
        );
        for secret in [modulus.into_bytes(), raw, public, pem.into_bytes()] {
            let mut header = Header::new(Algorithm::HS256);
            header.kid = Some(world.issuer.kid.clone());
            let token = jsonwebtoken::encode(&header, &good(), &EncodingKey::from_secret(&secret)).unwrap();
            world.denied(&token, "not RS256");
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
            world.denied(&world.sign(Some(&world.issuer.kid), &claims), "lacks");
        }
    }

    #[test]
    fn unknown_retired_and_foreign_keys_are_denied() {
        let (world, other) = (world(), self::world());
        world.denied(&world.sign(None, &good()), "names no key");
        world.denied(&world.sign(Some("retired"), &good()), "not known");
        // Another issuer's key under this issuer's kid.
        world.denied(&other.sign(Some(&world.issuer.kid), &good()), "signature");
        let token = world.sign(Some(&world.issuer.kid), &good());
        let (head, rest) = token.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let mut claims = good();
        claims["tenant"] = json!("globex");
        let forged = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        world.denied(&forged, "signature");
    }

    #[test]
    fn the_key_file_is_for_its_owner_only_and_stays() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let first = Issuer::load_or_make(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(Issuer::load_or_make(&path).unwrap().kid, first.kid);
    }
}
