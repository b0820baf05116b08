//! What is in force changes: activate, shadow, roll back, deactivate.

use crate::body;
use crate::caller::Caller;
use crate::context::Context;
use crate::plugins::{Standing, no_plugin, version};
use crate::problem::Problem;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use eaves_model::TenantId;
use eaves_registry::{Change, OnFailure, Pointer, Version, Wanted};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// How long a plugin may look at its settings: no longer than where it is to run.
const CHECK: Duration = Duration::from_millis(100);

/// How a version is put in force. All of it may be left out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForceBody {
    /// The settings. Left out: those that the plugin has in force, or else none.
    #[schema(value_type = Option<serde_json::Value>)]
    settings: Option<Box<RawValue>>,
    /// Or the number of settings that the plugin has had.
    settings_version: Option<u64>,
    /// What becomes of values that it cannot judge: `quarantine` (if left out), `accept` or
    /// `reject`.
    on_failure: Option<OnFailureName>,
    /// Why, for the audit trail.
    why: Option<String>,
    /// The revision that was looked at: if it has changed since, nothing is done (409).
    expected_revision: Option<u64>,
}

/// A failure policy.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OnFailureName {
    Quarantine,
    Accept,
    Reject,
}

impl From<OnFailureName> for OnFailure {
    fn from(name: OnFailureName) -> Self {
        match name {
            OnFailureName::Quarantine => Self::Quarantine,
            OnFailureName::Accept => Self::Accept,
            OnFailureName::Reject => Self::Reject,
        }
    }
}

/// A change without settings.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// Why, for the audit trail.
    why: Option<String>,
    /// The revision that was looked at: if it has changed since, nothing is done (409).
    expected_revision: Option<u64>,
}

/// Settings as chosen, by text or by number.
pub(crate) async fn settings(
    context: &Context,
    tenant: TenantId,
    name: &str,
    text: Option<&RawValue>,
    number: Option<u64>,
) -> Result<String, Problem> {
    match (text, number) {
        (Some(_), Some(_)) => {
            Err(Problem::bad_body("settings_version", "is given together with settings: give one of them"))
        }
        (Some(text), None) => Ok(text.get().to_owned()),
        (None, Some(number)) => {
            let known = context.registry.settings_versions(tenant, name).await?;
            let found = known.into_iter().find(|s| s.number == number);
            let detail = || format!("{name} has had no settings with the number {number}");
            Ok(found.ok_or_else(|| Problem::not_found("settings_version", detail()))?.settings)
        }
        (None, None) => {
            let pointer = context.registry.pointer(tenant).await?;
            let current = [pointer.active, pointer.shadow, pointer.last_good].into_iter().flatten();
            match current.into_iter().find(|a| a.name == name) {
                Some(a) => Ok(context.registry.settings(tenant, name, &a.settings_digest).await?),
                None => Ok("{}".into()),
            }
        }
    }
}

/// Refuses settings that the plugin does not take.
pub(crate) async fn check_settings(
    context: &Context,
    tenant: TenantId,
    version: &Version,
    settings: &str,
) -> Result<(), Problem> {
    if !settings.trim_start().starts_with('{') {
        return Err(Problem::bad_body("settings", "is not a JSON object"));
    }
    let plugin = context.load(tenant, version).await?;
    plugin.configure(settings, CHECK)?;
    Ok(())
}

struct Asked {
    version: Version,
    settings: String,
    on_failure: OnFailure,
    why: String,
    seen: Option<u64>,
}

async fn asked(
    context: &Context,
    caller: &Caller,
    (name, label): (&str, &str),
    bytes: &Bytes,
) -> Result<Asked, Problem> {
    caller.writes()?;
    let body: ForceBody = body::json(bytes)?;
    let version = version(context, caller.tenant, name, label).await?;
    let (text, number) = (body.settings.as_deref(), body.settings_version);
    let settings = settings(context, caller.tenant, name, text, number).await?;
    check_settings(context, caller.tenant, &version, &settings).await?;
    Ok(Asked {
        version,
        settings,
        on_failure: body.on_failure.map(Into::into).unwrap_or_default(),
        why: body::why(body.why)?,
        seen: body.expected_revision,
    })
}

impl Asked {
    fn wanted(&self) -> Wanted<'_> {
        Wanted { version: &self.version, settings: &self.settings, on_failure: self.on_failure }
    }

    fn change<'a>(&'a self, caller: &'a Caller) -> Change<'a> {
        Change { by: &caller.subject, why: &self.why, seen: self.seen }
    }
}

