//! What the cache holds for an entity.

use eaves_model::{EntityId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An entity's hot projection at one version, as raw JSON that is passed through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which entity.
    pub entity: EntityId,
    /// `entity_jsonb.version`: grows with every change.
    pub version: i64,
    /// At this time (the commit's, or of the read that filled the cache minus its lag)
    /// nothing newer had been committed.
    pub as_of: Timestamp,
    /// `{"attribute": value}`.
    pub attrs_json: String,
    /// `{"attribute": observed_at in microseconds since 1970}`.
    pub times_json: String,
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    // The script of `set_if_newer.lua` finds these two by their place at the start.
    version: i64,
    as_of: i64,
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

impl Entry {
    /// As stored. `attrs_json` and `times_json` are not parsed.
    pub(crate) fn to_stored(&self) -> String {
        format!(
            "{{\"version\":{},\"as_of\":{},\"hot_attrs\":{},\"hot_times\":{}}}",
            self.version,
            self.as_of.as_micros(),
            self.attrs_json,
            self.times_json
        )
    }

    /// From what is stored, or `None` if that is not an entry.
    pub(crate) fn from_stored(tenant: TenantId, entity: EntityId, text: &str) -> Option<Self> {
        let stored: Stored<'_> = serde_json::from_str(text).ok()?;
        Some(Self {
            tenant,
            entity,
            version: stored.version,
            as_of: Timestamp::from_micros(stored.as_of)?,
            attrs_json: stored.hot_attrs.get().to_owned(),
            times_json: stored.hot_times.get().to_owned(),
        })
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

    #[test]
    fn digits_pass_through_as_they_are() {
        let entry = Entry {
            tenant: TenantId(3),
            entity: EntityId(9),
            version: 7,
            as_of: Timestamp::from_micros(1_700_000_000_000_001).unwrap(),
            attrs_json: r#"{"price":12.300000000000000000000001,"n":9223372036854775807}"#.into(),
            times_json: r#"{"price":1,"n":2}"#.into(),
        };
        let stored = entry.to_stored();
        assert_eq!(Entry::from_stored(TenantId(3), EntityId(9), &stored), Some(entry));
        assert_eq!(Entry::from_stored(TenantId(3), EntityId(9), "{}"), None);
    }
}
