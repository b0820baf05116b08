//! What the registry knows of versions and of what is in force.

use crate::RegistryError;
use crate::rows::{Reader, Row};
use eaves_model::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a version is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// The component is stored; it is being checked and compiled.
    Uploaded,
    /// It is a plugin, and compiled.
    Checked,
    /// It was refused; [`Version::refusal`] says why.
    Refused,
    /// It sees live values beside the active version, without effect.
    Shadow,
    /// It decides.
    Active,
    /// It was active or in shadow, and is not any more.
    Superseded,
    /// It was active, and was taken back.
    RolledBack,
}

impl VersionState {
    /// Its name in rows and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uploaded => "uploaded",
            Self::Checked => "checked",
            Self::Refused => "refused",
            Self::Shadow => "shadow",
            Self::Active => "active",
            Self::Superseded => "superseded",
            Self::RolledBack => "rolled_back",
        }
    }

    /// Whether it has seen live values: what history names is never replaced.
    pub fn was_used(self) -> bool {
        matches!(self, Self::Shadow | Self::Active | Self::Superseded | Self::RolledBack)
    }

    /// Whether it can be made active.
    pub fn is_runnable(self) -> bool {
        !matches!(self, Self::Uploaded | Self::Refused)
    }

    fn from_name(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }
}

impl fmt::Display for VersionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A plugin version that a tenant has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The plugin's name.
    pub name: String,
    /// What the author calls the version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Where it is in its life.
    pub state: VersionState,
    /// Where the compiled plugin is; empty before it is checked.
    pub artefact_key: String,
    /// Size of the component, in bytes.
    pub bytes: u64,
    /// JSON Schema of its settings; empty if it has none.
    pub settings_schema: String,
    /// Which of the tenant's publishers signed it.
    pub publisher: Option<String>,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// By whom.
    pub pushed_by: String,
}

impl Version {
    pub(crate) fn from_row(tenant: TenantId, row: &Row) -> Result<Self, RegistryError> {
        let row = Reader { tenant, row };
        let mut version: Self = row.doc()?;
        // The state changes without the rest: its own attribute is what counts.
        let state = VersionState::from_name(row.text("state")?);
        version.state = state.ok_or(RegistryError::BadRow { tenant, attribute: "state" })?;
        Ok(version)
    }
}

/// What becomes of values that the plugin could not judge: it trapped, ran out of its time or
/// memory, or answered nonsense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Their readings go to quarantine and can be sent again.
    #[default]
    Quarantine,
    /// They are taken as they are, marked: `plugin_versions.validated` is false of the version
    /// that their history rows name, and the ledger counts them under `unvalidated`.
    Accept,
    /// Each is rejected with the code `plugin_failed`.
    Reject,
}

impl OnFailure {
    /// Its name in rows and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Accept => "accept",
            Self::Reject => "reject",
        }
    }
}

impl std::str::FromStr for OnFailure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Quarantine, Self::Accept, Self::Reject]
            .into_iter()
            .find(|p| p.name() == text)
            .ok_or_else(|| format!("{text:?} is not quarantine, accept or reject"))
    }
}

/// A version in force, as active or in shadow, with its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// The plugin's name.
    pub name: String,
    /// What the author calls the version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// The settings, a JSON object. They are kept in a row of their own.
    #[serde(skip)]
    pub settings: String,
    /// SHA-256 of the settings, in hex.
    pub settings_digest: String,
    /// Counts the settings that the plugin has had, from 1.
    pub settings_version: u64,
    /// Where the compiled plugin is.
    pub artefact_key: String,
    /// What becomes of values that it cannot judge.
    pub on_failure: OnFailure,
    /// Counts the tenant's changes.
    pub revision: u64,
    /// The revision whose activation a rollback goes back to.
    pub previous: Option<u64>,
    /// When it became so.
    pub activated_at: Timestamp,
    /// By whom.
    pub by: String,
}

/// What is in force for a tenant: one small row, which every instance of the ingest function
/// reads at most once a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// Counts the tenant's changes; 0 before the first.
    pub revision: u64,
    /// What decides.
    pub active: Option<Activation>,
    /// What looks on.
    pub shadow: Option<Activation>,
    /// What decided before: a rollback goes back to it, and a breaker to [`Self::fallback`].
    pub last_good: Option<Activation>,
    /// Whether it may decide in the active version's place: not where the tenant wants signatures
    /// and it has none.
    #[serde(default = "yes")]
    pub last_good_allowed: bool,
    /// Most milliseconds that 1,000 values may take.
    #[serde(default = "default_ms_per_1000")]
    pub ms_per_1000: u32,
    /// Most bytes of memory that a call of a plugin may take.
    #[serde(default = "default_memory_bytes")]
    pub memory_bytes: u64,
}

impl Default for Pointer {
    fn default() -> Self {
        Self {
            revision: 0,
            active: None,
            shadow: None,
            last_good: None,
            last_good_allowed: true,
            ms_per_1000: default_ms_per_1000(),
            memory_bytes: default_memory_bytes(),
        }
    }
}

impl Pointer {
    /// What decides while the active version keeps failing.
    pub fn fallback(&self) -> Option<&Activation> {
        self.last_good.as_ref().filter(|_| self.last_good_allowed)
    }
}

fn yes() -> bool {
    true
}

/// Default of [`crate::TenantPolicy::ms_per_1000`].
pub(crate) fn default_ms_per_1000() -> u32 {
    100
}

/// Default of [`crate::TenantPolicy::memory_bytes`].
pub(crate) fn default_memory_bytes() -> u64 {
    crate::MAX_MEMORY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_of_an_earlier_release_has_the_limits_of_then() {
        let old = r#"{"revision": 3, "active": null, "shadow": null, "last_good": null, "ms_per_1000": 50}"#;
        let pointer: Pointer = serde_json::from_str(old).unwrap();
        assert_eq!(pointer, Pointer { revision: 3, ms_per_1000: 50, ..Pointer::default() });
        assert_eq!(pointer.memory_bytes, 64 << 20);
    }
}
