//! Answers as people read them.

use super::sparkline;
use crate::out;
use serde_json::Value;

/// `🟢 REALTIME  at most 0.8 s old, from cache (cache entry is 0.8 s old, under 5 s)`
pub(super) fn freshness_line(freshness: &Value) -> Option<String> {
    let tier = freshness["tier"].as_str()?;
    let mark = match tier {
        "REALTIME" => "🟢",
        "NEAR_REALTIME" => "🟡",
        "DELAYED" => "🟠",
        _ => "🔴",
    };
    let age = match freshness["lag_seconds"].as_f64() {
        Some(lag) => format!("at most {lag:.1} s old"),
        None => "of unknown age".into(),
    };
    let target = freshness["sla_target"].as_f64().unwrap_or_default();
    let met = if freshness["sla_met"] == true { "met" } else { "MISSED" };
    Some(format!(
        "{mark} {tier}  {age}, from {} ({}); target {target} s {met}",
        cell(&freshness["source"]),
        cell(&freshness["route_reason"])
    ))
}

pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

pub(super) fn entity(entity: &Value) -> String {
    let rows = entity["attributes"].as_object().into_iter().flatten().map(|(name, a)| {
        vec![name.clone(), cell(&a["value"]), cell(&a["unit"]), cell(&a["type"]), cell(&a["observed_at"])]
    });
    let table = out::table(&["ATTRIBUTE", "VALUE", "UNIT", "TYPE", "OBSERVED AT"], rows);
    let entity_type = cell(&entity["type"]);
    let entity_type = if entity_type.is_empty() { entity_type } else { format!(" ({entity_type})") };
    format!("{}{entity_type}\n{table}", cell(&entity["external_id"]))
}

pub(super) fn history(answer: &Value) -> Vec<String> {
    let points = answer["points"].as_array().map(Vec::as_slice).unwrap_or_default();
    if points.is_empty() {
        let window = &answer["metadata"];
        return vec![format!("No values from {} to {}.", cell(&window["from"]), cell(&window["to"]))];
    }
    let heading = format!("{} {}", cell(&answer["attribute"]).to_uppercase(), cell(&answer["unit"]));
    let rows = points.iter().map(|p| vec![cell(&p["observed_at"]), cell(&p["value"])]);
    let mut lines = vec![out::table(&["OBSERVED AT", heading.trim_end()], rows)];
    lines.extend(sparkline::of(points));
    if !answer["next_cursor"].is_null() {
        lines.push("There are more: raise --limit, or narrow the window with --from and --to.".into());
    }
    lines
}

pub(super) fn found(answer: &Value) -> Vec<String> {
    let entities = answer["entities"].as_array().map(Vec::as_slice).unwrap_or_default();
    if entities.is_empty() {
        return vec!["No entity matches.".into()];
    }
    let rows = entities.iter().map(|e| {
        let values = e["attributes"].as_object().into_iter().flatten();
        let values: Vec<_> = values.map(|(name, a)| format!("{name}={}", cell(&a["value"]))).collect();
        vec![cell(&e["external_id"]), cell(&e["type"]), values.join(" ")]
    });
    let mut lines = vec![out::table(&["ENTITY", "TYPE", "VALUES"], rows)];
    if !answer["next_cursor"].is_null() {
        lines.push("There are more: raise --limit.".into());
    }
    lines
}

pub(super) fn parts(answer: &Value) -> Vec<String> {
    let seconds = |v: &Value| v.as_f64().map_or_else(|| "unknown".into(), |s| format!("{s:.3} s"));
    let up = |v: &Value| if v == true { "up".to_owned() } else { "AWAY".to_owned() };
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let primary = &answer["primary"];
    let (staging, flush, cache) = (&answer["staging"], &answer["flush"], &answer["cache"]);
    let again = if primary["recovering"] == true { ", reads again what a crash took" } else { "" };
    let mut rows = vec![vec![
        "primary".into(),
        up(&primary["available"]),
        format!("heartbeat {} ago{again}", seconds(&primary["heartbeat_age_seconds"])),
    ]];
    for replica in list(&answer["replicas"]) {
        let state = replica["state"].as_str().filter(|s| *s == "paused").map_or("", |_| ", replay is paused");
        let (lag, tier) = (seconds(&replica["lag_seconds"]), cell(&replica["tier"]));
        rows.push(vec![
            cell(&replica["name"]),
            up(&replica["available"]),
            format!("lag {lag} ({tier}){state}"),
        ]);
    }
    for slot in list(&answer["slots"]) {
        let behind = format!("lag {}, {} bytes behind", seconds(&slot["lag_seconds"]), slot["lag_bytes"]);
        rows.push(vec![format!("slot {}", cell(&slot["name"])), cell(&slot["state"]), behind]);
    }
    if !staging.is_null() {
        let backlog =
            format!("{} rows, oldest {}", staging["backlog_rows"], seconds(&staging["oldest_seconds"]));
        rows.push(vec!["staging".into(), String::new(), backlog]);
    }
    if !flush.is_null() {
        let last = format!("lag {}, last moved {} rows", seconds(&flush["lag_seconds"]), flush["last_rows"]);
        rows.push(vec!["flush".into(), String::new(), last]);
    }
    if !cache.is_null() {
        rows.push(vec!["cache".into(), up(&cache["reachable"]), format!("{} ms", cache["response_ms"])]);
    }
    vec![out::table(&["PART", "STATE", "FRESHNESS"], rows)]
}
