//! Streams: create, delete, describe, list, retention.

use crate::kinesis::error::{ApiError, ErrorKind};
use crate::kinesis::protocol::{Request, between, required, stream_name};
use crate::kinesis::service::{self, Service};
use crate::kinesis::shard::shard_index;
use crate::kinesis::stream::Stream;
use serde_json::{Value, json};

/// Shards of a stream in the mode ON_DEMAND, as AWS begins them.
const ON_DEMAND_SHARDS: i64 = 4;

pub(super) fn create(service: &Service, request: Request) -> Result<(), ApiError> {
    let name = stream_name(request.stream_name, None)?;
    let mode = request.stream_mode_details.map(|details| details.stream_mode);
    let shards = match (mode, request.shard_count) {
        (Some(None), _) => return Err(ApiError::missing("streamModeDetails.streamMode")),
        (Some(Some(mode)), count) => match mode.as_str() {
            "ON_DEMAND" => count.unwrap_or(ON_DEMAND_SHARDS),
            "PROVISIONED" => required("shardCount", count)?,
            _ => {
                return Err(ApiError::constraint(
                    "streamModeDetails.streamMode",
                    mode,
                    "satisfy enum value set: [PROVISIONED, ON_DEMAND]",
                ));
            }
        },
        (None, count) => required("shardCount", count)?,
    };
    let shards = between("shardCount", shards, 1, i64::from(i32::MAX))?;
    let shards = u32::try_from(shards).unwrap_or(u32::MAX);
    if service.create(&name, shards)? {
        return Ok(());
    }
    let text = format!("Stream {name} under {} already exists.", Service::place());
    Err(ApiError::new(ErrorKind::ResourceInUse, text))
}

pub(super) fn delete(service: &Service, request: Request) -> Result<(), ApiError> {
    service.delete(&stream_name(request.stream_name, request.stream_arn)?)
}

/// What DescribeStream and DescribeStreamSummary both tell.
fn common(service: &Service, stream: &Stream) -> Value {
    json!({
        "StreamName": stream.name,
        "StreamARN": service.arn(&stream.name),
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": { "StreamMode": "PROVISIONED" },
        "RetentionPeriodHours": stream.retention_ms.div_ceil(60 * 60 * 1000),
        "StreamCreationTimestamp": stream.created_ms as f64 / 1000.0,
        "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
        "EncryptionType": "NONE",
    })
}

pub(super) fn describe(service: &Service, request: Request) -> Result<Value, ApiError> {
    let name = stream_name(request.stream_name, request.stream_arn)?;
    let limit = between("limit", request.limit.unwrap_or(100), 1, 10_000)? as usize;
    let after = request.exclusive_start_shard_id;
    service.with(&name, |stream, _| {
        let after = after.map(|id| shard_index(&id).ok_or_else(|| service::no_such_shard(stream, &id)));
        let after = after.transpose()?;
        let mut shards = stream.shards.values().filter(|s| after.is_none_or(|after| s.index > after));
        let shown: Vec<Value> = shards.by_ref().take(limit).map(service::describe).collect();
        let mut description = common(service, stream);
        description["Shards"] = shown.into();
        description["HasMoreShards"] = shards.next().is_some().into();
        Ok(json!({ "StreamDescription": description }))
    })
}

pub(super) fn summary(service: &Service, request: Request) -> Result<Value, ApiError> {
    let name = stream_name(request.stream_name, request.stream_arn)?;
    service.with(&name, |stream, _| {
        let mut description = common(service, stream);
        description["OpenShardCount"] = stream.open_shards().into();
        description["ConsumerCount"] = 0.into();
        Ok(json!({ "StreamDescriptionSummary": description }))
    })
}

/// `NextToken` is the last name of the page before, as `ExclusiveStartStreamName` is.
pub(super) fn list(service: &Service, request: Request) -> Result<Value, ApiError> {
    let limit = between("limit", request.limit.unwrap_or(100), 1, 10_000)? as usize;
    let after = request.next_token.or(request.exclusive_start_stream_name);
    let mut names: Vec<String> = service.names();
    names.retain(|name| after.as_ref().is_none_or(|after| name > after));
    let more = names.len() > limit;
    names.truncate(limit);
    let summary = |name: &String| {
        let created_ms = service.with(name, |stream, _| Ok(stream.created_ms)).ok()?;
        Some(json!({
            "StreamName": name,
            "StreamARN": service.arn(name),
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": { "StreamMode": "PROVISIONED" },
            "StreamCreationTimestamp": created_ms as f64 / 1000.0,
        }))
    };
    let summaries: Vec<Value> = names.iter().filter_map(summary).collect();
    let mut answer = json!({ "StreamSummaries": summaries, "HasMoreStreams": more });
    if let Some(last) = names.last().filter(|_| more) {
        answer["NextToken"] = last.clone().into();
    }
    answer["StreamNames"] = names.into();
    Ok(answer)
}

pub(super) fn retention(service: &Service, request: Request, increase: bool) -> Result<(), ApiError> {
    let name = stream_name(request.stream_name, request.stream_arn)?;
    let hours = required("retentionPeriodHours", request.retention_period_hours)?;
    service.change(&name, 0, |stream, _| stream.set_retention_hours(hours, increase))
}
