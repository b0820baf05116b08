//! Secrets by reference against an emulator of Secrets Manager.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells by printing"
)]

use eaves_secrets::resolved;
use eaves_settings::{Cache, ProcessEnv, Registry, Vars as _};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const REGION: &str = "eu-central-1";
/// This test runs itself again with an environment of its own: variables of a running
/// process cannot be changed safely.
const INNER: &str = "EAVES_TEST_INNER";

struct Emulator {
    child: Child,
    port: u16,
    _state: tempfile::TempDir,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Emulator {
    fn start() -> Self {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/ministack");
        assert!(program.exists(), "{} is missing: run `make setup`", program.display());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let state = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("SERVICES", "secretsmanager")
            .env("MINISTACK_REGION", REGION)
            .env("LOG_LEVEL", "WARNING")
            .env("TMPDIR", state.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let emulator = Self { child, port, _state: state };
        let deadline = Instant::now() + Duration::from_secs(60);
        while emulator.create("probe", "x").is_none() {
            assert!(Instant::now() < deadline, "the emulator does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        emulator
    }

    /// Makes a secret; `None` while nobody answers.
    fn create(&self, name: &str, value: &str) -> Option<()> {
        let body =
            format!(r#"{{"Name":"{name}","SecretString":{value:?},"ClientRequestToken":"{name:0>32}"}}"#);
        let request = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/x-amz-json-1.1\r\nx-amz-target: secretsmanager.CreateSecret\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/secretsmanager/aws4_request, \
             SignedHeaders=host, Signature=none\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    }

    /// Runs the inner test with these variables; what it printed.
    fn run(&self, variables: &[(&str, &str)]) -> String {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["inner", "--exact", "--nocapture"])
            .env_clear()
            .env(INNER, "1")
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port))
            .envs([("AWS_REGION", REGION), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

#[test]
fn references_are_followed_and_failures_named() {
    let emulator = Emulator::start();
    emulator.create("eaves/redis", r#"{"url":"rediss://:p@cache:6379"}"#).unwrap();
    emulator.create("eaves/key", "00ff").unwrap();
    emulator.create("eaves/wrong", r#"{"user":"x"}"#).unwrap();
    let rest = [("EAVES_REGISTRY_TABLE", "t"), ("EAVES_PLUGIN_BUCKET", "b")];
    let good = [("EAVES_REDIS_URL_SECRET", "eaves/redis"), ("EAVES_PLUGIN_KEY_SECRET", "eaves/key")];
    let said = emulator.run(&[&rest[..], &good[..]].concat());
    assert!(said.contains("url=rediss://:p@cache:6379 key=00ff table=t"), "{said}");
    // What is given directly is not looked up.
    let said = emulator.run(&[&rest[..], &good[..], &[("EAVES_PLUGIN_KEY", "11")]].concat());
    assert!(said.contains("key=11"), "{said}");
    let said = emulator.run(&[("EAVES_PLUGIN_KEY_SECRET", "eaves/none")]);
    assert!(said.contains("EAVES_PLUGIN_KEY_SECRET=\"eaves/none\" could not be fetched"), "{said}");
    assert!(said.contains("ResourceNotFound"), "{said}");
    let said = emulator.run(&[("EAVES_DB_PASSWORD_SECRET", "eaves/wrong")]);
    assert!(said.contains("JSON object with \"password\""), "{said}");
}

/// What a function does at its start.
#[tokio::test]
async fn inner() {
    if ProcessEnv.get(INNER).is_none() {
        return;
    }
    match resolved(ProcessEnv).await {
        Err(e) => println!("{e}"),
        Ok(env) => {
            let cache = Cache::read(&env).unwrap().unwrap();
            let registry = Registry::read(&env).unwrap();
            let (url, key) = (cache.url.expose(), registry.signing_key.expose());
            println!("url={url} key={key} table={}", registry.table);
        }
    }
}
