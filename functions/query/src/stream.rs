//! Where accepted readings go: Kinesis.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Most records in one PutRecords call.
const RECORDS_PER_CALL: usize = 500;
/// Most bytes in one call, keys included; the service takes 5 MiB.
const BYTES_PER_CALL: usize = 4_500_000;
/// How often what was refused is sent again.
const ROUNDS: u32 = 5;
/// Pause before the first repetition; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// A record on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Keeps the readings of one entity in order.
    pub partition_key: String,
    /// The bytes.
    pub data: Vec<u8>,
}

/// Where a record stands that the stream took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The shard's identifier.
    pub shard: String,
    /// Its sequence number.
    pub sequence: String,
}

/// The stream did not take a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stream did not take the record: {0}")]
pub struct StreamError(pub String);

/// A stream that takes records. Behind a trait, so that tests can refuse some.
pub trait Stream: Send + Sync {
    /// Puts records; one result each, in order.
    fn put<'a>(&'a self, records: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<Placed, StreamError>>>;
}

/// The Kinesis stream.
pub(crate) struct Kinesis {
    client: Client,
    name: String,
}

impl Kinesis {
    pub(crate) fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    async fn call(&self, records: &[Outgoing], batch: &[usize]) -> Vec<Result<Placed, StreamError>> {
        let all = |why: &str| batch.iter().map(|_| Err(StreamError(why.to_owned()))).collect();
        let mut entries = Vec::with_capacity(batch.len());
        for &i in batch {
            let entry = PutRecordsRequestEntry::builder()
                .data(Blob::new(records[i].data.clone()))
                .partition_key(&records[i].partition_key)
                .build();
            match entry {
                Ok(entry) => entries.push(entry),
                Err(_) => return all("InvalidRecord"),
            }
        }
        let sent = self.client.put_records().stream_name(&self.name).set_records(Some(entries)).send().await;
        match sent {
            Ok(answer) => {
                let mut results: Vec<_> = answer
                    .records()
                    .iter()
                    .map(|r| match (r.error_code(), r.shard_id(), r.sequence_number()) {
                        (None, Some(shard), Some(sequence)) => {
                            Ok(Placed { shard: shard.to_owned(), sequence: sequence.to_owned() })
                        }
                        (code, ..) => Err(StreamError(code.unwrap_or("NoAnswer").to_owned())),
                    })
                    .collect();
                // An answer that is too short says nothing of the rest.
                results.resize(batch.len(), Err(StreamError("NoAnswer".into())));
                results
            }
            Err(e) => {
                let code = e.as_service_error().and_then(|s| s.meta().code()).unwrap_or("NoAnswer");
                tracing::warn!(error.code = code, "telemetry.put_records_failed");
                all(code)
            }
        }
    }
}

impl Stream for Kinesis {
    fn put<'a>(&'a self, records: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<Placed, StreamError>>> {
        Box::pin(async move {
            let mut results = vec![Err(StreamError("NotSent".into())); records.len()];
            let mut left: Vec<usize> = (0..records.len()).collect();
            let mut pause = FIRST_PAUSE;
            for round in 0..ROUNDS {
                if round > 0 {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                for batch in batches(records, &left) {
                    for (&i, result) in batch.iter().zip(self.call(records, batch).await) {
                        results[i] = result;
                    }
                }
                left.retain(|&i| results[i].is_err());
                if left.is_empty() {
                    break;
                }
            }
            results
        })
    }
}

/// Splits what is left into calls within the service's limits.
fn batches<'a>(records: &[Outgoing], left: &'a [usize]) -> Vec<&'a [usize]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, &i) in left.iter().enumerate() {
        let size = records[i].data.len() + records[i].partition_key.len();
        if at > start && (at - start == RECORDS_PER_CALL || bytes + size > BYTES_PER_CALL) {
            batches.push(&left[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    if start < left.len() {
        batches.push(&left[start..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_stay_within_the_limits_of_the_service() {
        let record = |size| Outgoing { partition_key: "k".into(), data: vec![0; size] };
        let records: Vec<_> = (0..1201).map(|_| record(10)).collect();
        let left: Vec<_> = (0..records.len()).collect();
        let sizes: Vec<_> = batches(&records, &left).iter().map(|b| b.len()).collect();
        assert_eq!(sizes, [500, 500, 201]);
        let records = [record(3_000_000), record(2_000_000), record(1)];
        assert_eq!(batches(&records, &[0, 1, 2]), [&[0][..], &[1, 2][..]]);
        assert!(batches(&records, &[]).is_empty());
    }
}
