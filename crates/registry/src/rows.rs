//! Rows of the table, and their attributes.
//!
//! | pk | sk | what |
//! |---|---|---|
//! | `tenant#<id>` | `version#<name>#<digest>` | a version that was pushed |
//! | `tenant#<id>` | `active` | what is active now, with a `revision` that only grows |
//! | `tenant#<id>` | `activation#<revision>` | what was made active, in order |

use crate::RegistryError;
use aws_sdk_dynamodb::types::AttributeValue;
use eaves_model::{TenantId, Timestamp};
use std::collections::HashMap;

pub(crate) type Row = HashMap<String, AttributeValue>;

/// A plugin version that a tenant has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Whose it is.
    pub tenant: TenantId,
    /// The plugin's name.
    pub name: String,
    /// What the author calls the version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Where the compiled plugin is.
    pub artefact_key: String,
    /// When it was pushed.
    pub pushed_at: Timestamp,
}

/// The version that is active for a tenant, with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Whose it is.
    pub tenant: TenantId,
    /// The plugin's name.
    pub name: String,
    /// What the author calls the version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// The settings, a JSON object.
    pub settings: String,
    /// SHA-256 of the settings, in hex.
    pub settings_digest: String,
    /// Where the compiled plugin is.
    pub artefact_key: String,
    /// Counts the tenant's changes.
    pub revision: u64,
    /// When it became active.
    pub activated_at: Timestamp,
}

pub(crate) const ACTIVE: &str = "active";

pub(crate) fn partition(tenant: TenantId) -> AttributeValue {
    AttributeValue::S(format!("tenant#{tenant}"))
}

pub(crate) fn version_key(name: &str, digest: &str) -> String {
    format!("version#{name}#{digest}")
}

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn key(tenant: TenantId, sort: impl Into<String>) -> Row {
    Row::from([("pk".into(), partition(tenant)), ("sk".into(), text(sort))])
}

/// Takes a row apart.
pub(crate) struct Reader<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) row: &'a Row,
}

impl Reader<'_> {
    fn bad(&self, attribute: &'static str) -> RegistryError {
        RegistryError::BadRow { tenant: self.tenant, attribute }
    }

    pub(crate) fn text(&self, attribute: &'static str) -> Result<String, RegistryError> {
        let found = self.row.get(attribute).and_then(|v| v.as_s().ok());
        found.cloned().ok_or_else(|| self.bad(attribute))
    }

    pub(crate) fn number(&self, attribute: &'static str) -> Result<u64, RegistryError> {
        let found = self.row.get(attribute).and_then(|v| v.as_n().ok()).and_then(|n| n.parse().ok());
        found.ok_or_else(|| self.bad(attribute))
    }

    fn time(&self, attribute: &'static str) -> Result<Timestamp, RegistryError> {
        self.text(attribute)?.parse().map_err(|_| self.bad(attribute))
    }
}

impl Version {
    pub(crate) fn to_row(&self) -> Row {
        let mut row = key(self.tenant, version_key(&self.name, &self.digest));
        row.extend([
            ("name".into(), text(&self.name)),
            ("version".into(), text(&self.version)),
            ("digest".into(), text(&self.digest)),
            ("artefact_key".into(), text(&self.artefact_key)),
            ("pushed_at".into(), text(self.pushed_at.to_string())),
        ]);
        row
    }

    pub(crate) fn from_row(tenant: TenantId, row: &Row) -> Result<Self, RegistryError> {
        let row = Reader { tenant, row };
        Ok(Self {
            tenant,
            name: row.text("name")?,
            version: row.text("version")?,
            digest: row.text("digest")?,
            artefact_key: row.text("artefact_key")?,
            pushed_at: row.time("pushed_at")?,
        })
    }
}

impl Activation {
    /// The row under `sort`: the active one, or its place in the tenant's history.
    pub(crate) fn to_row(&self, sort: impl Into<String>) -> Row {
        let mut row = key(self.tenant, sort);
        row.extend([
            ("name".into(), text(&self.name)),
            ("version".into(), text(&self.version)),
            ("digest".into(), text(&self.digest)),
            ("settings".into(), text(&self.settings)),
            ("settings_digest".into(), text(&self.settings_digest)),
            ("artefact_key".into(), text(&self.artefact_key)),
            ("revision".into(), number(self.revision)),
            ("activated_at".into(), text(self.activated_at.to_string())),
        ]);
        row
    }

    /// `None` if the row says that nothing is active.
    pub(crate) fn from_row(tenant: TenantId, row: &Row) -> Result<Option<Self>, RegistryError> {
        if !row.contains_key("digest") {
            return Ok(None);
        }
        let row = Reader { tenant, row };
        Ok(Some(Self {
            tenant,
            name: row.text("name")?,
            version: row.text("version")?,
            digest: row.text("digest")?,
            settings: row.text("settings")?,
            settings_digest: row.text("settings_digest")?,
            artefact_key: row.text("artefact_key")?,
            revision: row.number("revision")?,
            activated_at: row.time("activated_at")?,
        }))
    }
}
