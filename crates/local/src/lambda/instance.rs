//! One instance of a function: its process, its Runtime API listener, its invocation.

use super::{FunctionError, Invocation, Shared, runtime_api};
use crate::backoff::Backoff;
use crate::process::{Child, Spec, log_end};
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// A process that lived this long was healthy: the next one is not delayed.
const HEALTHY: Duration = Duration::from_secs(10);

/// The place of one instance: processes come and go, the listener stays.
pub(super) struct Slot {
    shared: Arc<Shared>,
    listener: TcpListener,
    address: String,
    log: PathBuf,
    state: Mutex<State>,
    /// Wakes the keeper when there is a new deadline to watch.
    changed: Notify,
    /// `None` until the first process asked for work (`Ok`) or failed to.
    first: watch::Sender<Option<Result<(), String>>>,
    restarts: AtomicU64,
}

#[derive(Default)]
struct State {
    pid: Option<u32>,
    started: Option<Instant>,
    start_time: Option<Duration>,
    running: Option<Running>,
    grace: Duration,
}

/// The invocation the process works on.
struct Running {
    id: String,
    deadline: Instant,
    reply: oneshot::Sender<Result<Bytes, FunctionError>>,
}

/// What an instance is told with an event.
pub(super) struct Work {
    pub(super) id: String,
    pub(super) deadline_ms: u64,
    pub(super) arn: String,
    pub(super) xray: Option<String>,
    pub(super) payload: Bytes,
}

/// How a process came to its end.
enum End {
    Stopped,
    TimedOut,
    Died(String),
}

impl Slot {
    pub(super) async fn new(index: usize, shared: Arc<Shared>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let log = shared.config.log_dir.join(format!("{}-{index}.log", shared.config.name));
        let (first, _) = watch::channel(None);
        Ok(Self {
            shared,
            listener,
            address,
            log,
            state: Mutex::default(),
            changed: Notify::new(),
            first,
            restarts: AtomicU64::new(0),
        })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.state().pid
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    pub(super) fn start_time(&self) -> Option<Duration> {
        self.state().start_time
    }

    pub(super) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(super) fn set_grace(&self, grace: Duration) {
        self.state().grace = grace;
    }

    /// Resolves when the first process asked for work or failed to.
    pub(super) async fn first_start(&self) -> Result<(), String> {
        let mut first = self.first.subscribe();
        match first.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
            Err(_) => Err("the host is stopping".into()),
        }
    }

