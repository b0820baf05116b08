//! What a tenant may do, and whose plugins it takes.

use crate::error::table;
use crate::in_force::Item;
use crate::registry::Registry;
use crate::rows::{self, POLICY, Reader, UPLOADS};
use crate::version::{Pointer, VersionState, default_memory_bytes, default_ms_per_1000};
use crate::{AuditEntry, RegistryError, signature};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use eaves_model::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most bytes of memory that any tenant's plugin may take in a call: what the plugin host gives at all.
pub const MAX_MEMORY_BYTES: u64 = 64 << 20;
/// Fewer than this and no plugin could say what it is: the SDKs' take more than a megabyte.
const MIN_MEMORY_BYTES: u64 = 1 << 20;
/// How often a policy is written anew because what is in force changed meanwhile.
const TRIES: u32 = 5;

/// A tenant's limits and publishers. The defaults hold where nothing was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantPolicy {
    /// Counts its changes; 0 before the first.
    pub revision: u64,
    /// Most bytes of a component.
    pub max_bytes: u64,
    /// Most versions, of all plugins together.
    pub max_versions: u32,
    /// Most uploads in an hour of the clock.
    pub uploads_per_hour: u32,
    /// Most milliseconds that a plugin may take for 1,000 values.
    pub ms_per_1000: u32,
    /// Most bytes of memory that a plugin may take in a call.
    pub memory_bytes: u64,
    /// Only components signed by one of the publishers are taken.
    pub require_signature: bool,
    /// Ed25519 public keys, 64 hex digits each, by the publisher's name.
    pub publishers: BTreeMap<String, String>,
}

impl Default for TenantPolicy {
    fn default() -> Self {
        Self {
            revision: 0,
            // What the host compiles at all: JavaScript brings 12 MB of interpreter.
            max_bytes: 24 << 20,
            max_versions: 200,
            uploads_per_hour: 60,
            ms_per_1000: default_ms_per_1000(),
            memory_bytes: default_memory_bytes(),
            require_signature: false,
            publishers: BTreeMap::new(),
        }
    }
}

impl TenantPolicy {
    /// Whether it makes sense: the field that does not, and what would.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.ms_per_1000 == 0 || self.ms_per_1000 > 10_000 {
            return Err(("ms_per_1000", format!("{} is not from 1 to 10000", self.ms_per_1000)));
        }
        if !(MIN_MEMORY_BYTES..=MAX_MEMORY_BYTES).contains(&self.memory_bytes) {
            let text = format!("{} is not from {MIN_MEMORY_BYTES} to {MAX_MEMORY_BYTES}", self.memory_bytes);
            return Err(("memory_bytes", text));
        }
        if self.max_bytes > 64 << 20 {
            return Err(("max_bytes", format!("{} is over 67108864", self.max_bytes)));
        }
        if self.publishers.len() > 100 {
            return Err(("publishers", "are over 100".into()));
        }
        for (name, key) in &self.publishers {
            if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
                return Err(("publishers", format!("the name {name:?} is not 1 to 64 characters")));
            }
            if signature::public_key(key).is_none() {
                let text = format!("the key of {name:?} is not an ed25519 public key in 64 hex digits");
                return Err(("publishers", text));
            }
        }
        if self.require_signature && self.publishers.is_empty() {
            return Err(("require_signature", "needs at least one publisher".into()));
        }
        Ok(())
    }

    /// Whether what this publisher signed, or nobody did, may be put in force.
    pub(crate) fn trusts(&self, publisher: Option<&str>) -> bool {
        !self.require_signature || publisher.is_some_and(|p| self.publishers.contains_key(p))
    }
}

impl Registry {
    /// The tenant's limits and publishers.
    pub async fn policy(&self, tenant: TenantId) -> Result<TenantPolicy, RegistryError> {
        match self.get(tenant, POLICY, "read the tenant's policy").await? {
            None => Ok(TenantPolicy::default()),
            Some(row) => Reader { tenant, row: &row }.doc(),
        }
    }

