//! What is in force is written: one transaction over the pointer, the versions' states, the audit
//! trail, and whatever else a change is about.

use crate::error::table;
use crate::registry::Registry;
use crate::rows::{self, ACTIVE};
use crate::version::{Activation, Pointer, VersionState};
use crate::{AuditEntry, RegistryError, TenantPolicy};
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use eaves_model::TenantId;

/// A row that a change writes.
pub(crate) enum Item {
    Put(rows::Row),
    /// One with a revision, if it still has the one that was seen; 0 for none.
    Revised(rows::Row, u64),
    State(String, String, VersionState),
}

impl Registry {
    /// Writes the new pointer, if the old one is still there, with what the policy says of it and
    /// all else that goes with it. The policy was read after the old pointer: where it has changed
    /// since, so has the pointer.
    pub(crate) async fn put_in_force(
        &self,
        tenant: TenantId,
        policy: &TenantPolicy,
        (before, after): (&Pointer, Pointer),
        mut entry: AuditEntry,
        displaced: VersionState,
        mut items: Vec<Item>,
    ) -> Result<Pointer, RegistryError> {
        let last_good_allowed = match &after.last_good {
            Some(last_good) => self.is_allowed(tenant, policy, last_good).await?,
            None => true,
        };
        let (ms_per_1000, memory_bytes) = (policy.ms_per_1000, policy.memory_bytes);
        let after = Pointer { last_good_allowed, ms_per_1000, memory_bytes, ..after };
        // Of what the entry is about: what came into force, or else what went out of it.
        let about = match entry.action.as_str() {
            "shadow" => after.shadow.as_ref(),
            "shadow_end" => before.shadow.as_ref(),
            "deactivate" => before.active.as_ref(),
            // Of all plugins.
            "policy" => None,
            _ => after.active.as_ref(),
        };
        if let Some(about) = about {
            entry = entry.about(&about.name, &about.version, &about.digest);
            entry = entry.with_settings(&about.settings_digest);
        }
        entry.revision = Some(after.revision);
        items.push(Item::Put(entry.to_row(tenant)));
        items.extend(states(before, &after, displaced));
        let mut pointer = rows::row(tenant, ACTIVE, &after);
        pointer.insert("revision".into(), rows::number(after.revision));
        items.push(Item::Revised(pointer, before.revision));

        let writes: Result<Vec<_>, _> = items.into_iter().map(|item| self.write(tenant, item)).collect();
        let writes = writes.map_err(|e| RegistryError::Setup(e.to_string()))?;
        match self.client.transact_write_items().set_transact_items(Some(writes)).send().await {
            Ok(_) => Ok(after),
            Err(e) if e.code() == Some("TransactionCanceledException") => {
                Err(RegistryError::Conflict { tenant })
            }
            Err(e) => Err(table("change what is in force")(e)),
        }
    }

    /// Whether the policy lets what was active once be so again.
    pub(crate) async fn is_allowed(
        &self,
        tenant: TenantId,
        policy: &TenantPolicy,
        activation: &Activation,
    ) -> Result<bool, RegistryError> {
        if !policy.require_signature {
            return Ok(true);
        }
        // A label that was in force keeps its component, and with it who signed that.
        let version = self.version(tenant, &activation.name, &activation.version).await?;
        Ok(version.is_some_and(|v| v.digest == activation.digest && policy.trusts(v.publisher.as_deref())))
    }

    fn write(&self, tenant: TenantId, item: Item) -> Result<TransactWriteItem, BuildError> {
        let put = |row| Put::builder().table_name(&self.table).set_item(Some(row));
        let write = TransactWriteItem::builder();
        Ok(match item {
            Item::Put(row) => write.put(put(row).build()?).build(),
            Item::Revised(row, 0) => {
                write.put(put(row).condition_expression("attribute_not_exists(pk)").build()?).build()
            }
            Item::Revised(row, seen) => {
                let put = put(row).condition_expression("revision = :seen");
                write.put(put.expression_attribute_values(":seen", rows::number(seen)).build()?).build()
            }
            Item::State(name, version, state) => {
                let update = Update::builder()
                    .table_name(&self.table)
                    .set_key(Some(rows::key(tenant, rows::version_key(&name, &version))))
                    .update_expression("SET #s = :s")
                    .condition_expression("attribute_exists(pk)")
                    .expression_attribute_names("#s", "state")
                    .expression_attribute_values(":s", rows::text(state.name()));
                write.update(update.build()?).build()
            }
        })
    }
}

/// The states of the versions that a change touches.
fn states(before: &Pointer, after: &Pointer, displaced: VersionState) -> Vec<Item> {
    let of = |a: &Option<Activation>| a.as_ref().map(|a| (a.name.clone(), a.version.clone()));
    let (active, shadow) = (of(&after.active), of(&after.shadow));
    let mut items = Vec::new();
    let mut add = |which: Option<(String, String)>, state: VersionState| {
        let Some((name, version)) = which else { return };
        let known = |i: &Item| matches!(i, Item::State(n, v, _) if *n == name && *v == version);
        if !items.iter().any(known) {
            items.push(Item::State(name, version, state));
        }
    };
    add(active, VersionState::Active);
    add(shadow, VersionState::Shadow);
    add(of(&before.active), displaced);
    add(of(&before.shadow), VersionState::Superseded);
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OnFailure;
    use eaves_model::Timestamp;

    fn activation(version: &str) -> Activation {
        Activation {
            name: "range".into(),
            version: version.into(),
            digest: "d".into(),
            settings: "{}".into(),
            settings_digest: "s".into(),
            settings_version: 1,
            artefact_key: "k".into(),
            on_failure: OnFailure::default(),
            revision: 1,
            previous: None,
            activated_at: Timestamp::now(),
            by: "x".into(),
        }
    }

    #[test]
    fn a_version_has_one_state_after_a_change() {
        let before =
            Pointer { active: Some(activation("1")), shadow: Some(activation("2")), ..Pointer::default() };
        let after = Pointer { active: Some(activation("2")), shadow: None, ..Pointer::default() };
        let states: Vec<(String, VersionState)> = states(&before, &after, VersionState::Superseded)
            .into_iter()
            .filter_map(|i| match i {
                Item::State(_, v, s) => Some((v, s)),
                Item::Put(_) | Item::Revised(..) => None,
            })
            .collect();
        assert_eq!(states, [("2".into(), VersionState::Active), ("1".into(), VersionState::Superseded)]);
    }
}
