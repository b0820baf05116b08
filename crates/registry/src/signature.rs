//! Publishers' signatures: ed25519 over the component's SHA-256.
//!
//! What is signed is the text `eaves-plugin-v1:` and the digest in 64 hex digits, so that
//! a signature made for something else never fits.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

/// What a publisher signs for the component with this digest.
pub fn signed_text(digest: &str) -> String {
    format!("eaves-plugin-v1:{digest}")
}

pub(crate) fn public_key(digits: &str) -> Option<[u8; 32]> {
    hex::decode(digits).ok()?.try_into().ok()
}

/// Whether `signature` (128 hex digits) is that of the key over the component's digest.
pub(crate) fn verify(key: &str, digest: &str, signature: &str) -> bool {
    let (Some(key), Ok(signature)) = (public_key(key), hex::decode(signature)) else { return false };
    UnparsedPublicKey::new(&ED25519, key).verify(signed_text(digest).as_bytes(), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    #[test]
    fn only_the_right_key_over_the_right_digest_verifies() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let other = Ed25519KeyPair::generate().unwrap();
        let key = hex::encode(pair.public_key().as_ref());
        let signature = hex::encode(pair.sign(signed_text("ab").as_bytes()).as_ref());
        assert!(verify(&key, "ab", &signature));
        assert!(!verify(&key, "ac", &signature));
        assert!(!verify(&hex::encode(other.public_key().as_ref()), "ab", &signature));
        for bad in ["", "zz", &signature[2..]] {
            assert!(!verify(&key, "ab", bad), "{bad}");
        }
    }
}
