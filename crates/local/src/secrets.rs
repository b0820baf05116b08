//! Secrets of one data folder: made at random once, kept in a file of mode 0600.

use crate::files;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Roles that log in to the database.
pub(crate) const LOGIN_ROLES: [&str; 7] = [
    "eaves_migrate",
    "eaves_ingest",
    "eaves_flush",
    "eaves_olap",
    "eaves_query",
    "eaves_admin",
    "eaves_superadmin",
];

/// The secrets.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secrets {
    /// Password of each role.
    pub(crate) roles: BTreeMap<String, String>,
    /// Key that signs compiled plugins, hex.
    pub(crate) plugin_key: String,
}

impl Secrets {
    /// Those of the data folder, made if there are none.
    pub(crate) fn load_or_make(path: &Path) -> Result<Self> {
        if let Ok(bytes) = std::fs::read(path) {
            let mut kept: Self =
                serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))?;
            // Of a version that had fewer roles.
            if LOGIN_ROLES.iter().any(|role| !kept.roles.contains_key(*role)) {
                kept.add_roles()?;
                files::replace(path, &serde_json::to_vec_pretty(&kept)?, 0o600)?;
            }
            return Ok(kept);
        }
        let mut made = Self { roles: BTreeMap::new(), plugin_key: random_hex()? };
        made.add_roles()?;
        files::replace(path, &serde_json::to_vec_pretty(&made)?, 0o600)?;
        Ok(made)
    }
}

impl Secrets {
    /// A password for each role that has none.
    fn add_roles(&mut self) -> Result<()> {
        for role in LOGIN_ROLES {
            if !self.roles.contains_key(role) {
                self.roles.insert(role.to_owned(), random_hex()?);
            }
        }
        Ok(())
    }
}

/// 32 random bytes as hex.
fn random_hex() -> Result<String> {
    use std::fmt::Write as _;
    let mut bytes = [0u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("no random numbers from the system")?;
    Ok(bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
