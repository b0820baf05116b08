//! Rows of the table, and their attributes.
//!
//! | pk | sk | what |
//! |---|---|---|
//! | `tenant#<id>` | `version#<name>#<version>` | a version, with its `state` |
//! | `tenant#<id>` | `active` | what decides now, with a `revision` that only grows |
//! | `tenant#<id>` | `activation#<revision>` | what was made active, in order |
//! | `tenant#<id>` | `settings#<name>#<digest>` | settings that were once in force |
//! | `tenant#<id>` | `audit#<time>#<random>` | who changed what, when and why |
//! | `tenant#<id>` | `policy` | limits, and whose signatures are wanted |
//! | `tenant#<id>` | `uploads` | how many uploads the current hour has seen |
//! | `tenant#<id>` | `upload#<id>` | an invitation to put a large component into the bucket |
//! | `tenant#<id>` | `compile#<digest>#<engine>` | who compiles a component anew, until when; or why it does not compile |
//! | `tenant#<id>` | `job#<id>` | a backtest: what is asked, how far it is, its report |
//! | `tenant#<id>` | `backtest#<number>` | which backtest has this one of the tenant's places, until when |
//! | `platform` | `backtest#<number>` | the same of the places of all tenants |
//!
//! `doc` holds a row's content as JSON; what conditions ask about stands beside it.

use crate::RegistryError;
use aws_sdk_dynamodb::types::AttributeValue;
use eaves_model::TenantId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

pub(crate) type Row = HashMap<String, AttributeValue>;

pub(crate) const ACTIVE: &str = "active";
pub(crate) const POLICY: &str = "policy";
pub(crate) const UPLOADS: &str = "uploads";
pub(crate) const DOC: &str = "doc";

pub(crate) fn partition(tenant: TenantId) -> AttributeValue {
    AttributeValue::S(format!("tenant#{tenant}"))
}

pub(crate) fn version_key(name: &str, version: &str) -> String {
    format!("version#{name}#{version}")
}

pub(crate) fn settings_key(name: &str, digest: &str) -> String {
    format!("settings#{name}#{digest}")
}

/// Padded, so that the rows sort as the numbers do.
pub(crate) fn activation_key(revision: u64) -> String {
    format!("activation#{revision:020}")
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

/// Of a row that belongs to no tenant.
pub(crate) fn platform_key(sort: impl Into<String>) -> Row {
    Row::from([("pk".into(), text("platform")), ("sk".into(), text(sort))])
}

/// A row with `content` as its document.
pub(crate) fn row(tenant: TenantId, sort: impl Into<String>, content: &impl Serialize) -> Row {
    let mut row = key(tenant, sort);
    row.insert(DOC.into(), text(json(content)));
    row
}

pub(crate) fn json(content: &impl Serialize) -> String {
    serde_json::to_string(content).unwrap_or_default()
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

    pub(crate) fn text(&self, attribute: &'static str) -> Result<&str, RegistryError> {
        let found = self.row.get(attribute).and_then(|v| v.as_s().ok());
        found.map(String::as_str).ok_or_else(|| self.bad(attribute))
    }

    pub(crate) fn number(&self, attribute: &'static str) -> Result<u64, RegistryError> {
        let found = self.row.get(attribute).and_then(|v| v.as_n().ok()).and_then(|n| n.parse().ok());
        found.ok_or_else(|| self.bad(attribute))
    }

    pub(crate) fn doc<T: DeserializeOwned>(&self) -> Result<T, RegistryError> {
        serde_json::from_str(self.text(DOC)?).map_err(|_| self.bad(DOC))
    }
}
