//! What is in force changes: each change is one transaction over the pointer, the versions'
//! states, the settings and the audit trail.

use crate::error::table;
use crate::registry::{Registry, check_settings, sha256};
use crate::rows::{self, ACTIVE, Reader};
use crate::version::{Activation, OnFailure, Pointer, Version, VersionState};
use crate::{AuditEntry, RegistryError};
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use eaves_model::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// Who changes, why, and what they saw before.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Who.
    pub by: &'a str,
    /// Why, in their words.
    pub why: &'a str,
    /// [`Pointer::revision`] that they looked at: if it has changed since, the change fails
    /// with [`RegistryError::Conflict`]. `None`: whatever it is now.
    pub seen: Option<u64>,
}

/// A version that is to be put in force.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The version.
    pub version: &'a Version,
    /// Its settings, a JSON object.
    pub settings: &'a str,
    /// What becomes of values that it cannot judge.
    pub on_failure: OnFailure,
}

/// Settings that a plugin had or has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsVersion {
    /// Counts from 1.
    pub number: u64,
    /// SHA-256, in hex.
    pub digest: String,
    /// The settings, a JSON object.
    pub settings: String,
    /// When they were first in force.
    pub since: Timestamp,
}

impl Registry {
    /// Makes a version the one that decides.
    pub async fn activate_version(
        &self,
        tenant: TenantId,
        wanted: &Wanted<'_>,
        change: &Change<'_>,
    ) -> Result<Pointer, RegistryError> {
        let before = self.seen(tenant, change).await?;
        let (mut activation, settings_row) = self.prepare(tenant, wanted, change, &before).await?;
        // The same version with the same settings again (after it was compiled anew) does not
        // hide what there was before it.
        let again = before.active.as_ref().filter(|a| same(a, &activation));
        let last_good = match again {
            Some(_) => before.last_good.clone(),
            None => before.active.clone().or_else(|| before.last_good.clone()),
        };
        activation.previous = last_good.as_ref().map(|a| a.revision);
        let promoted = before.shadow.as_ref().is_some_and(|s| same(s, &activation));
        let after = Pointer {
            revision: before.revision + 1,
            shadow: if promoted { None } else { before.shadow.clone() },
            last_good,
            active: Some(activation.clone()),
            ms_per_1000: self.policy(tenant).await?.ms_per_1000,
        };
        let mut items = vec![Item::Put(rows::row(tenant, rows::activation_key(after.revision), &activation))];
        items.extend(settings_row.map(Item::Put));
        let entry = AuditEntry::new("activate", change.by, change.why);
        self.put_in_force(tenant, &before, &after, entry, VersionState::Superseded, items).await?;
        tracing::info!(
            tenant.id = tenant.0,
            plugin.name = activation.name,
            plugin.digest = activation.digest,
            revision = after.revision,
            "plugin activated"
        );
        Ok(after)
    }

    /// Lets a version look on, without effect; `None` ends that.
    pub async fn shadow(
        &self,
        tenant: TenantId,
        wanted: Option<&Wanted<'_>>,
        change: &Change<'_>,
    ) -> Result<Pointer, RegistryError> {
        let before = self.seen(tenant, change).await?;
        let (shadow, settings_row) = match wanted {
            None => (None, None),
            Some(wanted) => {
                let (shadow, row) = self.prepare(tenant, wanted, change, &before).await?;
                (Some(shadow), row)
            }
        };
        let action = if shadow.is_some() { "shadow" } else { "shadow_end" };
        let after = Pointer { revision: before.revision + 1, shadow, ..before.clone() };
        let entry = AuditEntry::new(action, change.by, change.why);
        let items = settings_row.map(Item::Put).into_iter().collect();
        self.put_in_force(tenant, &before, &after, entry, VersionState::Superseded, items).await?;
        Ok(after)
    }

