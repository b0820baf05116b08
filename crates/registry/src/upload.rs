//! Versions come in: stored, checked or refused.

use crate::error::table;
use crate::registry::{Registry, check_name, check_version, sha256};
use crate::rows::{self, DOC};
use crate::signature;
use crate::version::{Version, VersionState};
use crate::{AuditEntry, RegistryError};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use bytes::Bytes;
use eaves_model::{TenantId, Timestamp};

/// A component that somebody brings.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    /// The plugin's name.
    pub name: &'a str,
    /// What the author calls the version.
    pub version: &'a str,
    /// A publisher's ed25519 signature in 128 hex digits; see [`crate::signed_text`].
    pub signature: Option<&'a str>,
    /// Who brings it.
    pub by: &'a str,
    /// Why, in their words.
    pub why: &'a str,
}

impl Registry {
    /// Takes a component in, under the tenant's limits: afterwards it is stored, in state
    /// [`VersionState::Uploaded`], and to be [`Self::checked`] or [`Self::refused`].
    ///
    /// A version that has seen live values stays as it is: another component needs another
    /// version. The same one again is allowed, as a new engine needs it compiled anew.
    pub async fn upload(
        &self,
        tenant: TenantId,
        upload: &Upload<'_>,
        wasm: Bytes,
    ) -> Result<Version, RegistryError> {
        self.take(tenant, upload, wasm, true).await
    }

    /// The same with what was [`Self::received`]: its invitation was counted as an upload.
    pub async fn upload_received(
        &self,
        tenant: TenantId,
        upload: &Upload<'_>,
        wasm: Bytes,
    ) -> Result<Version, RegistryError> {
        self.take(tenant, upload, wasm, false).await
    }

    async fn take(
        &self,
        tenant: TenantId,
        upload: &Upload<'_>,
        wasm: Bytes,
        counts: bool,
    ) -> Result<Version, RegistryError> {
        let policy = self.policy(tenant).await?;
        let size = wasm.len() as u64;
        if size > policy.max_bytes {
            return Err(RegistryError::TooLarge { bytes: size, most: policy.max_bytes });
        }
        let digest = sha256(&wasm);
        let publisher = match upload.signature {
            None if policy.require_signature => return Err(RegistryError::NotSigned),
            None => None,
            Some(signature) => {
                let by = policy.publishers.iter().find(|(_, key)| signature::verify(key, &digest, signature));
                Some(by.map(|(name, _)| name.clone()).ok_or(RegistryError::BadSignature)?)
            }
        };
        if counts {
            self.count_upload(tenant, policy.uploads_per_hour).await?;
        }
        let versions = self.versions(tenant).await?;
        let known = versions.iter().any(|v| v.name == upload.name && v.version == upload.version);
        if !known && versions.len() >= policy.max_versions as usize {
            return Err(RegistryError::TooManyVersions { most: policy.max_versions });
        }
        self.store(tenant, upload, wasm, digest, publisher).await
    }

    pub(crate) async fn store(
        &self,
        tenant: TenantId,
        upload: &Upload<'_>,
        wasm: Bytes,
        digest: String,
        publisher: Option<String>,
    ) -> Result<Version, RegistryError> {
        check_name(upload.name)?;
        check_version(upload.version)?;
        let bytes = wasm.len() as u64;
        let before = self.version(tenant, upload.name, upload.version).await?;
        if let Some(before) = &before
            && before.state.was_used()
        {
            if before.digest != digest {
                return Err(RegistryError::VersionTaken {
                    name: upload.name.into(),
                    version: upload.version.into(),
                    state: before.state,
                });
            }
            // What it is stays; its artefact is made anew, and it may be signed by now.
            return Ok(Version {
                publisher: publisher.or_else(|| before.publisher.clone()),
                ..before.clone()
            });
        }
        self.files.put(&wasm_key(&digest), wasm).await?;
        let version = Version {
            name: upload.name.into(),
            version: upload.version.into(),
            digest,
            state: VersionState::Uploaded,
            artefact_key: String::new(),
            bytes,
            settings_schema: String::new(),
            publisher,
            refusal: None,
            pushed_at: Timestamp::now(),
            pushed_by: upload.by.chars().take(200).collect(),
        };
        let mut row = rows::row(tenant, rows::version_key(upload.name, upload.version), &version);
        row.insert("state".into(), rows::text(version.state.name()));
        row.insert("digest".into(), rows::text(&version.digest));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(row));
        let put = match &before {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(before) => put
                .condition_expression("#s = :s AND digest = :d")
                .expression_attribute_names("#s", "state")
                .expression_attribute_values(":s", rows::text(before.state.name()))
                .expression_attribute_values(":d", rows::text(&before.digest)),
        };
        match put.send().await {
            Ok(_) => {}
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => {
                return Err(RegistryError::Conflict { tenant });
            }
            Err(e) => return Err(table("register a plugin version")(e)),
        }
        let entry = AuditEntry::new("upload", upload.by, upload.why);
        self.audit_add(tenant, &entry.about(&version.name, &version.version, &version.digest)).await?;
        Ok(version)
    }

    /// The version is a plugin: what the host compiled it to, and the schema of its settings.
    pub async fn checked(
        &self,
        tenant: TenantId,
        version: &Version,
        settings_schema: &str,
        artefact: Bytes,
        by: &str,
    ) -> Result<Version, RegistryError> {
        // The artefact's own digest in its key: an instance still running the old engine
        // keeps finding the old one.
        let artefact_key = format!("artefacts/{}/{}.bin", version.digest, &sha256(&artefact)[..16]);
        self.files.put(&artefact_key, artefact).await?;
        let state = if version.state.was_used() { version.state } else { VersionState::Checked };
        let schema = settings_schema.into();
        let done = Version { artefact_key, settings_schema: schema, state, refusal: None, ..version.clone() };
        self.decide(tenant, version, &done).await?;
        let entry = AuditEntry::new("check", by, "").about(&done.name, &done.version, &done.digest);
        self.audit_add(tenant, &entry).await?;
        Ok(done)
    }

    /// The version is no plugin, or none that may be compiled.
    pub async fn refused(
        &self,
        tenant: TenantId,
        version: &Version,
        why: &str,
        by: &str,
    ) -> Result<(), RegistryError> {
        let entry =
            AuditEntry::new("refuse", by, why).about(&version.name, &version.version, &version.digest);
        self.audit_add(tenant, &entry).await?;
        if version.state.was_used() {
            return Ok(());
        }
        let refusal = Some(why.chars().take(500).collect());
        let done = Version { state: VersionState::Refused, refusal, ..version.clone() };
        self.decide(tenant, version, &done).await
    }

    async fn decide(&self, tenant: TenantId, was: &Version, is: &Version) -> Result<(), RegistryError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(rows::key(tenant, rows::version_key(&is.name, &is.version))))
            .update_expression("SET #d = :doc, #s = :is")
            .condition_expression("#s = :was AND digest = :digest")
            .expression_attribute_names("#d", DOC)
            .expression_attribute_names("#s", "state")
            .expression_attribute_values(":doc", rows::text(rows::json(is)))
            .expression_attribute_values(":is", rows::text(is.state.name()))
            .expression_attribute_values(":was", rows::text(was.state.name()))
            .expression_attribute_values(":digest", rows::text(&is.digest));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => {
                Err(RegistryError::Conflict { tenant })
            }
            Err(e) => Err(table("note what became of a version")(e)),
        }
    }
}

pub(crate) fn wasm_key(digest: &str) -> String {
    format!("components/{digest}.wasm")
}
