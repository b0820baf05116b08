//! Shortcuts for an operator at the command line, who is above the tenants' limits.

use crate::RegistryError;
use crate::change::{Change, Wanted};
use crate::registry::{Registry, sha256};
use crate::upload::Upload;
use crate::version::{Activation, OnFailure, Version};
use bytes::Bytes;
use eaves_model::TenantId;

/// Who the audit trail names.
const OPERATOR: &str = "operator";

impl Registry {
    /// Stores a version that was checked already: the component, and what the plugin host
    /// made of it. Pushing the same component again is allowed and replaces the artefact, as
    /// a new engine needs it. Of its settings nothing is known: see [`Self::push_described`].
    pub async fn push(
        &self,
        tenant: TenantId,
        name: &str,
        version: &str,
        wasm: impl Into<Bytes>,
        artefact: impl Into<Bytes>,
    ) -> Result<Version, RegistryError> {
        self.push_described(tenant, (name, version), wasm, artefact, "").await
    }

    /// The same with the JSON Schema of its settings, as the plugin describes itself; empty if it
    /// has none.
    pub async fn push_described(
        &self,
        tenant: TenantId,
        (name, version): (&str, &str),
        wasm: impl Into<Bytes>,
        artefact: impl Into<Bytes>,
        settings_schema: &str,
    ) -> Result<Version, RegistryError> {
        let wasm = wasm.into();
        let upload = Upload { name, version, signature: None, by: OPERATOR, why: "" };
        let digest = sha256(&wasm);
        let stored = self.store(tenant, &upload, wasm, digest, None).await?;
        self.checked(tenant, &stored, settings_schema, artefact.into(), OPERATOR).await
    }

    /// Makes the newest version with this component active.
    pub async fn activate(
        &self,
        tenant: TenantId,
        name: &str,
        digest: &str,
        settings: &str,
    ) -> Result<Activation, RegistryError> {
        let versions = self.versions(tenant).await?;
        let version = versions.into_iter().rfind(|v| v.name == name && v.digest == digest);
        let missing = || RegistryError::NoSuchVersion { tenant, name: name.into(), version: digest.into() };
        let version = version.ok_or_else(missing)?;
        let wanted = Wanted { version: &version, settings, on_failure: OnFailure::default() };
        let change = Change { by: OPERATOR, why: "", seen: None };
        self.activate_version(tenant, &wanted, &change).await?.active.ok_or_else(missing)
    }

    /// Makes nothing active: the tenant's values get the built-in checks only.
    pub async fn deactivate(&self, tenant: TenantId) -> Result<(), RegistryError> {
        let change = Change { by: OPERATOR, why: "", seen: None };
        self.deactivate_plugin(tenant, &change).await.map(drop)
    }
}