    /// Takes the active version of `name` back: what was active before it decides again, with
    /// the settings it had. Where the plugin was deactivated, it becomes active again.
    pub async fn rollback(
        &self,
        tenant: TenantId,
        name: &str,
        change: &Change<'_>,
    ) -> Result<Pointer, RegistryError> {
        let before = self.seen(tenant, change).await?;
        let nothing = || RegistryError::NothingBefore { name: name.into() };
        let current = before.active.as_ref().or(before.last_good.as_ref());
        if current.is_none_or(|a| a.name != name) {
            return Err(nothing());
        }
        let target = before.last_good.as_ref().ok_or_else(nothing)?;
        let last_good = match target.previous {
            None => None,
            Some(revision) => self.activation(tenant, revision).await?,
        };
        let revision = before.revision + 1;
        let activation = Activation {
            revision,
            previous: target.previous,
            activated_at: Timestamp::now(),
            by: change.by.into(),
            ..target.clone()
        };
        let history = Item::Put(rows::row(tenant, rows::activation_key(revision), &activation));
        let after = Pointer { revision, active: Some(activation), last_good, ..before.clone() };
        let entry = AuditEntry::new("rollback", change.by, change.why);
        self.put_in_force(tenant, &before, &after, entry, VersionState::RolledBack, vec![history]).await?;
        tracing::info!(tenant.id = tenant.0, plugin.name = name, revision, "plugin rolled back");
        Ok(after)
    }

    /// Makes nothing active: the tenant's values get the built-in checks only.
    pub async fn deactivate_plugin(
        &self,
        tenant: TenantId,
        change: &Change<'_>,
    ) -> Result<Pointer, RegistryError> {
        let before = self.seen(tenant, change).await?;
        let after = Pointer {
            revision: before.revision + 1,
            active: None,
            last_good: before.active.clone().or_else(|| before.last_good.clone()),
            ..before.clone()
        };
        let entry = AuditEntry::new("deactivate", change.by, change.why);
        self.put_in_force(tenant, &before, &after, entry, VersionState::Superseded, Vec::new()).await?;
        tracing::info!(tenant.id = tenant.0, revision = after.revision, "plugin deactivated");
        Ok(after)
    }

