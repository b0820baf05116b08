//! A Lambda host: runs function binaries under a Runtime API of our own.
//!
//! [`FunctionHost`] keeps a fixed number of instances of one function alive and hands
//! each at most one invocation at a time, as Lambda does. An instance that crashes is
//! started again; one that overruns its time is killed and started again.

mod instance;
pub(crate) mod invoke_api;
mod runtime_api;

use bytes::Bytes;
use instance::Slot;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Largest event and answer Lambda carries, bytes.
pub const MAX_PAYLOAD: usize = 6 * 1024 * 1024;

/// The account in ARNs.
pub const ACCOUNT: &str = "000000000000";

/// One function.
#[derive(Debug, Clone)]
pub struct FunctionConfig {
    /// Its name.
    pub name: String,
    /// Its binary, a Lambda `bootstrap`.
    pub binary: PathBuf,
    /// All the environment it sees besides Lambda's own variables.
    pub env: BTreeMap<String, String>,
    /// How many invocations run at once.
    pub instances: usize,
    /// Longest an invocation may run.
    pub timeout: Duration,
    /// Longest a start may take until the first call for an invocation.
    pub init_timeout: Duration,
    /// Longest an invocation waits for a free instance.
    pub queue_timeout: Duration,
    /// Memory size it is told. Not enforced.
    pub memory_mb: u32,
    /// Region it is told.
    pub region: String,
    /// Lambda's trace header for each invocation, as X-Ray would set it where it traces; by default
    /// one that names no span.
    pub xray: Option<String>,
    /// Where its logs go: `<log_dir>/<name>-<instance>.log`.
    pub log_dir: PathBuf,
}

impl FunctionConfig {
    /// One instance with Lambda's usual limits, logging to `log_dir`.
    pub fn new(name: impl Into<String>, binary: impl Into<PathBuf>, log_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            binary: binary.into(),
            env: BTreeMap::new(),
            instances: 1,
            timeout: Duration::from_secs(30),
            init_timeout: Duration::from_secs(30),
            queue_timeout: Duration::from_secs(10),
            memory_mb: 512,
            region: "us-east-1".into(),
            xray: None,
            log_dir: log_dir.into(),
        }
    }

    /// The function's ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{ACCOUNT}:function:{}", self.region, self.name)
    }
}

/// Why an invocation has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// It ran out of its time and its instance was killed.
    #[error("timed out after {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// Its process ended while it ran.
    #[error("crashed: the process {0}")]
    Crashed(String),
    /// The function itself reported an error.
    #[error("{error_type}: {message}")]
    Reported {
        /// The type of the error.
        error_type: String,
        /// What it said.
        message: String,
    },
    /// No instance was free in time. The function has not seen the invocation.
    #[error("throttled: no instance was free within {} ms", .0.as_millis())]
    Throttled(Duration),
    /// The event is larger than Lambda carries. The function has not seen it.
    #[error("the event has {0} bytes, over the limit of {MAX_PAYLOAD}")]
    TooLarge(usize),
    /// The host is stopping. The function may not have seen the invocation.
    #[error("the host is stopping")]
    Stopping,
    /// The first instance did not start.
    #[error("did not start: {0}")]
    NotStarted(String),
    /// The answer is no JSON.
    #[error("answered with something that is not JSON: {0}")]
    BadAnswer(String),
}

impl FunctionError {
    /// Whether the function has certainly not been called.
    pub fn before_invocation(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::TooLarge(_) | Self::NotStarted(_))
    }
}

/// One invocation on its way to an instance.
struct Invocation {
    id: String,
    payload: Bytes,
    taken: oneshot::Sender<()>,
    reply: oneshot::Sender<Result<Bytes, FunctionError>>,
}

/// What the instances of a function share.
struct Shared {
    config: FunctionConfig,
    waiting: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    stop: CancellationToken,
}

/// A function and its running instances. Dropping it kills them.
#[derive(Clone)]
pub struct FunctionHost {
    shared: Arc<Shared>,
    queue: mpsc::UnboundedSender<Invocation>,
    slots: Arc<Vec<Arc<Slot>>>,
    tasks: Arc<Mutex<tokio::task::JoinSet<()>>>,
}

