//! Answers as text.

use super::Common;
use crate::out;
use anyhow::Result;
use serde_json::Value;

/// The answer as it is, or the lines made of it.
pub(super) fn print(
    common: &Common,
    answer: &Value,
    lines: impl FnOnce(&Value) -> Vec<String>,
) -> Result<()> {
    if common.json {
        return out::line(serde_json::to_string_pretty(answer)?);
    }
    lines(answer).into_iter().try_for_each(out::line)
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn short(digest: &Value) -> String {
    word(digest).chars().take(12).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What is in force.
pub(super) fn standing(answer: &Value) -> Vec<String> {
    let line = |what: &str, v: &Value| match v {
        Value::Null => format!("{what}: none"),
        v => format!(
            "{what}: {} {} ({}), settings {}, on failure {}, since {} by {}",
            word(&v["name"]),
            word(&v["version"]),
            short(&v["digest"]),
            word(&v["settings_version"]),
            word(&v["on_failure"]),
            word(&v["since"]),
            word(&v["by"])
        ),
    };
    let mut last_good = line("last good", &answer["last_good"]);
    if answer["last_good_allowed"] == false {
        last_good.push_str("; it is not signed, and will not decide");
    }
    vec![
        line("active", &answer["active"]),
        line("shadow", &answer["shadow"]),
        last_good,
        format!("revision: {}", word(&answer["revision"])),
    ]
}

pub(super) fn versions(answer: &Value) -> Vec<String> {
    let rows = list(&answer["versions"]).map(|v| {
        let mut row = vec![word(&v["version"]), word(&v["state"]), short(&v["digest"]), word(&v["bytes"])];
        row.extend([word(&v["pushed_at"]), word(&v["pushed_by"]), word(&v["refusal"])]);
        row
    });
    let mut lines = vec![out::table(&["VERSION", "STATE", "DIGEST", "BYTES", "PUSHED", "BY", ""], rows)];
    lines.extend(standing(&answer["standing"]));
    lines
}

pub(super) fn metrics(answer: &Value) -> Vec<String> {
    let rows = list(&answer["versions"]).map(|v| {
        let mut row = vec![word(&v["version"]), word(&v["role"]), word(&v["calls"]), word(&v["values"])];
        row.extend([word(&v["p50_us"]), word(&v["p95_us"]), word(&v["p99_us"]), word(&v["memory_peak"])]);
        row.extend([counts(&v["verdicts"]), counts(&v["failures"]), counts(&v["changes"])]);
        row
    });
    let heading = [
        "VERSION",
        "ROLE",
        "CALLS",
        "VALUES",
        "P50 µs/1000",
        "P95",
        "P99",
        "MEMORY",
        "VERDICTS",
        "FAILURES",
        "CHANGES",
    ];
    vec![out::table(&heading, rows)]
}

/// `accepted 12, rejected:above_range 3`
pub(super) fn counts(map: &Value) -> String {
    let all = map.as_object().into_iter().flatten();
    all.map(|(key, n)| format!("{key} {n}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn events(answer: &Value) -> Vec<String> {
    let rows = list(&answer["events"])
        .map(|e| vec![word(&e["at"]), word(&e["kind"]), word(&e["version"]), word(&e["message"])]);
    vec![out::table(&["AT", "WHAT", "VERSION", ""], rows)]
}

pub(super) fn audit(answer: &Value) -> Vec<String> {
    let rows = list(&answer["entries"]).map(|e| {
        let mut row = vec![word(&e["at"]), word(&e["action"]), word(&e["version"]), short(&e["digest"])];
        row.extend([word(&e["by"]), word(&e["revision"]), word(&e["why"])]);
        row
    });
    vec![out::table(&["AT", "WHAT", "VERSION", "DIGEST", "BY", "REVISION", "WHY"], rows)]
}
