//! One connection that comes back by itself.

use crate::{StoreError, iam};
use eaves_settings::{Postgres, SignIn, Tls};
use futures_util::future::join3;
use std::time::Duration;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row};

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer may leave sent data unacknowledged before the connection counts as dead.
const DEAD_PEER: Duration = Duration::from_secs(20);
/// What an answer may take beyond the statement's own limit, which the server keeps.
const GRACE: Duration = Duration::from_secs(2);

/// A parameter with its type: unnamed statements are sent without asking the server.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// One connection, made when it is first needed and again whenever it broke.
pub struct Db {
    settings: Postgres,
    client: Mutex<Option<Client>>,
}

/// A connection, to be used by nobody else meanwhile.
pub(crate) type Connection<'a> = MappedMutexGuard<'a, Client>;

/// Connects now, so that wrong settings show at start.
pub async fn connect(settings: &Postgres) -> Result<Db, StoreError> {
    let db = Db::new(settings);
    drop(db.client().await?);
    Ok(db)
}

impl Db {
    /// A database that is connected to when it is first used.
    pub fn new(settings: &Postgres) -> Self {
        Self { settings: settings.clone(), client: Mutex::new(None) }
    }

    /// The place of the connection, exclusively, until it is dropped: to wait for it and to
    /// connect are two things.
    pub(crate) async fn slot(&self) -> Slot<'_> {
        Slot { settings: &self.settings, client: self.client.lock().await }
    }

    /// Gives the connection up, unless somebody uses it just now.
    pub(crate) fn give_up(&self) {
        if let Ok(mut client) = self.client.try_lock() {
            *client = None;
        }
    }

    /// Whether somebody has the connection.
    pub(crate) fn is_in_use(&self) -> bool {
        self.client.try_lock().is_err()
    }

    /// The connection, exclusively, until the guard is dropped.
    pub(crate) async fn client(&self) -> Result<Connection<'_>, StoreError> {
        let mut slot = self.client.lock().await;
        if slot.as_ref().is_none_or(Client::is_closed) {
            *slot = Some(Box::pin(open(&self.settings)).await?);
        }
        MutexGuard::try_map(slot, Option::as_mut).map_err(|_| StoreError::Unreadable("an own connection"))
    }

    /// How long a statement may run.
    pub(crate) fn limit(&self) -> Duration {
        self.settings.statement_timeout
    }

    /// Runs one statement in a transaction of its own, under the statement timeout, in
    /// one round trip: BEGIN and COMMIT leave together with it. (A timeout that is set
    /// outside a transaction would stay behind in a pooled connection.)
    pub(crate) async fn query(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let work = async {
            let client = self.client().await?;
            let begin = begin(self.limit());
            // Polled in order, and each sends at its first poll.
            let (begun, rows, committed) = join3(
                client.batch_execute(&begin),
                client.query_typed(sql, parameters),
                client.batch_execute("commit"),
            )
            .await;
            begun.map_err(StoreError::of(operation))?;
            let rows = rows.map_err(StoreError::of(operation))?;
            committed.map_err(StoreError::of(operation))?;
            Ok(rows)
        };
        self.guarded(operation, work).await
    }

    /// Like [`Self::query`] where the answer is one row.
    pub(crate) async fn query_one(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Row, StoreError> {
        let rows = self.query(operation, sql, parameters).await?;
        rows.into_iter().next().ok_or(StoreError::Unreadable("an answer that should be there"))
    }

    /// Ends `work` if the database does not answer, and gives up a connection that is of
    /// no more use.
    pub(crate) async fn guarded<T, E: From<StoreError> + MaybeStore>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let done = match tokio::time::timeout(self.limit() + CONNECT_TIMEOUT + GRACE, work).await {
            Ok(done) => done,
            Err(_) => Err(StoreError::NoAnswer { operation }.into()),
        };
        if done.as_ref().is_err_and(|e| e.store().is_some_and(StoreError::spoils_connection)) {
            *self.client.lock().await = None;
        }
        done
    }
}

/// The place of a connection.
pub(crate) struct Slot<'a> {
    settings: &'a Postgres,
    client: MutexGuard<'a, Option<Client>>,
}

impl Slot<'_> {
    /// The connection, made now if there is none.
    pub(crate) async fn open(&mut self) -> Result<&mut Client, StoreError> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            *self.client = Some(Box::pin(open(self.settings)).await?);
        }
        self.client.as_mut().ok_or(StoreError::Unreadable("an own connection"))
    }

    /// Gives the connection up.
    pub(crate) fn close(&mut self) {
        *self.client = None;
    }
}

/// An error that may be the store's.
pub(crate) trait MaybeStore {
    /// The store's part.
    fn store(&self) -> Option<&StoreError>;
}

impl MaybeStore for StoreError {
    fn store(&self) -> Option<&StoreError> {
        Some(self)
    }
}

/// Opens a transaction with a statement timeout that ends with it.
pub(crate) fn begin(limit: Duration) -> String {
    format!("begin; select set_config('statement_timeout', '{}', true)", limit.as_millis())
}

/// Makes a connection.
pub(crate) async fn open(settings: &Postgres) -> Result<Client, StoreError> {
    let password = match &settings.sign_in {
        SignIn::Password => settings.password.clone(),
        // A new one for each connection: it is good for 15 minutes, to connect only.
        SignIn::Iam { region } => iam::token(settings, region)?,
    };
    let mut config = Config::new();
    config
        .host(&settings.host)
        .port(settings.port)
        .dbname(&settings.database)
        .user(&settings.user)
        .password(password.expose())
        .application_name("eaves")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(DEAD_PEER)
        .keepalives_idle(DEAD_PEER);
    let host = || format!("{}:{}", settings.host, settings.port);
    let failed = |source| StoreError::Connect { host: host(), source };
    match &settings.tls {
        Tls::Disable => {
            config.ssl_mode(tokio_postgres::config::SslMode::Disable);
            let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
            tokio::spawn(drive(connection, host()));
            Ok(client)
        }
        Tls::VerifyFull { ca_file } => {
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
            let mut tls = native_tls::TlsConnector::builder();
            if let Some(path) = ca_file {
                let pem = tokio::fs::read(path).await.map_err(|e| StoreError::Tls(e.into()))?;
                // Of a bundle every certificate: RDS publishes one per region.
                for certificate in String::from_utf8_lossy(&pem).split_inclusive("-----END CERTIFICATE-----")
                {
                    if certificate.contains("-----BEGIN") {
                        let ca = native_tls::Certificate::from_pem(certificate.trim().as_bytes());
                        tls.add_root_certificate(ca.map_err(|e| StoreError::Tls(e.into()))?);
                    }
                }
            }
            let tls = tls.build().map_err(|e| StoreError::Tls(e.into()))?;
            let tls = postgres_native_tls::MakeTlsConnector::new(tls);
            let (client, connection) = config.connect(tls).await.map_err(failed)?;
            tokio::spawn(drive(connection, host()));
            Ok(client)
        }
    }
}

/// Moves the connection's bytes until it ends. Its user sees the end as an error of the
/// statement; this line is for the case that nobody is using it.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>, host: String) {
    if let Err(error) = connection.await {
        tracing::debug!(db.host = %host, error = %error, "a database connection ended");
    }
}
