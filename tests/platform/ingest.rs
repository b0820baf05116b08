//! What devices send comes back: types, tenants, wrappings, bad input, repetitions.

use crate::world::{World, at, reading};
use anyhow::{Result, ensure};
use serde_json::json;

/// Records put with the AWS SDK come back over HTTP, for their tenant only.
pub(crate) async fn records_come_back_to_their_tenant_only(w: &World) -> Result<()> {
    w.put("acme", "pump-1", reading("acme", "pump-1", r#"{"temperature":72.5,"status":"online"}"#)).await?;
    w.put("globex", "oven-1", reading("globex", "oven-1", r#"{"temperature":180.25,"door":false}"#)).await?;

    let pump = w.entity("acme", "pump-1", "temperature").await?;
    ensure!(pump.json["attributes"]["temperature"]["value"] == 72.5, "{}", pump.text);
    ensure!(pump.json["attributes"]["status"]["value"] == "online", "{}", pump.text);
    let oven = w.entity("globex", "oven-1", "door").await?;
    ensure!(oven.json["attributes"]["door"]["value"] == false, "{}", oven.text);

    for (tenant, foreign) in [("acme", "oven-1"), ("globex", "pump-1")] {
        for consistency in ["strong", "eventual"] {
            let path = format!("/v1/entities/{foreign}?consistency={consistency}");
            let answer = w.get(tenant, &path).await?;
            ensure!(answer.status == 404, "{tenant} asked for {foreign}: {} {}", answer.status, answer.text);
        }
        let history = w.get(tenant, &format!("/v1/entities/{foreign}/history/temperature")).await?;
        ensure!(history.status == 404, "{tenant}, history of {foreign}: {} {}", history.status, history.text);
    }
    let found = w.search("globex", json!({"attribute": "temperature", "gt": -1000})).await?;
    ensure!(!found.text.contains("pump-1"), "globex found a pump of acme: {}", found.text);
    Ok(())
}

/// Every type keeps its exact value, from the record's digits to the answer's.
pub(crate) async fn values_keep_their_type_and_digits(w: &World) -> Result<()> {
    let values = r#"{
        "t_string": "grüße \"quoted\" \u0041",
        "t_integer": 9223372036854775807,
        "t_float": 0.1,
        "t_small": 5e-324,
        "t_boolean": true,
        "t_decimal": {"type": "decimal", "value": "1234567890123456789.012345670"},
        "t_timestamp": {"type": "timestamp", "value": "2026-03-01T12:00:00.123456Z"}
    }"#;
    w.put("acme", "types-1", reading("acme", "types-1", values)).await?;
    let answer = w.entity("acme", "types-1", "t_timestamp").await?;
    // The smallest double: its digits are many, its value is what counts.
    let small = answer.json["attributes"]["t_small"]["value"].as_f64();
    ensure!(small == Some(5e-324), "{small:?}");
    for (attribute, kind, digits) in [
        ("t_string", "string", r#""grüße \"quoted\" A""#),
        ("t_integer", "integer", "9223372036854775807"),
        ("t_float", "float", "0.1"),
        ("t_boolean", "boolean", "true"),
        ("t_decimal", "decimal", "1234567890123456789.012345670"),
        ("t_timestamp", "timestamp", r#""2026-03-01T12:00:00.123456Z""#),
    ] {
        let found = &answer.json["attributes"][attribute];
        ensure!(found["type"] == kind, "{attribute}: {found}");
        ensure!(answer.text.contains(digits), "{attribute}: no {digits} in {}", answer.text);
        let history = w.history("acme", "types-1", attribute, 1).await?;
        ensure!(history.text.contains(digits), "history of {attribute}: no {digits} in {}", history.text);
    }
    Ok(())
}

/// NDJSON, a list, gzip and an aggregated record are all taken apart.
pub(crate) async fn every_wrapping_is_taken_apart(w: &World) -> Result<()> {
    let r = |entity: &str| reading("acme", entity, r#"{"level":3}"#);
    let ndjson = format!("{}\n{}\n", r("wrap-1"), r("wrap-2"));
    let list = format!("[{},{}]", r("wrap-3"), r("wrap-4"));
    w.put_bytes("wrap", ndjson.into_bytes()).await?;
    w.put_bytes("wrap", w.gzip(list.as_bytes())?).await?;
    let subs = [("k", r("wrap-5").into_bytes()), ("k", w.gzip(r("wrap-6").as_bytes())?)];
    w.put_bytes("wrap", w.aggregate(&subs)).await?;
    for n in 1..=6 {
        let answer = w.entity("acme", &format!("wrap-{n}"), "level").await?;
        ensure!(answer.json["attributes"]["level"]["value"] == 3, "wrap-{n}: {}", answer.text);
    }
    Ok(())
}

/// Each kind of rubbish ends with a reason that names the field, and good readings
/// around it in the same shard go on.
pub(crate) async fn rubbish_is_put_aside_with_a_reason_and_the_shard_goes_on(w: &World) -> Result<()> {
    w.put("acme", "typed-1", reading("acme", "typed-1", r#"{"level_m":1.5}"#)).await?;
    w.entity("acme", "typed-1", "level_m").await?;
    let long = "x".repeat(70_000);
    let name = "n".repeat(300);
    let with = |body: &str| {
        format!(r#"{{"tenant":"acme","entity":"bad-1","observed_at":"{}",{body}}}"#, at(0)).into_bytes()
    };
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("undecodable", "", vec![0xff, 0xfe, 0x00, 0x01]),
        ("unknown_tenant", "tenant", reading("nobody", "x", r#"{"a":1}"#).into_bytes()),
        (
            "bad_time",
            "observed_at",
            br#"{"tenant":"acme","entity":"bad-1","observed_at":"1066-10-14T00:00:00Z","values":{"a":1}}"#
                .to_vec(),
        ),
        (
            "bad_time",
            "observed_at",
            br#"{"tenant":"acme","entity":"bad-1","observed_at":"yesterday","values":{"a":1}}"#.to_vec(),
        ),
        ("missing_field", "observed_at", br#"{"tenant":"acme","entity":"bad-1","values":{"a":1}}"#.to_vec()),
        ("type_mismatch", "values.level_m", with(r#""values":{"level_m":"deep"}"#)),
        ("too_long", "values.note", with(&format!(r#""values":{{"note":"{long}"}}"#))),
        ("bad_name", "values", with(&format!(r#""values":{{"{name}":1}}"#))),
        ("duplicate_key", "values", with(r#""values":{"a":1,"a":2}"#)),
        ("bad_value", "values.list", with(r#""values":{"list":[1,2]}"#)),
        ("too_deep", "", format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)).into_bytes()),
        ("bad_gzip", "", w.gzip(&vec![b' '; 40 << 20])?),
    ];
    let mark = w.quarantine_mark().await?;
    for (n, (_, _, bytes)) in cases.iter().enumerate() {
        w.put_bytes("rubbish", bytes.clone()).await?;
        w.put_bytes("rubbish", reading("acme", &format!("good-{n}"), r#"{"ok":true}"#).into_bytes()).await?;
    }
    for n in 0..cases.len() {
        w.entity("acme", &format!("good-{n}"), "ok").await?;
    }
    for (reason, field, bytes) in &cases {
        w.quarantined(mark, reason, field).await.map_err(|e| {
            e.context(format!(
                "{reason} of {field:?}, sent {:?}…",
                String::from_utf8_lossy(&bytes[..bytes.len().min(80)])
            ))
        })?;
    }
    // NaN is not JSON: the record says so by being put aside, not by losing its neighbours.
    w.put_bytes("rubbish", with(r#""values":{"a":NaN}"#)).await?;
    w.quarantined(mark, "bad_value", "").await.or(w.quarantined(mark, "undecodable", "").await)?;
    Ok(())
}

/// The same reading twice, in one batch and later again, is one point.
pub(crate) async fn a_point_sent_twice_is_one_point(w: &World) -> Result<()> {
    let r = reading("acme", "twice-1", r#"{"count":41}"#);
    w.put_bytes("twice", format!("{r}\n{r}\n").into_bytes()).await?;
    w.history("acme", "twice-1", "count", 1).await?;
    w.put("acme", "twice-1", r.clone()).await?;
    w.put("acme", "twice-1", reading("acme", "twice-1", r#"{"done":true}"#)).await?;
    w.entity("acme", "twice-1", "done").await?;
    let history = w.history("acme", "twice-1", "count", 1).await?;
    ensure!(history.points() == 1, "{}", history.text);
    Ok(())
}

/// A late value goes to history and leaves the newer hot value alone.
pub(crate) async fn a_late_value_does_not_overwrite_a_newer_one(w: &World) -> Result<()> {
    let seen = |second: i64, values: &str| {
        let time = at(second);
        format!(r#"{{"tenant":"acme","entity":"late-1","observed_at":"{time}","values":{values}}}"#)
    };
    w.put("acme", "late-1", seen(10, r#"{"state":"new","fresh":1}"#)).await?;
    w.put("acme", "late-1", seen(5, r#"{"state":"old","other":2}"#)).await?;
    let answer = w.entity("acme", "late-1", "other").await?;
    ensure!(answer.json["attributes"]["state"]["value"] == "new", "{}", answer.text);
    ensure!(answer.json["attributes"]["state"]["observed_at"] == at(10), "{}", answer.text);
    let history = w.history("acme", "late-1", "state", 2).await?;
    ensure!(history.text.contains("old") && history.text.contains("new"), "{}", history.text);
    Ok(())
}

/// A strict tenant takes only what is registered, and says what it did not take.
pub(crate) async fn a_strict_tenant_takes_only_what_is_registered(w: &World) -> Result<()> {
    let mark = w.quarantine_mark().await?;
    w.put("strict", "new-1", reading("strict", "new-1", r#"{"a":1}"#)).await?;
    w.quarantined(mark, "unknown_entity", "entity").await?;
    let answer = w.get("strict", "/v1/entities/new-1").await?;
    ensure!(answer.status == 404, "{}", answer.text);
    Ok(())
}
