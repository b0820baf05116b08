//! What each reading must hold.

use eaves_plugin_sdk::{Reading, SettingsFault, Verdict};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Attribute names by type of entity; `*` is for all types.
#[derive(Deserialize, Default)]
#[serde(transparent)]
pub(crate) struct Required {
    by_type: BTreeMap<String, Vec<String>>,
}

const ALL: &str = "*";

impl Required {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_type.is_empty()
    }

    /// A name that is empty, or a list that is.
    pub(crate) fn check(&self) -> Result<(), SettingsFault> {
        for (entity_type, names) in &self.by_type {
            if names.is_empty() {
                let message = "lists no attribute: leave the type out to require none";
                return Err(SettingsFault::new(format!("required.{entity_type}"), message));
            }
            if let Some(index) = names.iter().position(String::is_empty) {
                let path = format!("required.{entity_type}[{index}]");
                return Err(SettingsFault::new(path, "an attribute's name is not empty"));
            }
        }
        Ok(())
    }

    /// Rejects each value of a reading that lacks an attribute.
    pub(crate) fn judge(&self, reading: &Reading<'_>) -> Option<Verdict> {
        if self.by_type.is_empty() {
            return None;
        }
        let entity_type = reading.entity().entity_type;
        let of_type = self.by_type.get(entity_type).filter(|_| entity_type != ALL);
        let names = of_type.into_iter().chain(self.by_type.get(ALL)).flatten();
        let missing: Vec<&str> =
            names.map(String::as_str).filter(|name| reading.sibling(name).is_none()).collect();
        if missing.is_empty() {
            return None;
        }
        let whose = if entity_type.is_empty() { "the entity" } else { entity_type };
        let text = format!("the reading of {whose} has no {}", missing.join(", "));
        Some(Verdict::reject("missing_attribute", text))
    }
}
