//! Secrets of one data folder: made at random once, kept in a file of mode 0600.

use crate::files;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Roles that log in to the database.
pub(crate) const LOGIN_ROLES: [&str; 6] =
    ["eaves_migrate", "eaves_ingest", "eaves_flush", "eaves_olap", "eaves_query", "eaves_admin"];

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
        let mut made = match std::fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))?
            }
            Err(_) => Self { roles: BTreeMap::new(), plugin_key: random_hex()? },
        };
        // A folder of an earlier version lacks the roles that came later.
        if LOGIN_ROLES.iter().all(|role| made.roles.contains_key(*role)) {
            return Ok(made);
        }
        for role in LOGIN_ROLES {
            if !made.roles.contains_key(role) {
                made.roles.insert(role.to_owned(), random_hex()?);
            }
        }
        files::replace(path, &serde_json::to_vec_pretty(&made)?, 0o600)?;
        Ok(made)
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
