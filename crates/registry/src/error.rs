//! What can go wrong, and whether to try again.

use crate::VersionState;
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
    #[error("tenant {tenant} has no version {version} of plugin {name}: push it first")]
    NoSuchVersion {
        /// Whose.
        tenant: TenantId,
        /// Of which plugin.
        name: String,
        /// Which, by version or digest.
        version: String,
    },
    /// The version exists with another component, and live values have seen that one.
    #[error("version {version} of {name} is {state} with another component: choose a new version")]
    VersionTaken {
        /// The plugin.
        name: String,
        /// The version.
        version: String,
        /// What it is.
        state: VersionState,
    },
    /// The version was not checked, or refused.
    #[error("version {version} of {name} is {state}: only a checked version can be put in force")]
    NotChecked {
        /// The plugin.
        name: String,
        /// The version.
        version: String,
        /// What it is.
        state: VersionState,
    },
    /// There is nothing to go back to.
    #[error("there is nothing to roll back to: before the active version of {name} none was active")]
    NothingBefore {
        /// The plugin.
        name: String,
    },
    /// What a rollback goes back to is not signed as the tenant wants it.
    #[error(
        "version {version} of {name}, which was active before, is signed by none of the tenant's publishers: \
         activate a signed version, or deactivate the plugin"
    )]
    UnsignedBefore {
        /// The plugin.
        name: String,
        /// The version.
        version: String,
    },
    /// The component is larger than the tenant may bring.
    #[error("the component has {bytes} bytes, over the tenant's limit of {most}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// Nothing was put for the invitation, or it was not the tenant's, or it is over.
    #[error(
        "nothing was uploaded as {id:?}: ask for a place, put the component there, and name it within the hour"
    )]
    NoUpload {
        /// Its number.
        id: String,
    },
    /// What was put is not what was announced.
    #[error("what was uploaded as {id} has {what}")]
    WrongUpload {
        /// Its number.
        id: String,
        /// In what it differs.
        what: String,
    },
    /// The tenant has as many versions as it may have.
    #[error("the tenant has {most} versions, its limit: none more can be taken")]
    TooManyVersions {
        /// The limit.
        most: u32,
    },
    /// The tenant has uploaded as often in this hour as it may.
    #[error("the tenant has uploaded {most} times in this hour, its limit: try again in the next")]
    TooManyUploads {
        /// The limit.
        most: u32,
    },
    /// The tenant has as many backtests under way as it may have.
    #[error(
        "the tenant has {most} backtests under way, its limit over all its plugins: wait for one, or cancel one"
    )]
    TooManyBacktests {
        /// The limit.
        most: u8,
    },
    /// All tenants together have.
    #[error("the platform has {most} backtests under way, its limit over all tenants: try again in a minute")]
    BacktestsFull {
        /// The limit.
        most: u8,
    },
    /// The tenant takes signed plugins only.
    #[error("the tenant takes only plugins that one of its publishers has signed")]
    NotSigned,
    /// A signature of none of the tenant's publishers.
    #[error("the signature is not that of one of the tenant's publishers over this component")]
    BadSignature,
    /// A policy that cannot be.
    #[error("{field}: {problem}")]
    BadPolicy {
        /// Which of its fields.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Someone else changed it in the meantime.
    #[error("it was changed by someone else meanwhile (tenant {tenant}): look, and do it again")]
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
