//! What keeps data: started before the functions, stopped after them.

use crate::database::Databases;
use crate::emulator::Emulator;
use crate::endpoints::STREAM;
use crate::kinesis::{Kinesis, KinesisConfig};
use crate::options::Options;
use crate::platform::GRACE;
use crate::redis::Redis;
use crate::secrets::Secrets;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Starts the servers, all at once.
pub(crate) async fn start_servers(
    options: &Options,
    data: &Path,
    logs: &Path,
    secrets: &Secrets,
) -> Result<(Databases, Redis, Emulator)> {
    let (databases, redis, emulator) = tokio::join!(
        async {
            let databases = Databases::start(data, logs, secrets, options).await?;
            let ports = (databases.primary.port(), databases.replica.port());
            options.say(&format!("PostgreSQL primary on port {}, replica on port {}", ports.0, ports.1));
            anyhow::Ok(databases)
        },
        async {
            let redis = Redis::start(data, logs).await?;
            options.say(&format!("Redis on port {}", redis.port));
            anyhow::Ok(redis)
        },
        async {
            let emulator = Emulator::start(data, logs).await?;
            options.say(&format!("DynamoDB, S3 and SQS on {}", emulator.url));
            anyhow::Ok(emulator)
        },
    );
    match (databases, redis, emulator) {
        (Ok(databases), Ok(redis), Ok(emulator)) => Ok((databases, redis, emulator)),
        (databases, redis, emulator) => {
            let error = databases.as_ref().err().map(|e| format!("{e:#}"));
            let error = error.or_else(|| redis.as_ref().err().map(|e| format!("{e:#}")));
            let error = error.or_else(|| emulator.as_ref().err().map(|e| format!("{e:#}")));
            if let Ok(databases) = databases {
                databases.stop().await;
            }
            for child in [redis.map(|r| r.child), emulator.map(|e| e.child)].into_iter().flatten() {
                child.stop(GRACE).await;
            }
            Err(anyhow::Error::msg(error.unwrap_or_default()))
        }
    }
}

/// Starts Kinesis with what it kept, and makes the stream if there is none.
pub(crate) async fn start_kinesis(options: &Options, data: &Path) -> Result<Kinesis> {
    let config = KinesisConfig {
        stream_bytes: options.stream_bytes,
        state_dir: (!options.ephemeral).then(|| data.join("kinesis")),
        ..KinesisConfig::default()
    };
    let kinesis = Kinesis::start(config).await?;
    let made = kinesis.create_stream(STREAM, options.shards);
    if made.with_context(|| format!("make the stream {STREAM}"))? {
        // Positions in an older stream of that name mean nothing.
        let file = checkpoint_file(data);
        if file.exists() {
            std::fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
        }
    }
    options.say(&format!("Kinesis on {}", kinesis.url()));
    Ok(kinesis)
}

pub(crate) fn checkpoint_file(data: &Path) -> PathBuf {
    data.join("kinesis-checkpoints.json")
}

pub(crate) async fn stop_servers(databases: Option<Databases>, redis: &Redis, emulator: &Emulator) {
    tokio::join!(
        async {
            if let Some(databases) = databases {
                databases.stop().await;
            }
        },
        redis.child.stop(GRACE),
        // It writes its state when it ends.
        emulator.child.stop(Duration::from_secs(20)),
    );
}
