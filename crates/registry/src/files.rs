//! Components and artefacts in S3.

use crate::{RegistryError, presign};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{ProvideCredentials, SharedCredentialsProvider};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential};
use object_store::{CredentialProvider, ObjectStoreExt, RetryConfig, path::Path};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Longest that one operation is retried: a Lambda has no minutes to wait.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Files {
    bucket: AmazonS3,
    credentials: SharedCredentialsProvider,
    region: String,
    /// The host of the bucket's URLs, and the URL under which its keys stand.
    host: String,
    base: String,
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
            .with_credentials(Arc::new(Credentials(credentials.clone())))
            .with_retry(RetryConfig { max_retries: 3, retry_timeout: PATIENCE, ..RetryConfig::default() });
        if let Some(endpoint) = aws.endpoint_url() {
            // An emulator: plain HTTP, and no name of its own for each bucket.
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http://"))
                .with_virtual_hosted_style_request(false);
        }
        let base = match aws.endpoint_url() {
            Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            None => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        };
        let host = base.split('/').nth(2).unwrap_or_default().to_owned();
        let bucket = builder.build().map_err(|e| setup(&e.to_string()))?;
        Ok(Self { bucket, credentials, region: region.to_string(), host, base })
    }

    /// A URL by which one object of this size and SHA-256 may be put, and the headers to send
    /// with it. The key's characters stand for themselves in a URL.
    pub(crate) async fn invitation(
        &self,
        key: &str,
        bytes: u64,
        digest: &[u8; 32],
        open: Duration,
    ) -> Result<(String, Vec<(String, String)>), RegistryError> {
        let setup = |e: &dyn std::fmt::Display| RegistryError::Setup(format!("sign an upload's URL: {e}"));
        let credentials = self.credentials.provide_credentials().await.map_err(|e| setup(&e))?;
        let headers = vec![
            ("content-length".to_owned(), bytes.to_string()),
            // S3 keeps only what has this checksum.
            ("x-amz-checksum-sha256".to_owned(), STANDARD.encode(digest)),
        ];
        let url = format!("{}/{key}", self.base);
        let (host, region, now) = (self.host.as_str(), self.region.as_str(), SystemTime::now());
        let put = presign::Put { url: &url, host, region, credentials, now };
        let url = presign::put(put, &headers, open).map_err(|e| setup(&e))?;
        Ok((url, headers))
    }

    /// An object's size; `None` if there is none.
    pub(crate) async fn size(&self, key: &str) -> Result<Option<u64>, RegistryError> {
        use object_store::Error::{NotFound, PermissionDenied};
        match self.bucket.head(&Path::from(key)).await {
            Ok(found) => Ok(Some(found.size)),
            // S3 says the latter to those who may not list the bucket.
            Err(NotFound { .. } | PermissionDenied { .. }) => Ok(None),
            Err(source) => Err(RegistryError::Files { doing: "look for", key: key.into(), source }),
        }
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), RegistryError> {
        let deleted = self.bucket.delete(&Path::from(key)).await;
        deleted.map_err(|source| RegistryError::Files { doing: "delete", key: key.into(), source })
    }

    /// Keys hold the digest of what they name, so writing twice writes the same.
    pub(crate) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), RegistryError> {
        let put = self.bucket.put(&Path::from(key), bytes.into()).await;
        put.map(drop).map_err(|source| RegistryError::Files { doing: "store", key: key.into(), source })
    }

    /// Hands an object to `take` bit by bit as it comes, as long as that says to go on.
    pub(crate) async fn each(
        &self,
        key: &str,
        mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), RegistryError> {
        let failed = |source| RegistryError::Files { doing: "fetch", key: key.into(), source };
        let mut parts = self.bucket.get(&Path::from(key)).await.map_err(failed)?.into_stream();
        while let Some(part) = parts.try_next().await.map_err(failed)? {
            if take(&part).is_break() {
                break;
            }
        }
        Ok(())
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Bytes, RegistryError> {
        let failed = |source| RegistryError::Files { doing: "fetch", key: key.into(), source };
        self.bucket.get(&Path::from(key)).await.map_err(failed)?.bytes().await.map_err(failed)
    }
}
