//! The asking side: starts the process that runs plugins, asks it, and ends it when it does not
//! answer in time.

use crate::bindings::{promotion, validation};
use crate::engine::Pool;
use crate::guest::{Bounds, Usage};
use crate::lockdown::Lock;
use crate::memory_file::{self, Code};
use crate::message::{Answer, Id, Loaded, Reply, Request};
use crate::runner::{Greeting, Head, INLINE, MAX_FRAME, SHARED, SHARED_BYTES, read_frame};
use crate::wire::{Put, Writer};
use crate::{LoadError, PluginError, descriptor};
use memmap2::MmapMut;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a call may take beyond its deadline before the process is ended: the clock in the
/// process should have ended the call itself, and on a busy machine is late.
const GRACE: Duration = Duration::from_millis(500);
/// How long starting the process, and loading a plugin, may take.
const START: Duration = Duration::from_secs(10);

/// How the process that runs plugins is started: a program that calls [`crate::run_plugins`]
/// when it gets these arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

impl RunnerCommand {
    /// The argument that a function's binary takes to run plugins instead.
    pub const ARGUMENT: &str = "run-plugins";

    /// The running program itself, with [`RunnerCommand::ARGUMENT`].
    pub fn this_program() -> io::Result<Self> {
        // The link still leads to the program when its file has been replaced.
        let program = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe()?
        };
        Ok(Self { program, args: vec![Self::ARGUMENT.into()] })
    }

    /// Whether this process was started as [`RunnerCommand::this_program`] says.
    pub fn is_meant() -> bool {
        std::env::args_os().nth(1).is_some_and(|arg| arg == Self::ARGUMENT)
    }
}

/// The process, if there is one, and what it needs to know.
pub(crate) struct Runner {
    command: RunnerCommand,
    pool: Pool,
    tick: Duration,
    process: Mutex<Option<Process>>,
    dropped: Mutex<Vec<Id>>,
    next: AtomicU64,
}

struct Process {
    child: Child,
    socket: UnixStream,
    shared: MmapMut,
    loaded: HashSet<Id>,
    lock: Lock,
}

/// A plugin in the process.
pub(crate) struct RemoteGuest {
    runner: Arc<Runner>,
    id: Id,
    /// Its code, for the process after this one.
    code: Arc<Code>,
    promotes: bool,
}

type Called<T> = (Result<T, PluginError>, Usage);

impl Runner {
    pub(crate) fn new(command: RunnerCommand, pool: Pool, tick: Duration) -> Self {
        // One call at a time, and the next instance while the last is put away.
        let pool = Pool { concurrency: 2, ..pool };
        Self {
            command,
            pool,
            tick,
            process: Mutex::default(),
            dropped: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    pub(crate) fn lock(&self) -> Option<Lock> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().map(|p| p.lock)
    }

    /// Loads code whose signature was verified.
    pub(crate) fn load(self: &Arc<Self>, code: Arc<Code>) -> Result<RemoteGuest, LoadError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut place = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let promotes = self
            .ready(&mut place)
            .and_then(|process| process.load(id, &code, self.pool.memory_bytes))
            .unwrap_or_else(|failed| Err(LoadError::Runner(failed.end(&mut place, START))))?;
        Ok(RemoteGuest { runner: self.clone(), id, code, promotes })
    }

    /// The process, started if need be, rid of plugins that are not needed any more.
    fn ready<'p>(&self, place: &'p mut Option<Process>) -> Result<&'p mut Process, Failed> {
        let dropped = std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner));
        // One that ended while nothing was asked of it has hurt nobody.
        place.take_if(|process| !matches!(process.child.try_wait(), Ok(None)));
        let process = match place {
            Some(process) => process,
            None => {
                place.insert(Process::start(&self.command, &self.pool, self.tick).map_err(Failed::Start)?)
            }
        };
        for id in dropped {
            if process.loaded.remove(&id) {
                // Nobody waits for a reply before the shared file is written again.
                process.send_inline(&Request::Drop { id })?;
            }
        }
        Ok(process)
    }
}