    /// The settings that a plugin has had, oldest first.
    pub async fn settings_versions(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Vec<SettingsVersion>, RegistryError> {
        let mut pages = self.list(tenant, &rows::settings_key(name, "")).into_paginator().send();
        let mut all: Vec<SettingsVersion> = Vec::new();
        while let Some(page) = pages.next().await {
            for row in page.map_err(table("list settings"))?.items() {
                all.push(Reader { tenant, row }.doc()?);
            }
        }
        all.sort_by_key(|s| s.number);
        Ok(all)
    }

    /// The settings with this digest.
    pub async fn settings(
        &self,
        tenant: TenantId,
        name: &str,
        digest: &str,
    ) -> Result<String, RegistryError> {
        let row = self.get(tenant, &rows::settings_key(name, digest), "read settings").await?;
        let row = row.ok_or(RegistryError::BadRow { tenant, attribute: "settings" })?;
        Ok((Reader { tenant, row: &row }).doc::<SettingsVersion>()?.settings)
    }

    async fn activation(&self, tenant: TenantId, revision: u64) -> Result<Option<Activation>, RegistryError> {
        let row = self.get(tenant, &rows::activation_key(revision), "read what was active").await?;
        row.map(|row| Reader { tenant, row: &row }.doc()).transpose()
    }

    /// The pointer, if it is still what the one who changes saw.
    async fn seen(&self, tenant: TenantId, change: &Change<'_>) -> Result<Pointer, RegistryError> {
        let pointer = self.pointer(tenant).await?;
        match change.seen {
            Some(seen) if seen != pointer.revision => Err(RegistryError::Conflict { tenant }),
            _ => Ok(pointer),
        }
    }

    /// A version with settings, and the settings' row if they are new.
    async fn prepare(
        &self,
        tenant: TenantId,
        wanted: &Wanted<'_>,
        change: &Change<'_>,
        before: &Pointer,
    ) -> Result<(Activation, Option<rows::Row>), RegistryError> {
        check_settings(wanted.settings)?;
        let version = wanted.version;
        if !version.state.is_runnable() || version.artefact_key.is_empty() {
            return Err(RegistryError::NotChecked {
                name: version.name.clone(),
                version: version.version.clone(),
                state: version.state,
            });
        }
        let policy = self.policy(tenant).await?;
        if policy.require_signature
            && version.publisher.as_ref().is_none_or(|p| !policy.publishers.contains_key(p))
        {
            return Err(RegistryError::NotSigned);
        }
        let settings_digest = sha256(wanted.settings.as_bytes());
        let known = self.settings_versions(tenant, &version.name).await?;
        let (number, row) = match known.iter().find(|s| s.digest == settings_digest) {
            Some(known) => (known.number, None),
            None => {
                let number = known.last().map_or(1, |s| s.number + 1);
                let settings = SettingsVersion {
                    number,
                    digest: settings_digest.clone(),
                    settings: wanted.settings.into(),
                    since: Timestamp::now(),
                };
                let sort = rows::settings_key(&version.name, &settings_digest);
                (number, Some(rows::row(tenant, sort, &settings)))
            }
        };
        let activation = Activation {
            name: version.name.clone(),
            version: version.version.clone(),
            digest: version.digest.clone(),
            settings: wanted.settings.into(),
            settings_digest,
            settings_version: number,
            artefact_key: version.artefact_key.clone(),
            on_failure: wanted.on_failure,
            revision: before.revision + 1,
            previous: None,
            activated_at: Timestamp::now(),
            by: change.by.into(),
        };
        Ok((activation, row))
    }

    /// Writes the new pointer, if the old one is still there, with all that goes with it.
    async fn put_in_force(
        &self,
        tenant: TenantId,
        before: &Pointer,
        after: &Pointer,
        mut entry: AuditEntry,
        displaced: VersionState,
        mut items: Vec<Item>,
    ) -> Result<(), RegistryError> {
        // Of what the entry is about: what came into force, or else what went out of it.
        let about = match entry.action.as_str() {
            "shadow" => after.shadow.as_ref(),
            "shadow_end" => before.shadow.as_ref(),
            "deactivate" => before.active.as_ref(),
            _ => after.active.as_ref(),
        };
        if let Some(about) = about {
            entry = entry.about(&about.name, &about.version, &about.digest);
            entry.settings_digest.clone_from(&about.settings_digest);
        }
        entry.revision = Some(after.revision);
        items.push(Item::Put(entry.to_row(tenant)));
        items.extend(states(before, after, displaced));

        let setup = |e: BuildError| RegistryError::Setup(e.to_string());
        let mut pointer = rows::row(tenant, ACTIVE, after);
        pointer.insert("revision".into(), rows::number(after.revision));
        let put = Put::builder().table_name(&self.table).set_item(Some(pointer));
        let put = match before.revision {
            0 => put.condition_expression("attribute_not_exists(pk)"),
            seen => put
                .condition_expression("revision = :seen")
                .expression_attribute_values(":seen", rows::number(seen)),
        };
        let mut writes = vec![TransactWriteItem::builder().put(put.build().map_err(setup)?).build()];
        for item in items {
            let write = TransactWriteItem::builder();
            writes.push(match item {
                Item::Put(row) => {
                    let put = Put::builder().table_name(&self.table).set_item(Some(row));
                    write.put(put.build().map_err(setup)?).build()
                }
                Item::State(name, version, state) => {
                    let update = Update::builder()
                        .table_name(&self.table)
                        .set_key(Some(rows::key(tenant, rows::version_key(&name, &version))))
                        .update_expression("SET #s = :s")
                        .condition_expression("attribute_exists(pk)")
                        .expression_attribute_names("#s", "state")
                        .expression_attribute_values(":s", rows::text(state.name()));
                    write.update(update.build().map_err(setup)?).build()
                }
            });
        }
        match self.client.transact_write_items().set_transact_items(Some(writes)).send().await {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("TransactionCanceledException") => {
                Err(RegistryError::Conflict { tenant })
            }
            Err(e) => Err(table("change what is in force")(e)),
        }
    }
}

/// A row that a change writes.
enum Item {
    Put(rows::Row),
    State(String, String, VersionState),
}

fn same(a: &Activation, b: &Activation) -> bool {
    (&a.name, &a.version, &a.digest, &a.settings_digest)
        == (&b.name, &b.version, &b.digest, &b.settings_digest)
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
                Item::Put(_) => None,
            })
            .collect();
        assert_eq!(states, [("2".into(), VersionState::Active), ("1".into(), VersionState::Superseded)]);
    }
}
