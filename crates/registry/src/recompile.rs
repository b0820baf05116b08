//! Compiled plugins for another engine than the one they were uploaded under.
//!
//! What was uploaded is kept; what it compiles to belongs to one version, configuration and
//! target of wasmtime. An instance that finds an artefact of another engine looks here for its
//! own. So during a roll-out instances of both engines go on side by side, nothing in force
//! changes, and a roll-back finds what it had.

use crate::error::table;
use crate::registry::Registry;
use crate::rows::{self, Reader};
use crate::version::{Activation, Version};
use crate::{AuditEntry, RegistryError};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use eaves_model::{TenantId, Timestamp};
use std::time::Duration;

/// How long a component that could not be compiled is not tried again.
const REFUSED_FOR: Duration = Duration::from_secs(600);
/// Who the audit trail names.
const BY: &str = "platform";

/// A version's component, and where its first artefact is.
#[derive(Debug, Clone, Copy)]
pub struct Compiled<'a> {
    /// The plugin.
    pub name: &'a str,
    /// The version.
    pub version: &'a str,
    /// SHA-256 of the component, in hex.
    pub digest: &'a str,
    /// Where the compiled plugin is.
    pub artefact_key: &'a str,
}

impl<'a> From<&'a Version> for Compiled<'a> {
    fn from(v: &'a Version) -> Self {
        Self { name: &v.name, version: &v.version, digest: &v.digest, artefact_key: &v.artefact_key }
    }
}

impl<'a> From<&'a Activation> for Compiled<'a> {
    fn from(a: &'a Activation) -> Self {
        Self { name: &a.name, version: &a.version, digest: &a.digest, artefact_key: &a.artefact_key }
    }
}

fn row_key(digest: &str, engine: &str) -> String {
    format!("compile#{digest}#{engine}")
}

fn file_key(digest: &str, engine: &str) -> String {
    format!("artefacts/{digest}/engine-{engine}.bin")
}

fn seconds(at: Timestamp) -> AttributeValue {
    AttributeValue::N((at.as_micros() / 1_000_000).to_string())
}

impl Registry {
    /// The compiled plugin where it was first put.
    pub async fn first_artefact(&self, compiled: Compiled<'_>) -> Result<Bytes, RegistryError> {
        self.files.get(compiled.artefact_key).await
    }

    /// What the component with this digest was compiled to for an engine, if it was.
    pub async fn artefact_for(&self, digest: &str, engine: &str) -> Result<Option<Bytes>, RegistryError> {
        let key = file_key(digest, engine);
        match self.files.size(&key).await? {
            Some(_) => self.files.get(&key).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether the caller is to compile the component for an engine: of several who ask within
    /// `lease`, one is.
    pub async fn claim_compilation(
        &self,
        tenant: TenantId,
        (digest, engine): (&str, &str),
        lease: Duration,
    ) -> Result<bool, RegistryError> {
        let now = Timestamp::now();
        let claim = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(rows::key(tenant, row_key(digest, engine))))
            .update_expression("SET #u = :until REMOVE refusal")
            .condition_expression("attribute_not_exists(pk) OR #u < :now")
            .expression_attribute_names("#u", "until")
            .expression_attribute_values(":until", seconds(now.plus_micros(lease.as_micros() as i64)))
            .expression_attribute_values(":now", seconds(now));
        match claim.send().await {
            Ok(_) => Ok(true),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(e) => Err(table("claim a compilation")(e)),
        }
    }

    /// Keeps what a component was compiled to for an engine, and says so in the audit trail.
    pub async fn recompiled(
        &self,
        tenant: TenantId,
        compiled: Compiled<'_>,
        engine: &str,
        artefact: Bytes,
    ) -> Result<(), RegistryError> {
        self.files.put(&file_key(compiled.digest, engine), artefact).await?;
        let why = format!("compiled anew: the engine is now {engine}");
        let entry = AuditEntry::new("recompile", BY, &why);
        let entry = entry.about(compiled.name, compiled.version, compiled.digest);
        self.audit_add(tenant, &entry).await
    }

    /// It does not compile for this engine: said in the audit trail, and to whoever asks in the
    /// next minutes.
    pub async fn not_recompiled(
        &self,
        tenant: TenantId,
        compiled: Compiled<'_>,
        engine: &str,
        why: &str,
    ) -> Result<(), RegistryError> {
        let until = Timestamp::now().plus_micros(REFUSED_FOR.as_micros() as i64);
        let why: String = why.chars().take(500).collect();
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(rows::key(tenant, row_key(compiled.digest, engine))))
            .update_expression("SET #u = :until, refusal = :why")
            .expression_attribute_names("#u", "until")
            .expression_attribute_values(":until", seconds(until))
            .expression_attribute_values(":why", rows::text(why.as_str()));
        update.send().await.map_err(table("note a failed compilation"))?;
        let entry = AuditEntry::new("recompile_failed", BY, &why);
        let entry = entry.about(compiled.name, compiled.version, compiled.digest);
        self.audit_add(tenant, &entry).await
    }

    /// Why the component does not compile for an engine, if that was found out.
    pub async fn compile_refusal(
        &self,
        tenant: TenantId,
        digest: &str,
        engine: &str,
    ) -> Result<Option<String>, RegistryError> {
        let row = self.get(tenant, &row_key(digest, engine), "look for a compilation").await?;
        let row = row.filter(|row| row.contains_key("refusal"));
        row.map(|row| Reader { tenant, row: &row }.text("refusal").map(str::to_owned)).transpose()
    }
}