impl RemoteGuest {
    pub(crate) fn promotes(&self) -> bool {
        self.promotes
    }

    pub(crate) fn describe(&self, bounds: Bounds) -> Called<validation::Description> {
        self.call(bounds, |id, bounds| Request::Describe { id, bounds })
    }

    pub(crate) fn configure(
        &self,
        settings: &str,
        bounds: Bounds,
    ) -> Called<Result<validation::Interest, validation::SettingsFault>> {
        self.call(bounds, |id, bounds| Request::Configure { id, bounds, settings })
    }

    pub(crate) fn validate(
        &self,
        batch: validation::Batch<'_>,
        settings: &str,
        bounds: Bounds,
    ) -> Called<Result<validation::Decision, validation::ValidateError>> {
        self.call(bounds, |id, bounds| Request::Validate { id, bounds, settings, batch })
    }

    pub(crate) fn promote(
        &self,
        statistics: promotion::Statistics<'_>,
        settings: &str,
        bounds: Bounds,
    ) -> Called<Result<promotion::Decision, String>> {
        self.call(bounds, |id, bounds| Request::Promote { id, bounds, settings, statistics })
    }

    fn call<'a, T: Answer>(
        &self,
        bounds: Bounds,
        request: impl FnOnce(Id, Bounds) -> Request<'a>,
    ) -> Called<T> {
        let asked = Instant::now();
        let end = asked + bounds.left;
        let runner = &self.runner;
        // Other calls of this process are waited for; the wait counts.
        let mut place = runner.process.lock().unwrap_or_else(PoisonError::into_inner);
        let (most, limit) = (runner.pool.memory_bytes, bounds.limit);
        let memory_bytes = bounds.memory_bytes.min(most);
        let called = runner.ready(&mut place).and_then(|process| {
            if !process.loaded.contains(&self.id) {
                // It loaded before: a process that does not take it now is broken.
                process.load(self.id, &self.code, most)?.map_err(|_| Failed::Nonsense("load"))?;
            }
            let start = Instant::now();
            let left = end.saturating_duration_since(start);
            if left.is_zero() {
                return Ok(Reply { said: Err(PluginError::Deadline { limit }), usage: Usage::default() });
            }
            let until = start + left + GRACE;
            process.send(&request(self.id, Bounds { left, memory_bytes, ..bounds }), None, until)?;
            let mut reply: Reply<T> = process.receive(until, limit, memory_bytes)?;
            reply.usage.duration = start.elapsed();
            Ok(reply)
        });
        match called {
            Ok(reply) => (reply.said, reply.usage),
            Err(failed) => {
                let error = failed.end(&mut place, limit);
                (Err(error), Usage { duration: asked.elapsed(), memory_peak: 0 })
            }
        }
    }
}

impl Drop for RemoteGuest {
    fn drop(&mut self) {
        self.runner.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
    }
}

