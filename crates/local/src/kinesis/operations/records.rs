//! Records: put, iterate, get.

use crate::kinesis::error::{ApiError, ErrorKind};
use crate::kinesis::hash::hash_of;
use crate::kinesis::iterator::ShardIterator;
use crate::kinesis::protocol::{
    Blob, GetRecordsAnswer, GivenRecord, PutEntry, PutRecordsAnswer, PutRecordsRequest, PutResult, Request,
    between, hash_key, required, stream_name, text,
};
use crate::kinesis::sequence::Sequence;
use crate::kinesis::service::{self, Service, now_ms};
use crate::kinesis::shard::shard_id;
use crate::kinesis::stream::Incoming;
use serde_json::{Value, json};

/// Most bytes of a record, its partition key included.
const RECORD_BYTES: usize = 1024 * 1024;
/// Most bytes of a PutRecords request, partition keys included.
const REQUEST_BYTES: usize = 5 * 1024 * 1024;
/// Most records of a PutRecords request.
const REQUEST_RECORDS: usize = 500;

/// What has been checked, on its way into a stream; `at` names the record in errors.
fn incoming(entry: PutEntry, at: &str) -> Result<Incoming, ApiError> {
    let data = required(&format!("{at}data"), entry.data)?.0;
    let field = format!("{at}partitionKey");
    let key = required(&field, entry.partition_key)?;
    text(&field, &key, 256)?;
    if data.len() + key.len() > RECORD_BYTES {
        return Err(ApiError::constraint(
            &format!("{at}data"),
            format!("{} bytes", data.len() + key.len()),
            &format!("have length less than or equal to {RECORD_BYTES}"),
        ));
    }
    let hash = match entry.explicit_hash_key {
        Some(explicit) => hash_key("ExplicitHashKey", &explicit)?,
        None => hash_of(&key),
    };
    Ok(Incoming { hash, partition_key: key.into(), data })
}

fn throttled(stream: &str, shard: u32) -> String {
    format!("Rate exceeded for shard {} in stream {stream} under {}.", shard_id(shard), Service::place())
}

pub(super) fn put(service: &Service, request: Request) -> Result<Value, ApiError> {
    let name = stream_name(request.stream_name, request.stream_arn)?;
    if let Some(least) = &request.sequence_number_for_ordering {
        // Numbers of a shard grow in any case.
        sequence("sequenceNumberForOrdering", least)?;
    }
    let Request { data, partition_key, explicit_hash_key, .. } = request;
    let record = incoming(PutEntry { data, partition_key, explicit_hash_key }, "")?;
    let throttles = service.faults.throttles();
    service.with(&name, |stream, now| {
        let stored = stream.put(record, throttles, now).map_err(|shard| {
            ApiError::new(ErrorKind::ProvisionedThroughputExceeded, throttled(&name, shard))
        })?;
        let (shard, sequence) = (shard_id(stored.sequence.shard()), stored.sequence.to_string());
        Ok(json!({ "ShardId": shard, "SequenceNumber": sequence, "EncryptionType": "NONE" }))
    })
}

pub(super) fn put_many(service: &Service, request: PutRecordsRequest) -> Result<PutRecordsAnswer, ApiError> {
    let name = stream_name(request.stream_name, request.stream_arn)?;
    let entries = required("records", request.records)?;
    if entries.is_empty() || entries.len() > REQUEST_RECORDS {
        let shown = format!("{} records", entries.len());
        let constraint = if entries.is_empty() {
            "have length greater than or equal to 1".to_owned()
        } else {
            format!("have length less than or equal to {REQUEST_RECORDS}")
        };
        return Err(ApiError::constraint("records", shown, &constraint));
    }
    let mut records = Vec::with_capacity(entries.len());
    for (n, entry) in entries.into_iter().enumerate() {
        records.push(incoming(entry, &format!("records.{}.member.", n + 1))?);
    }
    let bytes: usize = records.iter().map(|r| r.data.len() + r.partition_key.len()).sum();
    if bytes > REQUEST_BYTES {
        return Err(ApiError::invalid(format!("records size exceeds 5 MB limit: {bytes} bytes")));
    }
    let throttles = service.faults.throttles();
    service.with(&name, |stream, now| {
        let mut failed = 0;
        let mut put = |record: Incoming| {
            let stored = if service.faults.record_due() {
                Err(stream.shard_of(record.hash))
            } else {
                stream.put(record, throttles, now).map(|stored| stored.sequence)
            };
            match stored {
                Ok(number) => PutResult::Stored {
                    sequence_number: number.to_string(),
                    shard_id: shard_id(number.shard()),
                },
                Err(shard) => {
                    failed += 1;
                    PutResult::Failed {
                        error_code: ErrorKind::ProvisionedThroughputExceeded.name(),
                        error_message: throttled(&name, shard),
                    }
                }
            }
        };
        let records = records.into_iter().map(&mut put).collect();
        Ok(PutRecordsAnswer { failed_record_count: failed, records, encryption_type: "NONE" })
    })
}

