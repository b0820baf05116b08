//! `GET /v1/plugins` and `GET /v1/plugins/{name}/versions`

use crate::caller::Caller;
use crate::context::Context;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{Path, State};
use eaves_model::{TenantId, Timestamp};
use eaves_registry::{Activation, Pointer, SettingsVersion, Version};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// A version of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionBody {
    /// The plugin.
    #[schema(example = "limits")]
    pub(crate) name: String,
    /// The version.
    #[schema(example = "1.0.0")]
    pub(crate) version: String,
    /// SHA-256 of the component, in hex.
    pub(crate) digest: String,
    /// `uploaded`, `checked`, `refused`, `shadow`, `active`, `superseded` or `rolled_back`.
    #[schema(example = "checked")]
    pub(crate) state: &'static str,
    /// Size of the component.
    bytes: u64,
    /// JSON Schema of its settings; null if it has none.
    settings_schema: Option<Value>,
    /// Which of the tenant's publishers signed it.
    publisher: Option<String>,
    /// Why it was refused.
    refusal: Option<String>,
    /// When it was pushed.
    #[schema(value_type = String, format = DateTime)]
    pushed_at: Timestamp,
    /// By whom.
    pushed_by: String,
}

impl From<Version> for VersionBody {
    fn from(v: Version) -> Self {
        Self {
            state: v.state.name(),
            settings_schema: serde_json::from_str(&v.settings_schema).ok(),
            name: v.name,
            version: v.version,
            digest: v.digest,
            bytes: v.bytes,
            publisher: v.publisher,
            refusal: v.refusal,
            pushed_at: v.pushed_at,
            pushed_by: v.pushed_by,
        }
    }
}

/// A version in force, with its settings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InForce {
    /// The plugin.
    name: String,
    /// The version.
    version: String,
    /// SHA-256 of the component, in hex.
    digest: String,
    /// Its settings.
    settings: Value,
    /// Their number, see the list of settings.
    settings_version: u64,
    /// What becomes of values that it cannot judge: `quarantine`, `accept` or `reject`.
    #[schema(example = "quarantine")]
    on_failure: &'static str,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// By whom.
    by: String,
}

/// What is in force for the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Standing {
    /// Counts the changes; give it as `expected_revision` with the next one.
    revision: u64,
    /// What decides.
    active: Option<InForce>,
    /// What looks on.
    shadow: Option<InForce>,
    /// What a rollback goes back to, and what decides while the active version keeps failing.
    last_good: Option<InForce>,
    /// Whether it may: not where the tenant wants signatures and it has none.
    last_good_allowed: bool,
}

impl Standing {
    pub(crate) async fn of(context: &Context, tenant: TenantId, pointer: Pointer) -> Result<Self, Problem> {
        let full = async |a: Option<Activation>| -> Result<Option<InForce>, Problem> {
            let Some(a) = a else { return Ok(None) };
            let settings = context.registry.settings(tenant, &a.name, &a.settings_digest).await?;
            Ok(Some(InForce {
                name: a.name,
                version: a.version,
                digest: a.digest,
                settings: serde_json::from_str(&settings).unwrap_or_default(),
                settings_version: a.settings_version,
                on_failure: a.on_failure.name(),
                since: a.activated_at,
                by: a.by,
            }))
        };
        Ok(Self {
            revision: pointer.revision,
            last_good_allowed: pointer.last_good_allowed,
            active: full(pointer.active).await?,
            shadow: full(pointer.shadow).await?,
            last_good: full(pointer.last_good).await?,
        })
    }
}

/// A plugin in the list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginBody {
    /// Its name.
    name: String,
    /// How many versions it has.
    versions: usize,
    /// The version that was pushed last.
    newest: String,
    /// The state of its furthest version: `active`, `shadow`, or the newest one's.
    state: &'static str,
}

/// The tenant's plugins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginList {
    /// By name.
    plugins: Vec<PluginBody>,
    /// What is in force.
    standing: Standing,
}

/// Versions of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionList {
    /// The newest first.
    versions: Vec<VersionBody>,
    /// The settings it has had, the newest first.
    settings: Vec<SettingsBody>,
    /// What is in force.
    standing: Standing,
}

/// Settings that a plugin has had.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SettingsBody {
    /// Counts from 1; give it as `settings_version` to activate with them again.
    number: u64,
    /// The settings.
    settings: Value,
    /// When they were first in force.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

impl From<SettingsVersion> for SettingsBody {
    fn from(s: SettingsVersion) -> Self {
        let settings = serde_json::from_str(&s.settings).unwrap_or_default();
        Self { number: s.number, settings, since: s.since }
    }
}

/// The tenant's plugins, and what is in force.
#[utoipa::path(
    get, path = "/v1/plugins", tag = "plugins", security(("jwt" = ["plugins:read"])),
    responses(
        (status = 200, description = "The plugins", body = PluginList),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_plugins(
    State(context): State<Arc<Context>>,
    caller: Caller,
) -> Result<Json<PluginList>, Problem> {
    caller.reads()?;
    let versions = context.registry.versions(caller.tenant).await?;
    let mut by_name: BTreeMap<String, PluginBody> = BTreeMap::new();
    for version in versions {
        let state = version.state.name();
        let plugin = by_name.entry(version.name.clone()).or_insert_with(|| PluginBody {
            name: version.name,
            versions: 0,
            newest: String::new(),
            state,
        });
        plugin.versions += 1;
        plugin.newest = version.version;
        if plugin.state != "active" && (plugin.state != "shadow" || state == "active") {
            plugin.state = state;
        }
    }
    let pointer = context.registry.pointer(caller.tenant).await?;
    let standing = Standing::of(&context, caller.tenant, pointer).await?;
    Ok(Json(PluginList { plugins: by_name.into_values().collect(), standing }))
}

/// A plugin's versions and settings, and what is in force.
#[utoipa::path(
    get, path = "/v1/plugins/{name}/versions", tag = "plugins", security(("jwt" = ["plugins:read"])),
    params(("name" = String, Path, description = "The plugin", example = "limits")),
    responses(
        (status = 200, description = "The versions", body = VersionList),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such plugin", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_versions(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    caller: Caller,
) -> Result<Json<VersionList>, Problem> {
    caller.reads()?;
    let versions = context.registry.versions(caller.tenant).await?;
    let versions: Vec<VersionBody> =
        versions.into_iter().rev().filter(|v| v.name == name).map(VersionBody::from).collect();
    if versions.is_empty() {
        return Err(no_plugin(&name));
    }
    let settings = context.registry.settings_versions(caller.tenant, &name).await?;
    let settings = settings.into_iter().rev().map(SettingsBody::from).collect();
    let pointer = context.registry.pointer(caller.tenant).await?;
    let standing = Standing::of(&context, caller.tenant, pointer).await?;
    Ok(Json(VersionList { versions, settings, standing }))
}

pub(crate) fn no_plugin(name: &str) -> Problem {
    let name: String = name.chars().take(64).collect();
    Problem::not_found("name", format!("the tenant has no plugin {name:?}"))
}

/// The tenant's version of this name.
pub(crate) async fn version(
    context: &Context,
    tenant: TenantId,
    name: &str,
    version: &str,
) -> Result<Version, Problem> {
    let found = context.registry.version(tenant, name, version).await?;
    found.ok_or_else(|| {
        let (name, version): (String, String) =
            (name.chars().take(64).collect(), version.chars().take(64).collect());
        Problem::not_found("version", format!("the tenant has no version {version:?} of {name:?}"))
    })
}
