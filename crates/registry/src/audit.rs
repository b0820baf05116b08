//! Who changed what, when and why. Rows are only ever added.

use crate::RegistryError;
use crate::error::table;
use crate::registry::Registry;
use crate::rows::{self, Reader, Row};
use eaves_model::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// `upload`, `check`, `refuse`, `activate`, `shadow`, `shadow_end`, `rollback`,
    /// `deactivate`, `policy`, `recompile`, `recompile_failed`, `backtest` or `backtest_cancel`.
    pub action: String,
    /// Who: the subject of the token, or the operator.
    pub by: String,
    /// Why, in their words.
    pub why: String,
    /// Which plugin.
    pub name: String,
    /// Which version.
    pub version: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// SHA-256 of the settings, where some were involved.
    pub settings_digest: String,
    /// The tenant's revision afterwards, where it changed.
    pub revision: Option<u64>,
}

impl AuditEntry {
    pub(crate) fn new(action: &str, by: &str, why: &str) -> Self {
        Self {
            at: Timestamp::now(),
            action: action.into(),
            by: by.chars().take(200).collect(),
            why: why.chars().take(1000).collect(),
            name: String::new(),
            version: String::new(),
            digest: String::new(),
            settings_digest: String::new(),
            revision: None,
        }
    }

    pub(crate) fn about(mut self, name: &str, version: &str, digest: &str) -> Self {
        (self.name, self.version, self.digest) = (name.into(), version.into(), digest.into());
        self
    }

    pub(crate) fn with_settings(mut self, digest: &str) -> Self {
        self.settings_digest = digest.into();
        self
    }

    pub(crate) fn to_row(&self, tenant: TenantId) -> Row {
        // The random part keeps two changes of one microsecond apart.
        let sort = format!("audit#{:020}#{:016x}", self.at.as_micros(), rand::random::<u64>());
        rows::row(tenant, sort, self)
    }
}

impl Registry {
    pub(crate) async fn audit_add(&self, tenant: TenantId, entry: &AuditEntry) -> Result<(), RegistryError> {
        let put = self.client.put_item().table_name(&self.table).set_item(Some(entry.to_row(tenant)));
        put.send().await.map(drop).map_err(table("write the audit trail"))
    }

    /// The tenant's last changes, newest first, of one plugin if it is named.
    pub async fn audit(
        &self,
        tenant: TenantId,
        name: Option<&str>,
        most: usize,
    ) -> Result<Vec<AuditEntry>, RegistryError> {
        let mut pages = self.list(tenant, "audit#").scan_index_forward(false).into_paginator().send();
        let mut entries = Vec::new();
        while let Some(page) = pages.next().await {
            for row in page.map_err(table("read the audit trail"))?.items() {
                let entry: AuditEntry = Reader { tenant, row }.doc()?;
                if name.is_none_or(|name| entry.name == name || entry.name.is_empty()) {
                    entries.push(entry);
                }
                if entries.len() == most {
                    return Ok(entries);
                }
            }
        }
        Ok(entries)
    }
}
