//! The operations of the Kinesis Data Streams API: their checks, and what they do.
//!
//! Source: the Amazon Kinesis Data Streams API reference, version 2013-12-02. Streams and
//! shards change at once here: what AWS tells as CREATING, UPDATING or DELETING is not seen.

mod records;
mod shards;
mod streams;

use super::error::{ApiError, ErrorKind};
use super::protocol::Request;
use super::service::Service;
use serde::de::DeserializeOwned;

macro_rules! operations {
    ($($name:ident),* $(,)?) => {
        /// An operation of the Kinesis Data Streams API, under the API's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are those of the API reference")]
        pub enum Operation { $($name),* }

        impl Operation {
            /// The operation of that name, if it is spoken here.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(Self::$name),)* _ => None }
            }
        }
    };
}

operations! {
    CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams, ListShards, PutRecord,
    PutRecords, GetShardIterator, GetRecords, SplitShard, MergeShards, IncreaseStreamRetentionPeriod,
    DecreaseStreamRetentionPeriod,
}

/// Does what a request asks for; the answer's body. `target` is the header `X-Amz-Target`.
pub(super) fn answer(service: &Service, target: &str, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let name = target.strip_prefix("Kinesis_20131202.");
    let Some(operation) = name.and_then(Operation::from_name) else {
        let shown: String = target.chars().take(100).collect();
        let message = format!("There is no operation {shown:?} here.");
        return Err(ApiError::new(ErrorKind::UnknownOperation, message));
    };
    if let Some(error) = service.faults.due(operation) {
        return Err(error);
    }
    if operation == Operation::PutRecords {
        return encode(&records::put_many(service, decode(body)?)?);
    }
    let request: Request = decode(body)?;
    match operation {
        Operation::GetRecords => encode(&records::get(service, request)?),
        Operation::PutRecord => encode(&records::put(service, request)?),
        Operation::GetShardIterator => encode(&records::iterator(service, request)?),
        Operation::ListShards => encode(&shards::list(service, request)?),
        Operation::SplitShard => shards::split(service, request).map(nothing),
        Operation::MergeShards => shards::merge(service, request).map(nothing),
        Operation::CreateStream => streams::create(service, request).map(nothing),
        Operation::DeleteStream => streams::delete(service, request).map(nothing),
        Operation::DescribeStream => encode(&streams::describe(service, request)?),
        Operation::DescribeStreamSummary => encode(&streams::summary(service, request)?),
        Operation::ListStreams => encode(&streams::list(service, request)?),
        Operation::IncreaseStreamRetentionPeriod => streams::retention(service, request, true).map(nothing),
        Operation::DecreaseStreamRetentionPeriod => streams::retention(service, request, false).map(nothing),
        // Answered above: its request is of another type.
        Operation::PutRecords => Ok(Vec::new()),
    }
}

/// Operations that tell nothing have an empty body.
fn nothing((): ()) -> Vec<u8> {
    Vec::new()
}

fn decode<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, ApiError> {
    // Clients may send nothing where no member is needed.
    let body = if body.is_empty() { b"{}" } else { body };
    // A derived struct would take an array of its members as well.
    if body.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return Err(ApiError::new(ErrorKind::Serialization, "Expected a JSON object."));
    }
    serde_json::from_slice(body).map_err(|e| ApiError::new(ErrorKind::Serialization, e.to_string()))
}

fn encode<T: serde::Serialize>(answer: &T) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(answer).map_err(|e| ApiError::new(ErrorKind::InternalFailure, e.to_string()))
}
