//! Reading a shard again from Kinesis.

use crate::handler::arrived;
use aws_config::SdkConfig;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;
use eaves_model::Position;
use eaves_pipeline::{Record, Reread, RereadError};
use eaves_settings::Stream;

/// Empty answers in a row after which the shard has no more: Kinesis may answer with no
/// records before the tip is reached.
const EMPTY_ANSWERS: u32 = 5;

/// The stream, as recovery reads it.
pub(crate) struct Kinesis {
    client: Client,
    settings: Stream,
}

impl Kinesis {
    pub(crate) fn new(aws: &SdkConfig, settings: Stream) -> Self {
        Self { client: Client::new(aws), settings }
    }
}

impl Reread for Kinesis {
    async fn after(
        &self,
        _stream: &str,
        shard: &str,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Vec<Record>, RereadError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| RereadError {
            shard: shard.to_owned(),
            source,
        };
        let request = self.client.get_shard_iterator().stream_name(&self.settings.name).shard_id(shard);
        let request = match after {
            None => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Some(position) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                // The local emulator pads its numbers to 30 digits and compares them as text;
                // AWS's have 56 digits, which this leaves alone.
                .starting_sequence_number(format!("{:0>30}", position.sequence())),
        };
        let mut iterator = request.send().await.map_err(|e| failed(e.into()))?.shard_iterator;
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        for _ in 0..EMPTY_ANSWERS {
            let Some(from) = iterator else { break };
            let answer = self.client.get_records().shard_iterator(from).limit(limit).send().await;
            let answer = answer.map_err(|e| failed(e.into()))?;
            if !answer.records.is_empty() {
                let records = answer.records.into_iter();
                return Ok(records
                    .map(|r| Record {
                        arrived: arrived(r.approximate_arrival_timestamp.map_or(i64::MAX, |t| t.secs())),
                        sequence: r.sequence_number,
                        data: r.data.into_inner(),
                    })
                    .collect());
            }
            if answer.millis_behind_latest == Some(0) {
                break;
            }
            iterator = answer.next_shard_iterator;
        }
        Ok(Vec::new())
    }
}
