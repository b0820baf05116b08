//! Tries what native code in the process that runs plugins would try, if there were a way out
//! of the sandbox. One line each: `open a file: refused (…)` or `open a file: DONE`.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, ExitCode};

/// Locks this process first, or not: then everything should succeed.
pub(crate) fn run(lock: bool) -> ExitCode {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|l| Ok((l.local_addr()?, l)));
    let Ok((address, _listener)) = listener else { return ExitCode::FAILURE };
    let parent = rustix::process::getppid();
    let attempts = || {
        attempt("open a file", || File::open("/etc/passwd"));
        attempt("read its environment", || fs::read("/proc/self/environ"));
        attempt("read its parent's environment", || {
            fs::read(format!("/proc/{}/environ", parent.map_or(1, rustix::process::Pid::as_raw_pid)))
        });
        attempt("list a folder", || fs::read_dir("/"));
        attempt("write a file", || {
            File::create(std::env::temp_dir().join(format!("probe-{}", std::process::id())))
        });
        attempt("connect to a port", || TcpStream::connect(address));
        attempt("listen on a port", || TcpListener::bind("127.0.0.1:0"));
        attempt("open a datagram socket", || UdpSocket::bind("127.0.0.1:0"));
        attempt("open a local socket", UnixStream::pair);
        attempt("listen on a local socket", || {
            UnixListener::bind(std::env::temp_dir().join(format!("probe-{}.sock", std::process::id())))
        });
        attempt("start a program", || Command::new("/bin/true").status());
        attempt("start a thread", || std::thread::Builder::new().spawn(|| ()).map(drop));
        attempt("signal its parent", || parent.map_or(Ok(()), rustix::process::test_kill_process));
        attempt("change its limits", || {
            use rustix::process::{Resource, Rlimit, setrlimit};
            setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        });
        // Not an attempt, a look: what there is to read without asking the kernel.
        say("variables of the environment", &std::env::vars_os().count().to_string());
    };
    if !lock {
        attempts();
        return ExitCode::SUCCESS;
    }
    match eaves_plugin_host::locked(attempts) {
        Ok(lock) => {
            say("lock", &format!("{lock:?}"));
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn attempt<T, E: std::fmt::Display>(what: &str, does: impl FnOnce() -> Result<T, E>) {
    match does() {
        Ok(_) => say(what, "DONE"),
        Err(e) => say(what, &format!("refused ({e})")),
    }
}

fn say(what: &str, how: &str) {
    use io::Write as _;
    let _ = writeln!(io::stdout(), "{what}: {how}");
}
