//! Replay of shards that nobody delivers to: beside the flush, since the ingest function
//! only wakes for records.

use eaves_pipeline::{Compiler, Ingest, Rules};
use eaves_plugin_host::{Host, HostConfig, RunnerCommand};
use eaves_registry::Registry;
use eaves_settings::functions::Ingest as Settings;
use eaves_store::ingest::IngestStore;
use eaves_stream::Kinesis;
use eaves_telemetry::metrics::{self, Unit};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often it is looked whether something is to be read again.
const LOOK: Duration = Duration::from_millis(500);
/// A shard that was moved within this time is being read by somebody.
const IDLE: Duration = Duration::from_secs(1);
/// Pause after a failure, so that a database that comes back is not run over.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// The write path, for what is read again.
pub(crate) struct Recovery {
    ingest: Ingest<Kinesis>,
}

impl Recovery {
    pub(crate) async fn new(settings: &Settings) -> Result<Self, lambda_runtime::Error> {
        let config = HostConfig::new(settings.registry.signing_key.expose())?;
        let host = Host::isolated(config, RunnerCommand::this_program()?)?;
        let aws = aws_config::load_from_env().await;
        let registry = Registry::connect(&aws, &settings.registry).await?;
        let compiler = Compiler::new(aws_sdk_lambda::Client::new(&aws), &settings.registry.compiler);
        let rules = Rules::new(host, registry, settings.registry.refresh).compiled_by(compiler);
        let cache = settings.cache.as_ref().map(eaves_cache::Cache::connect).transpose()?;
        let store = IngestStore::new(&settings.database);
        Ok(Self { ingest: Ingest::new(store, rules, cache, Kinesis::new(&aws)) })
    }

    /// Reads again what is due, until `end` or a stop. Returns how many records that was.
    pub(crate) async fn run_until(&mut self, end: Instant, mut stopped: watch::Receiver<bool>) -> u64 {
        let mut replayed = 0;
        while Instant::now() < end && !*stopped.borrow() {
            let left = end.saturating_duration_since(Instant::now());
            let (report, failed) = Box::pin(self.ingest.recover(IDLE, left)).await;
            if report.replayed > 0 {
                replayed += report.replayed;
                metrics::emit("flush", &[(metrics::RECORDS_REPLAYED, Unit::Count, report.replayed as f64)]);
            }
            let pause = match failed {
                None => LOOK,
                Some(e) => {
                    tracing::warn!(
                        error = format!("{:#}", anyhow::Error::from(e)),
                        "a replay failed; trying again"
                    );
                    AFTER_FAILURE
                }
            };
            // Ends early on a stop. A sender that is gone cannot stop us; the deadline does.
            let _ = tokio::time::timeout(pause, stopped.wait_for(|stop| *stop)).await;
        }
        replayed
    }
}
