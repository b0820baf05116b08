//! A compiled plugin as it is stored: signed, and bound to what it was compiled for.
//!
//! `deserialize` of wasmtime trusts its input like a shared library. So nothing reaches
//! it that this platform did not sign, and nothing that another engine made.
//!
//! ```text
//! magic 8 | nonce 12 | tag 16 | digest of the wasm 32 | engine identity 32 | n 1 | engine name n | machine code
//! ```
//!
//! The signature is AES-256-GCM over data that is not encrypted (GMAC), because it is checked over every
//! byte at each cold load, and an interpreter comes as 50 MB: GMAC is five times as fast as HMAC-SHA256
//! where that has hardware of its own. Its key is derived from the signing key and used for nothing else.
//! What GMAC must never see is one nonce for two texts: the nonce is derived from the text.

use crate::engine;
use crate::{LoadError, SigningKey};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;

const MAGIC: &[u8; 8] = b"EAVESPL2";
/// Signed otherwise: it is made anew from the component, like that of another engine.
const EARLIER_MAGIC: &[u8; 8] = b"EAVESPL1";
const TAG_LEN: usize = 16;
const SIGNED_FROM: usize = MAGIC.len() + NONCE_LEN + TAG_LEN;

/// A signed artefact whose signature has been verified.
#[derive(Debug)]
pub struct Artefact<'a> {
    wasm_digest: [u8; 32],
    engine_name: &'a str,
    identity: [u8; 32],
    body: &'a [u8],
}

fn engine_name() -> String {
    format!("wasmtime {} on {}", engine::WASMTIME, engine::target())
}

impl<'a> Artefact<'a> {
    /// Signs what the compiler made of `wasm` for `engine`.
    pub(crate) fn seal(key: &SigningKey, engine: &Engine, wasm: &[u8], body: &[u8]) -> Vec<u8> {
        let name = engine_name();
        let mut bytes = Vec::with_capacity(SIGNED_FROM + 65 + name.len() + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; NONCE_LEN + TAG_LEN]);
        bytes.extend_from_slice(&Sha256::digest(wasm));
        bytes.extend_from_slice(&engine::identity(engine));
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(body);
        sign(key, &mut bytes);
        bytes
    }

    /// Verifies the signature and takes the parts apart.
    pub fn open(key: &SigningKey, bytes: &'a [u8]) -> Result<Self, LoadError> {
        let (magic, rest) = bytes.split_at_checked(MAGIC.len()).ok_or(LoadError::NotAnArtefact)?;
        if magic == EARLIER_MAGIC {
            return Err(LoadError::OtherEngine { artefact: "an earlier Eaves".into(), host: engine_name() });
        }
        if magic != MAGIC {
            return Err(LoadError::NotAnArtefact);
        }
        let (nonce, rest) = rest.split_first_chunk().ok_or(LoadError::BadSignature)?;
        let (tag, signed) = rest.split_first_chunk::<TAG_LEN>().ok_or(LoadError::BadSignature)?;
        gmac(key)
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(signed), &mut tag.clone())
            .map_err(|_| LoadError::BadSignature)?;
        Self::parts(signed).ok_or(LoadError::NotAnArtefact)
    }

    /// The same artefact, signed, as if another engine had made it.
    pub(crate) fn of_another_engine(key: &SigningKey, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = bytes.to_vec();
        // The engine's identity stands behind the digest of the wasm.
        *bytes.get_mut(SIGNED_FROM + 32)? ^= 1;
        sign(key, &mut bytes);
        Some(bytes)
    }

    fn parts(signed: &'a [u8]) -> Option<Self> {
        let (wasm_digest, rest) = signed.split_first_chunk()?;
        let (identity, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (name, body) = rest.split_at_checked(usize::from(*length))?;
        let engine_name = std::str::from_utf8(name).ok()?;
        Some(Self { wasm_digest: *wasm_digest, engine_name, identity: *identity, body })
    }

    /// SHA-256 of the component it was compiled from, in hex: the version's name everywhere.
    pub fn digest(&self) -> String {
        hex::encode(self.wasm_digest)
    }

    /// The machine code, if it is for this engine.
    pub(crate) fn body_for(&self, engine: &Engine) -> Result<&'a [u8], LoadError> {
        if self.identity == engine::identity(engine) {
            return Ok(self.body);
        }
        let (artefact, host) = (self.engine_name.into(), engine_name());
        let same = artefact == host;
        let host = if same { format!("{host} with other settings") } else { host };
        Err(LoadError::OtherEngine { artefact, host })
    }
}

