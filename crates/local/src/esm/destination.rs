//! The on-failure destination: where records go that could not be processed.

use super::rules::Condition;
use super::{MappingConfig, Record, event};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde_json::json;
use std::future::Future;

/// A place that keeps what was discarded.
pub trait Destination: Send + Sync + 'static {
    /// Keeps a document under a key.
    fn keep(&self, key: String, document: Bytes) -> impl Future<Output = Result<()>> + Send;
}

/// An S3 bucket of the emulator.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: reqwest::Client,
    url: String,
}

impl Bucket {
    /// The bucket `name` at the emulator's endpoint. Requests are not signed.
    pub fn new(endpoint: &str, name: &str) -> Self {
        Self { client: reqwest::Client::new(), url: format!("{endpoint}/{name}") }
    }
}

impl Destination for Bucket {
    async fn keep(&self, key: String, document: Bytes) -> Result<()> {
        let request =
            self.client.put(format!("{}/{key}", self.url)).header("content-type", "application/json");
        let response = request.body(document).send().await.context("put the discarded records")?;
        response.error_for_status().context("put the discarded records")?;
        Ok(())
    }
}

/// Records that are given up, with what the destination is told about them.
pub(super) struct Discarded<'a> {
    pub(super) config: &'a MappingConfig,
    pub(super) shard: &'a str,
    pub(super) records: &'a [Record],
    pub(super) condition: Condition,
    pub(super) invocations: u32,
}

impl Discarded<'_> {
    /// The object's key, as Lambda names it:
    /// `aws/lambda/<mapping>/<shard>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<uuid>`.
    pub(super) fn key(&self) -> String {
        let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
        let (day, second) = (now.strftime("%Y/%m/%d"), now.strftime("%Y-%m-%dT%H.%M.%S"));
        let (stream, shard, id) = (&self.config.stream, self.shard, uuid::Uuid::new_v4());
        format!("aws/lambda/{stream}/{shard}/{day}/{second}-{id}")
    }

    /// The document: the metadata Lambda sends, and the whole event as `payload`.
    pub(super) fn document(&self, function_arn: &str) -> Bytes {
        let arrival = |record: Option<&Record>| {
            let ms = record.map_or(0, |r| r.arrived_ms);
            jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or_default())
                .unwrap_or_default()
                .to_string()
        };
        let sequence = |record: Option<&Record>| record.map_or(String::new(), |r| r.sequence.clone());
        let payload = event::encode(self.config, self.shard, self.records);
        let (first, last) = (self.records.first(), self.records.last());
        let document = json!({
            "requestContext": {
                "requestId": uuid::Uuid::new_v4().to_string(),
                "functionArn": function_arn,
                "condition": self.condition.name(),
                "approximateInvokeCount": self.invocations,
            },
            "responseContext": {
                "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled",
            },
            "version": "1.0",
            "timestamp": jiff::Timestamp::now().to_string(),
            "KinesisBatchInfo": {
                "shardId": self.shard,
                "startSequenceNumber": sequence(first),
                "endSequenceNumber": sequence(last),
                "approximateArrivalOfFirstRecord": arrival(first),
                "approximateArrivalOfLastRecord": arrival(last),
                "batchSize": self.records.len(),
                "streamArn": self.config.stream_arn(),
            },
            "payload": String::from_utf8_lossy(&payload),
        });
        Bytes::from(document.to_string())
    }
}
