//! Attributes as people read them.

use super::cell;
use crate::out;
use serde_json::Value;

fn number(value: &Value, digits: usize) -> String {
    value.as_f64().map_or_else(String::new, |n| format!("{n:.digits$}"))
}

fn percent(value: &Value) -> String {
    value.as_f64().map_or_else(String::new, |n| format!("{:.0} %", n * 100.0))
}

/// `yes`, `no` or `filling`, and whether somebody has fixed it.
fn hot(a: &Value) -> String {
    let state = match (a["hot"] == true, a["filling"] == true) {
        (true, _) => "yes",
        (_, true) => "filling",
        _ => "no",
    };
    if a["pin"].is_string() { format!("{state}, pinned") } else { state.into() }
}

/// A table of all.
pub(super) fn list(answer: &Value) -> Vec<String> {
    let attributes = answer["attributes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if attributes.is_empty() {
        return vec!["The tenant has no attributes yet.".into()];
    }
    let rows = attributes.iter().map(|a| {
        let (writes, queries) = (&a["writes"], &a["queries"]);
        vec![
            cell(&a["name"]),
            cell(&a["type"]),
            hot(a),
            cell(&writes["values"]),
            number(&writes["per_second"], 2),
            percent(&writes["change_ratio"]),
            cell(&writes["entities"]),
            cell(&writes["distinct_values"]),
            cell(&queries["filters"]),
            cell(&queries["returns"]),
            number(&queries["mean_ms"], 1),
        ]
    });
    let heading = [
        "ATTRIBUTE",
        "TYPE",
        "HOT",
        "VALUES",
        "PER S",
        "CHANGED",
        "ENTITIES",
        "DIFFERENT",
        "FILTERS",
        "RETURNS",
        "MEAN MS",
    ];
    let mut lines = vec![out::table(&heading, rows)];
    if !answer["next_cursor"].is_null() {
        lines.push("There are more: raise --limit.".into());
    }
    lines
}

/// All that is known of one.
pub(super) fn one(a: &Value) -> Vec<String> {
    let (writes, queries, day) = (&a["writes"], &a["queries"], &a["last_day"]);
    let hours = format!("{:.1} h", a["window_seconds"].as_f64().unwrap_or_default() / 3600.0);
    let mut rows = vec![
        vec!["hot".into(), hot(a)],
        vec!["registered".into(), cell(&a["created_at"])],
        vec![
            format!("values in {hours}"),
            format!("{} ({}/s)", cell(&writes["values"]), number(&writes["per_second"], 2)),
        ],
        vec!["bytes a value".into(), number(&writes["value_bytes"], 1)],
        vec!["changed".into(), percent(&writes["change_ratio"])],
        vec!["entities, about".into(), cell(&writes["entities"])],
        vec!["different values, about".into(), cell(&writes["distinct_values"])],
        vec!["last value taken".into(), cell(&writes["last_at"])],
        vec![
            format!("queries in {hours}"),
            format!(
                "{} ({} filter by it, {} return it)",
                cell(&queries["count"]),
                cell(&queries["filters"]),
                cell(&queries["returns"])
            ),
        ],
        vec!["mean time of a query".into(), format!("{} ms", number(&queries["mean_ms"], 1))],
    ];
    if !day.is_null() {
        let range = format!("{} / {} / {}", cell(&day["min"]), number(&day["mean"], 3), cell(&day["max"]));
        rows.push(vec!["least / mean / greatest of a day".into(), range]);
    }
    let heading = format!("{} ({})", cell(&a["name"]), cell(&a["type"]));
    vec![out::table(&[heading.as_str(), ""], rows)]
}
