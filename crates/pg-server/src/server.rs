//! One server: its data folder, its process, its life.

use crate::user::RunAs;
use crate::{PgError, binaries, process};
use rustix::process::Signal;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to accept connections. Crash recovery counts in.
const READY: Duration = Duration::from_secs(60);
/// How long a shutdown may take.
const STOP: Duration = Duration::from_secs(30);
/// The file in the data folder that keeps the superuser's password.
const PASSWORD_FILE: &str = "eaves_superuser_password";
/// The superuser's name.
const SUPERUSER: &str = "postgres";

/// What every server runs with. Sized for a small machine that does other work too.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    // Paths of sockets are limited to about 100 bytes, data folders are not.
    ("unix_socket_directories", ""),
    ("max_connections", "100"),
    ("shared_buffers", "256MB"),
    ("work_mem", "16MB"),
    ("max_wal_size", "4GB"),
    ("wal_level", "logical"),
    ("max_wal_senders", "10"),
    ("max_replication_slots", "10"),
    ("wal_keep_size", "1GB"),
    // Commits are asynchronous, and the replica gets what has been written out.
    ("wal_writer_delay", "20ms"),
    ("hot_standby_feedback", "on"),
    ("max_standby_streaming_delay", "30s"),
    ("shared_preload_libraries", "pg_stat_statements"),
    // Shared memory in the data folder: nothing is left in the system after a kill.
    ("dynamic_shared_memory_type", "mmap"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
];

/// How to start a server.
#[derive(Debug, Clone)]
pub struct PgOptions {
    /// Name in messages and logs.
    pub name: String,
    /// Data folder. Made and initialised if there is none; the folders above it must let
    /// the database's user through.
    pub data_dir: PathBuf,
    /// Log file; beside the data folder by default.
    pub log_file: Option<PathBuf>,
    /// TCP port; 0 takes a free one.
    pub port: u16,
    /// More settings; they win over the built-in ones.
    pub settings: Vec<(String, String)>,
}

impl PgOptions {
    /// A server called `name` with its data in `data_dir`, on a free port.
    pub fn new(name: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), data_dir: data_dir.into(), log_file: None, port: 0, settings: Vec::new() }
    }

    /// Adds a setting.
    pub fn setting(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }
}

/// A running server. Dropping it ends it at once (its data stays and is recovered by
/// the next start); [`PgServer::stop`] ends it in order.
#[derive(Debug)]
pub struct PgServer {
    options: PgOptions,
    bin: PathBuf,
    run_as: RunAs,
    log: PathBuf,
    port: u16,
    password: String,
    child: Option<Child>,
}

impl PgServer {
    /// Starts a primary; makes its data folder first if there is none.
    pub async fn start(options: PgOptions) -> Result<Self, PgError> {
        let mut server = Self::prepare(options)?;
        if !server.options.data_dir.join("PG_VERSION").exists() {
            server.init().await?;
        }
        server.password = read_text(&server.options.data_dir.join(PASSWORD_FILE))?;
        server.launch().await?;
        Ok(server)
    }

    /// Starts a streaming replica of this server from a fresh base backup. What is in
    /// the data folder of `options` is replaced.
    pub async fn replica(&self, options: PgOptions) -> Result<Self, PgError> {
        if options.data_dir.exists() {
            fs::remove_dir_all(&options.data_dir).map_err(prepare(&options.data_dir))?;
        }
        let mut server = Self::prepare(options)?;
        server.password = self.password.clone();
        let mut command = server.run_as.command(&server.bin.join("pg_basebackup"));
        command
            .args(["--host", self.host(), "--port", &self.port.to_string(), "--username", SUPERUSER])
            .args(["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--pgdata"])
            .arg(&server.options.data_dir)
            .env("PGPASSWORD", &self.password);
        run_tool("pg_basebackup", command).await?;
        let follow = format!(
            "primary_conninfo = 'host={} port={} user={SUPERUSER} password={} application_name={}'\n",
            self.host(),
            self.port,
            self.password,
            server.options.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"),
        );
        let conf = server.options.data_dir.join("postgresql.auto.conf");
        let append = |path: &Path| OpenOptions::new().append(true).open(path)?.write_all(follow.as_bytes());
        append(&conf).map_err(prepare(&conf))?;
        server.launch().await?;
        Ok(server)
    }