    /// Sets them, if they are still at the revision that `policy` names; `by` and `why` go
    /// into the audit trail. They hold at once: what is in force gets another revision with them.
    /// Returns them with their new revision.
    pub async fn set_policy(
        &self,
        tenant: TenantId,
        mut policy: TenantPolicy,
        by: &str,
        why: &str,
    ) -> Result<TenantPolicy, RegistryError> {
        policy.check().map_err(|(field, problem)| RegistryError::BadPolicy { field, problem })?;
        let seen = policy.revision;
        policy.revision += 1;
        for _ in 0..TRIES {
            let before = self.pointer(tenant).await?;
            let after = Pointer { revision: before.revision + 1, ..before.clone() };
            let mut row = rows::row(tenant, POLICY, &policy);
            row.insert("revision".into(), rows::number(policy.revision));
            let (entry, items) = (AuditEntry::new("policy", by, why), vec![Item::Revised(row, seen)]);
            let superseded = VersionState::Superseded;
            match self.put_in_force(tenant, &policy, (&before, after), entry, superseded, items).await {
                Ok(_) => return Ok(policy),
                // Who changed the policy is told; what is in force is anybody's to change.
                Err(RegistryError::Conflict { .. }) if self.policy(tenant).await?.revision == seen => {}
                Err(e) => return Err(e),
            }
        }
        Err(RegistryError::Conflict { tenant })
    }

    /// Counts an upload of this hour, if there is room for one.
    pub(crate) async fn count_upload(&self, tenant: TenantId, most: u32) -> Result<(), RegistryError> {
        let hour = rows::number(Timestamp::now().as_micros().unsigned_abs() / 3_600_000_000);
        let update = || {
            self.client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(rows::key(tenant, UPLOADS)))
                .expression_attribute_names("#h", "hour")
                .expression_attribute_names("#n", "uploads")
                .expression_attribute_values(":h", hour.clone())
                .expression_attribute_values(":one", rows::number(1))
        };
        let refused = |code: Option<&str>| code == Some("ConditionalCheckFailedException");
        for _ in 0..3 {
            let again = update()
                .update_expression("SET #n = #n + :one")
                .condition_expression("#h = :h AND #n < :most")
                .expression_attribute_values(":most", rows::number(most.into()));
            match again.send().await {
                Ok(_) => return Ok(()),
                Err(e) if refused(e.code()) => {}
                Err(e) => return Err(table("count an upload")(e)),
            }
            let first = update()
                .update_expression("SET #h = :h, #n = :one")
                .condition_expression("attribute_not_exists(pk) OR #h <> :h");
            match first.send().await {
                Ok(_) => return Ok(()),
                Err(e) if refused(e.code()) => {}
                Err(e) => return Err(table("count an upload")(e)),
            }
            // Either the hour is full, or somebody else began it just now: the next round tells.
            let row = self.get(tenant, UPLOADS, "count an upload").await?.unwrap_or_default();
            if (Reader { tenant, row: &row }).number("uploads").unwrap_or(0) >= most.into() {
                break;
            }
        }
        Err(RegistryError::TooManyUploads { most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_policy_of_an_earlier_release_gives_all_the_memory_there_is() {
        let old = r#"{"revision": 4, "max_bytes": 1000, "max_versions": 2, "uploads_per_hour": 3,
            "ms_per_1000": 50, "require_signature": false, "publishers": {}}"#;
        let policy: TenantPolicy = serde_json::from_str(old).unwrap();
        assert_eq!((policy.ms_per_1000, policy.memory_bytes), (50, MAX_MEMORY_BYTES));
        assert_eq!(policy.check(), Ok(()));
    }

    proptest! {
        #[test]
        fn memory_is_within_what_the_host_gives(bytes in prop_oneof![any::<u64>(), 0..100_u64 << 20]) {
            let policy = TenantPolicy { memory_bytes: bytes, ..TenantPolicy::default() };
            match policy.check() {
                Ok(()) => prop_assert!((1 << 20..=64 << 20).contains(&bytes)),
                Err((field, why)) => {
                    prop_assert_eq!(field, "memory_bytes");
                    prop_assert!(why.contains(&bytes.to_string()) && why.contains("67108864"), "{}", why);
                }
            }
        }
    }
}
