//! A compiled plugin as it is stored: signed, and bound to what it was compiled for.
//!
//! `deserialize` of wasmtime trusts its input like a shared library. So nothing reaches
//! it that this platform did not sign, and nothing that another engine made.
//!
//! ```text
//! magic 8 | tag of the head 32 | length of the head 4 | head | machine code
//! head: digest of the wasm 32 | engine identity 32 | salt 32 | length of the code 8 | n 1 | engine name n
//!       | a tag of 16 for each 64 KiB of the code
//! ```
//!
//! The head is signed with HMAC-SHA256. The code is signed piece by piece with AES-256-GCM over data
//! that is not encrypted (GMAC), so that it can be checked while it arrives ([`crate::Arrival`]): an
//! interpreter comes as 32 MB, and GMAC is five times as fast as HMAC-SHA256 where that has hardware of
//! its own. What GMAC must never see is one nonce for two texts under one key: here the key belongs
//! to the text (it is derived from the salt, an HMAC of the whole), and the nonce is the piece's number.

use crate::engine;
use crate::memory_file::Code;
use crate::{LoadError, SigningKey};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use wasmtime::Engine;

pub(crate) const MAGIC: &[u8; 8] = b"EAVESPL3";
/// Signed otherwise: they are made anew from the component, like those of another engine.
const EARLIER: [&[u8; 8]; 2] = [b"EAVESPL1", b"EAVESPL2"];
/// What is signed, and checked, at once.
pub(crate) const PIECE: usize = 64 << 10;
const TAG_LEN: usize = 16;
/// Magic, tag and length.
pub(crate) const PREFIX: usize = MAGIC.len() + 32 + 4;
/// The head of 4 GiB of code has this length.
const MAX_HEAD: usize = 1 << 20;

/// A compiled plugin whose signature was verified, for this very engine. It is in memory where nobody can
/// change it any more. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Artefact {
    pub(crate) digest: String,
    pub(crate) code: Arc<Code>,
}

impl Artefact {
    /// SHA-256 of the component it was compiled from, in hex: the version's name everywhere.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// This artefact, if it was compiled from the component with this digest. A signature says that this
    /// platform compiled it, not that it is the one that was asked for: where artefacts are kept, two
    /// good ones may have changed places.
    pub fn of(self, digest: &str) -> Result<Self, LoadError> {
        if self.digest == digest {
            return Ok(self);
        }
        Err(LoadError::OtherComponent { wanted: digest.into(), found: self.digest })
    }
}

/// What is before the head.
pub(crate) struct Prefix {
    tag: [u8; 32],
    pub(crate) head: usize,
}

impl Prefix {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(LoadError::NotAnArtefact)?;
        if EARLIER.contains(&magic) {
            return Err(LoadError::OtherEngine { artefact: "an earlier Eaves".into(), host: engine_name() });
        }
        if magic != MAGIC {
            return Err(LoadError::NotAnArtefact);
        }
        let (tag, rest) = rest.split_first_chunk().ok_or(LoadError::BadSignature)?;
        let length: [u8; 4] = rest.try_into().map_err(|_| LoadError::BadSignature)?;
        let head = u32::from_le_bytes(length) as usize;
        if head > MAX_HEAD {
            return Err(LoadError::BadSignature);
        }
        Ok(Self { tag: *tag, head })
    }
}

/// The head, its signature verified.
pub(crate) struct Head {
    wasm_digest: [u8; 32],
    identity: [u8; 32],
    salt: [u8; 32],
    pub(crate) code_len: usize,
    engine_name: String,
    tags: Vec<[u8; TAG_LEN]>,
}

impl Head {
    pub(crate) fn open(key: &SigningKey, prefix: &Prefix, head: &[u8]) -> Result<Self, LoadError> {
        head_mac(key, head).verify_slice(&prefix.tag).map_err(|_| LoadError::BadSignature)?;
        Self::parts(head).ok_or(LoadError::NotAnArtefact)
    }

