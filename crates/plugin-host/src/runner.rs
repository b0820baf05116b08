//! The process that runs plugins: a loop of one request, one call, one reply.
//!
//! It starts with an empty environment, a socket as standard input and, as standard output, a
//! file in memory that it may only read. Before the first plugin arrives it has locked itself
//! ([`crate::lockdown`]). Whatever a plugin might do to this process, all it can reach are the
//! values of the call it is in, the code of other plugins, and the answer that it gives.

use crate::engine::Pool;
use crate::guest::{Guest, Machine, Usage};
use crate::lockdown::{Limits, Lock, close_inherited, lock_down_but_for_offers};
use crate::memory_file::Code;
use crate::message::{Answer, Id, Loaded, Reply, Request, Types};
use crate::wire::Put;
use crate::{LoadError, PluginError, descriptor, mapped};
use memmap2::Mmap;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// What the asking side says first: how large the pool is, and the tick in nanoseconds.
pub(crate) type Greeting = [u64; 4];

/// Before a frame: where it is, and its length in bytes.
pub(crate) type Head = [u64; 2];

/// The frame follows in the socket.
pub(crate) const INLINE: u64 = 0;
/// The frame is in the shared file, from its start.
pub(crate) const SHARED: u64 = 1;

/// Bytes of the shared file: what 50,000 rows with 8 MiB of texts and as much of names take.
/// Frames that are larger go through the socket.
pub(crate) const SHARED_BYTES: usize = 64 << 20;

/// The largest frame there is.
pub(crate) const MAX_FRAME: u64 = 512 << 20;

/// The runner's whole life. Call it first thing in `main`, before any thread is started and
/// any file opened, when the program was called as a [`crate::RunnerCommand`] says.
pub fn run_plugins() -> ExitCode {
    close_inherited();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let shared = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    #[expect(unsafe_code, reason = "a file is mapped, which another process writes")]
    // SAFETY: the asking side has sealed its size, and does not write while a request is being
    // answered: it writes, asks, and waits for the reply or ends this process.
    let shared = unsafe { Mmap::map(&shared) }?;
    let mut greeting = Greeting::default();
    socket.read_exact(bytemuck::cast_slice_mut(&mut greeting))?;
    let [concurrency, memory_bytes, table_entries, tick] = greeting;
    let pool = Pool {
        concurrency: concurrency as u32,
        memory_bytes: memory_bytes as usize,
        table_entries: table_entries as usize,
    };
    let (machine, lock) = locked_machine(&pool, Duration::from_nanos(tick))?;
    socket.write_all(&[u8::from(lock == Lock::Filter)])?;
    Served { machine: Arc::new(machine), guests: HashMap::new(), socket, shared }.run()
}

/// The engine, set up while that is allowed, and then the lock.
fn locked_machine(pool: &Pool, tick: Duration) -> io::Result<(Machine, Lock)> {
    let machine = Machine::start(pool, tick).map_err(io::Error::other)?;
    let lock = lock_down_but_for_offers(Limits {
        // The pool reserves far more addresses than it uses.
        address_space: None,
        data: Some(1 << 30),
        cpu_seconds: None,
        // The initial memory of a plugin.
        file_bytes: pool.memory_bytes as u64,
        descriptors: 4096,
    });
    Ok((machine, lock))
}

/// For tests: locks this process like one that runs plugins, and then does what `probe` does.
#[doc(hidden)]
pub fn locked(probe: impl FnOnce()) -> io::Result<Lock> {
    close_inherited();
    let pool = Pool { concurrency: 2, memory_bytes: 64 << 20, table_entries: 10_000 };
    let (_machine, lock) = locked_machine(&pool, Duration::from_millis(2))?;
    probe();
    Ok(lock)
}

struct Served {
    machine: Arc<Machine>,
    guests: HashMap<Id, Guest>,
    socket: UnixStream,
    shared: Mmap,
}