impl std::fmt::Debug for FunctionHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionHost").field("name", &self.shared.config.name).finish_non_exhaustive()
    }
}

impl FunctionHost {
    /// Starts the instances and waits until the first asks for work.
    pub async fn spawn(config: FunctionConfig) -> Result<Self, FunctionError> {
        if !config.binary.is_file() {
            let text =
                format!("there is no {}: build it with `cargo build --workspace`", config.binary.display());
            return Err(FunctionError::NotStarted(text));
        }
        let not_started = |e: std::io::Error| FunctionError::NotStarted(e.to_string());
        std::fs::create_dir_all(&config.log_dir).map_err(not_started)?;
        let (queue, waiting) = mpsc::unbounded_channel();
        let count = config.instances.max(1);
        let shared = Shared { config, waiting: Mutex::new(waiting), stop: CancellationToken::new() };
        let shared = Arc::new(shared);
        let mut slots = Vec::with_capacity(count);
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..count {
            let slot = Arc::new(Slot::new(index, shared.clone()).await.map_err(not_started)?);
            tasks.spawn(slot.clone().keep_alive());
            slots.push(slot);
        }
        let host = Self { shared, queue, slots: Arc::new(slots), tasks: Arc::new(Mutex::new(tasks)) };
        let first =
            futures_util::future::select_all(host.slots.iter().map(|slot| Box::pin(slot.first_start())));
        let (outcome, ..) = first.await;
        if let Err(text) = outcome {
            host.stop(Duration::ZERO).await;
            return Err(FunctionError::NotStarted(text));
        }
        Ok(host)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// What it was started with.
    pub fn config(&self) -> &FunctionConfig {
        &self.shared.config
    }

    /// Hands it an event and waits for the answer.
    pub async fn invoke_bytes(&self, payload: Bytes) -> Result<Bytes, FunctionError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(FunctionError::TooLarge(payload.len()));
        }
        if self.shared.stop.is_cancelled() {
            return Err(FunctionError::Stopping);
        }
        let (taken, was_taken) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        let id = uuid::Uuid::new_v4().to_string();
        let sent = self.queue.send(Invocation { id, payload, taken, reply });
        sent.map_err(|_| FunctionError::Stopping)?;
        let patience = self.shared.config.queue_timeout;
        match tokio::time::timeout(patience, was_taken).await {
            Ok(Ok(())) => answer.await.unwrap_or(Err(FunctionError::Stopping)),
            Ok(Err(_)) => Err(FunctionError::Stopping),
            Err(_) => Err(FunctionError::Throttled(patience)),
        }
    }

    /// Like [`FunctionHost::invoke_bytes`], in JSON.
    pub async fn invoke(&self, event: &serde_json::Value) -> Result<serde_json::Value, FunctionError> {
        let answer = self.invoke_bytes(Bytes::from(event.to_string())).await?;
        serde_json::from_slice(&answer).map_err(|e| FunctionError::BadAnswer(e.to_string()))
    }

    /// Process id of the first instance, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.pids().first().copied()
    }

    /// Process ids of all running instances.
    pub fn pids(&self) -> Vec<u32> {
        self.slots.iter().filter_map(|slot| slot.pid()).collect()
    }

    /// Each instance's process id, while it runs, and its log.
    pub fn instances(&self) -> Vec<(Option<u32>, PathBuf)> {
        self.slots.iter().map(|slot| (slot.pid(), slot.log().to_path_buf())).collect()
    }

    /// How long the first instance's last start took until it asked for work.
    pub fn start_time(&self) -> Option<Duration> {
        self.slots.first().and_then(|slot| slot.start_time())
    }

    /// Times an instance was started again after its process ended.
    pub fn restarts(&self) -> u64 {
        self.slots.iter().map(|slot| slot.restarts()).sum()
    }

    /// Asks all instances to end and kills those that have not after `grace`.
    /// Invocations that still wait or run fail.
    pub async fn stop(&self, grace: Duration) {
        for slot in self.slots.iter() {
            slot.set_grace(grace);
        }
        self.shared.stop.cancel();
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
        let mut waiting = self.shared.waiting.lock().await;
        waiting.close();
        while let Ok(invocation) = waiting.try_recv() {
            drop(invocation.reply.send(Err(FunctionError::Stopping)));
        }
    }
}
