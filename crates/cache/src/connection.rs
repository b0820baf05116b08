//! The way to Redis: one server, or a cluster of shards; in plain text or over TLS.

use crate::{CacheError, PATIENCE};
use eaves_settings::Cache as Settings;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Client, Cmd, FromRedisValue, RedisError, Script, TlsCertificates};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::OnceCell;

/// A connection that is opened by its first use and again whenever it broke; clones share it.
#[derive(Clone)]
pub(crate) enum Connection {
    /// One server, or the primary that one name stands for.
    Single(Single),
    /// A cluster: each key goes to the shard that has it.
    Cluster(Box<Cluster>),
}

/// One server's connection.
#[derive(Clone)]
pub(crate) struct Single {
    manager: ConnectionManager,
    opening: Arc<AtomicBool>,
}

impl Single {
    /// The connection. The first to ask has it opened by a task of its own: a handshake may
    /// take longer than a caller waits, and would begin anew with every caller.
    fn connection(&self) -> ConnectionManager {
        if !self.opening.swap(true, Ordering::Relaxed) {
            let mut manager = self.manager.clone();
            tokio::spawn(async move { redis::cmd("PING").query_async::<String>(&mut manager).await });
        }
        self.manager.clone()
    }
}

/// A cluster's connections, made when they are first needed.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: ClusterClient,
    ready: Arc<OnceCell<ClusterConnection>>,
}

impl Connection {
    /// Prepares it. Over `rediss://` the server's certificate and name are verified, always.
    pub(crate) fn prepare(settings: &Settings) -> Result<Self, CacheError> {
        let url = settings.url.expose();
        let patience = settings.wait * PATIENCE;
        // The Redis client would switch verification off.
        if url.contains('#') {
            return Err(CacheError::Unverified);
        }
        if settings.cluster {
            // The cluster client takes the system's authorities only; on AWS they are the right ones.
            if certificates(settings)?.is_some() {
                return Err(CacheError::ClusterAuthorities);
            }
            let builder = ClusterClient::builder([url])
                .connection_timeout(patience)
                .response_timeout(patience)
                .retries(1);
            let client = builder.build().map_err(CacheError::BadUrl)?;
            return Ok(Self::Cluster(Box::new(Cluster { client, ready: Arc::default() })));
        }
        let client = Self::client(settings)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(patience))
            // Operations have their own limits; this one ends what they gave up.
            .set_response_timeout(Some(patience))
            .set_number_of_retries(0)
            .set_pipeline_buffer_size(1024);
        client
            .get_connection_manager_lazy(config)
            .map(|manager| Self::Single(Single { manager, opening: Arc::default() }))
            .map_err(CacheError::BadUrl)
    }

    /// A client that opens connections of its own, for what is published. In a cluster any node will do.
    pub(crate) fn client(settings: &Settings) -> Result<Client, CacheError> {
        let url = settings.url.expose();
        let client = match certificates(settings)? {
            None => Client::open(url),
            Some(tls) => Client::build_with_tls(url, tls),
        };
        client.map_err(CacheError::BadUrl)
    }

    /// Sends one command.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        match self {
            Self::Single(single) => command.query_async(&mut single.connection()).await,
            Self::Cluster(cluster) => command.query_async(&mut cluster.connection().await?).await,
        }
    }

    /// Sends commands together and waits for all answers.
    pub(crate) async fn query_all<T: FromRedisValue>(&self, commands: &[Cmd]) -> Result<Vec<T>, RedisError> {
        match self {
            Self::Single(single) => {
                let mut pipeline = redis::Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command.clone());
                }
                pipeline.query_async(&mut single.connection()).await
            }
            // A pipeline would have to stay on one shard.
            Self::Cluster(cluster) => {
                let connection = cluster.connection().await?;
                let each = commands.iter().map(|command| {
                    let mut connection = connection.clone();
                    async move { command.query_async(&mut connection).await }
                });
                futures_util::future::try_join_all(each).await
            }
        }
    }

    /// Makes a script known, on every shard.
    pub(crate) async fn load(&self, script: &Script) -> Result<(), RedisError> {
        let _: String = match self {
            Self::Single(single) => script.load_async(&mut single.connection()).await?,
            Self::Cluster(cluster) => script.load_async(&mut cluster.connection().await?).await?,
        };
        Ok(())
    }
}

fn certificates(settings: &Settings) -> Result<Option<TlsCertificates>, CacheError> {
    let Some(path) = &settings.ca_file else { return Ok(None) };
    let root =
        std::fs::read(path).map_err(|source| CacheError::Authorities { path: path.clone(), source })?;
    Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(root) }))
}

impl Cluster {
    async fn connection(&self) -> Result<ClusterConnection, RedisError> {
        if let Some(connection) = self.ready.get() {
            return Ok(connection.clone());
        }
        let Self { client, ready } = self.clone();
        // Gets ready also for the next one if this caller cannot wait so long.
        let connecting =
            tokio::spawn(
                async move { ready.get_or_try_init(|| client.get_async_connection()).await.cloned() },
            );
        connecting.await.unwrap_or_else(|e| Err(std::io::Error::other(e).into()))
    }
}
