//! The issuer of tokens for a platform here: its keys, and how they are exchanged.
//!
//! One key signs. Which public keys are taken is a list in a file beside it: a new key is added before
//! it signs, an old one stays in the list until it is retired. That is how an issuer of a deployed
//! platform does it at its `/.well-known/jwks.json`.

use crate::files;
use anyhow::{Context as _, Result, bail};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
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
    /// The tenant's name; an operator's token may name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The tenant's id, as a string: API Gateway hands all claims on as strings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// It is for somebody who operates the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<bool>,
    /// What it allows, separated by spaces.
    pub scope: String,
    /// When it was made, seconds since 1970.
    pub iat: u64,
    /// From when it holds.
    pub nbf: u64,
    /// Until when it holds.
    pub exp: u64,
}

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RSA of 2048 bits: what API Gateway's JWT authorizer takes.
    Rs256,
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl std::str::FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "rs256" => Ok(Self::Rs256),
            "es256" => Ok(Self::Es256),
            "eddsa" => Ok(Self::EdDsa),
            _ => bail!("{text:?} is none of RS256, ES256 and EdDSA"),
        }
    }
}

/// The file with the public keys that are taken, beside the key that signs.
pub fn keys_file(key: &Path) -> PathBuf {
    key.with_extension("jwks.json")
}

/// The issuer: a key that signs, in a file of mode 0600.
pub struct Issuer {
    key: EncodingKey,
    algorithm: Algorithm,
    jwk: Jwk,
    kid: String,
}

impl Issuer {
    /// The key in the file, made if there is none; it is in the list of those that are taken.
    pub fn load_or_make(path: &Path) -> Result<Self> {
        if !path.exists() {
            let pem = make_key(Kind::Rs256)?;
            files::replace(path, pem.as_bytes(), 0o600).context("keep the key that signs tokens")?;
        }
        let issuer = Self::load(path)?;
        if !keys_file(path).exists() {
            save(path, &issuer.jwks())?;
        }
        Ok(issuer)
    }

    /// The key in the file.
    pub fn load(path: &Path) -> Result<Self> {
        let pem = std::fs::read(path).with_context(|| format!("read the key {}", path.display()))?;
        Self::of(&pem).with_context(|| format!("use the key {}", path.display()))
    }

    fn of(pem: &[u8]) -> Result<Self> {
        let (key, algorithm) = if let Ok(key) = EncodingKey::from_rsa_pem(pem) {
            (key, Algorithm::RS256)
        } else if let Ok(key) = EncodingKey::from_ec_pem(pem) {
            (key, Algorithm::ES256)
        } else {
            let key = EncodingKey::from_ed_pem(pem).context("it is no key of RSA, P-256 or Ed25519")?;
            (key, Algorithm::EdDSA)
        };
        let mut jwk = Jwk::from_encoding_key(&key, algorithm)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { key, algorithm, jwk, kid })
    }

    /// Its own public key.
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: vec![self.jwk.clone()] }
    }

    /// The name of its key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key that signs.
    pub fn key(&self) -> &EncodingKey {
        &self.key
    }

    /// Signs with a new key from now on; tokens of the one before are taken until it is retired.
    pub fn rotate(path: &Path, kind: Kind) -> Result<Self> {
        let pem = make_key(kind)?;
        let issuer = Self::of(pem.as_bytes())?;
        let mut taken = taken(path)?;
        taken.keys.push(issuer.jwk.clone());
        // Known first, used then.
        save(path, &taken)?;
        files::replace(path, pem.as_bytes(), 0o600).context("keep the key that signs tokens")?;
        Ok(issuer)
    }

    /// Takes no tokens of a key any more. The one that signs cannot be retired.
    pub fn retire(path: &Path, kid: &str) -> Result<()> {
        let mut taken = taken(path)?;
        let names: Vec<String> = taken.keys.iter().filter_map(|k| k.common.key_id.clone()).collect();
        if Self::load(path)?.kid == kid {
            bail!("{kid} is the key that signs: rotate first");
        }
        if !names.iter().any(|name| name == kid) {
            bail!("no key {kid} is taken; there are {}", names.join(", "));
        }
        taken.keys.retain(|key| key.common.key_id.as_deref() != Some(kid));
        save(path, &taken)
    }

    /// Names and algorithms of the keys that are taken; the one that signs is the last.
    pub fn taken(path: &Path) -> Result<Vec<(String, String)>> {
        let name = |key: &Jwk| {
            let algorithm = key.common.key_algorithm.map(|a| a.to_string()).unwrap_or_default();
            (key.common.key_id.clone().unwrap_or_default(), algorithm)
        };
        Ok(taken(path)?.keys.iter().map(name).collect())
    }

    /// A token for a tenant.
    pub fn token(&self, tenant: &str, tenant_id: i64, scope: &str, ttl: Duration) -> Result<String> {
        self.sign(&format!("eaves-cli:{tenant}"), Some((tenant, tenant_id)), false, scope, ttl)
    }

    /// A token for somebody who operates the platform.
    pub fn operator_token(&self, who: &str, scope: &str, ttl: Duration) -> Result<String> {
        self.sign(who, None, true, scope, ttl)
    }

    fn sign(
        &self,
        sub: &str,
        tenant: Option<(&str, i64)>,
        operator: bool,
        scope: &str,
        ttl: Duration,
    ) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: sub.into(),
            tenant: tenant.map(|(name, _)| name.into()),
            tenant_id: tenant.map(|(_, id)| id.to_string()),
            operator: operator.then_some(true),
            scope: scope.into(),
            iat: now,
            nbf: now,
            exp: now + ttl.as_secs(),
        };
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone());
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?)
    }
}

