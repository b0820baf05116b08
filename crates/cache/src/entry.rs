//! What the cache holds for an entity.

use eaves_model::{ConsistencyToken, EntityId, Position, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An entity's hot projection at one version, as raw JSON that is passed through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which entity.
    pub entity: EntityId,
    /// `entity_jsonb.version`: grows with every change; 0 if it has no hot attributes.
    pub version: i64,
    /// At this time (the commit's, or of the read that filled the cache minus its lag)
    /// nothing newer had been committed, by the primary's clock.
    pub as_of: Timestamp,
    /// `{"attribute": value}`.
    pub attrs_json: String,
    /// `{"attribute": observed_at in microseconds since 1970}`.
    pub times_json: String,
    /// What ingest had taken when it wrote this: a shard, and how far. `None` for what a reader
    /// filled in.
    pub taken: Option<(String, Position)>,
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    // The script of `set_if_newer.lua` finds these three by their place at the start.
    version: i64,
    as_of: i64,
    #[serde(default)]
    seen: i64,
    #[serde(default)]
    taken: Option<(String, String, u32)>,
    #[serde(borrow)]
    hot_attrs: &'a RawValue,
    #[serde(borrow)]
    hot_times: &'a RawValue,
}

/// The key of an entity.
pub(crate) fn key(tenant: TenantId, entity: EntityId) -> String {
    format!("entity:{tenant}:{entity}")
}

/// The key of an entity's identifiers. The tenant's name for it comes last, so that no
/// name can be taken for a part of the key.
pub(crate) fn name_key(tenant: TenantId, external_id: &str) -> String {
    format!("entity-name:{tenant}:{external_id}")
}

/// The key of the right to read an entity from a database.
pub(crate) fn lease_key(tenant: TenantId, external_id: &str) -> String {
    format!("entity-lease:{tenant}:{external_id}")
}

/// The key of the tenant's entities by how much they are asked for.
pub(crate) fn asked_key(tenant: TenantId) -> String {
    format!("entity-asked:{tenant}")
}

/// The channel that says which of the tenant's entities have changed.
pub(crate) fn channel(tenant: TenantId) -> String {
    format!("entity-changed:{tenant}")
}

impl Entry {
    /// As stored: after its version was committed, as is known now. `attrs_json` and `times_json` are
    /// not parsed.
    pub(crate) fn to_stored(&self) -> String {
        let taken = self.taken.as_ref().map(|(shard, at)| (shard, at.sequence(), at.sub()));
        format!(
            "{{\"version\":{},\"as_of\":{},\"seen\":{},\"taken\":{},\"hot_attrs\":{},\"hot_times\":{}}}",
            self.version,
            self.as_of.as_micros(),
            Timestamp::now().as_micros(),
            serde_json::to_string(&taken).unwrap_or_else(|_| "null".into()),
            self.attrs_json,
            self.times_json
        )
    }

    /// From what is stored, or `None` if that is not an entry.
    pub(crate) fn from_stored(tenant: TenantId, entity: EntityId, text: &str) -> Option<Self> {
        let stored: Stored<'_> = serde_json::from_str(text).ok()?;
        let taken = stored.taken.and_then(|(shard, sequence, sub)| {
            Position::within(&sequence, sub).ok().map(|position| (shard, position))
        });
        Some(Self {
            tenant,
            entity,
            version: stored.version,
            as_of: Timestamp::from_micros(stored.as_of)?,
            attrs_json: stored.hot_attrs.get().to_owned(),
            times_json: stored.hot_times.get().to_owned(),
            taken,
        })
    }

    /// Whether it has what the token names, as far as the entry itself knows: ingest wrote it when it had
    /// taken the record of its shard. An entity's records of one write are in one shard. Of a token that
    /// names other shards too, an entry does not know which has them.
    pub fn has(&self, token: &ConsistencyToken) -> bool {
        let Some((shard, taken)) = &self.taken else { return false };
        token.positions().count() == 1 && token.in_shard(shard).is_some_and(|last| taken >= last)
    }

    /// Bytes that it takes in memory, roughly.
    pub fn bytes(&self) -> usize {
        200 + self.attrs_json.len() + self.times_json.len()
    }
}

/// What the tenant's own name for an entity stands for. Never changes once registered,
/// but for a type that a device may say late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The identifier.
    pub entity: EntityId,
    /// Its type; empty if unknown.
    pub entity_type: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            tenant: TenantId(3),
            entity: EntityId(9),
            version: 7,
            as_of: Timestamp::from_micros(1_700_000_000_000_001).unwrap(),
            attrs_json: r#"{"price":12.300000000000000000000001,"n":9223372036854775807}"#.into(),
            times_json: r#"{"price":1,"n":2}"#.into(),
            taken: None,
        }
    }

    #[test]
    fn digits_pass_through_as_they_are() {
        let taken = Some(("shardId-000000000000".to_owned(), Position::within("123", 4).unwrap()));
        for entry in [entry(), Entry { taken, ..entry() }] {
            let stored = entry.to_stored();
            assert_eq!(Entry::from_stored(TenantId(3), EntityId(9), &stored), Some(entry));
        }
        assert_eq!(Entry::from_stored(TenantId(3), EntityId(9), "{}"), None);
        // As earlier versions wrote it.
        let old = r#"{"version":1,"as_of":2,"hot_attrs":{},"hot_times":{}}"#;
        assert_eq!(Entry::from_stored(TenantId(3), EntityId(9), old).map(|e| e.version), Some(1));
    }

    #[test]
    fn an_entry_has_what_was_taken_before_it_was_written() {
        let at = |sequence: &str| Position::whole(sequence).unwrap();
        let token = |positions: &[(&str, &str)]| {
            let mut token = ConsistencyToken::default();
            positions.iter().for_each(|(shard, sequence)| token.add(shard, at(sequence)));
            token
        };
        let entry = Entry { taken: Some(("a".into(), at("100"))), ..entry() };
        assert!(entry.has(&token(&[("a", "100")])) && entry.has(&token(&[("a", "99")])));
        assert!(!entry.has(&token(&[("a", "101")])), "not taken yet");
        assert!(!entry.has(&token(&[("b", "1")])), "of another shard");
        assert!(!entry.has(&token(&[("a", "1"), ("b", "1")])), "of one of several shards");
        // In the middle of the record.
        let half = Entry { taken: Some(("a".into(), Position::within("100", 3).unwrap())), ..entry.clone() };
        assert!(!half.has(&token(&[("a", "100")])) && half.has(&token(&[("a", "99")])));
        assert!(!Entry { taken: None, ..entry }.has(&token(&[("a", "1")])));
    }
}
