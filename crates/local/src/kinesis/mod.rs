//! Kinesis Data Streams in this process: the stream of the local platform.
//!
//! It speaks the service's AWS JSON 1.1 protocol on loopback to unchanged SDKs and follows
//! the rules that consumers depend on: sequence numbers that grow, closed parents that stay
//! until their retention ends, iterators that expire. Records are kept in memory, those
//! past retention or over a cap are forgotten oldest first, and any position is found in
//! O(log n). Signatures are not checked, and there is neither enhanced fan-out nor
//! encryption. Tests and drills make things go wrong through the handle, [`Kinesis`].
//!
//! Start reading at `operations/` for what the API does, `stream.rs` and `shard.rs` for
//! what it works on.

mod error;
mod faults;
mod hash;
mod iterator;
mod operations;
mod protocol;
mod sequence;
mod server;
mod service;
mod shard;
mod snapshot;
mod stream;
mod throttle;

pub use error::ErrorKind;
pub use operations::Operation;

use crate::endpoints::{REGION, TEST_CREDENTIAL};
use anyhow::{Context as _, Result};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use service::Service;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How the local Kinesis is started. [`KinesisConfig::default`] is good as it is.
#[derive(Debug, Clone)]
pub struct KinesisConfig {
    /// Most bytes each stream keeps in memory: data, partition keys and 128 bytes a record.
    /// Over it the oldest records are forgotten, as if retention had passed, and a warning
    /// is logged. 512 MiB by default.
    pub stream_bytes: u64,
    /// Most open shards of all streams together; 500 by default, as for a new account.
    pub shard_limit: u32,
    /// The region in ARNs.
    pub region: String,
    /// Where streams and shards are noted when they change and records are kept at
    /// [`Kinesis::stop`]; nothing outlives the process without it. After a crash streams
    /// and shards are there again, empty.
    pub state_dir: Option<PathBuf>,
}

impl Default for KinesisConfig {
    fn default() -> Self {
        Self { stream_bytes: 512 * 1024 * 1024, shard_limit: 500, region: REGION.into(), state_dir: None }
    }
}

/// There is no stream of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no stream {0}")]
pub struct NoSuchStream(pub String);

/// What a stream holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSize {
    /// Records in all its shards.
    pub records: usize,
    /// Bytes they count against [`KinesisConfig::stream_bytes`].
    pub bytes: u64,
}

/// A running Kinesis. End it with [`Kinesis::stop`]; dropping it cuts requests short.
#[derive(Debug)]
pub struct Kinesis {
    service: Arc<Service>,
    address: SocketAddr,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Kinesis {
    /// Starts it on a free port of 127.0.0.1, with what is kept in
    /// [`KinesisConfig::state_dir`].
    ///
    /// # Errors
    /// If no port can be had, or what was kept cannot be read.
    pub async fn start(config: KinesisConfig) -> Result<Self> {
        let streams = match &config.state_dir {
            Some(folder) => {
                std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
                snapshot::load(folder, config.stream_bytes)
                    .with_context(|| format!("read the streams kept in {}", folder.display()))?
            }
            None => Vec::new(),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listen for Kinesis")?;
        let address = listener.local_addr().context("listen for Kinesis")?;
        let service = Arc::new(Service::new(config, streams));
        let stop = CancellationToken::new();
        let task = tokio::spawn(server::accept(listener, service.clone(), stop.clone()));
        Ok(Self { service, address, stop, task: Mutex::new(Some(task)) })
    }

    /// Where it listens: `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Makes a stream; false if there is one of that name.
    ///
    /// # Errors
    /// If the name is none or [`KinesisConfig::shard_limit`] would be passed.
    pub fn create_stream(&self, name: &str, shards: u32) -> Result<bool> {
        let name = protocol::stream_name(Some(name.to_owned()), None)?;
        Ok(self.service.create(&name, shards.max(1))?)
    }

    /// Throttles every shard as a real one, or none (as at the start): 1 MiB and 1,000
    /// records a second are written, 5 calls of GetRecords and 2 MiB a second are read; what is more
    /// fails with `ProvisionedThroughputExceededException`.
    pub fn set_throttling(&self, on: bool) {
        self.service.faults.throttle(on);
    }

    /// Lets the next `times` calls of an operation fail with an error, before they have any
    /// effect. Zero takes back what was asked for. SDKs repeat what may be repeated: each
    /// attempt is a call.
    pub fn fail_next(&self, operation: Operation, times: u32, error: ErrorKind) {
        self.service.faults.fail_next(operation, times, error);
    }

    /// Lets every `every`-th record of PutRecords, counted from now on over all calls, fail with
    /// `ProvisionedThroughputExceededException`; `None` ends it. PutRecord is not affected.
    pub fn fail_every_put_record(&self, every: Option<NonZeroU32>) {
        self.service.faults.fail_every(every);
    }

    /// Sets a stream's retention in milliseconds, far below what the API allows: records
    /// older than it, and shards closed for longer, are gone at once. Not written down.
    ///
    /// # Errors
    /// [`NoSuchStream`].
    pub fn set_retention_ms(&self, stream: &str, ms: u64) -> Result<(), NoSuchStream> {
        let set = |stream: &mut stream::Stream, now| {
            stream.retention_ms = ms;
            stream.trim(now);
            Ok(())
        };
        self.service.with(stream, set).map_err(|_| NoSuchStream(stream.to_owned()))
    }

    /// Sets how long shard iterators and page tokens live; five minutes at the start.
    pub fn set_iterator_lifetime(&self, lifetime: Duration) {
        self.service.set_lifetime_ms(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
    }

    /// What a stream holds.
    ///
    /// # Errors
    /// [`NoSuchStream`].
    pub fn size(&self, stream: &str) -> Result<StreamSize, NoSuchStream> {
        let size = self.service.with(stream, |stream, _| Ok(stream.size()));
        let (bytes, records) = size.map_err(|_| NoSuchStream(stream.to_owned()))?;
        Ok(StreamSize { records, bytes })
    }

    /// Takes no more requests, lets those under way end, at most for `grace`, and keeps the
    /// records in [`KinesisConfig::state_dir`]. Only the first call does anything.
    pub async fn stop(&self, grace: Duration) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return };
        self.stop.cancel();
        if tokio::time::timeout(grace, &mut task).await.is_err() {
            task.abort();
        }
        self.keep();
    }

    fn keep(&self) {
        if let Err(e) = self.service.save() {
            tracing::error!(error = %e, "the records of Kinesis could not be kept");
        }
    }
}

impl Drop for Kinesis {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
            self.keep();
        }
    }
}

/// A client for the Kinesis at `url`.
pub fn client(url: &str) -> Client {
    let credentials = Credentials::new(TEST_CREDENTIAL, TEST_CREDENTIAL, None, None, "local");
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(url)
        .credentials_provider(credentials)
        .build();
    Client::from_conf(config)
}
