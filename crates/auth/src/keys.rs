//! The public keys of an issuer.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// A list of keys that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(String);

/// A public key and the one algorithm that it is good for.
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// The keys that are taken at a time.
pub struct Keys {
    all: Vec<Key>,
    /// As it is served.
    text: String,
}

/// Most keys that a list may have.
const MOST: usize = 100;

impl Keys {
    /// A list of one's own: each key has a name and an algorithm that is taken, or none is taken.
    pub fn of(set: &JwkSet) -> Result<Self, KeysError> {
        let key = |jwk: &Jwk| -> Result<Key, KeysError> {
            let id = jwk.common.key_id.clone().ok_or_else(|| KeysError("a key has no kid".into()))?;
            let named = jwk.common.key_algorithm;
            let named = named.ok_or_else(|| KeysError(format!("the key {id} has no alg")))?;
            let algorithm = Algorithm::try_from(named).ok().filter(taken).ok_or_else(|| {
                KeysError(format!("the key {id} is for {named}; RS256, ES256 and EdDSA are taken"))
            })?;
            let key = DecodingKey::from_jwk(jwk).map_err(|e| KeysError(format!("the key {id}: {e}")))?;
            Ok(Key { id, algorithm, key })
        };
        let all = set.keys.iter().map(key).collect::<Result<_, _>>()?;
        let text = serde_json::to_string(set).map_err(|e| KeysError(e.to_string()))?;
        Ok(Self { all, text })
    }

    /// The list that an issuer serves (RFC 7517). It may have keys for other purposes: those without a
    /// name, for encryption, for other algorithms, or that cannot be read are passed over, and of two of
    /// one name the second. A key that names no algorithm is good for the one that its kind has here.
    pub fn offered(list: &[u8]) -> Result<Self, KeysError> {
        let set: Value = serde_json::from_slice(list).map_err(|e| KeysError(format!("no JSON: {e}")))?;
        let Some(keys) = set.get("keys").and_then(Value::as_array) else {
            return Err(KeysError("no list of keys".into()));
        };
        if keys.len() > MOST {
            return Err(KeysError(format!("{} keys; at most {MOST} are taken", keys.len())));
        }
        let mut all: Vec<Key> = Vec::new();
        for key in keys.iter().filter_map(usable) {
            if all.iter().all(|known| known.id != key.id) {
                all.push(key);
            }
        }
        if all.is_empty() {
            return Err(KeysError("no key for RS256, ES256 or EdDSA".into()));
        }
        Ok(Self { all, text: set.to_string() })
    }

    /// The list as JSON.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of the keys.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|key| key.id.as_str())
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Key> {
        self.all.iter().find(|known| known.id == id)
    }
}

/// Algorithms of which a public key is enough to verify, and no more than one for each kind of key.
fn taken(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA)
}

/// A key of an issuer's list, if it is for signatures that are taken here.
fn usable(value: &Value) -> Option<Key> {
    // One algorithm that is not known makes a key that cannot be read, not a list.
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let id = jwk.common.key_id.clone().filter(|id| !id.is_empty())?;
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    if let Some(named) = jwk.common.key_algorithm
        && Algorithm::try_from(named).ok() != Some(algorithm)
    {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id, algorithm, key })
}
