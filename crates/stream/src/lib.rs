//! Kinesis read from a position: what recovery, replays and audits need of the stream.
//! (Deliveries come from Lambda's event source mapping and need nothing of this.)

use aws_config::SdkConfig;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::operation::get_shard_iterator::GetShardIteratorError as IteratorError;
use aws_sdk_kinesis::types::ShardIteratorType as Type;
use eaves_model::Position;
use eaves_pipeline::{Found, Record, Reread, RereadError, arrival};
use std::time::Duration;

/// Answers without a record after which something is wrong. Kinesis walks through a shard
/// in steps and may find nothing in many of them.
const EMPTY_ANSWERS: u32 = 2000;
/// Pause after an empty answer: a shard answers five reads a second.
const PAUSE: Duration = Duration::from_millis(20);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The stream of an account and region that the SDK's settings name.
#[derive(Debug)]
pub struct Kinesis {
    client: Client,
}

impl Kinesis {
    /// A reader.
    pub fn new(aws: &SdkConfig) -> Self {
        Self::with(Client::new(aws))
    }

    /// A reader through a client that is there.
    pub fn with(client: Client) -> Self {
        Self { client }
    }

    /// Like [`Reread::read`], but with the whole record at `from` itself.
    pub async fn read_at(
        &self,
        stream: &str,
        shard: &str,
        from: &Position,
        limit: usize,
    ) -> Result<Found, RereadError> {
        // A place inside the record: what is behind it begins with the record.
        let inside = Position::within(from.sequence(), 0);
        let inside = inside.map_err(|e| RereadError { shard: shard.to_owned(), source: e.into() })?;
        self.read(stream, shard, Some(&inside), limit).await
    }

    /// `None`: there is no such shard, or it ended.
    async fn iterator(
        &self,
        stream: &str,
        shard: &str,
        at: Option<&Position>,
    ) -> Result<Option<String>, Failure> {
        let request = self.client.get_shard_iterator().stream_name(stream).shard_id(shard);
        let request = match at {
            None => request.shard_iterator_type(Type::TrimHorizon),
            Some(at) => {
                request.shard_iterator_type(Type::AtSequenceNumber).starting_sequence_number(at.sequence())
            }
        };
        match request.send().await {
            Ok(answer) => Ok(answer.shard_iterator),
            Err(SdkError::ServiceError(e))
                if matches!(e.err(), IteratorError::ResourceNotFoundException(_)) =>
            {
                Ok(None)
            }
            Err(e) => Err(e.into()),
        }
    }

    async fn read_from(
        &self,
        stream: &str,
        shard: &str,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Found, Failure> {
        // A new iterator for each page: only the record at `after` itself says that nothing
        // behind it has been forgotten since.
        let mut kept = after.is_none();
        let mut iterator = match self.iterator(stream, shard, after).await {
            // Of a number that the stream has forgotten some servers want to know nothing.
            Err(e) if after.is_some() && names_the_number(&e) => self.iterator(stream, shard, None).await?,
            other => other?,
        };
        let mut records = Vec::new();
        for _ in 0..EMPTY_ANSWERS {
            let Some(from) = iterator else { return Ok(Found { kept, records }) };
            let wanted = i32::try_from(limit.saturating_add(1)).unwrap_or(i32::MAX).min(10_000);
            let answer = self.client.get_records().shard_iterator(from).limit(wanted).send().await?;
            for record in answer.records {
                let at = Position::whole(&record.sequence_number)?;
                match after {
                    // Nothing behind it can be gone.
                    Some(p) if at.sequence() == p.sequence() => {
                        kept = true;
                        if p.sub() == u32::MAX {
                            continue;
                        }
                    }
                    Some(p) if at < *p => continue,
                    _ => {}
                }
                records.push(Record {
                    arrived: record.approximate_arrival_timestamp.and_then(|t| arrival(t.secs())),
                    sequence: record.sequence_number,
                    data: record.data.into_inner(),
                });
            }
            if !records.is_empty() {
                return Ok(Found { kept, records });
            }
            if answer.millis_behind_latest.unwrap_or(0) == 0 {
                return Ok(Found { kept, records });
            }
            iterator = answer.next_shard_iterator;
            tokio::time::sleep(PAUSE).await;
        }
        Err(format!("{EMPTY_ANSWERS} answers without a record, and the shard's end was not reached").into())
    }
}

/// Whether Kinesis refused the sequence number itself.
fn names_the_number(error: &Failure) -> bool {
    error
        .downcast_ref::<SdkError<IteratorError>>()
        .is_some_and(|e| e.as_service_error().is_some_and(IteratorError::is_invalid_argument_exception))
}

impl Reread for Kinesis {
    async fn read(
        &self,
        stream: &str,
        shard: &str,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Found, RereadError> {
        let found = self.read_from(stream, shard, after, limit).await;
        found.map_err(|source| RereadError { shard: shard.to_owned(), source })
    }

    async fn retention(&self, stream: &str) -> Result<Duration, RereadError> {
        let answer = self.client.describe_stream_summary().stream_name(stream).send().await;
        let answer = answer.map_err(|e| RereadError { shard: "any".into(), source: e.into() })?;
        let hours = answer.stream_description_summary.map_or(24, |s| s.retention_period_hours);
        Ok(Duration::from_secs(3600 * u64::try_from(hours).unwrap_or_default()))
    }
}
