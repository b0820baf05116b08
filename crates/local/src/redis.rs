//! The cache.

use crate::process::{Child, Spec, find_program, free_port};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The running cache.
pub(crate) struct Redis {
    pub(crate) child: Child,
    pub(crate) port: u16,
}

impl Redis {
    /// Starts it; it keeps nothing on disk.
    pub(crate) async fn start(data_dir: &Path, log_dir: &Path) -> Result<Self> {
        let program = find_program("redis-server", &[]);
        let program = program.context("redis-server is not installed: run `make setup`")?;
        let dir = data_dir.join("redis");
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let port = free_port()?;
        let port_text = port.to_string();
        let args = [
            ["--port", &port_text],
            ["--bind", "127.0.0.1"],
            ["--save", ""],
            ["--appendonly", "no"],
            ["--maxmemory", "256mb"],
            ["--maxmemory-policy", "allkeys-lru"],
        ];
        let spec = Spec {
            name: "Redis".into(),
            program,
            args: args.as_flattened().iter().map(Into::into).collect(),
            env: Vec::new(),
            clear_env: false,
            dir,
            log: log_dir.join("redis.log"),
        };
        let child = Child::spawn(&spec).await?;
        child.until_ready(Duration::from_secs(20), || async { ping(port).await.unwrap_or(false) }).await?;
        Ok(Self { child, port })
    }
}

async fn ping(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    Ok(&answer == b"+PONG")
}
