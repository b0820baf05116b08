//! What a token has to say.

use crate::keys::Keys;
use jsonwebtoken::{Algorithm, Validation};
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No token in the `Authorization` header.
    #[error("the token is missing")]
    Missing,
    /// The token names a key that is not among those that are taken.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The token does not hold.
    #[error("{0}")]
    Invalid(String),
}

impl Denied {
    /// The `www-authenticate` header of the answer.
    pub fn challenge(&self) -> String {
        match self {
            Self::Missing => "Bearer".into(),
            Self::UnknownKey | Self::Invalid(_) => {
                format!(
                    "Bearer scope=\"\" error=\"invalid_token\" error_description=\"{}\"",
                    self.to_string().replace('"', "'")
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

/// Verifies tokens of one issuer for one audience.
pub struct Verifier {
    /// Tokens that hold: a client sends the same one with each request.
    held: Cache<String, Held>,
    issuer: String,
    audience: String,
}

/// The token in the value of an `Authorization` header.
pub(crate) fn bearer(header: Option<&str>) -> Result<&str, Denied> {
    let token = header.map(str::trim).filter(|h| !h.is_empty()).ok_or(Denied::Missing)?;
    match token.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        Some(_) => Err(Denied::Missing),
        None => Ok(token),
    }
}

impl Verifier {
    /// Takes tokens of `issuer` for `audience`.
    pub fn new(issuer: &str, audience: &str) -> Self {
        Self { held: Cache::new(REMEMBERED), issuer: issuer.into(), audience: audience.into() }
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

    /// Verifies the value of an `Authorization` header by one of the keys.
    pub fn check(&self, keys: &Arc<Keys>, header: Option<&str>) -> Result<Arc<Authorized>, Denied> {
        let token = bearer(header)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        if let Some(held) = self.held.get(token).filter(|h| Arc::ptr_eq(&h.keys, keys) && now < h.until) {
            return Ok(held.authorized);
        }
        let invalid = |why: &str| Denied::Invalid(why.to_owned());
        let head = jsonwebtoken::decode_header(token).map_err(|_| invalid("the token is no JWT"))?;
        let kid = head.kid.ok_or_else(|| invalid("the token names no key"))?;
        let key = keys.find(&kid).ok_or(Denied::UnknownKey)?;
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
        let keys = Arc::clone(keys);
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
