//! `POST /v1/plugins`

use crate::body;
use crate::caller::Caller;
use crate::context::Context;
use crate::plugins::VersionBody;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use eaves_plugin_host::CompileError;
use eaves_plugin_host::worker::WorkerLimits;
use eaves_registry::Upload;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Most bytes of a request: Lambda carries 6 MB, and base64 takes a third of that.
const MOST: usize = 6 << 20;
/// What the compiler is called with: `main` answers it before anything else.
const COMPILER: [&str; 2] = ["plugin", "compile-worker"];

/// A component to be taken. As `multipart/form-data`, the same fields, with the component as
/// it is under `wasm`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UploadBody {
    /// The plugin's name: 1 to 64 lower case letters, digits and hyphens.
    #[schema(example = "limits")]
    name: String,
    /// The version: 1 to 64 letters, digits, dots, hyphens, plus signs and underscores.
    #[schema(example = "1.0.0")]
    version: String,
    /// The WebAssembly component, in base64: up to 4 MiB of it fit into a request.
    wasm_base64: Option<String>,
    /// Or the number of an upload (`POST /v1/plugins/uploads`), of any size that is allowed.
    upload: Option<String>,
    /// A publisher's ed25519 signature over `eaves-plugin-v1:<SHA-256 of the component in
    /// hex>`, in hex.
    signature: Option<String>,
    /// Why, for the audit trail.
    why: Option<String>,
}

struct Parts {
    name: String,
    version: String,
    component: Component,
    signature: Option<String>,
    why: Option<String>,
}

/// Where a component is.
enum Component {
    /// In the request.
    Here(Bytes),
    /// It was put for an invitation of this number.
    Received(String),
}

/// Takes a component, checks and compiles it. Afterwards the version is `checked`, and can be
/// backtested, put in shadow or activated.
#[utoipa::path(
    post, path = "/v1/plugins", tag = "plugins", security(("jwt" = ["plugins:write"])),
    request_body(content((UploadBody = "application/json"), (UploadBody = "multipart/form-data"))),
    responses(
        (status = 201, description = "The version, checked", body = VersionBody),
        (status = 400, description = "The body is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no upload of that number", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The version is in use with another component, or there are too many", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The component is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is neither JSON nor a form", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is no plugin, or not signed as it must be", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many uploads in this hour, or the tenant's rate limit is reached or its quota of the day used up", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_plugin(
    State(context): State<Arc<Context>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    caller.writes()?;
    let parts = parts(request).await?;
    let why = body::why(parts.why)?;
    let registry = &context.registry;
    let (wasm, received) = match parts.component {
        Component::Here(wasm) => (wasm, None),
        Component::Received(id) => (registry.received(caller.tenant, &id).await?, Some(id)),
    };
    // Bytes 4 to 7: version 1 of layer 0 is a core module.
    if wasm.starts_with(b"\0asm\x01\0\0\0") {
        let detail = "it is a core module, not a component: `eaves plugin build` makes one of it";
        return Err(Problem::not_a_plugin(detail));
    }
    let upload = Upload {
        name: &parts.name,
        version: &parts.version,
        signature: parts.signature.as_deref(),
        by: &caller.subject,
        why: &why,
    };
    let uploaded = match &received {
        None => registry.upload(caller.tenant, &upload, wasm.clone()).await?,
        Some(_) => registry.upload_received(caller.tenant, &upload, wasm.clone()).await?,
    };
    let compiled = compile(&context, wasm).await?;
    if let Some(id) = &received {
        registry.forget_received(caller.tenant, id).await?;
    }
    match compiled {
        Ok((artefact, schema)) => {
            let by = &caller.subject;
            let version = registry.checked(caller.tenant, &uploaded, &schema, artefact.into(), by).await?;
            Ok((StatusCode::CREATED, Json(VersionBody::from(version))).into_response())
        }
        Err(why) => {
            registry.refused(caller.tenant, &uploaded, &why, &caller.subject).await?;
            Err(Problem::not_a_plugin(why))
        }
    }
}

async fn parts(request: Request) -> Result<Parts, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|h| h.to_str().ok()).unwrap_or_default();
    if kind.starts_with("multipart/form-data") {
        return multipart(request).await;
    }
    if !kind.starts_with("application/json") {
        return Err(Problem::media_type("send application/json or multipart/form-data"));
    }
    let bytes = axum::body::to_bytes(request.into_body(), MOST).await;
    let bytes = bytes.map_err(|_| Problem::bad_body("body", "cannot be read, or is over 6 MiB"))?;
    let UploadBody { name, version, wasm_base64, upload, signature, why } = body::json(&bytes)?;
    let component = match (wasm_base64, upload) {
        (Some(text), None) => {
            let wasm = STANDARD.decode(text.trim());
            let wasm = wasm.map_err(|e| Problem::bad_body("wasm_base64", format!("is not base64: {e}")))?;
            Component::Here(wasm.into())
        }
        (None, Some(id)) => Component::Received(id),
        (None, None) => return Err(Problem::bad_body("wasm_base64", "is missing, and so is upload")),
        (Some(_), Some(_)) => {
            return Err(Problem::bad_body("upload", "is given together with wasm_base64: give one of them"));
        }
    };
    Ok(Parts { name, version, component, signature, why })
}