    fn parts(head: &[u8]) -> Option<Self> {
        let (wasm_digest, rest) = head.split_first_chunk()?;
        let (identity, rest) = rest.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (code_len, rest) = rest.split_first_chunk()?;
        let code_len = usize::try_from(u64::from_le_bytes(*code_len)).ok()?;
        let (length, rest) = rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let engine_name = String::from_utf8(name.to_vec()).ok()?;
        let (tags, rest) = rest.as_chunks();
        let whole = rest.is_empty() && tags.len() == code_len.div_ceil(PIECE);
        whole.then(|| Self {
            wasm_digest: *wasm_digest,
            identity: *identity,
            salt: *salt,
            code_len,
            engine_name,
            tags: tags.to_vec(),
        })
    }

    pub(crate) fn digest(&self) -> String {
        hex::encode(self.wasm_digest)
    }

    /// Whether the code is for the engine with this identity.
    pub(crate) fn is_for(&self, identity: &[u8; 32]) -> Result<(), LoadError> {
        if self.identity == *identity {
            return Ok(());
        }
        let (artefact, host) = (self.engine_name.clone(), engine_name());
        let same = artefact == host;
        let host = if same { format!("{host} with other settings") } else { host };
        Err(LoadError::OtherEngine { artefact, host })
    }

    /// How long the piece with this number is; none after the last.
    pub(crate) fn piece_len(&self, number: usize) -> usize {
        self.code_len.saturating_sub(number * PIECE).min(PIECE)
    }

    pub(crate) fn pieces(&self, key: &SigningKey) -> Pieces {
        Pieces::of(key, &self.salt)
    }

    /// Verifies a piece of the code.
    pub(crate) fn verify(&self, pieces: &Pieces, number: usize, piece: &[u8]) -> Result<(), LoadError> {
        let mut tag = *self.tags.get(number).ok_or(LoadError::BadSignature)?;
        let opened = pieces.0.open_in_place(nonce(number), Aad::from(piece), &mut tag);
        opened.map(drop).map_err(|_| LoadError::BadSignature)
    }
}

/// The key of one artefact's pieces.
pub(crate) struct Pieces(LessSafeKey);

impl Pieces {
    fn of(key: &SigningKey, salt: &[u8; 32]) -> Self {
        let key = derived(key, b"pieces of a plugin", &[salt]).finalize().into_bytes();
        #[expect(clippy::expect_used, reason = "the key has the length of the algorithm's")]
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes")))
    }

    fn tag(&self, number: usize, piece: &[u8]) -> [u8; TAG_LEN] {
        #[expect(clippy::expect_used, reason = "only more than 2^61 bytes are refused")]
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(number), Aad::from(piece), &mut [])
            .expect("not that long");
        let mut bytes = [0; TAG_LEN];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }
}

fn nonce(number: usize) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// Signs what the compiler made of `wasm` for `engine`.
pub(crate) fn seal(key: &SigningKey, engine: &Engine, wasm: &[u8], code: &[u8]) -> Vec<u8> {
    sign(key, Sha256::digest(wasm).into(), engine::identity(engine), &engine_name(), code)
}

fn sign(key: &SigningKey, digest: [u8; 32], identity: [u8; 32], name: &str, code: &[u8]) -> Vec<u8> {
    let length = (code.len() as u64).to_le_bytes();
    let of = [name.len() as u8];
    let text: [&[u8]; 6] = [&digest, &identity, &length, &of, name.as_bytes(), code];
    let salt: [u8; 32] = derived(key, b"text of a plugin", &text).finalize().into_bytes().into();
    let pieces = Pieces::of(key, &salt);
    let mut head = [&digest[..], &identity, &salt, &length, &of, name.as_bytes()].concat();
    for (number, piece) in code.chunks(PIECE).enumerate() {
        head.extend_from_slice(&pieces.tag(number, piece));
    }
    let tag = head_mac(key, &head).finalize().into_bytes();
    [MAGIC, &tag[..], &(head.len() as u32).to_le_bytes(), &head, code].concat()
}

/// The same artefact, signed, as if another engine had made it.
pub(crate) fn of_another_engine(key: &SigningKey, bytes: &[u8]) -> Option<Vec<u8>> {
    let (prefix, rest) = bytes.split_at_checked(PREFIX)?;
    let (head, code) = rest.split_at_checked(Prefix::read(prefix).ok()?.head)?;
    let Head { wasm_digest, mut identity, engine_name, .. } = Head::parts(head)?;
    identity[0] ^= 1;
    Some(sign(key, wasm_digest, identity, &engine_name, code))
}

fn engine_name() -> String {
    format!("wasmtime {} on {}", engine::WASMTIME, engine::target())
}

