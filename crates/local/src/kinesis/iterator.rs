//! Shard iterators and page tokens: tokens that carry all they mean, so that nothing is
//! kept for them here.

use super::error::{ApiError, ErrorKind};
use super::sequence::Sequence;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

const VERSION: u8 = 1;
const CHECK: usize = 8;

/// A position in a shard, as GetShardIterator gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShardIterator {
    pub(super) stream: String,
    /// Tells a stream from a later one of the same name.
    pub(super) created_ms: u64,
    pub(super) shard: u32,
    /// The least sequence number to give.
    pub(super) from: Sequence,
    pub(super) issued_ms: u64,
}

impl ShardIterator {
    pub(super) fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.created_ms.to_be_bytes());
        bytes.extend_from_slice(&self.shard.to_be_bytes());
        bytes.extend(self.from.0.iter().flat_map(|limb| limb.to_be_bytes()));
        bytes.extend_from_slice(&self.issued_ms.to_be_bytes());
        bytes.extend_from_slice(self.stream.as_bytes());
        seal(bytes)
    }

    /// The iterator of a token that is at most `lifetime_ms` old.
    pub(super) fn decode(token: &str, now_ms: u64, lifetime_ms: u64) -> Result<Self, ApiError> {
        let iterator = Self::open(token).ok_or_else(|| ApiError::invalid("Invalid ShardIterator."))?;
        let issued_ms = iterator.issued_ms;
        if now_ms.saturating_sub(issued_ms) > lifetime_ms {
            return Err(ApiError::new(
                ErrorKind::ExpiredIterator,
                format!(
                    "Iterator expired. The iterator was created at time {issued_ms} while right now it is {now_ms} \
                     which is further in the future than the tolerated delay of {lifetime_ms} milliseconds."
                ),
            ));
        }
        Ok(iterator)
    }

    fn open(token: &str) -> Option<Self> {
        let bytes = unseal(token)?;
        let (version, rest) = bytes.split_first()?;
        let (created_ms, rest) = number(rest)?;
        let (shard, rest) = rest.split_first_chunk::<4>()?;
        let shard = u32::from_be_bytes(*shard);
        let (high, rest) = number(rest)?;
        let (middle, rest) = number(rest)?;
        let (low, rest) = number(rest)?;
        let (issued_ms, rest) = number(rest)?;
        let from = Sequence([high, middle, low]);
        let stream = std::str::from_utf8(rest).ok()?.to_owned();
        (*version == VERSION).then_some(Self { stream, created_ms, shard, from, issued_ms })
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// A page token: where to go on in a stream's shards.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct ShardsToken {
    pub(super) stream: String,
    pub(super) after: u32,
    /// The filter of the first page, which the token stands for as well.
    pub(super) filter: Option<super::protocol::ShardFilter>,
    pub(super) issued_ms: u64,
}

impl ShardsToken {
    pub(super) fn encode(&self) -> String {
        // Strings and numbers always serialise.
        seal(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn decode(token: &str, now_ms: u64, lifetime_ms: u64) -> Result<Self, ApiError> {
        let found: Self = unseal(token)
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| ApiError::invalid("NextToken is invalid."))?;
        if now_ms.saturating_sub(found.issued_ms) > lifetime_ms {
            return Err(ApiError::new(ErrorKind::ExpiredNextToken, "NextToken has expired."));
        }
        Ok(found)
    }
}

/// The bytes as text, with a check that they come back as they were. It keeps nobody from
/// forging a token; there is nothing to gain by it.
fn seal(mut bytes: Vec<u8>) -> String {
    let check = Md5::digest(&bytes);
    bytes.extend_from_slice(&check[..CHECK]);
    STANDARD.encode(bytes)
}

fn unseal(token: &str) -> Option<Vec<u8>> {
    let mut bytes = STANDARD.decode(token).ok()?;
    let length = bytes.len().checked_sub(CHECK)?;
    let intact = Md5::digest(&bytes[..length])[..CHECK] == bytes[length..];
    bytes.truncate(length);
    intact.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn iterator() -> ShardIterator {
        ShardIterator {
            stream: "readings".into(),
            created_ms: 7,
            shard: 3,
            from: Sequence::new(1, 2, 3, 3),
            issued_ms: 1_000,
        }
    }

    #[test]
    fn an_iterator_lives_five_minutes() {
        let token = iterator().encode();
        assert_eq!(ShardIterator::decode(&token, 301_000, 300_000), Ok(iterator()));
        let late = ShardIterator::decode(&token, 301_001, 300_000).unwrap_err();
        assert_eq!(late.kind, ErrorKind::ExpiredIterator);
    }

    proptest! {
        #[test]
        fn what_is_no_token_is_told(text in "\\PC{0,80}", at in 0usize..70, bit in 0u8..6) {
            prop_assert!(ShardIterator::decode(&text, 0, u64::MAX).is_err());
            let mut token = iterator().encode().into_bytes();
            let at = at % token.len();
            token[at] ^= 1 << bit;
            let token = String::from_utf8(token).unwrap_or_default();
            prop_assert!(ShardIterator::decode(&token, 0, u64::MAX).is_err());
        }
    }
}
