//! Consistency tokens: what a write returns, and a read may ask to be in its answer.
//!
//! A token names the records of the stream that hold what was written: per shard the last one. It is
//! no secret and allows nothing: whoever makes one up makes only its own reads wait. It ends in a digest
//! over stream and tenant, so that one that was cut short, or is of another tenant or platform, is told
//! from a good one.

use crate::Position;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Most shards of a token: it travels in a header.
const MOST_SHARDS: usize = 64;
/// Longest token, in characters.
const LONGEST: usize = 8_192;
/// The form of the text; another one would begin otherwise.
const FORM: &str = "1";
/// Bytes of the digest that a token has.
const DIGEST: usize = 8;
/// What Kinesis' names of shards begin with.
const SHARD: &str = "shardId-";

/// The records of one or more writes: per shard the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsistencyToken {
    last: BTreeMap<String, Position>,
}

/// Not a token of this tenant and stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a token that a write of this tenant returned: pass it on as it came, in one piece")]
pub struct BadToken;

impl ConsistencyToken {
    /// Adds a record.
    pub fn add(&mut self, shard: &str, record: Position) {
        match self.last.get_mut(shard) {
            Some(last) if *last >= record => {}
            Some(last) => *last = record,
            None => drop(self.last.insert(shard.to_owned(), record)),
        }
    }

    /// Each shard with its last record.
    pub fn positions(&self) -> impl Iterator<Item = (&str, &Position)> {
        self.last.iter().map(|(shard, last)| (shard.as_str(), last))
    }

    /// The last record in a shard.
    pub fn in_shard(&self, shard: &str) -> Option<&Position> {
        self.last.get(shard)
    }

    /// As text for a tenant: letters, digits, `-` and `_`. `None` without records, and for more shards
    /// than a header has room for.
    pub fn encode(&self, stream: &str, tenant: &str) -> Option<String> {
        if self.last.is_empty() || self.last.len() > MOST_SHARDS {
            return None;
        }
        let mut body = FORM.to_owned();
        for (shard, last) in &self.last {
            body.push('|');
            body.push_str(&short(shard));
            body.push(':');
            body.push_str(last.sequence());
        }
        let mut bytes = body.into_bytes();
        let digest = digest(&bytes, stream, tenant);
        bytes.extend(digest);
        let text = URL_SAFE_NO_PAD.encode(bytes);
        (text.len() <= LONGEST).then_some(text)
    }

    /// The token of a tenant from its text.
    pub fn parse(text: &str, stream: &str, tenant: &str) -> Result<Self, BadToken> {
        if text.len() > LONGEST {
            return Err(BadToken);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken)?;
        let (body, given) = bytes.split_at_checked(bytes.len().saturating_sub(DIGEST)).ok_or(BadToken)?;
        if digest(body, stream, tenant) != *given {
            return Err(BadToken);
        }
        let mut parts = std::str::from_utf8(body).map_err(|_| BadToken)?.split('|');
        if parts.next() != Some(FORM) {
            return Err(BadToken);
        }
        let mut token = Self::default();
        for part in parts {
            let (shard, sequence) = part.rsplit_once(':').ok_or(BadToken)?;
            token.add(&long(shard), Position::whole(sequence).map_err(|_| BadToken)?);
        }
        let possible = !token.last.is_empty() && token.last.len() <= MOST_SHARDS;
        possible.then_some(token).ok_or(BadToken)
    }
}

/// Kinesis' own names of shards are all alike but for a number; others stand behind an `=`.
fn short(shard: &str) -> String {
    let number = shard.strip_prefix(SHARD).filter(|digits| digits.len() == 12);
    match number.and_then(|digits| digits.parse::<u64>().ok()) {
        Some(number) => number.to_string(),
        None => format!("={shard}"),
    }
}

fn long(short: &str) -> String {
    match (short.strip_prefix('='), short.parse::<u64>()) {
        (None, Ok(number)) => format!("{SHARD}{number:012}"),
        (name, _) => name.unwrap_or(short).to_owned(),
    }
}

fn digest(body: &[u8], stream: &str, tenant: &str) -> [u8; DIGEST] {
    let mut hash = Sha256::new();
    for part in [b"eaves consistency token".as_slice(), stream.as_bytes(), tenant.as_bytes(), body] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let mut first = [0; DIGEST];
    first.copy_from_slice(&hash.finalize()[..DIGEST]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(sequence: &str) -> Position {
        Position::whole(sequence).unwrap()
    }

    #[test]
    fn of_each_shard_the_last_record_counts() {
        let mut token = ConsistencyToken::default();
        assert_eq!(token.encode("s", "acme"), None, "nothing was written");
        for (shard, sequence) in
            [("shardId-000000000001", "99"), ("shardId-000000000001", "100"), ("shardId-000000000001", "7")]
        {
            token.add(shard, position(sequence));
        }
        token.add("other|:name", position("5"));
        let text = token.encode("s", "acme");
        // A name with a bar in it is none that Kinesis gives, and is refused rather than misread.
        assert_eq!(ConsistencyToken::parse(&text.unwrap(), "s", "acme"), Err(BadToken));
        let mut token = ConsistencyToken::default();
        token.add("shardId-000000000001", position("100"));
        token.add("0", position("5"));
        let text = token.encode("s", "acme").unwrap();
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{text}");
        assert_eq!(ConsistencyToken::parse(&text, "s", "acme"), Ok(token));
    }

    #[test]
    fn a_token_is_good_for_one_tenant_of_one_stream() {
        let mut token = ConsistencyToken::default();
        token.add("shardId-000000000000", position("123"));
        let text = token.encode("s", "acme").unwrap();
        for (stream, tenant) in [("s", "acm"), ("sa", "cme"), ("t", "acme"), ("s", "")] {
            assert_eq!(ConsistencyToken::parse(&text, stream, tenant), Err(BadToken), "{stream} {tenant}");
        }
        for bad in ["", "x", "AAAA", "=", &text[1..], &text[..text.len() - 1], &format!("{text}A")] {
            assert_eq!(ConsistencyToken::parse(bad, "s", "acme"), Err(BadToken), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in prop::collection::btree_map(0u64..1_000_000, "[1-9][0-9]{0,60}", 1..64)) {
            let mut token = ConsistencyToken::default();
            for (shard, sequence) in all {
                token.add(&format!("shardId-{shard:012}"), position(&sequence));
            }
            let text = token.encode("stream", "tenant").unwrap();
            prop_assert_eq!(ConsistencyToken::parse(&text, "stream", "tenant"), Ok(token));
        }
    }
}