async fn multipart(request: Request) -> Result<Parts, Problem> {
    let bad = |e: &dyn std::fmt::Display| Problem::bad_body("body", format!("is no form: {e}"));
    let mut form = Multipart::from_request(request, &()).await.map_err(|e| bad(&e))?;
    let (mut name, mut version, mut wasm, mut signature, mut why) = (None, None, None, None, None);
    while let Some(field) = form.next_field().await.map_err(|e| bad(&e))? {
        let key = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(|e| bad(&e))?;
        let slot = match key.as_str() {
            "wasm" => {
                wasm = Some(bytes);
                continue;
            }
            "name" => &mut name,
            "version" => &mut version,
            "signature" => &mut signature,
            "why" => &mut why,
            _ => {
                let known = "known are wasm, name, version, signature and why";
                let shown: String = key.chars().take(64).collect();
                return Err(Problem::bad_body(&shown, format!("there is no such field; {known}")));
            }
        };
        let text = String::from_utf8(bytes.to_vec());
        *slot = Some(text.map_err(|_| Problem::bad_body(&key, "is not UTF-8"))?);
    }
    let missing = |field: &'static str| move || Problem::bad_body(field, "is missing");
    Ok(Parts {
        name: name.ok_or_else(missing("name"))?,
        version: version.ok_or_else(missing("version"))?,
        component: Component::Here(wasm.ok_or_else(missing("wasm"))?),
        signature,
        why,
    })
}

/// In a process of its own, limited, without environment. The artefact and the settings'
/// schema, or why it is no plugin.
pub(crate) async fn compile(
    context: &Context,
    wasm: Bytes,
) -> Result<Result<(Vec<u8>, String), String>, Problem> {
    let (host, compiler) = (context.host.clone(), context.compiler.clone());
    let work = tokio::task::spawn_blocking(move || {
        let limits = WorkerLimits::for_component(wasm.len());
        let artefact = host.check_and_compile_in_worker(&compiler, &COMPILER, &wasm, &limits)?;
        let schema = host.load(&artefact)?.describe().settings_schema.clone();
        Ok::<_, CompileError>((artefact, schema))
    });
    match work.await {
        Ok(Ok(done)) => Ok(Ok(done)),
        // Ours, not the plugin's.
        Ok(Err(e)) if e.is_retryable() => {
            tracing::error!(error = &e as &dyn std::error::Error, "plugin_admin.compiler_failed");
            Err(Problem::unavailable("the component could not be checked just now"))
        }
        Ok(Err(e)) => Ok(Err(e.to_string())),
        Err(e) => {
            tracing::error!(error = %e, "plugin_admin.compiler_failed");
            Err(Problem::internal())
        }
    }
}
