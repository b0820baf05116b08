//! `GET` and `PUT /v1/plugin-policy`: limits and publishers of the tenant.

use crate::body;
use crate::caller::Caller;
use crate::context::Context;
use crate::problem::Problem;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use eaves_registry::TenantPolicy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// Whose plugins the tenant takes, and what they may cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyBody {
    /// Counts the changes.
    revision: u64,
    /// Most bytes of a component.
    max_bytes: u64,
    /// Most versions, of all plugins together.
    max_versions: u32,
    /// Most uploads in an hour.
    uploads_per_hour: u32,
    /// Most milliseconds that 1,000 values may take.
    ms_per_1000: u32,
    /// Most bytes of memory that a call of a plugin may take.
    memory_bytes: u64,
    /// Only signed components are taken.
    require_signature: bool,
    /// Ed25519 public keys in hex, by the publisher's name.
    publishers: BTreeMap<String, String>,
}

impl From<TenantPolicy> for PolicyBody {
    fn from(p: TenantPolicy) -> Self {
        Self {
            revision: p.revision,
            max_bytes: p.max_bytes,
            max_versions: p.max_versions,
            uploads_per_hour: p.uploads_per_hour,
            ms_per_1000: p.ms_per_1000,
            memory_bytes: p.memory_bytes,
            require_signature: p.require_signature,
            publishers: p.publishers,
        }
    }
}

/// What a tenant's administrator decides. (The limits are the operator's: `eaves plugin limits`.)
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishersBody {
    /// Only components signed by one of the publishers are taken, and put in force: by activation, shadow,
    /// rollback, or in place of a version that keeps failing. What is in force already stays so.
    require_signature: bool,
    /// Ed25519 public keys in hex, by the publisher's name.
    publishers: BTreeMap<String, String>,
    /// The revision that was looked at.
    expected_revision: u64,
    /// Why, for the audit trail.
    why: Option<String>,
}

/// The tenant's limits and publishers.
#[utoipa::path(
    get, path = "/v1/plugin-policy", tag = "plugins", security(("jwt" = ["plugins:read"])),
    responses((status = 200, description = "The policy", body = PolicyBody))
)]
pub(crate) async fn get_policy(
    State(context): State<Arc<Context>>,
    caller: Caller,
) -> Result<Json<PolicyBody>, Problem> {
    caller.reads()?;
    Ok(Json(context.registry.policy(caller.tenant).await?.into()))
}

/// Sets whose signatures the tenant wants. What is in force gets another revision with it.
#[utoipa::path(
    put, path = "/v1/plugin-policy", tag = "plugins", security(("jwt" = ["admin"])),
    request_body = PublishersBody,
    responses(
        (status = 200, description = "The policy now", body = PolicyBody),
        (status = 400, description = "A key is none", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Somebody else changed it meanwhile", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put_policy(
    State(context): State<Arc<Context>>,
    caller: Caller,
    bytes: Bytes,
) -> Result<Json<PolicyBody>, Problem> {
    caller.administers()?;
    let body: PublishersBody = body::json(&bytes)?;
    let before = context.registry.policy(caller.tenant).await?;
    let policy = TenantPolicy {
        revision: body.expected_revision,
        require_signature: body.require_signature,
        publishers: body.publishers,
        ..before
    };
    let why = body::why(body.why)?;
    Ok(Json(context.registry.set_policy(caller.tenant, policy, &caller.subject, &why).await?.into()))
}

#[cfg(test)]
mod tests {
    use eaves_plugin_host::HostConfig;
    use eaves_registry::MAX_MEMORY_BYTES;

    #[test]
    fn a_tenant_may_have_all_the_memory_that_the_host_gives_and_no_more() {
        let given = HostConfig::new(&"5a".repeat(32)).unwrap().memory_bytes;
        assert_eq!(given as u64, MAX_MEMORY_BYTES);
    }
}
