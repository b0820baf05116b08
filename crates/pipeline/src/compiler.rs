//! Asking for plugins to be compiled anew, where they are for another engine than this build's.

use eaves_model::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long batches are handed back while a version is compiled anew: the stream keeps them.
/// Afterwards its failure policy holds, so that one plugin does not hold up a shard for good.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the same is asked for.
const AGAIN: Duration = Duration::from_secs(5);

/// A version that is to be compiled anew: the event of an asynchronous invocation of the
/// plugin-admin function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recompile {
    /// Whose.
    pub tenant: TenantId,
    /// The plugin.
    pub name: String,
    /// The version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
}

impl Recompile {
    /// The ask in an event, if it is one.
    pub fn from_event(event: &Value) -> Option<Self> {
        serde_json::from_value(event.get("eaves_recompile")?.clone()).ok()
    }

    /// The event.
    pub fn event(&self) -> Value {
        json!({ "eaves_recompile": self })
    }
}

/// The function that compiles.
pub struct Compiler {
    client: aws_sdk_lambda::Client,
    function: String,
    /// What was asked for: first, and last.
    asked: HashMap<String, (Instant, Instant)>,
}

impl Compiler {
    /// The plugin-admin function of this name.
    pub fn new(client: aws_sdk_lambda::Client, function: impl Into<String>) -> Self {
        Self { client, function: function.into(), asked: HashMap::new() }
    }

    /// Asks, if nobody has just now. Whether it is worth waiting.
    pub(crate) async fn ask(&mut self, what: &Recompile) -> bool {
        let now = Instant::now();
        let known = self.asked.get(&what.digest).copied();
        let (first, last) = known.unwrap_or((now, now));
        if known.is_none() || now.duration_since(last) >= AGAIN {
            self.asked.insert(what.digest.clone(), (first, now));
            let payload = aws_sdk_lambda::primitives::Blob::new(what.event().to_string());
            let call = self.client.invoke().function_name(&self.function).payload(payload);
            let call = call.invocation_type(aws_sdk_lambda::types::InvocationType::Event);
            match call.send().await {
                Ok(_) => tracing::info!(
                    plugin.name = what.name,
                    plugin.digest = what.digest,
                    "to be compiled anew"
                ),
                Err(e) => {
                    let error = e.into_service_error();
                    tracing::error!(error = &error as &dyn std::error::Error, "ingest.compiler_not_asked");
                }
            }
        }
        now.duration_since(first) < PATIENCE
    }

    /// It came.
    pub(crate) fn came(&mut self, digest: &str) {
        self.asked.remove(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn an_event_comes_back_and_nothing_else_is_one(name: String, digest: String, other: String) {
            let ask = Recompile { tenant: TenantId(7), name, version: "1".into(), digest };
            proptest::prop_assert_eq!(Recompile::from_event(&ask.event()), Some(ask));
            let http = json!({"version": "2.0", "body": other, "rawPath": "/v1/plugins"});
            proptest::prop_assert_eq!(Recompile::from_event(&http), None);
        }
    }
}
