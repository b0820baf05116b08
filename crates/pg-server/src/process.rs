//! Starting children that end with us, and signalling them by pid.

use crate::PgError;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

type Job = (Command, Sender<io::Result<Child>>);

/// Spawns from a thread that lives as long as this process. The signal a child gets on
/// its parent's death is tied to the *thread* that spawned it, and the threads of an
/// async runtime come and go.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Option<Sender<Job>>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts servers is gone");
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        let run = move || {
            for (mut command, reply) in jobs {
                // Nobody waits any more: the child must not stay behind.
                if let Err(unread) = reply.send(command.spawn())
                    && let Ok(mut child) = unread.0
                {
                    drop(child.kill());
                    drop(child.wait());
                }
            }
        };
        std::thread::Builder::new().name("pg-spawner".into()).spawn(run).ok().map(|_| sender)
    });
    let (reply, answer) = channel();
    spawner.as_ref().ok_or_else(gone)?.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// Sends `signal` to `pid`. A process that is gone already is no error.
pub(crate) fn signal(pid: i32, signal: Signal) -> Result<(), PgError> {
    let Some(target) = Pid::from_raw(pid) else { return Ok(()) };
    match kill_process(target, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(PgError::Signal { pid, source: e.into() }),
    }
}
