//! A DynamoDB and S3 emulator for the tests of the registry.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use eaves_registry::Registry;
use eaves_settings::Secret;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BUCKET: &str = "plugins";
const REGION: &str = "eu-central-1";

/// An emulator of its own, gone when dropped.
pub(crate) struct Emulator {
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
    pub(crate) fn start() -> Self {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/ministack");
        assert!(program.exists(), "{} is missing: run `make setup`", program.display());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let state = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("SERVICES", "dynamodb,s3")
            // A bucket of another region answers with a redirect.
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
        while !emulator.put_bucket() {
            assert!(Instant::now() < deadline, "the emulator does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        emulator
    }

    fn put_bucket(&self) -> bool {
        let Ok(mut socket) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let request = format!(
            "PUT /{BUCKET} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.port
        );
        let mut answer = String::new();
        let said = socket.write_all(request.as_bytes()).and_then(|()| socket.read_to_string(&mut answer));
        said.is_ok() && answer.starts_with("HTTP/1.1 200")
    }

    fn config(&self) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(format!("http://127.0.0.1:{}", self.port))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "test", "test", None, None, "t",
            )))
            .build()
    }

    pub(crate) async fn registry(&self) -> Registry {
        let settings = eaves_settings::Registry {
            table: "registry".into(),
            bucket: BUCKET.into(),
            signing_key: Secret::new(""),
            refresh: Duration::ZERO,
            compiler: String::new(),
        };
        let registry = Registry::connect(&self.config(), &settings).await.unwrap();
        registry.ensure_table().await.unwrap();
        registry
    }
}