/// Makes a version the one that decides, in all instances within 2 seconds.
#[utoipa::path(
    post, path = "/v1/plugins/{name}/versions/{version}/activate", tag = "plugins",
    security(("jwt" = ["plugins:write"])),
    params(
        ("name" = String, Path, description = "The plugin", example = "limits"),
        ("version" = String, Path, description = "The version", example = "1.0.0"),
    ),
    request_body = ForceBody,
    responses(
        (status = 200, description = "What is in force now", body = Standing),
        (status = 404, description = "There is no such version", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Somebody else changed it meanwhile, or the version is not checked", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The plugin does not take the settings, or is not signed as the tenant wants it", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn activate(
    State(context): State<Arc<Context>>,
    Path((name, label)): Path<(String, String)>,
    caller: Caller,
    bytes: Bytes,
) -> Result<Json<Standing>, Problem> {
    let asked = asked(&context, &caller, (&name, &label), &bytes).await?;
    let (wanted, change) = (asked.wanted(), asked.change(&caller));
    let done = context.registry.activate_version(caller.tenant, &wanted, &change).await?;
    standing(&context, &caller, done).await
}

/// Lets a version look on: it sees live values after the active one has decided, without effect.
#[utoipa::path(
    post, path = "/v1/plugins/{name}/versions/{version}/shadow", tag = "plugins",
    security(("jwt" = ["plugins:write"])),
    params(
        ("name" = String, Path, description = "The plugin", example = "limits"),
        ("version" = String, Path, description = "The version", example = "1.1.0"),
    ),
    request_body = ForceBody,
    responses(
        (status = 200, description = "What is in force now", body = Standing),
        (status = 404, description = "There is no such version", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Somebody else changed it meanwhile, or the version is not checked", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The plugin does not take the settings, or is not signed as the tenant wants it", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn shadow(
    State(context): State<Arc<Context>>,
    Path((name, label)): Path<(String, String)>,
    caller: Caller,
    bytes: Bytes,
) -> Result<Json<Standing>, Problem> {
    let asked = asked(&context, &caller, (&name, &label), &bytes).await?;
    let done = context.registry.shadow(caller.tenant, Some(&asked.wanted()), &asked.change(&caller)).await?;
    standing(&context, &caller, done).await
}

/// Ends the shadow.
#[utoipa::path(
    post, path = "/v1/plugins/{name}/shadow/end", tag = "plugins", security(("jwt" = ["plugins:write"])),
    params(("name" = String, Path, description = "The plugin", example = "limits")),
    request_body = ChangeBody,
    responses(
        (status = 200, description = "What is in force now", body = Standing),
        (status = 404, description = "No version of this plugin is in shadow", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Somebody else changed it meanwhile", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn end_shadow(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    caller: Caller,
    bytes: Bytes,
) -> Result<Json<Standing>, Problem> {
    let (why, seen) = plain(&caller, &bytes)?;
    let pointer = context.registry.pointer(caller.tenant).await?;
    if pointer.shadow.is_none_or(|s| s.name != name) {
        return Err(no_plugin(&name));
    }
    let change = Change { by: &caller.subject, why: &why, seen: Some(seen.unwrap_or(pointer.revision)) };
    let done = context.registry.shadow(caller.tenant, None, &change).await?;
    standing(&context, &caller, done).await
}

/// Goes back to what was active before, with the settings it had.
#[utoipa::path(
    post, path = "/v1/plugins/{name}/rollback", tag = "plugins", security(("jwt" = ["plugins:write"])),
    params(("name" = String, Path, description = "The plugin", example = "limits")),
    request_body = ChangeBody,
    responses(
        (status = 200, description = "What is in force now", body = Standing),
        (status = 409, description = "There is nothing to go back to, or somebody else changed it meanwhile", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "What was active before is not signed as the tenant wants it", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rollback(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    caller: Caller,
    bytes: Bytes,
) -> Result<Json<Standing>, Problem> {
    let (why, seen) = plain(&caller, &bytes)?;
    let change = Change { by: &caller.subject, why: &why, seen };
    let done = context.registry.rollback(caller.tenant, &name, &change).await?;
    standing(&context, &caller, done).await
}

/// Lets no plugin decide: the tenant's values get the built-in checks only.
#[utoipa::path(
    post, path = "/v1/plugins/{name}/deactivate", tag = "plugins", security(("jwt" = ["plugins:write"])),
    params(("name" = String, Path, description = "The plugin", example = "limits")),
    request_body = ChangeBody,
    responses(
        (status = 200, description = "What is in force now", body = Standing),
        (status = 404, description = "The plugin is not active", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Somebody else changed it meanwhile", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn deactivate(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    caller: Caller,
    bytes: Bytes,
) -> Result<Json<Standing>, Problem> {
    let (why, seen) = plain(&caller, &bytes)?;
    let pointer = context.registry.pointer(caller.tenant).await?;
    if pointer.active.is_none_or(|a| a.name != name) {
        return Err(no_plugin(&name));
    }
    let change = Change { by: &caller.subject, why: &why, seen: Some(seen.unwrap_or(pointer.revision)) };
    let done = context.registry.deactivate_plugin(caller.tenant, &change).await?;
    standing(&context, &caller, done).await
}

fn plain(caller: &Caller, bytes: &Bytes) -> Result<(String, Option<u64>), Problem> {
    caller.writes()?;
    let body: ChangeBody = body::json(bytes)?;
    Ok((body::why(body.why)?, body.expected_revision))
}

async fn standing(context: &Context, caller: &Caller, pointer: Pointer) -> Result<Json<Standing>, Problem> {
    Ok(Json(Standing::of(context, caller.tenant, pointer).await?))
}
