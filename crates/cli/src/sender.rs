//! Records into a Kinesis stream, with everything `PutRecords` asks of a producer.
//!
//! A call may take some records and refuse others, so each record is followed by itself:
//! what was throttled is sent again, alone, after a growing pause; what still fails at the
//! end is handed back. A call that breaks off is repeated as a whole. Records may thereby
//! arrive twice: readings carry their own identity, so the platform keeps one point.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{DisplayErrorContext, ProvideErrorMetadata as _, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use eaves_model::{ConsistencyToken, Position};
use futures_util::{StreamExt as _, stream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most records in one call.
const MAX_RECORDS: usize = 500;
/// Most bytes in one call, partition keys included.
const MAX_CALL_BYTES: usize = 5 * 1024 * 1024;
/// Most bytes in one record, its partition key included.
pub(crate) const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// Longest partition key, in characters.
const MAX_KEY_CHARS: usize = 256;

/// A record to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Records with the same key stay in one shard.
    pub(crate) partition_key: String,
    /// The payload.
    pub(crate) data: Vec<u8>,
}

/// What became of the records of one [`Sender::send`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SendReport {
    /// How many the stream has taken.
    pub(crate) accepted: usize,
    /// How many times a record was sent again.
    pub(crate) retried: usize,
    /// The records it has not taken.
    pub(crate) failed: Vec<Failed>,
    /// Why a call as a whole was refused for good: no such stream, no permission, nobody
    /// there. Further records will fare no better.
    pub(crate) broken: Option<String>,
}

/// A record that the stream has not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Its index among the records given.
    pub(crate) index: usize,
    /// Why, for people.
    pub(crate) reason: String,
}

/// Why a call or one of its records was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Whether it may go through later.
    pub(crate) retryable: bool,
    /// For people.
    pub(crate) reason: String,
}

/// Where calls go: Kinesis, or a test's idea of it.
pub(crate) trait PutRecords {
    /// One outcome per record, in order; the error is for the call as a whole.
    fn put(&self, records: Vec<Record>)
    -> impl Future<Output = Result<Vec<Option<Refusal>>, Refusal>> + Send;
}

/// A stream of Kinesis.
#[derive(Debug, Clone)]
pub(crate) struct Kinesis {
    client: Client,
    stream: String,
    /// What it has taken.
    taken: Arc<Mutex<ConsistencyToken>>,
}

/// How persistent a sender is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Persistence {
    /// Times a record is tried in all.
    pub(crate) attempts: u32,
    /// The first pause; it doubles each time.
    pub(crate) pause: Duration,
    /// The longest pause.
    pub(crate) longest: Duration,
    /// Calls in flight at once.
    pub(crate) calls: usize,
}

impl Default for Persistence {
    fn default() -> Self {
        // About 25 seconds in all: longer than a resharding or a failover.
        Self { attempts: 10, pause: Duration::from_millis(100), longest: Duration::from_secs(5), calls: 8 }
    }
}

/// Sends records.
#[derive(Debug, Clone)]
pub(crate) struct Sender<P> {
    to: P,
    how: Persistence,
}

impl Sender<Kinesis> {
    /// A sender to a stream.
    pub(crate) fn new(client: Client, stream: impl Into<String>) -> Self {
        let (stream, taken) = (stream.into(), Arc::default());
        Self::with(Kinesis { client, stream, taken }, Persistence::default())
    }
}

impl Sender<Kinesis> {
    /// The token of all that the stream has taken, all of it of one tenant.
    pub(crate) fn token(&self, tenant: &str) -> Option<String> {
        let taken = self.to.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.encode(&self.to.stream, tenant)
    }
}

impl<P: PutRecords> Sender<P> {
    pub(crate) fn with(to: P, how: Persistence) -> Self {
        Self { to, how }
    }

    /// Sends records, several calls at once, and tells what became of each.
    pub(crate) async fn send(&self, records: Vec<Record>) -> SendReport {
        let mut report = SendReport::default();
        let (calls, refused) = split(records);
        report.failed = refused;
        let mut parts =
            stream::iter(calls.into_iter().map(|call| self.deliver(call))).buffer_unordered(self.how.calls);
        while let Some(part) = parts.next().await {
            report.accepted += part.accepted;
            report.retried += part.retried;
            report.failed.extend(part.failed);
            report.broken = report.broken.or(part.broken);
        }
        report.failed.sort_by_key(|failed| failed.index);
        report
    }

