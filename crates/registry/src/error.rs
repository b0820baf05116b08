//! What can go wrong, and whether to try again.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use eaves_model::TenantId;

/// A failed operation of the registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The configuration lacks something.
    #[error("set up the plugin registry: {0}")]
    Setup(String),
    /// DynamoDB failed.
    #[error("{doing} in the plugin registry")]
    Table {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: ServiceError,
    },
    /// S3 failed.
    #[error("{doing} {key}")]
    Files {
        /// What was being done.
        doing: &'static str,
        /// With which object.
        key: String,
        /// Why it failed.
        source: object_store::Error,
    },
    /// A name or version that the registry does not take.
    #[error("{what} {text:?} {wanted}")]
    BadName {
        /// Name or version.
        what: &'static str,
        /// What was given.
        text: String,
        /// What would do.
        wanted: &'static str,
    },
    /// Settings that are not a JSON object, or too large.
    #[error("the settings are not a JSON object of at most 64 KiB: {0}")]
    BadSettings(String),
    /// The tenant has no such version.
    #[error("tenant {tenant} has no version {digest} of plugin {name}: push it first")]
    NoSuchVersion {
        /// Whose.
        tenant: TenantId,
        /// Of which plugin.
        name: String,
        /// Which.
        digest: String,
    },
    /// Someone else changed what is active in the meantime.
    #[error(
        "what is active for tenant {tenant} was changed by someone else meanwhile: look, and do it again"
    )]
    Conflict {
        /// Whose.
        tenant: TenantId,
    },
    /// A row that is not as this crate writes it.
    #[error("the registry's row for tenant {tenant} has no good {attribute:?}")]
    BadRow {
        /// Whose.
        tenant: TenantId,
        /// What is missing or wrong.
        attribute: &'static str,
    },
}

impl RegistryError {
    /// Whether the same call may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Table { source, .. } => source.retryable,
            Self::Files { source, .. } => {
                // What the store knows to be final has a variant of its own.
                matches!(source, object_store::Error::Generic { .. } | object_store::Error::JoinError { .. })
            }
            _ => false,
        }
    }
}

/// An error that an AWS service or the way to it gave.
#[derive(Debug, thiserror::Error)]
#[error("{code}")]
pub struct ServiceError {
    code: String,
    retryable: bool,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

const PASSING: [&str; 7] = [
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// For `map_err`: names the operation and sorts the error.
pub(crate) fn table<E>(doing: &'static str) -> impl FnOnce(SdkError<E>) -> RegistryError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    move |error| {
        let (code, retryable) = match &error {
            SdkError::ServiceError(e) => {
                let code = e.err().code().unwrap_or("unknown error");
                (code.to_owned(), PASSING.contains(&code) || e.raw().status().as_u16() >= 500)
            }
            SdkError::ConstructionFailure(_) => ("the request could not be made".into(), false),
            _ => ("DynamoDB could not be reached".into(), true),
        };
        RegistryError::Table { doing, source: ServiceError { code, retryable, source: error.into() } }
    }
}