fn head_mac(key: &SigningKey, head: &[u8]) -> Hmac<Sha256> {
    derived(key, b"head of a plugin", &[MAGIC, head])
}

/// 32 bytes that only who has the signing key can know, for one purpose.
fn derived(key: &SigningKey, purpose: &[u8], of: &[&[u8]]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes()).expect("any key length");
    mac.update(purpose);
    mac.update(&[0]);
    for part in of {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Host, HostConfig};

    fn key() -> SigningKey {
        SigningKey::from_hex(&"5a".repeat(32)).unwrap()
    }

    fn sealed(code: &[u8]) -> Vec<u8> {
        seal(&key(), &engine::compiler().unwrap(), b"wasm", code)
    }

    fn head(bytes: &[u8]) -> Head {
        let prefix = Prefix::read(&bytes[..PREFIX]).unwrap();
        Head::open(&key(), &prefix, &bytes[PREFIX..][..prefix.head]).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn an_artefact_of_another_engine_is_refused_by_name() {
        let config = HostConfig::new(&"5a".repeat(32)).unwrap();
        let bytes = of_another_engine(&config.signing_key, &sealed(b"code")).unwrap();
        let error = Host::new(config).unwrap().load(&bytes).unwrap_err();
        assert!(matches!(error, LoadError::OtherEngine { .. }), "{error}");
        assert!(error.to_string().contains("with other settings"), "{error}");
    }

    #[test]
    fn a_good_artefact_of_another_component_is_refused() {
        let host = Host::new(HostConfig::new(&"5a".repeat(32)).unwrap()).unwrap();
        let arrived = host.arrived(&sealed(b"code")).unwrap();
        let digest = hex::encode(Sha256::digest(b"wasm"));
        let other = hex::encode(Sha256::digest(b"other"));
        assert_eq!(arrived.clone().of(&digest).unwrap().digest(), digest);
        let error = arrived.of(&other).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains(&digest) && shown.contains(&other), "{shown}");
        assert!(matches!(error, LoadError::OtherComponent { .. }) && !error.is_retryable(), "{shown}");
        let error = host.load_of(&other, &sealed(b"code")).unwrap_err();
        assert!(matches!(error, LoadError::OtherComponent { .. }), "before wasmtime sees the code: {error}");
    }

    #[test]
    fn an_artefact_of_an_earlier_eaves_is_to_be_made_anew() {
        let host = Host::new(HostConfig::new(&"5a".repeat(32)).unwrap()).unwrap();
        for magic in EARLIER {
            let mut bytes = sealed(b"code");
            bytes[..8].copy_from_slice(magic);
            let error = host.load(&bytes).unwrap_err();
            assert!(matches!(error, LoadError::OtherEngine { .. }), "{error}");
        }
    }

    #[test]
    fn a_key_of_pieces_belongs_to_one_text() {
        let salt = |code| head(&sealed(code)).salt;
        assert_eq!(salt(b"code"), salt(b"code"));
        assert_ne!(salt(b"code"), salt(b"cove"));
        let other = of_another_engine(&key(), &sealed(b"code")).unwrap();
        assert_ne!(salt(b"code"), head(&other).salt);
    }

    #[test]
    fn a_piece_is_good_in_its_place_and_in_its_artefact_only() {
        let code = vec![7; 2 * PIECE + 1];
        let (bytes, mut other) = (sealed(&code), code.clone());
        other[2 * PIECE] = 8;
        let (one, other) = (head(&bytes), head(&sealed(&other)));
        let (pieces, others) = (one.pieces(&key()), other.pieces(&key()));
        assert_eq!([0, 1, 2, 3].map(|n| one.piece_len(n)), [PIECE, PIECE, 1, 0]);
        let same = &code[..PIECE];
        assert!(one.verify(&pieces, 0, same).is_ok() && one.verify(&pieces, 1, same).is_ok());
        // The pieces are equal, and their tags are not.
        assert_ne!(one.tags[0], one.tags[1]);
        assert_ne!(one.tags[0], other.tags[0]);
        assert!(one.verify(&others, 0, same).is_err() && other.verify(&pieces, 0, same).is_err());
        assert!(one.verify(&pieces, 0, &same[1..]).is_err());
        assert!(one.verify(&pieces, 3, &[]).is_err());
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
