//! The same through PgBouncer in transaction mode: no statement may count on a session.
//! RDS Proxy pins where PgBouncer fails, so this is the stricter test.

use crate::support::{LOGINS, PASSWORD, Server, Suite, Writer, place, role, until};
use eaves_model::{Value, ValueType};
use eaves_settings::Postgres;
use eaves_store::flush::FlushStore;
use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;

pub fn add(suite: &mut Suite) {
    suite.test("pooler::ingest_and_flush_in_transaction_mode", ingest_and_flush);
}

/// A running PgBouncer, ended with the test.
pub struct Pooler {
    child: Child,
    pub port: u16,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Pooler {
    /// Fewer connections to the server than clients, so that they are shared.
    pub async fn start(server: &Server) -> Self {
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
             default_pool_size = 2\nlogfile = {}\npidfile = {}\n",
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
        let child =
            command.arg("--quiet").arg(folder.join("pgbouncer.ini")).current_dir("/").spawn().unwrap();
        let pooler = Self { child, port };
        until("PgBouncer", async || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        pooler
    }
}

async fn ingest_and_flush(server: Arc<Server>) {
    const WRITERS: usize = 6;
    const BATCHES: u64 = 15;
    const ROWS: i64 = 400;
    let db = server.database().await;
    let pooler = Pooler::start(&server).await;
    let through = Postgres { port: pooler.port, ..db.superuser.clone() };
    let flusher = FlushStore::connect(&role(&through, "eaves_flush")).await.unwrap();
    let writers = (0..WRITERS).map(|n| {
        let (settings, acme) = (role(&through, "eaves_ingest"), db.acme);
        async move {
            let mut w = Writer::connect(&settings, acme, &format!("shard{n}")).await;
            for batch in 0..BATCHES {
                // Registrations in between, as ingest has them.
                let e = w.entity(&format!("e{n}-{}", batch % 5)).await;
                let a = w.attribute(&format!("a{}", batch % 3), ValueType::Integer).await;
                let from = batch as i64 * ROWS;
                let points: Vec<_> =
                    (from..from + ROWS).map(|i| w.point(e, a, i, Value::Integer(i))).collect();
                let hot = [w.hot(e, from + ROWS, &format!(r#"{{"a{}":{from}}}"#, batch % 3))];
                w.commit(batch + 1, &points, &hot).await.unwrap();
            }
            assert_eq!(w.store.checkpoint(&place(&w.shard)).await.unwrap().position, w.at);
        }
    });
    let work = futures_util::future::join_all(writers);
    let flush = async {
        let mut rows = 0;
        while rows < (WRITERS as i64 * BATCHES as i64 * ROWS) as u64 {
            rows += flusher.stage_flush(1).await.unwrap().unwrap_or(0);
            flusher.heartbeat().await.unwrap();
        }
    };
    tokio::join!(work, flush);
    let expected = (WRITERS as i64 * BATCHES as i64 * ROWS).to_string();
    assert_eq!(db.one("select count(*) from entity_values_ts").await, expected);
    assert_eq!(db.one("select count(*) from entity_jsonb").await, (WRITERS * 5).to_string());
    // Nothing stayed behind in the pooled sessions.
    assert_eq!(db.one("select count(*) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'").await, "0");
}
