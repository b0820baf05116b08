//! A port that stands for the database's name: what is behind it can change, as behind the
//! endpoint of a managed database.

use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) struct Forward {
    pub(crate) port: u16,
    target: Arc<AtomicU16>,
    task: JoinHandle<()>,
}

impl Forward {
    /// Listens; refuses until it is told where to go.
    pub(crate) async fn listen() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let target = Arc::new(AtomicU16::new(0));
        let to = target.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let to = to.load(Ordering::Relaxed);
                tokio::spawn(async move {
                    // Whoever is cut off sees it, and that is what is wanted.
                    if let Ok(mut database) = TcpStream::connect(("127.0.0.1", to)).await {
                        let _ = copy_bidirectional(&mut from, &mut database).await;
                    }
                });
            }
        });
        Ok(Self { port, target, task })
    }

    pub(crate) fn to(&self, port: u16) {
        self.target.store(port, Ordering::Relaxed);
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}
