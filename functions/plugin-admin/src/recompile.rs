//! Components compiled anew for the engine of this build: on demand, each once.

use crate::context::Context;
use crate::problem::Problem;
use crate::upload::compile;
use bytes::Bytes;
use eaves_model::TenantId;
use eaves_plugin_host::{LoadError, Plugin};
use eaves_registry::Compiled;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use eaves_pipeline::Recompile;

/// How long one worker has a component for itself: longer than compiling takes.
const LEASE: Duration = Duration::from_secs(300);
/// How long somebody who needs it waits for another worker.
const PATIENCE: Duration = Duration::from_secs(25);
const PAUSE: Duration = Duration::from_millis(250);

/// What became of it.
enum Outcome {
    /// It is there.
    Done(Bytes),
    /// Another worker has it.
    Busy,
    /// It does not compile.
    Refused(String),
}

impl Context {
    /// Loads a tenant's version, to be called within the tenant's limit of memory; one that another
    /// engine was compiled for is compiled anew.
    pub(crate) async fn load_compiled(
        &self,
        tenant: TenantId,
        compiled: Compiled<'_>,
    ) -> Result<Arc<Plugin>, Problem> {
        let policy = self.registry.policy(tenant).await?;
        Ok(Arc::new(self.loaded(tenant, compiled).await?.within(policy.memory_bytes)))
    }

    async fn loaded(&self, tenant: TenantId, compiled: Compiled<'_>) -> Result<Plugin, Problem> {
        let artefact = self.registry.first_artefact(compiled).await?;
        match self.host.load_of(compiled.digest, &artefact) {
            Ok(loaded) => return Ok(loaded),
            Err(LoadError::OtherEngine { .. }) => {}
            // Ours, not the plugin's.
            Err(e) if e.is_retryable() => {
                tracing::error!(error = &e as &dyn std::error::Error, "plugin_admin.load_failed");
                return Err(Problem::unavailable("the plugin could not be loaded just now"));
            }
            Err(e) => return Err(Problem::conflict(e.to_string())),
        }
        let end = Instant::now() + PATIENCE;
        loop {
            match recompile(self, tenant, compiled).await? {
                Outcome::Done(artefact) => {
                    return self
                        .host
                        .load_of(compiled.digest, &artefact)
                        .map_err(|e| Problem::conflict(e.to_string()));
                }
                Outcome::Refused(why) => {
                    let text = format!("the version does not compile for this engine: {why}");
                    return Err(Problem::conflict(text));
                }
                Outcome::Busy if Instant::now() < end => tokio::time::sleep(PAUSE).await,
                Outcome::Busy => {
                    return Err(Problem::unavailable("the version is being compiled for a new engine"));
                }
            }
        }
    }
}

/// Answers an asynchronous invocation of an instance of ingest.
pub async fn serve(context: &Context, ask: &Recompile) -> Result<Value, eaves_registry::RegistryError> {
    let found = context.registry.version(ask.tenant, &ask.name, &ask.version).await?;
    // Only what the tenant has, whatever the event says.
    let Some(version) = found.filter(|v| v.digest == ask.digest && !v.artefact_key.is_empty()) else {
        return Ok(json!({"state": "unknown"}));
    };
    let state = match recompile(context, ask.tenant, (&version).into()).await {
        Ok(Outcome::Done(_)) => "done",
        Ok(Outcome::Busy) => "busy",
        Ok(Outcome::Refused(_)) => "refused",
        // It is in the log; whoever needs it asks again.
        Err(_) => "failed",
    };
    Ok(json!({ "state": state }))
}

async fn recompile(context: &Context, tenant: TenantId, compiled: Compiled<'_>) -> Result<Outcome, Problem> {
    let registry = &context.registry;
    let engine = context.host.engine_id();
    if let Some(artefact) = registry.artefact_for(compiled.digest, &engine).await? {
        return Ok(Outcome::Done(artefact));
    }
    if let Some(why) = registry.compile_refusal(tenant, compiled.digest, &engine).await? {
        return Ok(Outcome::Refused(why));
    }
    if !registry.claim_compilation(tenant, (compiled.digest, &engine), LEASE).await? {
        return Ok(Outcome::Busy);
    }
    let wasm = registry.wasm(compiled.digest).await?;
    match compile(context, wasm).await? {
        Ok((artefact, _)) => {
            let artefact = Bytes::from(artefact);
            registry.recompiled(tenant, compiled, &engine, artefact.clone()).await?;
            tracing::info!(
                plugin.name = compiled.name,
                plugin.digest = compiled.digest,
                engine,
                "compiled anew"
            );
            Ok(Outcome::Done(artefact))
        }
        Err(why) => {
            registry.not_recompiled(tenant, compiled, &engine, &why).await?;
            Ok(Outcome::Refused(why))
        }
    }
}