/// Why the process is not to be asked again.
enum Failed {
    Start(io::Error),
    Io(io::Error),
    Nonsense(&'static str),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Failed {
    /// Ends the process and says what that means for the call.
    fn end(self, place: &mut Option<Process>, limit: Duration) -> PluginError {
        let mut status = None;
        if let Some(mut process) = place.take() {
            // If it has ended by itself its status says why; a moment for it to do so.
            if matches!(&self, Self::Io(e) if !is_late(e)) {
                status = process.ended_within(Duration::from_millis(200));
            }
            process.kill();
        }
        match self {
            Self::Start(error) => PluginError::Runner(error),
            Self::Io(error) if is_late(&error) => PluginError::Deadline { limit },
            Self::Io(error) => PluginError::RunnerDied { how: status.unwrap_or_else(|| error.to_string()) },
            Self::Nonsense(what) => PluginError::RunnerDied { how: format!("its reply was broken: {what}") },
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl Process {
    fn start(command: &RunnerCommand, pool: &Pool, tick: Duration) -> io::Result<Self> {
        // Nobody of this user may look into this process, which does hold credentials: not
        // through ptrace, not through /proc. Linux refuses that for a process without dumps.
        #[cfg(target_os = "linux")]
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
        let (file, shared) = memory_file::shared(SHARED_BYTES)?;
        let (socket, theirs) = UnixStream::pair()?;
        let child = Command::new(&command.program)
            .args(&command.args)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(file))
            .stderr(Stdio::null())
            .spawn()?;
        let mut process = Self { child, socket, shared, loaded: HashSet::new(), lock: Lock::LimitsOnly };
        match process.greet(pool, tick) {
            Ok(lock) => {
                process.lock = lock;
                Ok(process)
            }
            Err(error) => {
                process.kill();
                Err(error)
            }
        }
    }

    fn greet(&mut self, pool: &Pool, tick: Duration) -> io::Result<Lock> {
        self.socket.set_read_timeout(Some(START))?;
        self.socket.set_write_timeout(Some(START))?;
        let greeting: Greeting = [
            pool.concurrency.into(),
            pool.memory_bytes as u64,
            pool.table_entries as u64,
            tick.as_nanos() as u64,
        ];
        self.socket.write_all(bytemuck::cast_slice(&greeting))?;
        let mut filtered = [0];
        self.socket.read_exact(&mut filtered)?;
        Ok(if filtered == [1] { Lock::Filter } else { Lock::LimitsOnly })
    }

    fn load(&mut self, id: Id, code: &Code, memory_bytes: usize) -> Result<Result<bool, LoadError>, Failed> {
        let until = Instant::now() + START;
        self.send(&Request::Load { id, bytes: code.len as u64 }, Some(code.file.as_fd()), until)?;
        let reply: Reply<Loaded> = self.receive(until, START, memory_bytes)?;
        let loaded = reply.said.map_err(|_| Failed::Nonsense("an error that loading does not have"))?.0;
        if loaded.is_ok() {
            self.loaded.insert(id);
        }
        Ok(loaded)
    }

    /// Sends a request, and a file with it.
    fn send(
        &mut self,
        request: &Request<'_>,
        file: Option<BorrowedFd<'_>>,
        until: Instant,
    ) -> io::Result<()> {
        let size = request.size();
        self.socket.set_write_timeout(Some(left(until)?))?;
        if let Some(place) = self.shared.get_mut(..size) {
            request.put(&mut Writer(place));
            let head: Head = [SHARED, size as u64];
            return descriptor::send(&self.socket, bytemuck::cast_slice(&head), file);
        }
        debug_assert!(file.is_none(), "requests with files are small");
        self.send_inline(request)
    }

    fn send_inline(&mut self, request: &Request<'_>) -> io::Result<()> {
        let head: Head = [INLINE, request.size() as u64];
        self.socket.write_all(bytemuck::cast_slice(&head))?;
        self.socket.write_all(bytemuck::cast_slice(&request.frame()))
    }

    /// Reads a reply, however slowly it drips, until `until`.
    fn receive<T: Answer>(
        &mut self,
        until: Instant,
        limit: Duration,
        memory_bytes: usize,
    ) -> Result<Reply<T>, Failed> {
        let mut socket = Timed { socket: &self.socket, until };
        let mut length = [0_u64];
        socket.read_exact(bytemuck::cast_slice_mut(&mut length))?;
        if length[0] > MAX_FRAME {
            return Err(Failed::Nonsense("a length that is absurd"));
        }
        let frame = read_frame(&mut socket, length[0])?;
        Reply::read(bytemuck::cast_slice(&frame), limit, memory_bytes)
            .map_err(|broken| Failed::Nonsense(broken.0))
    }

    fn ended_within(&mut self, patience: Duration) -> Option<String> {
        let end = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    return Some(status.signal().map_or(status.to_string(), |s| format!("signal {s}")));
                }
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                _ => return None,
            }
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A socket with an end.
struct Timed<'a> {
    socket: &'a UnixStream,
    until: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.until)?))?;
        (&mut &*self.socket).read(into)
    }
}
