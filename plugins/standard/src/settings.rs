//! What a tenant sets.

use crate::required::Required;
use crate::rule::{Rule, Runs};
use eaves_plugin_sdk::ByAttribute;
use serde::Deserialize;

/// The whole object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Rules by attribute name.
    #[serde(default)]
    pub(crate) attributes: ByAttribute<Rule>,
    /// What each reading must hold, by type of entity.
    #[serde(default)]
    pub(crate) required: Required,
    /// Whether attributes without a rule are rejected.
    #[serde(default)]
    pub(crate) reject_others: bool,
    /// How long values have been the same, in this call.
    #[serde(skip)]
    pub(crate) runs: Runs,
}
