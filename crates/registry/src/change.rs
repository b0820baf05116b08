//! What is in force changes: each change is one transaction over the pointer, the versions'
//! states, the settings and the audit trail.

use crate::error::table;
use crate::in_force::Item;
use crate::registry::{Registry, check_settings, sha256};
use crate::rows::{self, Reader};
use crate::version::{Activation, OnFailure, Pointer, Version, VersionState};
use crate::{AuditEntry, RegistryError, TenantPolicy};
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
        let (before, policy) = self.seen(tenant, change).await?;
        let seen = (&before, &policy);
        let (mut activation, settings_row) = self.prepare(tenant, wanted, change, seen).await?;
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
            ..before.clone()
        };
        let mut items = vec![Item::Put(rows::row(tenant, rows::activation_key(after.revision), &activation))];
        items.extend(settings_row.map(Item::Put));
        let entry = AuditEntry::new("activate", change.by, change.why);
        let superseded = VersionState::Superseded;
        let after = self.put_in_force(tenant, &policy, (&before, after), entry, superseded, items).await?;
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
        let (before, policy) = self.seen(tenant, change).await?;
        let (shadow, settings_row) = match wanted {
            None => (None, None),
            Some(wanted) => {
                let seen = (&before, &policy);
                let (shadow, row) = self.prepare(tenant, wanted, change, seen).await?;
                (Some(shadow), row)
            }
        };
        let action = if shadow.is_some() { "shadow" } else { "shadow_end" };
        let after = Pointer { revision: before.revision + 1, shadow, ..before.clone() };
        let entry = AuditEntry::new(action, change.by, change.why);
        let items = settings_row.map(Item::Put).into_iter().collect();
        let superseded = VersionState::Superseded;
        self.put_in_force(tenant, &policy, (&before, after), entry, superseded, items).await
    }

    /// Takes the active version of `name` back: what was active before it decides again, with
    /// the settings it had. Where the plugin was deactivated, it becomes active again. What the
    /// tenant would not let become active now, for want of a signature, does not by this way either.
    pub async fn rollback(
        &self,
        tenant: TenantId,
        name: &str,
        change: &Change<'_>,
    ) -> Result<Pointer, RegistryError> {
        let (before, policy) = self.seen(tenant, change).await?;
        let nothing = || RegistryError::NothingBefore { name: name.into() };
        let current = before.active.as_ref().or(before.last_good.as_ref());
        if current.is_none_or(|a| a.name != name) {
            return Err(nothing());
        }
        let target = before.last_good.as_ref().ok_or_else(nothing)?;
        if !self.is_allowed(tenant, &policy, target).await? {
            let (name, version) = (target.name.clone(), target.version.clone());
            return Err(RegistryError::UnsignedBefore { name, version });
        }
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
        let (rolled_back, items) = (VersionState::RolledBack, vec![history]);
        let after = self.put_in_force(tenant, &policy, (&before, after), entry, rolled_back, items).await?;
        tracing::info!(tenant.id = tenant.0, plugin.name = name, revision, "plugin rolled back");
        Ok(after)
    }

    /// Makes nothing active: the tenant's values get the built-in checks only.
    pub async fn deactivate_plugin(
        &self,
        tenant: TenantId,
        change: &Change<'_>,
    ) -> Result<Pointer, RegistryError> {
        let (before, policy) = self.seen(tenant, change).await?;
        let after = Pointer {
            revision: before.revision + 1,
            active: None,
            last_good: before.active.clone().or_else(|| before.last_good.clone()),
            ..before.clone()
        };
        let entry = AuditEntry::new("deactivate", change.by, change.why);
        let superseded = VersionState::Superseded;
        let after =
            self.put_in_force(tenant, &policy, (&before, after), entry, superseded, Vec::new()).await?;
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

    /// The pointer, if it is still what the one who changes saw, and then the policy: where that
    /// changes afterwards, the pointer does with it.
    async fn seen(
        &self,
        tenant: TenantId,
        change: &Change<'_>,
    ) -> Result<(Pointer, TenantPolicy), RegistryError> {
        let pointer = self.pointer(tenant).await?;
        match change.seen {
            Some(seen) if seen != pointer.revision => Err(RegistryError::Conflict { tenant }),
            _ => Ok((pointer, self.policy(tenant).await?)),
        }
    }

    /// A version with settings, and the settings' row if they are new.
    async fn prepare(
        &self,
        tenant: TenantId,
        wanted: &Wanted<'_>,
        change: &Change<'_>,
        (before, policy): (&Pointer, &TenantPolicy),
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
        if !policy.trusts(version.publisher.as_deref()) {
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
}

fn same(a: &Activation, b: &Activation) -> bool {
    (&a.name, &a.version, &a.digest, &a.settings_digest)
        == (&b.name, &b.version, &b.digest, &b.settings_digest)
}
