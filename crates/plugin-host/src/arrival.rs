//! An artefact on its way here: verified while it comes, into memory that is sealed at the end.
//!
//! No byte of code is kept that was not verified, and after the last nobody can change one.

use crate::artefact::{Artefact, Head, PREFIX, Pieces, Prefix};
use crate::memory_file::Growing;
use crate::{LoadError, SigningKey};
use std::sync::Arc;

/// Takes the bytes of an artefact as they come. Made by [`crate::Host::arrival`].
pub struct Arrival {
    key: SigningKey,
    /// Of the engine that the code must be for.
    identity: [u8; 32],
    at: At,
    /// The beginning of what is wanted next.
    waiting: Vec<u8>,
}

/// What comes next.
enum At {
    Prefix,
    Head(Prefix),
    Code { head: Head, pieces: Pieces, number: usize, file: Growing },
}

impl Arrival {
    pub(crate) fn new(key: SigningKey, identity: [u8; 32]) -> Self {
        Self { key, identity, at: At::Prefix, waiting: Vec::new() }
    }

    /// Takes the next bytes. After an error the artefact is not to be had.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), LoadError> {
        while !bytes.is_empty() {
            let wanted = self.wanted();
            if wanted == 0 {
                // It goes on after its end.
                return Err(LoadError::BadSignature);
            }
            if self.waiting.is_empty()
                && let Some((piece, rest)) = bytes.split_at_checked(wanted)
            {
                self.take(piece)?;
                bytes = rest;
                continue;
            }
            let (more, rest) = bytes.split_at(bytes.len().min(wanted - self.waiting.len()));
            self.waiting.extend_from_slice(more);
            bytes = rest;
            if self.waiting.len() == wanted {
                let piece = std::mem::take(&mut self.waiting);
                self.take(&piece)?;
                self.waiting = piece;
                self.waiting.clear();
            }
        }
        Ok(())
    }

    /// After the last byte.
    pub fn finish(self) -> Result<Artefact, LoadError> {
        match self.at {
            At::Code { head, number, file, .. } if head.piece_len(number) == 0 => {
                Ok(Artefact { digest: head.digest(), code: Arc::new(file.seal().map_err(LoadError::Keep)?) })
            }
            // What is there says what it is not.
            At::Prefix => Prefix::read(&self.waiting).and(Err(LoadError::BadSignature)),
            _ => Err(LoadError::BadSignature),
        }
    }

    fn wanted(&self) -> usize {
        match &self.at {
            At::Prefix => PREFIX,
            At::Head(prefix) => prefix.head,
            At::Code { head, number, .. } => head.piece_len(*number),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        match &mut self.at {
            At::Prefix => self.at = At::Head(Prefix::read(bytes)?),
            At::Head(prefix) => {
                let head = Head::open(&self.key, prefix, bytes)?;
                head.is_for(&self.identity)?;
                let (pieces, file) = (head.pieces(&self.key), Growing::new().map_err(LoadError::Keep)?);
                self.at = At::Code { head, pieces, number: 0, file };
            }
            At::Code { head, pieces, number, file } => {
                head.verify(pieces, *number, bytes)?;
                file.push(bytes).map_err(LoadError::Keep)?;
                *number += 1;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrival").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artefact::{PIECE, seal};
    use crate::engine;

    fn arrived(bytes: &[u8], at_once: usize) -> Result<Vec<u8>, LoadError> {
        let key = SigningKey::from_hex(&"5a".repeat(32)).unwrap();
        let identity = engine::identity(&engine::compiler().unwrap());
        let mut arrival = Arrival::new(key, identity);
        for part in bytes.chunks(at_once) {
            arrival.push(part)?;
        }
        Ok(arrival.finish()?.code.map().unwrap().to_vec())
    }

    fn sealed(code: &[u8]) -> Vec<u8> {
        let key = SigningKey::from_hex(&"5a".repeat(32)).unwrap();
        seal(&key, &engine::compiler().unwrap(), b"wasm", code)
    }

    #[test]
    fn it_arrives_however_it_was_cut() {
        let code: Vec<u8> = (0..2 * PIECE + 70).map(|i| i as u8).collect();
        let bytes = sealed(&code);
        for at_once in [1, 7, 44, 45, 1_000, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            assert_eq!(arrived(&bytes, at_once).unwrap(), code, "{at_once} at once");
        }
    }

    #[test]
    fn pieces_that_are_missing_exchanged_or_too_many_are_refused() {
        let mut code = vec![1; 3 * PIECE];
        code[PIECE..2 * PIECE].fill(2);
        let bytes = sealed(&code);
        let from = bytes.len() - code.len();
        let refused = |bytes: &[u8]| {
            assert!(matches!(arrived(bytes, PIECE), Err(LoadError::BadSignature)));
        };
        let mut exchanged = bytes.clone();
        exchanged[from..].rotate_left(PIECE);
        refused(&exchanged);
        refused(&bytes[..bytes.len() - PIECE]);
        refused(&bytes[..bytes.len() - 1]);
        refused(&[&bytes[..], &code[..PIECE]].concat());
        refused(&bytes[..from]);
        assert!(arrived(&bytes, PIECE).is_ok());
    }

    #[test]
    fn no_code_at_all_is_an_artefact() {
        assert_eq!(arrived(&sealed(b""), 5).unwrap(), b"");
    }
}
