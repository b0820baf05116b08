//! The stream, through the AWS SDK.

use super::shards::Shard;
use super::{Page, Record, Source, SourceError};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{DisplayErrorContext, SdkError};
use aws_sdk_kinesis::operation::get_records::GetRecordsError;
use aws_sdk_kinesis::operation::get_shard_iterator::GetShardIteratorError;
use aws_sdk_kinesis::types::ShardIteratorType;
use bytes::Bytes;

/// A Kinesis stream.
#[derive(Debug, Clone)]
pub struct Stream {
    client: Client,
    name: String,
}

impl Stream {
    /// The stream `name`.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }
}

impl Source for Stream {
    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        let mut shards = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self.client.list_shards();
            // The service wants either the name or the token of a further page.
            let request = match token.take() {
                Some(token) => request.next_token(token),
                None => request.stream_name(&self.name),
            };
            let answer = request.send().await.map_err(failed)?;
            for shard in answer.shards.unwrap_or_default() {
                let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id];
                shards.push(Shard { id: shard.shard_id, parents: parents.into_iter().flatten().collect() });
            }
            token = answer.next_token;
            if token.is_none() {
                return Ok(shards);
            }
        }
    }

    async fn iterator(&self, shard: &str, after: Option<&str>) -> Result<String, SourceError> {
        let request = self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let request = match after {
            None => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Some(sequence) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(sequence),
        };
        let answer = request.send().await.map_err(|e| match e.as_service_error() {
            Some(GetShardIteratorError::ResourceNotFoundException(_)) => SourceError::Gone,
            _ => failed(e),
        })?;
        answer.shard_iterator.ok_or(SourceError::Gone)
    }

    async fn records(&self, iterator: &str, limit: usize) -> Result<Page, SourceError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX).min(10_000);
        let answer = self.client.get_records().shard_iterator(iterator).limit(limit).send().await;
        let answer = answer.map_err(|e| match e.as_service_error() {
            Some(GetRecordsError::ExpiredIteratorException(_)) => SourceError::IteratorExpired,
            Some(GetRecordsError::ResourceNotFoundException(_)) => SourceError::Gone,
            _ => failed(e),
        })?;
        let records = answer.records.into_iter().map(|record| Record {
            arrived_ms: record
                .approximate_arrival_timestamp
                .and_then(|t| t.to_millis().ok())
                .and_then(|ms| u64::try_from(ms).ok())
                .unwrap_or_default(),
            sequence: record.sequence_number,
            partition_key: record.partition_key.unwrap_or_default(),
            data: Bytes::from(record.data.into_inner()),
        });
        Ok(Page { records: records.collect(), next: answer.next_shard_iterator })
    }
}

fn failed<E: std::error::Error + Send + Sync + 'static>(error: SdkError<E>) -> SourceError {
    SourceError::Failed(DisplayErrorContext(&error).to_string())
}
