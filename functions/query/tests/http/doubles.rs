//! What stands for the stream, and the Redis of the cases.

use eaves_fn_query::{Outgoing, Placed, Stream, StreamError};
use eaves_model::tenant::Tenant;
use futures_util::future::BoxFuture;
use std::collections::HashSet;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A stream that remembers, and refuses what it is told to refuse. What it takes has the sequence number
/// that is committed next: cases commit what they sent themselves.
#[derive(Default)]
pub(crate) struct Memory {
    taken: Mutex<Vec<Outgoing>>,
    refused: Mutex<HashSet<String>>,
    /// The last sequence number of the only shard: here and in what the cases commit.
    pub(crate) last: AtomicI32,
}

impl Memory {
    /// What it took for a tenant.
    pub(crate) fn of(&self, tenant: &Tenant) -> Vec<Outgoing> {
        let prefix = format!("{}/", tenant.name);
        self.taken.lock().unwrap().iter().filter(|r| r.partition_key.starts_with(&prefix)).cloned().collect()
    }

    pub(crate) fn refuse(&self, key: String) {
        self.refused.lock().unwrap().insert(key);
    }
}

impl Stream for Memory {
    fn put<'a>(&'a self, records: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<Placed, StreamError>>> {
        let refused = self.refused.lock().unwrap();
        let mut results = Vec::new();
        for record in records {
            if refused.contains(&record.partition_key) {
                results.push(Err(StreamError("ProvisionedThroughputExceededException".into())));
            } else {
                self.taken.lock().unwrap().push(record.clone());
                let sequence = self.last.load(Ordering::SeqCst) + 1;
                results.push(Ok(Placed { shard: "0".into(), sequence: sequence.to_string() }));
            }
        }
        Box::pin(std::future::ready(results))
    }
}

pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
    _dir: tempfile::TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", "redis-server"])
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--port",
                &port.to_string(),
                "--dir",
            ])
            .arg(dir.path())
            .stdout(Stdio::null());
        // It ends with the thread that started it, at the latest: with this one it ends however the tests do.
        let (child, started) = mpsc::channel();
        std::thread::spawn(move || {
            child.send(command.spawn()).unwrap();
            loop {
                std::thread::park();
            }
        });
        let child = started.recv().unwrap().expect("redis-server does not start: run make setup");
        let redis = Self { child, port, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }

    pub(crate) fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
