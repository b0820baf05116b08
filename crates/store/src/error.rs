//! What can go wrong with the database, and whether it may pass.

use tokio_postgres::error::SqlState;

/// A database operation that failed. The database's own words are in the source only.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection.
    #[error("connecting to the database at {host} failed")]
    Connect {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The encryption of the connection could not be set up.
    #[error("setting up TLS for the database failed")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No token could be signed to connect with.
    #[error("signing an IAM token for the database failed")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A statement failed.
    #[error("{operation} failed")]
    Statement {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: tokio_postgres::Error,
    },
    /// No answer in time.
    #[error("{operation} got no answer from the database in time")]
    NoAnswer {
        /// What was being done.
        operation: &'static str,
    },
    /// The schema could not be brought up to date.
    #[error("migrating the database failed")]
    Migrate(#[source] Box<refinery::Error>),
    /// The server is too old.
    #[error("PostgreSQL 15 or newer is needed, this server is version {found}")]
    OldServer {
        /// Its version.
        found: String,
    },
    /// The database holds something that this version cannot read.
    #[error("cannot read {0} from the database")]
    Unreadable(&'static str),
}

impl StoreError {
    /// For `map_err`: the failure of `operation`.
    pub(crate) fn of(operation: &'static str) -> impl Fn(tokio_postgres::Error) -> Self {
        move |source| Self::Statement { operation, source }
    }

    /// The code of what the database refused, if it is that.
    pub(crate) fn sql_state(&self) -> Option<&str> {
        match self {
            Self::Statement { source, .. } => source.code().map(SqlState::code),
            _ => None,
        }
    }

    /// Whether the same may succeed later: the database is away, busy, shutting down or
    /// has taken another's side in a conflict. Everything else fails again.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => true,
            Self::Connect { source, .. } | Self::Statement { source, .. } => may_pass(source),
            Self::Tls(_)
            | Self::Token(_)
            | Self::Migrate(_)
            | Self::OldServer { .. }
            | Self::Unreadable(_) => false,
        }
    }

    /// Whether the connection is of no more use, although it may look alive: after a
    /// failover an old connection may lead to what is now a replica.
    pub(crate) fn spoils_connection(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => true,
            Self::Statement { source, .. } => match source.code() {
                Some(code) => *code == SqlState::READ_ONLY_SQL_TRANSACTION || code.code().starts_with("08"),
                None => true,
            },
            _ => false,
        }
    }
}

fn may_pass(error: &tokio_postgres::Error) -> bool {
    // Without a code the connection broke, or was never made.
    let Some(code) = error.code() else { return true };
    // Connection, transaction conflict, resources, object in use, operator, system.
    let classes = ["08", "40", "53", "55", "57", "58"];
    classes.iter().any(|class| code.code().starts_with(class)) || *code == SqlState::READ_ONLY_SQL_TRANSACTION
}
