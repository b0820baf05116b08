//! Requests and answers of the AWS JSON 1.1 protocol, as far as they are more than a few
//! members. Every member of a request is optional here: what is missing is told by name.

use super::error::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are base64 in JSON.
#[derive(Debug, Clone)]
pub(super) struct Blob(pub(super) Bytes);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Blob;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("base64")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Blob, E> {
                let bytes = STANDARD.decode(text).map_err(|_| E::custom("this is no base64"))?;
                Ok(Blob(Bytes::from(bytes)))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

/// Every member of the requests besides PutRecords': most operations have few of them, under
/// the same names and types.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Request {
    pub(super) stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    pub(super) stream_arn: Option<String>,
    pub(super) shard_count: Option<i64>,
    pub(super) stream_mode_details: Option<StreamModeDetails>,
    pub(super) limit: Option<i64>,
    pub(super) exclusive_start_stream_name: Option<String>,
    pub(super) exclusive_start_shard_id: Option<String>,
    pub(super) next_token: Option<String>,
    pub(super) max_results: Option<i64>,
    pub(super) shard_filter: Option<ShardFilter>,
    pub(super) retention_period_hours: Option<i64>,
    pub(super) shard_id: Option<String>,
    pub(super) shard_iterator_type: Option<String>,
    pub(super) starting_sequence_number: Option<String>,
    pub(super) timestamp: Option<f64>,
    pub(super) shard_iterator: Option<String>,
    pub(super) shard_to_split: Option<String>,
    pub(super) new_starting_hash_key: Option<String>,
    pub(super) shard_to_merge: Option<String>,
    pub(super) adjacent_shard_to_merge: Option<String>,
    pub(super) data: Option<Blob>,
    pub(super) partition_key: Option<String>,
    pub(super) explicit_hash_key: Option<String>,
    pub(super) sequence_number_for_ordering: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct StreamModeDetails {
    pub(super) stream_mode: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ShardFilter {
    #[serde(rename = "Type")]
    pub(super) kind: Option<String>,
    pub(super) shard_id: Option<String>,
    pub(super) timestamp: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PutRecordsRequest {
    pub(super) stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    pub(super) stream_arn: Option<String>,
    pub(super) records: Option<Vec<PutEntry>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PutEntry {
    pub(super) data: Option<Blob>,
    pub(super) partition_key: Option<String>,
    pub(super) explicit_hash_key: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordsAnswer {
    pub(super) failed_record_count: usize,
    pub(super) records: Vec<PutResult>,
    pub(super) encryption_type: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum PutResult {
    #[serde(rename_all = "PascalCase")]
    Stored { sequence_number: String, shard_id: String },
    #[serde(rename_all = "PascalCase")]
    Failed { error_code: &'static str, error_message: String },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetRecordsAnswer {
    pub(super) records: Vec<GivenRecord>,
    /// `null` at the end of a closed shard.
    pub(super) next_shard_iterator: Option<String>,
    pub(super) millis_behind_latest: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) child_shards: Vec<serde_json::Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GivenRecord {
    pub(super) sequence_number: String,
    pub(super) approximate_arrival_timestamp: f64,
    pub(super) data: Blob,
    pub(super) partition_key: std::sync::Arc<str>,
}

/// A member that must be there.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::missing(field))
}

/// A number within its documented bounds.
pub(super) fn between(field: &str, value: i64, least: i64, most: i64) -> Result<i64, ApiError> {
    if value < least {
        return Err(ApiError::constraint(
            field,
            value,
            &format!("have value greater than or equal to {least}"),
        ));
    }
    if value > most {
        return Err(ApiError::constraint(field, value, &format!("have value less than or equal to {most}")));
    }
    Ok(value)
}

/// A text with 1 to `most` characters.
pub(super) fn text<'a>(field: &str, value: &'a str, most: usize) -> Result<&'a str, ApiError> {
    if value.is_empty() {
        return Err(ApiError::constraint(field, value, "have length greater than or equal to 1"));
    }
    if value.chars().nth(most).is_some() {
        return Err(ApiError::constraint(field, value, &format!("have length less than or equal to {most}")));
    }
    Ok(value)
}

/// The name of a stream, or of an ARN's stream: `[a-zA-Z0-9_.-]+`, up to 128 characters.
pub(super) fn stream_name(name: Option<String>, arn: Option<String>) -> Result<String, ApiError> {
    let (field, name) = match (name, arn) {
        (Some(name), _) => ("streamName", name),
        (None, Some(arn)) => {
            let Some((_, name)) = arn.split_once(":stream/") else {
                let pattern = r"satisfy regular expression pattern: arn:aws.*:kinesis:.*:\d{12}:stream/\S+";
                return Err(ApiError::constraint("streamARN", arn, pattern));
            };
            ("streamARN", name.to_owned())
        }
        (None, None) => return Err(ApiError::missing("streamName")),
    };
    text(field, &name, 128)?;
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        return Err(ApiError::constraint(field, name, "satisfy regular expression pattern: [a-zA-Z0-9_.-]+"));
    }
    Ok(name)
}

/// A hash key: decimal, below 2^128.
pub(super) fn hash_key(field: &str, value: &str) -> Result<u128, ApiError> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    if !digits || (value.len() > 1 && value.starts_with('0')) || value.len() > 39 {
        let pattern = r"satisfy regular expression pattern: 0|([1-9]\d{0,38})";
        return Err(ApiError::constraint(field, value, pattern));
    }
    value.parse().map_err(|_| {
        ApiError::invalid(format!(
            "Invalid {field}. {field} must be in the range: [0, 2^128-1]. Specified value was {value}"
        ))
    })
}