    /// The address it listens on.
    pub fn host(&self) -> &str {
        "127.0.0.1"
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser.
    pub fn superuser(&self) -> &str {
        SUPERUSER
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The log file.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// The folder with this version's programs (`psql`, `pg_dump`).
    pub fn bin_dir(&self) -> &Path {
        &self.bin
    }

    /// The postmaster's process id; `None` once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it still runs; the error says why not and where its log is.
    pub fn check(&mut self) -> Result<(), PgError> {
        let status = match self.child.as_mut() {
            Some(child) => match child.try_wait() {
                Ok(None) => return Ok(()),
                Ok(Some(status)) => status.to_string(),
                Err(e) => e.to_string(),
            },
            None => "not running".into(),
        };
        self.child = None;
        Err(self.ended(status))
    }

    /// Kills one backend without warning, as the kernel's out-of-memory killer would: the
    /// server recovers by itself, and UNLOGGED tables are empty afterwards.
    pub fn kill_backend(&self, pid: i32) -> Result<(), PgError> {
        process::signal(pid, Signal::KILL)
    }

    /// Kills the server without warning.
    pub async fn kill_hard(&mut self) -> Result<(), PgError> {
        self.end(Signal::KILL, STOP).await
    }

    /// Stops the server at once, as `pg_ctl stop -m immediate` does.
    pub async fn stop_immediately(&mut self) -> Result<(), PgError> {
        self.end(Signal::QUIT, STOP).await
    }

    /// Stops the server if it runs and starts it again on the same port.
    pub async fn restart(&mut self) -> Result<(), PgError> {
        self.end(Signal::INT, STOP).await?;
        self.options.port = self.port;
        self.launch().await
    }

    /// Makes a replica a primary. Returns when it takes writes soon: the caller waits for
    /// `pg_is_in_recovery()` to turn false.
    pub fn promote(&self) -> Result<(), PgError> {
        let file = self.options.data_dir.join("promote");
        fs::write(&file, b"").map_err(prepare(&file))?;
        self.run_as.own(&file)?;
        match self.pid() {
            Some(pid) => process::signal(pid.cast_signed(), Signal::USR1),
            None => Err(self.ended("not running".into())),
        }
    }

    /// Stops the server in order: sessions are ended, everything is written out.
    pub async fn stop(&mut self) -> Result<(), PgError> {
        self.end(Signal::INT, STOP).await
    }

    fn prepare(options: PgOptions) -> Result<Self, PgError> {
        let data_dir = &options.data_dir;
        let existing = fs::read_to_string(data_dir.join("PG_VERSION")).ok();
        let bin = binaries::find(existing.and_then(|v| v.trim().parse().ok()))?;
        let run_as = RunAs::detect()?;
        fs::create_dir_all(data_dir).map_err(prepare(data_dir))?;
        fs::set_permissions(data_dir, fs::Permissions::from_mode(0o700)).map_err(prepare(data_dir))?;
        run_as.own(data_dir)?;
        let data_dir = data_dir.canonicalize().map_err(prepare(data_dir))?;
        run_as.check_reach(&data_dir)?;
        let log = options.log_file.clone().unwrap_or_else(|| data_dir.with_extension("log"));
        Ok(Self {
            options: PgOptions { data_dir, ..options },
            bin,
            run_as,
            log,
            port: 0,
            password: String::new(),
            child: None,
        })
    }

    async fn init(&self) -> Result<(), PgError> {
        let data_dir = &self.options.data_dir;
        let mut bytes = [0u8; 16];
        let random = Path::new("/dev/urandom");
        fs::File::open(random).and_then(|mut f| f.read_exact(&mut bytes)).map_err(prepare(random))?;
        let password: String = bytes.iter().map(|b| format!("{b:02x}")).collect();

        let file = data_dir.with_extension("pw");
        fs::write(&file, b"").map_err(prepare(&file))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).map_err(prepare(&file))?;
        fs::write(&file, &password).map_err(prepare(&file))?;
        self.run_as.own(&file)?;

        let mut command = self.run_as.command(&self.bin.join("initdb"));
        command
            .args(["--username", SUPERUSER, "--auth", "scram-sha-256", "--encoding", "UTF8"])
            .args(["--locale", "C.UTF-8", "--no-sync", "--pwfile"])
            .arg(&file)
            .arg("--pgdata")
            .arg(data_dir);
        let done = run_tool("initdb", command).await;
        if done.is_err() {
            drop(fs::remove_file(&file));
        }
        done?;
        let kept = data_dir.join(PASSWORD_FILE);
        fs::rename(&file, &kept).map_err(prepare(&kept))
    }

    /// Starts the process and waits until it accepts connections. A port that somebody
    /// else took in between is given up for another.
    async fn launch(&mut self) -> Result<(), PgError> {
        let deadline = Instant::now() + READY;
        loop {
            self.port = match self.options.port {
                0 => free_port().map_err(prepare(Path::new("127.0.0.1")))?,
                port => port,
            };
            let logged = self.log.metadata().map_or(0, |m| m.len());
            self.child = Some(self.spawn()?);
            let Err(error) = self.wait_ready(deadline).await else {
                tracing::debug!(server.name = %self.options.name, server.port = self.port, "database is up");
                return Ok(());
            };
            let said = fs::read(&self.log).unwrap_or_default();
            let said = String::from_utf8_lossy(said.get(logged as usize..).unwrap_or_default()).into_owned();
            let port_taken = self.options.port == 0 && said.contains("could not bind");
            // Children of a killed server need a moment to notice.
            let still_closing = said.contains("is still in use");
            if !(port_taken || still_closing) || Instant::now() > deadline {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn spawn(&self) -> Result<Child, PgError> {
        let program = self.bin.join("postgres");
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(prepare(&self.log))?;
        let errors = log.try_clone().map_err(prepare(&self.log))?;
        let mut command = self.run_as.command(&program);
        command.arg("-D").arg(&self.options.data_dir).arg("-c").arg(format!("port={}", self.port));
        for (key, value) in SETTINGS {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        command.arg("-c").arg(format!("cluster_name={}", self.options.name));
        for (key, value) in &self.options.settings {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        // A group of its own: Ctrl-C in the terminal is for us, who then stop it in order.
        command.process_group(0).stdin(Stdio::null()).stdout(log).stderr(errors).current_dir("/");
        process::spawn(command).map_err(|source| PgError::Spawn { program, source })
    }

    async fn wait_ready(&mut self, deadline: Instant) -> Result<(), PgError> {
        let pid_file = self.options.data_dir.join("postmaster.pid");
        loop {
            self.check()?;
            // Line 1 is the pid, line 8 the state, as pg_ctl reads them.
            if let Ok(text) = fs::read_to_string(&pid_file) {
                let mut lines = text.lines();
                let ours = lines.next().and_then(|l| l.trim().parse().ok()) == self.pid();
                let state = lines.nth(6).map(str::trim);
                if ours && matches!(state, Some("ready" | "standby")) {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                let error = self.timeout("accept connections", READY);
                self.end(Signal::QUIT, STOP).await?;
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(&mut self, signal: Signal, patience: Duration) -> Result<(), PgError> {
        let deadline = Instant::now() + patience;
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        process::signal(child.id().cast_signed(), signal)?;
        loop {
            match self.child.as_mut().map(Child::try_wait) {
                Some(Ok(None)) => {}
                Some(Ok(Some(_)) | Err(_)) | None => {
                    self.child = None;
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                return Err(self.timeout("stop", patience));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn ended(&self, status: String) -> PgError {
        PgError::Ended {
            name: self.options.name.clone(),
            status,
            log: self.log.clone(),
            tail: tail(&self.log),
        }
    }

    fn timeout(&self, what: &'static str, after: Duration) -> PgError {
        PgError::Timeout {
            name: self.options.name.clone(),
            what,
            seconds: after.as_secs(),
            log: self.log.clone(),
            tail: tail(&self.log),
        }
    }
}

impl Drop for PgServer {
    fn drop(&mut self) {
        let Some(child) = self.child.as_mut() else { return };
        drop(process::signal(child.id().cast_signed(), Signal::QUIT));
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                drop(process::signal(child.id().cast_signed(), Signal::KILL));
                drop(child.wait());
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn prepare(path: &Path) -> impl Fn(io::Error) -> PgError {
    move |source| PgError::Prepare { path: path.into(), source }
}

fn read_text(path: &Path) -> Result<String, PgError> {
    fs::read_to_string(path).map_err(prepare(path))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

async fn run_tool(program: &'static str, mut command: Command) -> Result<(), PgError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir("/");
    let spawned = |source| PgError::Spawn { program: program.into(), source };
    let child = process::spawn(command).map_err(spawned)?;
    let finished = tokio::task::spawn_blocking(move || child.wait_with_output()).await;
    let output = finished.map_err(|e| spawned(io::Error::other(e)))?.map_err(spawned)?;
    if output.status.success() {
        return Ok(());
    }
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(PgError::Tool { program, output: last_lines(&said, 10) })
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let from = bytes.len().saturating_sub(4096);
    last_lines(&String::from_utf8_lossy(&bytes[from..]), 10)
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
