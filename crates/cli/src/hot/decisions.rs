//! `eaves hot decisions`: what was decided, by whom, why and on which figures.

use crate::out;
use crate::query::{Api, Common, cell, print};
use anyhow::Result;
use serde_json::Value;

/// Which decisions.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only about this attribute
    #[arg(long, value_name = "NAME")]
    attribute: Option<String>,
    /// Most decisions, the newest first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let api = Api::find(&args.common).await?;
    let mut url = api.url(&["v1", "hot", "decisions"])?;
    url.query_pairs_mut().append_pair("limit", &args.limit.to_string());
    if let Some(attribute) = &args.attribute {
        url.query_pairs_mut().append_pair("attribute", attribute);
    }
    let answer = api.get(url).await?;
    print(&args.common, &answer, shown)
}

fn shown(answer: &Value) -> Vec<String> {
    let decisions = answer["decisions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = Vec::new();
    if decisions.is_empty() {
        lines.push("Nothing was decided yet.".to_owned());
    } else {
        let rate = |v: &Value| v.as_f64().map_or_else(String::new, |n| format!("{n:.4}"));
        let rows = decisions.iter().map(|d| {
            let seen = &d["statistics"];
            vec![
                cell(&d["decided_at"]),
                cell(&d["change"]),
                cell(&d["attribute"]),
                cell(&d["by"]),
                rate(&seen["filters_per_second"]),
                rate(&seen["returns_per_second"]),
                cell(&d["reason"]),
            ]
        });
        let heading = ["WHEN", "CHANGE", "ATTRIBUTE", "BY", "FILTERS/S", "RETURNS/S", "WHY"];
        lines.push(out::table(&heading, rows));
    }
    lines.extend(last_run(&answer["last_run"]));
    lines
}

/// The last run, in a sentence; what it did not follow, a line each.
fn last_run(run: &Value) -> Vec<String> {
    if run.is_null() {
        return Vec::new();
    }
    let by = match run["plugin"]["name"].as_str() {
        Some(name) => format!("plugin {name} {}", cell(&run["plugin"]["version"])),
        None => "the built-in rule".to_owned(),
    };
    let (at, changes, all) = (cell(&run["at"]), cell(&run["changes"]), cell(&run["attributes"]));
    let mut lines = vec![format!("Last run at {at} by {by}: {changes} of {all} attributes changed.")];
    if let Some(failure) = run["failure"].as_str() {
        lines.push(format!("It failed, for the {}. time in a row: {failure}", cell(&run["failures"])));
    }
    for held in run["held"].as_array().into_iter().flatten() {
        let (change, attribute, why) = (cell(&held["change"]), cell(&held["attribute"]), cell(&held["why"]));
        lines.push(format!("Not followed: {change} {attribute} ({why})"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_failure_and_what_was_held_are_told() {
        let answer = json!({"decisions": [], "last_run": {"at": "2026-01-01T00:00:00Z", "changes": 0, "attributes": 3,
            "plugin": {"name": "p", "version": "1"}, "failure": "it trapped", "failures": 2,
            "held": [{"attribute": "a", "change": "demote", "why": "pinned"}]}});
        let text = shown(&answer).join("\n");
        assert!(
            text.contains("by plugin p 1: 0 of 3") && text.contains("2. time in a row: it trapped"),
            "{text}"
        );
        assert!(text.contains("demote a (pinned)"), "{text}");
    }
}
