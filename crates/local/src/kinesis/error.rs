//! Errors as the Kinesis API names them.

use std::fmt;

/// The kinds of errors, under the names of the Kinesis API reference ("Errors" of each
/// operation, and "Common Errors").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The stream or shard does not exist.
    ResourceNotFound,
    /// The stream exists already.
    ResourceInUse,
    /// A value that is well formed makes no sense: too large, out of its range, of another stream.
    InvalidArgument,
    /// The shard iterator is older than five minutes.
    ExpiredIterator,
    /// The pagination token is older than five minutes.
    ExpiredNextToken,
    /// The account's limit of shards, or another limit of the control plane, is reached.
    LimitExceeded,
    /// A shard's throughput is used up. Clients try again.
    ProvisionedThroughputExceeded,
    /// A member is missing, or breaks its documented constraint.
    Validation,
    /// The body is no JSON, or a member has the wrong type.
    Serialization,
    /// There is no such operation here.
    UnknownOperation,
    /// The service failed (HTTP 500). Clients try again.
    InternalFailure,
    /// The service is not available (HTTP 503). Clients try again.
    ServiceUnavailable,
}

impl ErrorKind {
    /// The name that `__type` carries.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::ResourceInUse => "ResourceInUseException",
            Self::InvalidArgument => "InvalidArgumentException",
            Self::ExpiredIterator => "ExpiredIteratorException",
            Self::ExpiredNextToken => "ExpiredNextTokenException",
            Self::LimitExceeded => "LimitExceededException",
            Self::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            Self::Validation => "ValidationException",
            Self::Serialization => "SerializationException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::InternalFailure => "InternalFailure",
            Self::ServiceUnavailable => "ServiceUnavailable",
        }
    }

    /// The HTTP status it is told with.
    pub fn status(self) -> u16 {
        match self {
            Self::InternalFailure => 500,
            Self::ServiceUnavailable => 503,
            _ => 400,
        }
    }
}

/// An error on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", kind.name())]
pub(crate) struct ApiError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ResourceNotFound, message)
    }

    /// A member that breaks its constraint, in the words of the service. Long values are cut.
    pub(crate) fn constraint(field: &str, value: impl fmt::Display, constraint: &str) -> Self {
        let value = value.to_string();
        let mut shown: String = value.chars().take(200).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Self::new(
            ErrorKind::Validation,
            format!(
                "1 validation error detected: Value '{shown}' at '{field}' failed to satisfy constraint: \
                 Member must {constraint}"
            ),
        )
    }

    pub(crate) fn missing(field: &str) -> Self {
        Self::new(
            ErrorKind::Validation,
            format!(
                "1 validation error detected: Value null at '{field}' failed to satisfy constraint: \
                 Member must not be null"
            ),
        )
    }
}
