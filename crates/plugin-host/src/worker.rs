//! Compiling in a process of its own, which may use only so much memory and time.
//!
//! The worker has an empty environment: no key, no credentials. It limits and locks itself
//! before it reads a byte of the plugin, so a compile bomb ends the worker and nothing else,
//! and whoever found a fault in the compiler could open no file and no socket. What it
//! returns is machine code: the caller signs it (see [`crate::Host::seal`]).

use crate::lockdown::{Limits, close_inherited, lock_down};
use crate::scan::{self, ScanLimits};
use crate::{CompileError, engine};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What compiling one plugin may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Address space, in bytes. macOS does not enforce it.
    pub memory_bytes: u64,
    /// Processor time, in whole seconds.
    pub cpu_seconds: u64,
    /// Time by the clock.
    pub wall_clock: Duration,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self { memory_bytes: 1 << 30, cpu_seconds: 10, wall_clock: Duration::from_secs(20) }
    }
}

/// What the worker is told before the component: bytes of memory, seconds of processor time.
type Allowance = [u64; 2];

impl WorkerLimits {
    /// Up to here the defaults hold: what rules take that bring no interpreter.
    const ORDINARY_BYTES: usize = 4 << 20;

    /// The limits for a component of so many bytes. One with the interpreter of a scripting
    /// language has more to compile: JavaScript (12 MB) takes 10 s of processor and 0.9 GB in a
    /// release build, in a debug build some times as long.
    pub fn for_component(bytes: usize) -> Self {
        if bytes <= Self::ORDINARY_BYTES {
            return Self::default();
        }
        let cpu_seconds = if cfg!(debug_assertions) { 240 } else { 60 };
        Self { memory_bytes: 3 << 30, cpu_seconds, wall_clock: Duration::from_secs(2 * cpu_seconds) }
    }
}

/// Before the machine code, so that a worker that is something else is noticed.
const GREETING: &[u8] = b"eaves-compiled\n";
const MAX_OUTPUT: u64 = 256 << 20;
const MAX_COMPLAINT: u64 = 4 << 10;

/// The worker's whole life: component on standard input, machine code on standard output,
/// complaint on standard error. Call it from `main` when asked for `plugin compile-worker`.
pub fn compile_worker() -> ExitCode {
    close_inherited();
    match compile_stdin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            let _ = std::io::stderr().write_all(complaint.as_bytes());
            ExitCode::from(2)
        }
    }
}

fn compile_stdin() -> Result<(), String> {
    let mut allowance = Allowance::default();
    let stdin = &mut std::io::stdin();
    stdin.read_exact(bytemuck::cast_slice_mut(&mut allowance)).map_err(|e| e.to_string())?;
    let [memory_bytes, cpu_seconds] = allowance;
    lock_down(Limits {
        address_space: Some(memory_bytes),
        data: Some(memory_bytes),
        cpu_seconds: Some(cpu_seconds),
        file_bytes: 0,
        descriptors: 0,
    });
    let limits = ScanLimits::default();
    let mut wasm = Vec::new();
    let most = limits.bytes as u64 + 1;
    stdin.take(most).read_to_end(&mut wasm).map_err(|e| e.to_string())?;
    scan::scan(&wasm, &limits).map_err(|e| e.to_string())?;
    let code = precompile(&wasm)?;
    let mut out = std::io::stdout().lock();
    out.write_all(GREETING)
        .and_then(|()| out.write_all(&code))
        .and_then(|()| out.flush())
        .map_err(|e| e.to_string())
}

/// Compiles in this process.
pub(crate) fn precompile(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let compiler = engine::compiler().map_err(|e| format!("{e:#}"))?;
    compiler.precompile_component(wasm).map_err(|e| format!("{e:#}"))
}

/// Runs `exe args…` (which must call [`compile_worker`]) on a component and returns the
/// machine code, unsigned.
pub fn compile_in_worker(
    exe: &Path,
    args: &[&str],
    wasm: &[u8],
    limits: &WorkerLimits,
) -> Result<Vec<u8>, CompileError> {
    let mut child = Command::new(exe)
        .args(args)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(CompileError::Worker)?;
    let deadline = Instant::now() + limits.wall_clock;
    let allowance: Allowance = [limits.memory_bytes, limits.cpu_seconds];
    let said = converse(&mut child, [bytemuck::cast_slice(&allowance), wasm].concat(), limits.wall_clock);
    // Its outputs are closed a moment before it is gone: killing it then would turn a
    // success into a failure.
    let ended = said.is_ok() && wait_until(&mut child, deadline.max(Instant::now() + Duration::from_secs(1)));
    if !ended {
        let _ = child.kill();
    }
    let status = child.wait().map_err(CompileError::Worker)?;
    let (output, complaint) = said?;
    if !ended {
        return Err(CompileError::Timeout { limit: limits.wall_clock });
    }
    if !status.success() {
        return Err(failure(status, &complaint, limits));
    }
    output
        .strip_prefix(GREETING)
        .map(<[u8]>::to_vec)
        .ok_or_else(|| CompileError::Compile(format!("{} is not the compile worker", exe.display())))
}

/// Feeds the child and collects what it says, until both its outputs are closed.
fn converse(
    child: &mut Child,
    input: Vec<u8>,
    patience: Duration,
) -> Result<(Vec<u8>, String), CompileError> {
    let missing = || CompileError::Worker(std::io::ErrorKind::BrokenPipe.into());
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    // A worker that stops reading closes the pipe: its status says why.
    thread::spawn(move || drop(stdin.write_all(&input)));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let complaints = thread::spawn(move || read_up_to(stderr, MAX_COMPLAINT));
        let output = read_up_to(stdout, MAX_OUTPUT);
        let complaint = complaints.join().unwrap_or_default();
        let _ = sender.send((output, String::from_utf8_lossy(&complaint).into_owned()));
    });
    receiver.recv_timeout(patience).map_err(|_| CompileError::Timeout { limit: patience })
}

fn wait_until(child: &mut Child, deadline: Instant) -> bool {
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return true,
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            _ => return false,
        }
    }
}

fn read_up_to(from: impl Read, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.take(most).read_to_end(&mut bytes);
    bytes
}

/// Why the worker ended: on its own, or at one of its limits, which is then named.
fn failure(status: ExitStatus, complaint: &str, limits: &WorkerLimits) -> CompileError {
    use std::os::unix::process::ExitStatusExt;
    let complaint = complaint.trim();
    let what = match status.signal() {
        Some(libc::SIGXCPU) => format!("it took more than {} s of processor time", limits.cpu_seconds),
        _ if NO_MEMORY.iter().any(|said| complaint.contains(said)) => {
            format!("it needed more than {} MiB of memory", limits.memory_bytes >> 20)
        }
        Some(signal) if complaint.is_empty() => format!("signal {signal}"),
        Some(signal) => format!("signal {signal}: {complaint}"),
        None => return CompileError::Compile(complaint.into()),
    };
    CompileError::OverLimit(what)
}

/// What is said where memory is refused: by Rust before it aborts, by the system, by wasmtime.
const NO_MEMORY: [&str; 3] = ["memory allocation of", "Cannot allocate memory", "out of memory"];