    /// Starts processes, one after the other, until the host stops.
    pub(super) async fn keep_alive(self: Arc<Self>) {
        let stop = self.shared.stop.clone();
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));
        loop {
            let started = Instant::now();
            let end = self.live(&stop).await;
            let name = &self.shared.config.name;
            match end {
                End::Stopped => return,
                End::TimedOut => {
                    tracing::warn!(function.name = name, "timed out, killed and started again");
                }
                End::Died(reason) => {
                    let log = self.log.display().to_string();
                    // One that never started is the error of whoever starts the host.
                    if matches!(*self.first.borrow(), Some(Ok(()))) {
                        tracing::warn!(function.name = name, reason, log, "instance ended, started again");
                    }
                    if started.elapsed() > HEALTHY {
                        backoff.reset();
                    }
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next()) => {}
                        () = stop.cancelled() => return,
                    }
                }
            }
            self.restarts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One process from start to end.
    async fn live(self: &Arc<Self>, stop: &CancellationToken) -> End {
        self.state().started = Some(Instant::now());
        self.state().start_time = None;
        let child = match Child::spawn(&self.spec()).await {
            Ok(child) => child,
            Err(e) => {
                let text = format!("{e:#}");
                self.first_outcome(Err(text.clone()));
                return End::Died(text);
            }
        };
        self.state().pid = Some(child.pid());
        let serve = runtime_api::serve(&self.listener, self.clone());
        let end = tokio::select! {
            end = self.watch(&child, stop) => end,
            () = serve => End::Died("lost its listener".into()),
        };
        self.state().pid = None;
        match &end {
            End::Stopped => {
                self.finish(Err(FunctionError::Stopping));
                self.first_outcome(Err("the host is stopping".into()));
            }
            End::TimedOut => {
                child.kill();
                child.wait().await;
                self.first_outcome(Err(format!("it did not ask for work in time{}", log_end(&self.log))));
                self.finish(Err(FunctionError::TimedOut(self.shared.config.timeout)));
            }
            End::Died(reason) => {
                let text = format!("{reason}{}", log_end(&self.log));
                self.first_outcome(Err(text.clone()));
                self.finish(Err(FunctionError::Crashed(text)));
            }
        }
        end
    }

    /// Watches the process for its end, its time limit, and the host's end.
    async fn watch(&self, child: &Child, stop: &CancellationToken) -> End {
        loop {
            let deadline = self.deadline();
            let limit = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                reason = child.wait() => return End::Died(reason),
                () = stop.cancelled() => {
                    // The listener is still served, so that the process can end in peace.
                    let grace = self.state().grace;
                    child.stop(grace).await;
                    return End::Stopped;
                }
                () = self.changed.notified() => {}
                () = limit => {
                    if self.deadline().is_some_and(|d| d <= Instant::now()) {
                        return End::TimedOut;
                    }
                }
            }
        }
    }

    /// When the process must have asked for work, or have answered.
    fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        match (&state.running, state.start_time, state.started) {
            (Some(running), ..) => Some(running.deadline),
            (None, None, Some(started)) => Some(started + self.shared.config.init_timeout),
            _ => None,
        }
    }

    /// The next event for the process. Safe to drop while waiting.
    pub(super) async fn next_work(&self) -> Work {
        self.asked_for_work();
        self.finish(Err(FunctionError::Reported {
            error_type: "Runtime.NoAnswer".into(),
            message: "the function asked for the next event without answering".into(),
        }));
        loop {
            let invocation = self.shared.waiting.lock().await.recv().await;
            let Some(invocation) = invocation else { return std::future::pending().await };
            // Whoever gave up waiting has been told that the function was not called.
            let Invocation { id, payload, taken, reply } = invocation;
            if reply.is_closed() || taken.send(()).is_err() {
                continue;
            }
            let timeout = self.shared.config.timeout;
            let deadline = Instant::now() + timeout;
            self.state().running = Some(Running { id: id.clone(), deadline, reply });
            self.changed.notify_one();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let deadline_ms = (now + timeout).as_millis() as u64;
            let (arn, xray) = (self.shared.config.arn(), self.shared.config.xray.clone());
            return Work { id, deadline_ms, arn, xray, payload };
        }
    }

    fn asked_for_work(&self) {
        let mut state = self.state();
        if state.start_time.is_none() {
            state.start_time = state.started.map(|s| s.elapsed());
            drop(state);
            self.first_outcome(Ok(()));
            self.changed.notify_one();
        }
    }

    /// The process's answer to invocation `id`; false if it does not work on that.
    pub(super) fn answer(&self, id: &str, answer: Result<Bytes, FunctionError>) -> bool {
        let mut state = self.state();
        match state.running.take() {
            Some(running) if running.id == id => {
                drop(state);
                drop(running.reply.send(answer));
                true
            }
            other => {
                state.running = other;
                false
            }
        }
    }

    /// The process could not start its work.
    pub(super) fn init_failed(&self, text: String) {
        self.first_outcome(Err(text));
    }

    fn finish(&self, answer: Result<Bytes, FunctionError>) {
        let running = self.state().running.take();
        if let Some(running) = running {
            drop(running.reply.send(answer));
        }
    }

    fn first_outcome(&self, outcome: Result<(), String>) {
        self.first.send_if_modified(|first| {
            let new = first.is_none();
            if new {
                *first = Some(outcome);
            }
            new
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spec(&self) -> Spec {
        let config = &self.shared.config;
        let own = [
            ("AWS_LAMBDA_RUNTIME_API", self.address.clone()),
            ("AWS_LAMBDA_FUNCTION_NAME", config.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", config.memory_mb.to_string()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".into()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", config.name)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "local".into()),
            ("AWS_REGION", config.region.clone()),
            ("AWS_DEFAULT_REGION", config.region.clone()),
            ("_HANDLER", "bootstrap".into()),
            ("LANG", "en_US.UTF-8".into()),
            ("TZ", ":UTC".into()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
        ];
        let mut env: Vec<(String, String)> = own.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        env.extend(config.env.iter().map(|(k, v)| (k.clone(), v.clone())));
        Spec {
            name: config.name.clone(),
            program: config.binary.clone(),
            args: Vec::new(),
            env,
            clear_env: true,
            dir: config.log_dir.clone(),
            log: self.log.clone(),
        }
    }
}
