//! PgBouncer in transaction mode before the test server.

use super::{Inner, LOGINS, PASSWORD, until};
use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc;

/// A running PgBouncer, ended with the test.
pub struct Pooler {
    child: Child,
    pub port: u16,
    /// Ends the thread that started it, after it.
    _thread: mpsc::Sender<()>,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Pooler {
    /// Fewer connections to the server than clients, so that they are shared.
    pub async fn start(server: &Inner) -> Self {
        let program = [
            "/usr/sbin/pgbouncer",
            "/usr/bin/pgbouncer",
            "/opt/homebrew/bin/pgbouncer",
            "/usr/local/bin/pgbouncer",
        ]
        .into_iter()
        .find(|p| Path::new(p).exists())
        .expect("PgBouncer is not installed: run `make setup`");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = server.folder.join(format!("pooler-{port}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut users = String::new();
        for login in LOGINS {
            let _ = writeln!(users, "\"{login}\" \"{PASSWORD}\"");
        }
        std::fs::write(folder.join("users.txt"), users).unwrap();
        let config = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = 2\nserver_idle_timeout = 1\nmax_client_conn = 500\nlogfile = {}\npidfile = {}\n",
            server.superuser.host,
            server.superuser.port,
            folder.join("users.txt").display(),
            folder.join("log").display(),
            folder.join("pid").display(),
        );
        std::fs::write(folder.join("pgbouncer.ini"), config).unwrap();
        // It refuses to run as root, and then writes into the folder as another user.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        let root = Command::new("id").arg("-u").output().unwrap().stdout.starts_with(b"0\n");
        let mut command = if root {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                "--pdeathsig",
                "KILL",
                program,
            ]);
            command
        } else {
            Command::new(program)
        };
        command.arg("--quiet").arg(folder.join("pgbouncer.ini")).current_dir("/");
        let (child, thread) = spawn_on_own_thread(command);
        let pooler = Self { child, port, _thread: thread };
        until("PgBouncer", async || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        pooler
    }
}

/// Starts a process from a thread that lasts until the sender is dropped: the parent-death signal
/// fires when the *thread* that forked ends, and a test's thread ends before the last tests do.
fn spawn_on_own_thread(mut command: Command) -> (Child, mpsc::Sender<()>) {
    let (child, started) = mpsc::channel();
    let (thread, ended) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        child.send(command.spawn()).unwrap();
        // Nothing is sent: it ends with the sender.
        let _ = ended.recv();
    });
    (started.recv().unwrap().unwrap(), thread)
}