/// The keys that are taken.
fn taken(path: &Path) -> Result<JwkSet> {
    let file = keys_file(path);
    let bytes = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("read {}", file.display()))
}

fn save(path: &Path, keys: &JwkSet) -> Result<()> {
    files::replace(&keys_file(path), &serde_json::to_vec_pretty(keys)?, 0o600).context("keep the public keys")
}

/// A new key as PKCS#8 PEM.
fn make_key(kind: Kind) -> Result<String> {
    let der = match kind {
        Kind::Rs256 => {
            let pair = KeyPair::generate(KeySize::Rsa2048).ok().context("make an RSA key")?;
            let der: Pkcs8V1Der<'_> = pair.as_der().ok().context("encode the RSA key")?;
            der.as_ref().to_vec()
        }
        Kind::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
            let pair = pair.ok().context("make a key on P-256")?;
            pair.to_pkcs8v1().ok().context("encode the key")?.as_ref().to_vec()
        }
        Kind::EdDsa => {
            let pair = Ed25519KeyPair::generate().ok().context("make an Ed25519 key")?;
            pair.to_pkcs8v1().ok().context("encode the key")?.as_ref().to_vec()
        }
    };
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_file_is_for_its_owner_only_and_stays() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let first = Issuer::load_or_make(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(Issuer::load_or_make(&path).unwrap().kid, first.kid);
    }

    #[test]
    fn keys_are_exchanged_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let first = Issuer::load_or_make(&path).unwrap();
        let second = Issuer::rotate(&path, Kind::Es256).unwrap();
        let third = Issuer::rotate(&path, Kind::EdDsa).unwrap();
        let names = |of: &[&Issuer]| of.iter().map(|i| i.kid.clone()).collect::<Vec<_>>();
        let taken = || Issuer::taken(&path).unwrap().into_iter().map(|(kid, _)| kid).collect::<Vec<_>>();
        assert_eq!(taken(), names(&[&first, &second, &third]));
        assert_eq!(Issuer::load(&path).unwrap().kid, third.kid);
        assert!(Issuer::retire(&path, &third.kid).is_err(), "it signs");
        assert!(Issuer::retire(&path, "nix").is_err());
        Issuer::retire(&path, &first.kid).unwrap();
        assert_eq!(taken(), names(&[&second, &third]));
    }
}
