//! What a host is told at start.

use crate::scan::ScanLimits;
use std::fmt;
use std::time::Duration;

/// Signs compiled plugins, so that only what this platform compiled is ever loaded.
#[derive(Clone)]
pub struct SigningKey(Vec<u8>);

/// A signing key that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the plugin signing key must be at least 64 hex digits (32 bytes), such as `openssl rand -hex 32` prints"
)]
pub struct BadKey;

impl SigningKey {
    /// From hex digits, at least 64.
    pub fn from_hex(digits: &str) -> Result<Self, BadKey> {
        let bytes = hex::decode(digits.trim()).map_err(|_| BadKey)?;
        if bytes.len() < 32 { Err(BadKey) } else { Ok(Self(bytes)) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// Limits of a host. The defaults suit a Lambda of 256 MB.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Signs artefacts.
    pub signing_key: SigningKey,
    /// Most memory of one instance, in bytes. Memory is given as a plugin uses it. A caller may set
    /// less: [`crate::Plugin::within`].
    pub memory_bytes: usize,
    /// Most entries of one table.
    pub table_entries: usize,
    /// Most instances alive at once: calls beyond fail with [`crate::PluginError::Busy`].
    pub concurrency: u32,
    /// How fine a deadline is: the pace of the ticker thread while a plugin runs.
    pub tick: Duration,
    /// How long `describe` may take when a plugin is loaded.
    pub describe_deadline: Duration,
    /// What is compiled at all.
    pub scan: ScanLimits,
}

impl HostConfig {
    /// The defaults, with a signing key in hex.
    pub fn new(signing_key_hex: &str) -> Result<Self, BadKey> {
        Ok(Self {
            signing_key: SigningKey::from_hex(signing_key_hex)?,
            memory_bytes: 64 << 20,
            table_entries: 10_000,
            concurrency: 16,
            tick: Duration::from_millis(2),
            // Interpreters take their time where the host is not optimised.
            describe_deadline: Duration::from_millis(if cfg!(debug_assertions) { 400 } else { 100 }),
            scan: ScanLimits::default(),
        })
    }
}