impl Served {
    /// Until the asking side is gone.
    fn run(mut self) -> io::Result<()> {
        let mut types = Types::default();
        loop {
            let mut head = Head::default();
            let file = match descriptor::receive(&self.socket, bytemuck::cast_slice_mut(&mut head)) {
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            };
            let [place, length] = head;
            let reply = if place == SHARED {
                let frame = self.shared.get(..length as usize).ok_or(ErrorKind::InvalidData)?;
                answer(&self.machine, &mut self.guests, frame, &mut types, file)?
            } else {
                let frame = read_frame(&mut self.socket, length)?;
                answer(
                    &self.machine,
                    &mut self.guests,
                    &bytemuck::cast_slice(&frame)[..length as usize],
                    &mut types,
                    file,
                )?
            };
            if let Some(reply) = reply {
                let length = [reply.len() as u64 * 8];
                self.socket.write_all(bytemuck::cast_slice(&length))?;
                self.socket.write_all(bytemuck::cast_slice(&reply))?;
            }
        }
    }
}

/// Reads a frame of `length` bytes into memory aligned to eight.
pub(crate) fn read_frame(socket: &mut impl Read, length: u64) -> io::Result<Vec<u64>> {
    if length > MAX_FRAME || !length.is_multiple_of(8) {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0_u64; length as usize / 8];
    socket.read_exact(bytemuck::cast_slice_mut(&mut frame))?;
    Ok(frame)
}

fn answer(
    machine: &Arc<Machine>,
    guests: &mut HashMap<Id, Guest>,
    frame: &[u8],
    types: &mut Types,
    file: Option<OwnedFd>,
) -> io::Result<Option<Vec<u64>>> {
    let request = Request::read(frame, types).map_err(io::Error::other)?;
    let guest = |id: Id| guests.get(&id).ok_or(ErrorKind::NotFound);
    Ok(Some(match request {
        Request::Drop { id } => {
            guests.remove(&id);
            return Ok(None);
        }
        Request::Load { id, bytes } => {
            let file = File::from(file.ok_or(ErrorKind::InvalidInput)?);
            let loaded = load(machine, Code { file, len: bytes as usize });
            let promotes = loaded.as_ref().map(Guest::promotes);
            let said = Loaded(match promotes {
                Ok(promotes) => Ok(promotes),
                Err(LoadError::WrongWorld(why)) => Err(LoadError::WrongWorld(why.clone())),
                Err(other) => Err(LoadError::Load(wasmtime::Error::msg(describe(other)))),
            });
            guests.extend(loaded.ok().map(|guest| (id, guest)));
            frame_of((Ok(said), Usage::default()))
        }
        Request::Describe { id, bounds } => frame_of(guest(id)?.describe(bounds)),
        Request::Configure { id, bounds, settings } => frame_of(guest(id)?.configure(settings, bounds)),
        Request::Validate { id, bounds, settings, batch } => {
            frame_of(guest(id)?.validate(batch, settings, bounds))
        }
        Request::Promote { id, bounds, settings, statistics } => {
            frame_of(guest(id)?.promote(statistics, settings, bounds))
        }
    }))
}

fn describe(error: &LoadError) -> String {
    match error {
        LoadError::Load(source) => format!("{source:#}"),
        other => other.to_string(),
    }
}

fn frame_of<T: Answer>((said, usage): (Result<T, PluginError>, Usage)) -> Vec<u64> {
    Reply { said, usage }.frame()
}

fn load(machine: &Arc<Machine>, code: Code) -> Result<Guest, LoadError> {
    #[expect(unsafe_code, reason = "the asking side has verified who made this code")]
    // SAFETY: `Arrival` verified the signature of the code and of the identity of the engine, and
    // compared that with the engine of this same program, before the code was sealed and sent.
    // Nobody else holds the other end of the socket.
    let component = unsafe { mapped::component_in_lock(&machine.engine, code) }.map_err(LoadError::Load)?;
    Guest::new(machine.clone(), &component)
}
