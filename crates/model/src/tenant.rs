//! What the write path needs to know of a tenant.

use crate::TenantId;
use serde::{Deserialize, Serialize};

/// A tenant as registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// The identifier in every row.
    pub id: TenantId,
    /// The name in records, tokens and on the command line: lower case letters,
    /// digits and hyphens.
    pub name: String,
    /// Entities and attributes must be registered before values are taken.
    pub strict: bool,
}
