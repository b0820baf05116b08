//! Shards: list, split, merge.

use crate::kinesis::error::ApiError;
use crate::kinesis::iterator::ShardsToken;
use crate::kinesis::protocol::{Request, ShardFilter, between, hash_key, required, stream_name};
use crate::kinesis::service::{self, Service, now_ms};
use crate::kinesis::shard::{Shard, shard_index};
use crate::kinesis::stream::Stream;
use serde_json::{Value, json};

pub(super) fn list(service: &Service, request: Request) -> Result<Value, ApiError> {
    let most = between("maxResults", request.max_results.unwrap_or(1000), 1, 10_000)? as usize;
    let (name, start, filter) = match request.next_token {
        Some(token) => {
            if request.stream_name.is_some() || request.exclusive_start_shard_id.is_some() {
                return Err(ApiError::invalid(
                    "NextToken and StreamName or ExclusiveStartShardId cannot be provided together.",
                ));
            }
            let token = ShardsToken::decode(&token, now_ms(), service.lifetime_ms())?;
            (token.stream, Some(token.after), token.filter)
        }
        None => {
            let name = stream_name(request.stream_name, request.stream_arn)?;
            let start = request.exclusive_start_shard_id.map(|id| index("exclusiveStartShardId", &id));
            (name, start.transpose()?, request.shard_filter)
        }
    };
    service.with(&name, |stream, now| {
        let wanted = wanted(stream, filter.as_ref(), now)?;
        let mut found =
            stream.shards.values().filter(|s| start.is_none_or(|start| s.index > start) && wanted(s));
        let page: Vec<&Shard> = found.by_ref().take(most).collect();
        let shown: Vec<Value> = page.iter().map(|s| service::describe(s)).collect();
        let mut answer = json!({ "Shards": shown });
        if let (Some(last), true) = (page.last(), found.next().is_some()) {
            let (stream, after) = (name.clone(), last.index);
            let token = ShardsToken { stream, after, filter: filter.clone(), issued_ms: now };
            answer["NextToken"] = token.encode().into();
        }
        Ok(answer)
    })
}

/// The condition of a ShardFilter.
fn wanted(
    stream: &Stream,
    filter: Option<&ShardFilter>,
    now: u64,
) -> Result<impl Fn(&Shard) -> bool + use<>, ApiError> {
    let Some(filter) = filter else { return Ok(Wanted::All.into_fn()) };
    let kind = required("shardFilter.type", filter.kind.as_deref())?;
    let horizon = now.saturating_sub(stream.retention_ms).max(stream.created_ms);
    let timestamp = || {
        let seconds = required("shardFilter.timestamp", filter.timestamp)?;
        Ok(((seconds * 1000.0) as u64).max(horizon))
    };
    let wanted = match kind {
        "AT_LATEST" => Wanted::Open,
        "AT_TRIM_HORIZON" => Wanted::OpenAt(horizon),
        "FROM_TRIM_HORIZON" => Wanted::All,
        "AT_TIMESTAMP" => Wanted::OpenAt(timestamp()?),
        "FROM_TIMESTAMP" => Wanted::OpenSince(timestamp()?),
        "AFTER_SHARD_ID" => {
            let id = required("shardFilter.shardId", filter.shard_id.as_deref())?;
            Wanted::After(index("shardFilter.shardId", id)?)
        }
        _ => {
            let set = "satisfy enum value set: [AFTER_SHARD_ID, AT_TRIM_HORIZON, FROM_TRIM_HORIZON, AT_LATEST, \
                       AT_TIMESTAMP, FROM_TIMESTAMP]";
            return Err(ApiError::constraint("shardFilter.type", kind, set));
        }
    };
    Ok(wanted.into_fn())
}

enum Wanted {
    All,
    Open,
    OpenAt(u64),
    OpenSince(u64),
    After(u32),
}

impl Wanted {
    fn into_fn(self) -> impl Fn(&Shard) -> bool {
        move |shard| {
            let open_after = |ms: u64| shard.closed.is_none_or(|closed| closed.at_ms > ms);
            match self {
                Self::All => true,
                Self::Open => shard.is_open(),
                Self::OpenAt(ms) => shard.opened_ms <= ms && open_after(ms),
                Self::OpenSince(ms) => open_after(ms),
                Self::After(index) => shard.index > index,
            }
        }
    }
}

fn index(field: &str, id: &str) -> Result<u32, ApiError> {
    shard_index(id).ok_or_else(|| {
        ApiError::constraint(field, id, "satisfy regular expression pattern: shardId-[0-9]{12}")
    })
}

pub(super) fn split(service: &Service, request: Request) -> Result<(), ApiError> {
    let name = stream_name(request.stream_name, request.stream_arn)?;
    let id = required("shardToSplit", request.shard_to_split)?;
    let at = required("newStartingHashKey", request.new_starting_hash_key)?;
    let at = hash_key("NewStartingHashKey", &at)?;
    service.change(&name, 1, |stream, now| {
        let shard = service::shard(stream, &id)?.index;
        stream.split(shard, at, &Service::place(), now)
    })
}

pub(super) fn merge(service: &Service, request: Request) -> Result<(), ApiError> {
    let name = stream_name(request.stream_name, request.stream_arn)?;
    let first = required("shardToMerge", request.shard_to_merge)?;
    let second = required("adjacentShardToMerge", request.adjacent_shard_to_merge)?;
    service.change(&name, 0, |stream, now| {
        let (first, second) = (service::shard(stream, &first)?.index, service::shard(stream, &second)?.index);
        stream.merge(first, second, &Service::place(), now)
    })
}
