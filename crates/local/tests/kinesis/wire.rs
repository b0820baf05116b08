//! Requests as no SDK would send them.

use super::*;
use serde_json::{Value, json};

struct Raw {
    world: World,
    http: reqwest::Client,
}

impl Raw {
    async fn start() -> Self {
        Self { world: World::start(1).await, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// Status and body of a call.
    async fn call(&self, target: &str, body: impl Into<Vec<u8>>) -> (u16, Value) {
        let request = self.http.post(self.world.kinesis.url()).header("x-amz-target", target);
        let request = request.header("content-type", "application/x-amz-json-1.1").body(body.into());
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/x-amz-json-1.1");
        assert!(response.headers().contains_key("x-amzn-requestid"));
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn kinesis(&self, operation: &str, body: Value) -> (u16, Value) {
        self.call(&format!("Kinesis_20131202.{operation}"), body.to_string()).await
    }

    /// The type and the message of the error that a call is answered with.
    async fn error(&self, operation: &str, body: Value) -> (String, String) {
        let (status, answer) = self.kinesis(operation, body.clone()).await;
        assert_eq!(status, 400, "{operation} {body}: {answer}");
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        (text("__type"), text("message"))
    }
}

#[tokio::test]
async fn what_is_no_request_is_told() {
    let raw = Raw::start().await;
    let put = "Kinesis_20131202.PutRecords";
    let deep = "[".repeat(5_000);
    for body in
        ["{", "", "null", "[]", "\"x\"", "17", "{\"Records\":{}}", "\u{0}", &deep, "{\"StreamName\":[]}"]
    {
        let (status, answer) = raw.call(put, body).await;
        assert_eq!(status, 400, "{body:.40}: {answer}");
        let kind = answer["__type"].as_str().unwrap();
        assert!(["SerializationException", "ValidationException"].contains(&kind), "{body:.40}: {answer}");
    }
    let (status, answer) = raw.call(put, b"{\"StreamName\":\"\xff\"}".to_vec()).await;
    assert_eq!((status, &answer["__type"]), (400, &json!("SerializationException")));
    let (status, answer) = raw.call(put, vec![b' '; 17 * 1024 * 1024]).await;
    assert_eq!((status, &answer["__type"]), (400, &json!("SerializationException")));
    for target in
        ["", "Kinesis_20131202.", "Kinesis_20131202.Nothing", "DynamoDB_20120810.PutItem", "PutRecords"]
    {
        let (status, answer) = raw.call(target, "{}").await;
        assert_eq!((status, &answer["__type"]), (400, &json!("UnknownOperationException")), "{target}");
    }
    let get = raw.http.get(raw.world.kinesis.url()).send().await.unwrap();
    assert_eq!(get.status().as_u16(), 400);
    let cbor = raw.http.post(raw.world.kinesis.url()).header("content-type", "application/x-amz-cbor-1.1");
    let cbor = cbor.header("x-amz-target", put).send().await.unwrap();
    assert!(cbor.text().await.unwrap().contains("SerializationException"));
    // It still works.
    assert_eq!(
        raw.kinesis("ListStreams", json!({})).await,
        (200, raw.kinesis("ListStreams", json!({})).await.1)
    );
}

#[tokio::test]
async fn wrong_types_and_values_name_the_field() {
    let raw = Raw::start().await;
    let s = STREAM;
    let types = [
        ("PutRecord", json!({"StreamName": 7, "Data": "eA==", "PartitionKey": "k"})),
        ("PutRecord", json!({"StreamName": s, "Data": 7, "PartitionKey": "k"})),
        ("PutRecord", json!({"StreamName": s, "Data": "no base64!", "PartitionKey": "k"})),
        ("PutRecords", json!({"StreamName": s, "Records": [7]})),
        ("CreateStream", json!({"StreamName": "t", "ShardCount": "2"})),
        ("CreateStream", json!({"StreamName": "t", "ShardCount": 1.5})),
        ("GetRecords", json!({"ShardIterator": {}, "Limit": 1})),
        ("GetShardIterator", json!({"StreamName": s, "ShardId": id(0), "Timestamp": "yesterday"})),
        ("ListShards", json!({"StreamName": s, "ShardFilter": "AT_LATEST"})),
    ];
    for (operation, body) in types {
        let (kind, _) = raw.error(operation, body.clone()).await;
        assert_eq!(kind, "SerializationException", "{operation} {body}");
    }
    let long = "x".repeat(129);
    let values = [
        ("PutRecord", json!({"Data": "eA==", "PartitionKey": "k"}), "streamName"),
        ("PutRecord", json!({"StreamName": s, "PartitionKey": "k"}), "data"),
        ("PutRecord", json!({"StreamName": s, "Data": "eA=="}), "partitionKey"),
        ("PutRecord", json!({"StreamName": s, "Data": "eA==", "PartitionKey": ""}), "partitionKey"),
        ("PutRecord", json!({"StreamName": "a b", "Data": "eA==", "PartitionKey": "k"}), "streamName"),
        ("PutRecord", json!({"StreamName": long, "Data": "eA==", "PartitionKey": "k"}), "streamName"),
        ("PutRecord", json!({"StreamARN": "arn:x", "Data": "eA==", "PartitionKey": "k"}), "streamARN"),
        (
            "PutRecord",
            json!({"StreamName": s, "Data": "eA==", "PartitionKey": "k", "ExplicitHashKey": "-1"}),
            "ExplicitHashKey",
        ),
        ("PutRecords", json!({"StreamName": s, "Records": []}), "records"),
        (
            "PutRecords",
            json!({"StreamName": s, "Records": [{"Data": "eA=="}]}),
            "records.1.member.partitionKey",
        ),
        ("CreateStream", json!({"StreamName": "t"}), "shardCount"),
        ("CreateStream", json!({"StreamName": "t", "ShardCount": 0}), "shardCount"),
        ("CreateStream", json!({"StreamName": "t", "ShardCount": i64::MAX}), "shardCount"),
        ("GetRecords", json!({}), "shardIterator"),
        ("GetRecords", json!({"ShardIterator": "eA==", "Limit": 10_001}), "limit"),
        ("GetShardIterator", json!({"StreamName": s, "ShardId": id(0)}), "shardIteratorType"),
        (
            "GetShardIterator",
            json!({"StreamName": s, "ShardId": id(0), "ShardIteratorType": "MIDDLE"}),
            "shardIteratorType",
        ),
        (
            "GetShardIterator",
            json!({"StreamName": s, "ShardId": id(0), "ShardIteratorType": "AT_SEQUENCE_NUMBER",
                   "StartingSequenceNumber": "0049"}),
            "startingSequenceNumber",
        ),
        ("SplitShard", json!({"StreamName": s, "ShardToSplit": id(0)}), "newStartingHashKey"),
        ("MergeShards", json!({"StreamName": s, "ShardToMerge": id(0)}), "adjacentShardToMerge"),
        ("ListShards", json!({"StreamName": s, "MaxResults": 0}), "maxResults"),
        ("ListShards", json!({"StreamName": s, "ShardFilter": {}}), "shardFilter.type"),
        ("IncreaseStreamRetentionPeriod", json!({"StreamName": s}), "retentionPeriodHours"),
    ];
    for (operation, body, field) in values {
        let (kind, message) = raw.error(operation, body.clone()).await;
        assert_eq!(kind, "ValidationException", "{operation} {body}");
        assert!(message.contains(&format!("'{field}'")), "{operation} {body}: {message}");
    }
    let largest = json!({"StreamName": s, "Data": "eA==", "PartitionKey": "k",
                         "ExplicitHashKey": "340282366920938463463374607431768211456"});
    let (kind, message) = raw.error("PutRecord", largest).await;
    assert_eq!(kind, "InvalidArgumentException");
    assert!(message.contains("340282366920938463463374607431768211456"), "{message}");
    let ending = json!({"StreamName": s, "ShardId": id(0), "ShardIteratorType": "AT_SEQUENCE_NUMBER"});
    assert_eq!(raw.error("GetShardIterator", ending).await.0, "InvalidArgumentException");
    for token in ["", "x", "eA==", &"A".repeat(600)] {
        let kind = raw.error("GetRecords", json!({"ShardIterator": token})).await.0;
        assert!(["InvalidArgumentException", "ValidationException"].contains(&kind.as_str()), "{token}");
        let kind = raw.error("ListShards", json!({"NextToken": token})).await.0;
        assert_eq!(kind, "InvalidArgumentException", "{token}");
    }
}

#[tokio::test]
async fn a_stream_may_be_named_by_its_arn_and_an_answer_has_the_documented_members() {
    let raw = Raw::start().await;
    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}");
    let put = json!({"StreamARN": arn, "Data": "eA==", "PartitionKey": "k"});
    let (status, put) = raw.kinesis("PutRecord", put).await;
    assert_eq!((status, &put["ShardId"]), (200, &json!(id(0))));
    let ask = json!({"StreamARN": arn, "ShardId": id(0), "ShardIteratorType": "TRIM_HORIZON"});
    let (_, iterator) = raw.kinesis("GetShardIterator", ask).await;
    let (status, answer) =
        raw.kinesis("GetRecords", json!({"ShardIterator": iterator["ShardIterator"]})).await;
    assert_eq!(status, 200);
    assert_eq!(answer["Records"][0]["Data"], "eA==");
    assert_eq!(answer["Records"][0]["SequenceNumber"], put["SequenceNumber"]);
    assert!(answer["Records"][0]["ApproximateArrivalTimestamp"].is_f64());
    assert_eq!(answer["MillisBehindLatest"], 0);
    assert!(answer["NextShardIterator"].is_string());
    // Operations that tell nothing have no body at all.
    assert_eq!(
        raw.kinesis("CreateStream", json!({"StreamName": "t", "ShardCount": 1})).await,
        (200, Value::Null)
    );
}
