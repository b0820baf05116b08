//! What the write path needs to know of a tenant.

use crate::TenantId;
use serde::{Deserialize, Serialize};

/// A tenant's own rates, a minute; 0: no limit, `None`: those of the function's settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantRates {
    /// Requests that read little or change something.
    pub reads: Option<u64>,
    /// Requests that may read much: searches, aggregates, distributions.
    pub expensive: Option<u64>,
    /// Values sent over HTTP.
    pub values: Option<u64>,
}

/// A tenant's own quotas, a day from midnight to midnight UTC; 0: none, `None`: those of the
/// function's settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantQuotas {
    /// Requests that read little or change something.
    pub reads: Option<u64>,
    /// Requests that may read much: searches, aggregates, distributions.
    pub expensive: Option<u64>,
    /// Values sent over HTTP.
    pub values: Option<u64>,
}

/// What a tenant may have of its own: so much a minute, and so much a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// A minute.
    pub rates: TenantRates,
    /// A day.
    pub quotas: TenantQuotas,
}

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