/// A sequence number in the form the API takes.
fn sequence(field: &str, value: &str) -> Result<Sequence, ApiError> {
    Sequence::parse(value).ok_or_else(|| {
        ApiError::constraint(field, value, r"satisfy regular expression pattern: 0|([1-9]\d{0,128})")
    })
}

pub(super) fn iterator(service: &Service, request: Request) -> Result<Value, ApiError> {
    let name = stream_name(request.stream_name, request.stream_arn)?;
    let id = required("shardId", request.shard_id)?;
    let kind = required("shardIteratorType", request.shard_iterator_type)?;
    let number = request.starting_sequence_number;
    let number = number.map(|number| sequence("startingSequenceNumber", &number)).transpose()?;
    let token = service.with(&name, |stream, now| {
        let shard = service::shard(stream, &id)?;
        let of_this_shard = || {
            let number = number.ok_or_else(|| {
                ApiError::invalid(format!("Must specify startingSequenceNumber for ShardIteratorType {kind}."))
            })?;
            if shard.gave(number) {
                return Ok(number);
            }
            Err(ApiError::invalid(format!(
                "StartingSequenceNumber {number} used in GetShardIterator on shard {id} in stream {name} under {} \
                 is invalid because it did not come from this stream.",
                Service::place()
            )))
        };
        let from = match kind.as_str() {
            "TRIM_HORIZON" => shard.start(),
            "LATEST" => shard.latest(),
            "AT_SEQUENCE_NUMBER" => of_this_shard()?,
            "AFTER_SEQUENCE_NUMBER" => of_this_shard()?.next(),
            "AT_TIMESTAMP" => {
                let seconds = request.timestamp.ok_or_else(|| {
                    ApiError::invalid("Must specify timestampInMillis for ShardIteratorType AT_TIMESTAMP.")
                })?;
                let ms = seconds * 1000.0;
                if !(0.0..=now as f64).contains(&ms) {
                    return Err(ApiError::invalid(format!(
                        "The timestampInMillis parameter {ms} must not be before 1970 nor greater than the current \
                         time {now}."
                    )));
                }
                shard.since(ms.round() as u64)
            }
            _ => {
                let set = "satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, \
                           AT_SEQUENCE_NUMBER, TRIM_HORIZON]";
                return Err(ApiError::constraint("shardIteratorType", &kind, set));
            }
        };
        let (created_ms, shard) = (stream.created_ms, shard.index);
        Ok(ShardIterator { stream: name.clone(), created_ms, shard, from, issued_ms: now }.encode())
    })?;
    Ok(json!({ "ShardIterator": token }))
}

pub(super) fn get(service: &Service, request: Request) -> Result<GetRecordsAnswer, ApiError> {
    let token = required("shardIterator", request.shard_iterator)?;
    text("shardIterator", &token, 512)?;
    let limit = between("limit", request.limit.unwrap_or(10_000), 1, 10_000)? as usize;
    let mut iterator = ShardIterator::decode(&token, now_ms(), service.lifetime_ms())?;
    let throttles = service.faults.throttles();
    let name = iterator.stream.clone();
    let (page, now, child_shards) = service.with(&name, |stream, now| {
        if stream.created_ms != iterator.created_ms {
            return Err(service::no_such_stream(&name));
        }
        let index = iterator.shard;
        let Some(shard) = stream.shards.get_mut(&index) else {
            return Err(service::no_such_shard(stream, &shard_id(index)));
        };
        if throttles && !shard.throughput.read(std::time::Instant::now()) {
            let kind = ErrorKind::ProvisionedThroughputExceeded;
            return Err(ApiError::new(kind, throttled(&name, index)));
        }
        let page = shard.page(iterator.from, limit, now);
        if throttles {
            shard.throughput.gave(page.records.iter().map(|r| r.data.len()).sum());
        }
        let mut children = Vec::new();
        if page.next.is_none() {
            children.extend(stream.children(index).map(|child| {
                let parents: Vec<String> =
                    [child.parent, child.adjacent].into_iter().flatten().map(shard_id).collect();
                let range = service::hash_key_range(child);
                json!({ "ShardId": child.id(), "ParentShards": parents, "HashKeyRange": range })
            }));
        }
        Ok((page, now, children))
    })?;
    let next_shard_iterator = page.next.map(|next| {
        (iterator.from, iterator.issued_ms) = (next, now);
        iterator.encode()
    });
    let records = page.records.into_iter().map(|record| GivenRecord {
        sequence_number: record.sequence.to_string(),
        approximate_arrival_timestamp: record.arrived_ms as f64 / 1000.0,
        data: Blob(record.data),
        partition_key: record.partition_key,
    });
    Ok(GetRecordsAnswer {
        records: records.collect(),
        next_shard_iterator,
        millis_behind_latest: page.behind_ms,
        child_shards,
    })
}
