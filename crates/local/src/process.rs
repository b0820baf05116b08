//! Child processes: they log to files, die with this process, and are stopped by pid.

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::future::Future;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc as blocking;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot, watch};

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// What people call it.
    pub(crate) name: String,
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// Its environment variables.
    pub(crate) env: Vec<(String, String)>,
    /// Whether it sees only [`Spec::env`], as a Lambda function does.
    pub(crate) clear_env: bool,
    /// Its working folder.
    pub(crate) dir: PathBuf,
    /// The file its output is appended to.
    pub(crate) log: PathBuf,
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    pid: u32,
    log: PathBuf,
    signals: mpsc::UnboundedSender<Signal>,
    exited: watch::Receiver<Option<String>>,
}

impl Child {
    /// Starts a process. Call inside a tokio runtime.
    pub(crate) async fn spawn(spec: &Spec) -> Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(&spec.log);
        let log = log.with_context(|| format!("open the log {}", spec.log.display()))?;
        let mut command = dying_with_parent(&spec.program);
        command
            .args(&spec.args)
            .current_dir(&spec.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C in the terminal is for us, who then stop it in order.
            .process_group(0)
            .kill_on_drop(true);
        if spec.clear_env {
            command.env_clear();
        }
        command.envs(spec.env.iter().map(|(k, v)| (k, v)));
        let child = spawn_on_lasting_thread(command).await;
        let child = child.with_context(|| format!("start {} ({})", spec.name, spec.program.display()))?;
        let pid = child.id().with_context(|| format!("{} ended at once", spec.name))?;
        let (signals, commands) = mpsc::unbounded_channel();
        let (exit, exited) = watch::channel(None);
        tokio::spawn(own(child, commands, exit));
        Ok(Self { name: spec.name.clone(), pid, log: spec.log.clone(), signals, exited })
    }

    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The file with its output.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Why it ended, if it has.
    pub(crate) fn ended(&self) -> Option<String> {
        self.exited.borrow().clone()
    }

    /// Waits for its end and says why: `exited with status 1`, `was killed by signal 9`.
    pub(crate) async fn wait(&self) -> String {
        let mut exited = self.exited.clone();
        match exited.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "was given up".into(),
        }
    }

    /// Kills it at once.
    pub(crate) fn kill(&self) {
        let _ = self.signals.send(Signal::KILL);
    }

    /// Asks it to end, and kills it if it has not after `grace`.
    pub(crate) async fn stop(&self, grace: Duration) {
        let _ = self.signals.send(Signal::TERM);
        if tokio::time::timeout(grace, self.wait()).await.is_err() {
            if !grace.is_zero() {
                tracing::warn!(child.name = self.name, "did not end in time, killed");
            }
            self.kill();
            self.wait().await;
        }
    }

    /// Polls `ready` until it is true. Fails when the child ends first or time is up;
    /// the error has the end of the log.
    pub(crate) async fn until_ready<F: Future<Output = bool>>(
        &self,
        within: Duration,
        ready: impl Fn() -> F,
    ) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            if ready().await {
                return Ok(());
            }
            if let Some(reason) = self.ended() {
                bail!("{} {reason}{}", self.name, log_end(&self.log));
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {} s{}", self.name, within.as_secs(), log_end(&self.log));
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }
}

/// Owns the process, so that a signal can never reach a pid that was reused.
async fn own(
    mut child: tokio::process::Child,
    mut commands: mpsc::UnboundedReceiver<Signal>,
    exit: watch::Sender<Option<String>>,
) {
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            signal = commands.recv() => {
                let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
                if let Some(pid) = pid {
                    let _ = kill_process(pid, signal.unwrap_or(Signal::KILL));
                }
                if signal.is_none() {
                    break child.wait().await;
                }
            }
        }
    };
    let reason = status.map_or_else(|e| format!("could not be waited for: {e}"), describe);
    exit.send_replace(Some(reason));
}

/// `exited with status 1`, `was killed by signal 9 (SIGKILL)`.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => {
            let name = match signal {
                4 => " (SIGILL)",
                6 => " (SIGABRT)",
                9 => " (SIGKILL)",
                11 => " (SIGSEGV)",
                15 => " (SIGTERM)",
                _ => "",
            };
            format!("was killed by signal {signal}{name}")
        }
        (None, None) => "ended".into(),
    }
}

/// A command whose process the kernel kills when ours ends, however it ends (Linux).
fn dying_with_parent(program: &Path) -> Command {
    match setpriv() {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

fn setpriv() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || if cfg!(target_os = "linux") { find_program("setpriv", &[]) } else { None };
    FOUND.get_or_init(find).as_deref()
}

/// Spawns from a thread that lasts as long as the process: the kernel's parent-death
/// signal fires when the *thread* that forked ends, and runtimes end theirs at will.
async fn spawn_on_lasting_thread(mut command: Command) -> Result<tokio::process::Child> {
    type Job = Box<dyn FnOnce() + Send>;
    static THREAD: OnceLock<Option<blocking::Sender<Job>>> = OnceLock::new();
    let start = || {
        let (jobs, queue) = blocking::channel::<Job>();
        let run = move || queue.into_iter().for_each(|job| job());
        std::thread::Builder::new().name("spawner".into()).spawn(run).ok().map(|_| jobs)
    };
    let jobs = THREAD.get_or_init(start).as_ref().context("no thread to start processes from")?;
    let runtime = tokio::runtime::Handle::current();
    let (reply, child) = oneshot::channel();
    let job = move || {
        let _inside = runtime.enter();
        drop(reply.send(command.spawn()));
    };
    jobs.send(Box::new(job)).ok().context("the thread that starts processes has ended")?;
    Ok(child.await??)
}

/// The program's path, from `PATH` or one of `also`.
pub(crate) fn find_program(name: &str, also: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"];
    let folders = std::env::split_paths(&path).chain(usual.iter().chain(also).map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The last lines of a log, introduced as the end of a sentence.
pub(crate) fn log_end(log: &Path) -> String {
    const BYTES: u64 = 1500;
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(8);
    let end = lines[from..].join("\n  ");
    if end.is_empty() {
        return format!("; its log {} is empty", log.display());
    }
    format!("; the end of its log {}:\n  {end}", log.display())
}

/// A TCP port on loopback that is free now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(dir: &Path, script: &str) -> Spec {
        Spec {
            name: "script".into(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: Vec::new(),
            clear_env: false,
            dir: dir.into(),
            log: dir.join("script.log"),
        }
    }

    #[tokio::test]
    async fn the_reason_of_an_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let child = Child::spawn(&sh(dir.path(), "echo no disk; exit 3")).await.unwrap();
        assert_eq!(child.wait().await, "exited with status 3");
        let never = child.until_ready(Duration::from_secs(5), || async { false }).await;
        let text = never.unwrap_err().to_string();
        assert!(text.contains("exited with status 3") && text.contains("no disk"), "{text}");
    }

    #[tokio::test]
    async fn one_that_ignores_the_request_to_end_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let child =
            Child::spawn(&sh(dir.path(), "trap '' TERM; echo up; while :; do sleep 1; done")).await.unwrap();
        let log = dir.path().join("script.log");
        let up = || async { std::fs::read_to_string(&log).is_ok_and(|t| t.contains("up")) };
        child.until_ready(Duration::from_secs(10), up).await.unwrap();
        child.stop(Duration::from_millis(100)).await;
        assert_eq!(child.ended().unwrap(), "was killed by signal 9 (SIGKILL)");
    }
}
