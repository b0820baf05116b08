//! The bucket with the files.

use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use bytes::Bytes;
use object_store::aws::{AmazonS3Builder, AwsCredential};
use object_store::memory::InMemory;
use object_store::{CredentialProvider, ObjectStore, ObjectStoreExt as _, RetryConfig, path::Path};
use std::sync::Arc;
use std::time::Duration;

/// Longest that one operation is retried: a Lambda has no minutes to wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// An operation on the bucket that failed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The client could not be made.
    #[error("the bucket {bucket} cannot be reached: {reason}")]
    Setup {
        /// The bucket.
        bucket: String,
        /// Why.
        reason: String,
    },
    /// A file could not be written or read.
    #[error("to {doing} {name} failed")]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        name: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
}

/// The bucket.
#[derive(Debug, Clone)]
pub struct Archive {
    bucket: Arc<dyn ObjectStore>,
}

/// The same credentials as for every other service.
#[derive(Debug)]
struct Credentials(SharedCredentialsProvider);

#[async_trait::async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = self.0.provide_credentials().await;
        let found = found.map_err(|e| object_store::Error::Generic { store: "S3", source: e.into() })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().into(),
            secret_key: found.secret_access_key().into(),
            token: found.session_token().map(str::to_owned),
        }))
    }
}

impl Archive {
    /// The bucket of this name.
    pub fn new(aws: &SdkConfig, bucket: &str) -> Result<Self, ArchiveError> {
        let setup = |reason: String| ArchiveError::Setup { bucket: bucket.into(), reason };
        let region =
            aws.region().ok_or_else(|| setup("no AWS region; example: AWS_REGION=eu-central-1".into()))?;
        let credentials = aws.credentials_provider().ok_or_else(|| setup("no AWS credentials".into()))?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region.as_ref())
            .with_credentials(Arc::new(Credentials(credentials)))
            .with_retry(RetryConfig { max_retries: 3, retry_timeout: PATIENCE, ..RetryConfig::default() });
        if let Some(endpoint) = aws.endpoint_url() {
            // An emulator: plain HTTP, and no name of its own for each bucket.
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http://"))
                .with_virtual_hosted_style_request(false);
        }
        Ok(Self { bucket: Arc::new(builder.build().map_err(|e| setup(e.to_string()))?) })
    }

    /// One in memory, for tests.
    pub fn in_memory() -> Self {
        Self { bucket: Arc::new(InMemory::new()) }
    }

    /// Writes a file, also over the one there is: under one name there is one content.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ArchiveError> {
        let put = self.bucket.put(&Path::from(name), bytes.into()).await;
        put.map(drop).map_err(|source| ArchiveError::File { doing: "write", name: name.into(), source })
    }

    /// Reads one.
    pub async fn get(&self, name: &str) -> Result<Bytes, ArchiveError> {
        let failed = |source| ArchiveError::File { doing: "read", name: name.into(), source };
        self.bucket.get(&Path::from(name)).await.map_err(failed)?.bytes().await.map_err(failed)
    }
}
