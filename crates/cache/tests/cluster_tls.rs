//! A cluster over TLS: the client takes the system's authorities, so each case is a process of its own with
//! others (`SSL_CERT_FILE`).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at what it does not expect")]

use eaves_cache::{Cache, CacheError};
use eaves_settings::{Cache as Settings, Secret};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../../store/tests/support/ca.rs"]
mod ca;
mod support;

/// Says in a process of this program which URL to ask.
const ASK: &str = "EAVES_TEST_CLUSTER_URL";

fn main() {
    match std::env::var(ASK) {
        Ok(url) => ask(url),
        Err(_) => a_cluster_over_tls_is_verified(),
    }
}

/// Asks until there is an answer or a reason why not, and prints it.
#[expect(clippy::print_stdout, reason = "the other process reads it")]
fn ask(url: String) {
    let settings = Settings {
        url: Secret::new(url),
        ttl: Duration::from_secs(60),
        ca_file: None,
        cluster: true,
        wait: Duration::from_secs(5),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let said = runtime.block_on(async {
        let cache = Cache::connect(&settings).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match cache.ping().await {
                Ok(()) => return "answered".to_owned(),
                Err(CacheError::Read(e)) if !e.is_timeout() => return format!("refused: {e:?}"),
                // A handshake may take long, and then the cache is left alone for a while.
                Err(e) => assert!(Instant::now() < deadline, "no reason within 20 s: {e:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    println!("{said}");
}

struct Node {
    child: Child,
    port: u16,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    /// A cluster of one, which tells its clients the name `localhost`.
    fn start(folder: &Path, files: &ca::Ca) -> Self {
        let port = support::free_cluster_port();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port", "0", "--tls-port", &port.to_string()])
            .args(["--tls-auth-clients", "no", "--tls-cluster", "yes", "--cluster-enabled", "yes"])
            .args([
                "--cluster-announce-hostname",
                "localhost",
                "--cluster-preferred-endpoint-type",
                "hostname",
            ])
            .args(["--requirepass", "pass word", "--dir"])
            .arg(folder)
            .arg("--tls-cert-file")
            .arg(&files.certificate)
            .arg("--tls-key-file")
            .arg(&files.key)
            .arg("--tls-ca-cert-file")
            .arg(&files.ca)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server does not start: run make setup");
        let node = Self { child, port };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not answer on port {port}");
            std::thread::sleep(Duration::from_millis(10));
        }
        node.cli(files, &["cluster", "addslotsrange", "0", "16383"]);
        while !node.cli(files, &["cluster", "info"]).contains("cluster_state:ok") {
            assert!(Instant::now() < deadline, "the cluster is not ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        node
    }

    fn cli(&self, files: &ca::Ca, command: &[&str]) -> String {
        let done = Command::new("redis-cli")
            .args(["-h", "localhost", "-p", &self.port.to_string(), "--no-auth-warning", "-a", "pass word"])
            .arg("--tls")
            .arg("--cacert")
            .arg(&files.ca)
            .args(command)
            .output()
            .unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}

fn a_cluster_over_tls_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let files = ca::Ca::make(&folder.path().join("ca"), "localhost");
    let other = ca::Ca::make(&folder.path().join("other"), "localhost");
    let node = Node::start(folder.path(), &files);
    let said = |host: &str, authorities: &Path| {
        let done = Command::new(std::env::current_exe().unwrap())
            .env(ASK, format!("rediss://:pass%20word@{host}:{}", node.port))
            .env("SSL_CERT_FILE", authorities)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    assert_eq!(said("localhost", &files.ca), "answered");
    for (host, authorities, why) in
        [("localhost", &other.ca, "certificate in certificate chain"), ("127.0.0.1", &files.ca, "mismatch")]
    {
        let said = said(host, authorities);
        assert!(said.starts_with("refused: ") && said.contains(why), "{host}: {said}");
    }
}