    async fn deliver(&self, mut pending: Vec<(usize, Record)>) -> SendReport {
        let mut report = SendReport::default();
        for attempt in 1.. {
            let last = attempt >= self.how.attempts;
            let records = pending.iter().map(|(_, record)| record.clone()).collect();
            let outcomes = match self.to.put(records).await {
                Ok(outcomes) => outcomes,
                Err(refusal) => {
                    if last || !refusal.retryable {
                        report.broken = Some(refusal.reason.clone());
                    }
                    vec![Some(refusal); pending.len()]
                }
            };
            let mut again = Vec::new();
            for (position, (index, record)) in pending.into_iter().enumerate() {
                // An answer shorter than the question says nothing of the rest.
                let silent =
                    || Some(Refusal { retryable: true, reason: "the answer does not mention it".into() });
                match outcomes.get(position).cloned().unwrap_or_else(silent) {
                    None => report.accepted += 1,
                    Some(refusal) if refusal.retryable && !last => again.push((index, record)),
                    Some(refusal) => report.failed.push(Failed { index, reason: refusal.reason }),
                }
            }
            if again.is_empty() {
                break;
            }
            report.retried += again.len();
            pending = again;
            tokio::time::sleep(self.pause(attempt)).await;
        }
        report
    }

    /// Between half and all of a pause that doubles, so that senders do not march in step.
    fn pause(&self, attempt: u32) -> Duration {
        let doubled = self.how.pause.saturating_mul(1 << (attempt - 1).min(16));
        doubled.min(self.how.longest).mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}

/// Records in calls that Kinesis will look at, with their indices, and those it would not.
fn split(records: Vec<Record>) -> (Vec<Vec<(usize, Record)>>, Vec<Failed>) {
    let (mut calls, mut refused) = (Vec::new(), Vec::new());
    let (mut call, mut bytes) = (Vec::new(), 0);
    for (index, record) in records.into_iter().enumerate() {
        let size = record.data.len() + record.partition_key.len();
        let key = record.partition_key.chars().count();
        if size > MAX_RECORD_BYTES {
            let reason = format!("a record of {size} bytes: Kinesis takes {MAX_RECORD_BYTES}");
            refused.push(Failed { index, reason });
            continue;
        }
        if key == 0 || key > MAX_KEY_CHARS {
            let reason = format!("a partition key of {key} characters: Kinesis takes 1 to {MAX_KEY_CHARS}");
            refused.push(Failed { index, reason });
            continue;
        }
        if call.len() == MAX_RECORDS || bytes + size > MAX_CALL_BYTES {
            calls.push(std::mem::take(&mut call));
            bytes = 0;
        }
        bytes += size;
        call.push((index, record));
    }
    if !call.is_empty() {
        calls.push(call);
    }
    (calls, refused)
}

/// The partition key of a device's readings.
pub(crate) fn partition_key(tenant: &str, entity: &str) -> String {
    let key = format!("{tenant}/{entity}");
    match key.char_indices().nth(MAX_KEY_CHARS) {
        None => key,
        Some((end, _)) => key[..end].to_owned(),
    }
}

impl PutRecords for Kinesis {
    async fn put(&self, records: Vec<Record>) -> Result<Vec<Option<Refusal>>, Refusal> {
        let mut call = self.client.put_records().stream_name(&self.stream);
        for record in records {
            let entry = PutRecordsRequestEntry::builder()
                .data(Blob::new(record.data))
                .partition_key(record.partition_key)
                .build()
                .map_err(|e| Refusal { retryable: false, reason: e.to_string() })?;
            call = call.records(entry);
        }
        let answer = call.send().await.map_err(|e| {
            let retryable = match &e {
                SdkError::ServiceError(service) => {
                    service.raw().status().is_server_error() || e.code().is_some_and(passes)
                }
                SdkError::ConstructionFailure(_) => false,
                _ => true,
            };
            let reason = match (e.code(), e.message()) {
                (Some(code), Some(message)) => format!("{code}: {message}"),
                _ => DisplayErrorContext(&e).to_string(),
            };
            Refusal { retryable, reason }
        })?;
        let outcome = |entry: &aws_sdk_kinesis::types::PutRecordsResultEntry| {
            let code = entry.error_code()?;
            let reason = format!("{code}: {}", entry.error_message().unwrap_or("no reason given"));
            Some(Refusal { retryable: passes(code), reason })
        };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in answer.records() {
            if let (Some(shard), Some(sequence)) = (entry.shard_id(), entry.sequence_number())
                && let Ok(position) = Position::whole(sequence)
            {
                taken.add(shard, position);
            }
        }
        Ok(answer.records().iter().map(outcome).collect())
    }
}

/// Whether an error goes away by itself.
fn passes(code: &str) -> bool {
    matches!(
        code,
        "ProvisionedThroughputExceededException"
            | "InternalFailure"
            | "InternalFailureException"
            | "ServiceUnavailable"
            | "ThrottlingException"
            | "KMSThrottlingException"
            | "LimitExceededException"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::sync::Mutex;

    /// A stream that answers by rule: `(record's data, how often it was seen before)`.
    struct Fake<F> {
        rule: F,
        seen: Mutex<HashMap<Vec<u8>, usize>>,
        calls: Mutex<Vec<usize>>,
    }

    impl<F: Fn(&[u8], usize) -> Option<Refusal> + Sync> PutRecords for &Fake<F> {
        async fn put(&self, records: Vec<Record>) -> Result<Vec<Option<Refusal>>, Refusal> {
            assert!(records.len() <= MAX_RECORDS);
            self.calls.lock().unwrap().push(records.len());
            let mut seen = self.seen.lock().unwrap();
            let outcomes = records.into_iter().map(|record| {
                let times = seen.entry(record.data.clone()).or_default();
                *times += 1;
                (self.rule)(&record.data, *times - 1)
            });
            Ok(outcomes.collect())
        }
    }

    fn fake<F: Fn(&[u8], usize) -> Option<Refusal>>(rule: F) -> Fake<F> {
        Fake { rule, seen: Mutex::default(), calls: Mutex::default() }
    }

    fn quick() -> Persistence {
        let moment = Duration::from_micros(10);
        Persistence { attempts: 4, pause: moment, longest: moment, calls: 3 }
    }

    fn records(count: usize) -> Vec<Record> {
        (0..count).map(|i| Record { partition_key: "k".into(), data: i.to_string().into_bytes() }).collect()
    }

    fn throttled() -> Option<Refusal> {
        Some(Refusal {
            retryable: passes("ProvisionedThroughputExceededException"),
            reason: "too fast".into(),
        })
    }

    #[tokio::test]
    async fn only_throttled_records_are_sent_again() {
        let stream = fake(|data, before| if data.ends_with(b"7") && before < 2 { throttled() } else { None });
        let report = Sender::with(&stream, quick()).send(records(1_100)).await;
        assert_eq!(report, SendReport { accepted: 1_100, retried: 220, ..SendReport::default() });
        let seen = stream.seen.lock().unwrap();
        assert!(seen.iter().all(|(data, times)| *times == if data.ends_with(b"7") { 3 } else { 1 }));
        let mut calls = stream.calls.lock().unwrap().clone();
        calls.sort_unstable();
        assert_eq!(calls, [10, 10, 50, 50, 50, 50, 100, 500, 500]);
    }

    #[tokio::test]
    async fn what_stays_throttled_is_handed_back_with_its_index() {
        let stream = fake(|data, _| if data == b"3" { throttled() } else { None });
        let report = Sender::with(&stream, quick()).send(records(5)).await;
        let failed = vec![Failed { index: 3, reason: "too fast".into() }];
        assert_eq!(report, SendReport { accepted: 4, retried: 3, failed, broken: None });
    }

    #[tokio::test]
    async fn a_permanent_refusal_is_not_repeated() {
        let stream = fake(|_, _| Some(Refusal { retryable: false, reason: "no".into() }));
        let report = Sender::with(&stream, quick()).send(records(2)).await;
        assert_eq!((report.accepted, report.retried, report.failed.len()), (0, 0, 2));
        assert_eq!(*stream.calls.lock().unwrap(), [2]);
    }

    /// A stream that is away for the first calls.
    struct Away(Mutex<usize>);

    impl PutRecords for &Away {
        async fn put(&self, records: Vec<Record>) -> Result<Vec<Option<Refusal>>, Refusal> {
            let mut left = self.0.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                return Err(Refusal { retryable: true, reason: "connection refused".into() });
            }
            // The last record is not mentioned in the first answer.
            let mentioned = records.len().max(2) - 1;
            Ok(vec![None; mentioned])
        }
    }

    #[tokio::test]
    async fn a_call_that_breaks_off_is_repeated_and_a_short_answer_is_not_trusted() {
        let away = Away(Mutex::new(2));
        let report = Sender::with(&away, quick()).send(records(3)).await;
        assert_eq!(report, SendReport { accepted: 3, retried: 7, ..SendReport::default() });
    }

    #[tokio::test]
    async fn a_stream_that_stays_away_is_told_from_records_it_does_not_take() {
        let away = Away(Mutex::new(usize::MAX));
        let report = Sender::with(&away, quick()).send(records(3)).await;
        assert_eq!((report.accepted, report.failed.len()), (0, 3));
        assert_eq!(report.broken.as_deref(), Some("connection refused"));
    }

    #[tokio::test]
    async fn calls_keep_to_the_limits_and_oversized_records_are_handed_back() {
        let stream = fake(|_, _| None);
        let mut all: Vec<_> =
            (0..12).map(|i| Record { partition_key: "k".into(), data: vec![i; 900_000] }).collect();
        all.push(Record { partition_key: "k".into(), data: vec![0; MAX_RECORD_BYTES] });
        all.push(Record { partition_key: String::new(), data: vec![0] });
        let report = Sender::with(&stream, quick()).send(all).await;
        assert_eq!((report.accepted, report.failed.len()), (12, 2));
        assert!(report.failed[0].reason.contains("1048577 bytes"), "{:?}", report.failed);
        let mut calls = stream.calls.lock().unwrap().clone();
        calls.sort_unstable();
        assert_eq!(calls, [2, 5, 5]);
    }

    #[test]
    fn a_partition_key_is_never_too_long() {
        assert_eq!(partition_key("t", "e"), "t/e");
        assert_eq!(partition_key(&"é".repeat(255), "entity").chars().count(), 256);
    }
}
