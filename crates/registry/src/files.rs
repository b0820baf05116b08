//! Components and artefacts in S3.

use crate::RegistryError;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{ProvideCredentials, SharedCredentialsProvider};
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential};
use object_store::{CredentialProvider, ObjectStoreExt, RetryConfig, path::Path};
use std::sync::Arc;
use std::time::Duration;

/// Longest that one operation is retried: a Lambda has no minutes to wait.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Files {
    bucket: AmazonS3,
}

/// The same credentials for S3 as for every other service.
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

impl Files {
    pub(crate) fn new(aws: &SdkConfig, bucket: &str) -> Result<Self, RegistryError> {
        let setup = |what: &str| RegistryError::Setup(what.into());
        let region = aws.region().ok_or_else(|| setup("no AWS region; example: AWS_REGION=eu-central-1"))?;
        let credentials = aws.credentials_provider().ok_or_else(|| setup("no AWS credentials"))?;
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
        let bucket = builder.build().map_err(|e| setup(&e.to_string()))?;
        Ok(Self { bucket })
    }

    /// Keys hold the digest of what they name, so writing twice writes the same.
    pub(crate) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), RegistryError> {
        let put = self.bucket.put(&Path::from(key), bytes.into()).await;
        put.map(drop).map_err(|source| RegistryError::Files { doing: "store", key: key.into(), source })
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Bytes, RegistryError> {
        let failed = |source| RegistryError::Files { doing: "fetch", key: key.into(), source };
        self.bucket.get(&Path::from(key)).await.map_err(failed)?.bytes().await.map_err(failed)
    }
}