/// Fills in nonce and tag.
fn sign(key: &SigningKey, bytes: &mut [u8]) {
    let (head, signed) = bytes.split_at_mut(SIGNED_FROM);
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&derived(key, b"nonce of a plugin", signed)[..NONCE_LEN]);
    #[expect(clippy::expect_used, reason = "only more than 2^61 bytes are refused")]
    let tag = gmac(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&*signed), &mut [])
        .expect("not that long");
    head[MAGIC.len()..][..NONCE_LEN].copy_from_slice(&nonce);
    head[MAGIC.len() + NONCE_LEN..].copy_from_slice(tag.as_ref());
}

fn gmac(key: &SigningKey) -> LessSafeKey {
    let key = derived(key, b"tag of a plugin", MAGIC);
    #[expect(clippy::expect_used, reason = "the key has the length of the algorithm's")]
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes"))
}

/// 32 bytes that only who has the signing key can know.
fn derived(key: &SigningKey, purpose: &[u8], of: &[u8]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes()).expect("any key length");
    mac.update(purpose);
    mac.update(&[0]);
    mac.update(of);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Host, HostConfig};

    #[test]
    fn an_artefact_of_another_engine_is_refused_by_name() {
        let config = HostConfig::new(&"5a".repeat(32)).unwrap();
        let engine = engine::compiler().unwrap();
        let bytes = Artefact::seal(&config.signing_key, &engine, b"wasm", b"code");
        let bytes = Artefact::of_another_engine(&config.signing_key, &bytes).unwrap();
        let error = Host::new(config).unwrap().load(&bytes).unwrap_err();
        assert!(matches!(error, LoadError::OtherEngine { .. }), "{error}");
        assert!(error.to_string().contains("with other settings"), "{error}");
    }

    #[test]
    fn an_artefact_of_an_earlier_eaves_is_to_be_made_anew() {
        let key = SigningKey::from_hex(&"5a".repeat(32)).unwrap();
        let mut bytes = Artefact::seal(&key, &engine::compiler().unwrap(), b"wasm", b"code");
        assert!(Artefact::open(&key, &bytes).is_ok());
        bytes[..8].copy_from_slice(EARLIER_MAGIC);
        let error = Artefact::open(&key, &bytes).unwrap_err();
        assert!(matches!(error, LoadError::OtherEngine { .. }), "{error}");
    }

    #[test]
    fn a_nonce_belongs_to_one_text() {
        let (key, engine) = (SigningKey::from_hex(&"5a".repeat(32)).unwrap(), engine::compiler().unwrap());
        let nonce = |code| Artefact::seal(&key, &engine, b"wasm", code)[8..20].to_vec();
        assert_eq!(nonce(b"code"), nonce(b"code"));
        assert_ne!(nonce(b"code"), nonce(b"cove"));
    }

    #[test]
    fn both_engines_have_one_identity() {
        let pool = engine::Pool { concurrency: 1, memory_bytes: 1 << 20, table_entries: 10 };
        let runner = engine::runner(&pool).unwrap();
        assert_eq!(engine::identity(&runner), engine::identity(&engine::compiler().unwrap()));
    }

    #[test]
    fn the_version_is_that_of_the_lock_file() {
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
        let wanted = format!("name = \"wasmtime\"\nversion = \"{}\"\n", engine::WASMTIME);
        assert!(
            lock.contains(&wanted),
            "engine::WASMTIME is {} and Cargo.lock has another",
            engine::WASMTIME
        );
    }
}
