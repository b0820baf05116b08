//! `eaves plugin backtest`: ask for one, watch it, read its report.

use super::api::Api;
use super::{Common, read_settings, show};
use crate::out;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;

/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// Arguments of `eaves plugin backtest`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The plugin's name
    #[arg(long)]
    name: String,
    /// The candidate
    #[arg(long, required_unless_present_any = ["id", "cancel"])]
    version: Option<String>,
    /// Its settings: JSON, or a file with JSON [default: those it has]
    #[arg(long, value_name = "JSON|FILE")]
    settings: Option<String>,
    /// How far back, such as 30m, 24h or 7d
    #[arg(long, default_value = "24h", value_parser = since)]
    since: Duration,
    /// Most values a second
    #[arg(long, value_name = "VALUES")]
    rate: Option<u32>,
    /// Most example values for each change
    #[arg(long)]
    examples: Option<u32>,
    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,
    /// Show a backtest that was asked for before
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Cancel a backtest
    #[arg(long, value_name = "ID", conflicts_with = "id")]
    cancel: Option<String>,
    /// Why, for the audit trail
    #[arg(long, default_value = "")]
    why: String,
    #[command(flatten)]
    common: Common,
}

fn since(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => bail!("give a number with s, m, h or d, such as 24h"),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    let seconds = seconds.filter(|s| (1..=366 * 86_400).contains(s));
    Ok(Duration::from_secs(seconds.context("give a time from 1s to 366d, such as 24h")?))
}

pub(super) async fn run(args: Args) -> Result<()> {
    let api = Api::find(&args.common).await?;
    if let Some(id) = &args.cancel {
        let why = json!({"why": args.why});
        let answer = api.post(&["plugins", &args.name, "backtest", id, "cancel"], &why).await?;
        return show::print(&args.common, &answer, lines);
    }
    let id = match (&args.id, &args.version) {
        (Some(id), _) => id.clone(),
        (None, Some(version)) => ask(&api, &args, version).await?,
        (None, None) => bail!("give --version"),
    };
    loop {
        let answer = api.get(&["plugins", &args.name, "backtest", &id], &[]).await?;
        let state = answer["state"].as_str().unwrap_or_default();
        if args.no_wait || !matches!(state, "waiting" | "running") {
            show::print(&args.common, &answer, lines)?;
            if state == "failed" {
                bail!("the backtest failed: {}", answer["error"].as_str().unwrap_or_default());
            }
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn ask(api: &Api, args: &Args, version: &str) -> Result<String> {
    let now = eaves_model::Timestamp::now();
    let from = now.plus_micros(-i64::try_from(args.since.as_micros())?);
    let mut body = json!({"version": version, "from": from, "to": now, "why": args.why});
    if let Some(settings) = &args.settings {
        body["settings"] = read_settings(settings)?;
    }
    if let Some(rate) = args.rate {
        body["max_values_per_s"] = rate.into();
    }
    if let Some(examples) = args.examples {
        body["examples"] = examples.into();
    }
    let answer = api.post(&["plugins", &args.name, "backtest"], &body).await?;
    answer["id"].as_str().map(str::to_owned).context("the answer has no id")
}

fn lines(answer: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let report = &answer["report"];
    let percent = answer["progress"].as_f64().unwrap_or_default() * 100.0;
    let mut lines = vec![format!("{}: {} ({percent:.0} %)", text(&answer["id"]), text(&answer["state"]))];
    if report.is_null() {
        return lines;
    }
    for (what, part) in [("history", &report["history"]), ("quarantine", &report["quarantine"])] {
        lines.push(format!("{what}: {} values", part["values"]));
        lines.push(format!("  active     {}", show::counts(&part["active"])));
        lines.push(format!("  candidate  {}", show::counts(&part["candidate"])));
        lines.push(format!("  changed    {}", show::counts(&part["changed"])));
        for example in part["examples"]
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(_, all)| all.as_array().into_iter().flatten().take(3))
        {
            let word = |key: &str| text(&example[key]);
            lines.push(format!(
                "    {}: {} {} at {}: {} ({} > {})",
                word("change"),
                word("entity"),
                word("attribute"),
                word("observed_at"),
                word("value"),
                word("before"),
                word("after")
            ));
        }
    }
    let reasons = report["top_reasons"].as_array().into_iter().flatten();
    let reasons: Vec<Vec<String>> = reasons
        .map(|r| vec![text(&r["code"]), r["active"].to_string(), r["candidate"].to_string()])
        .collect();
    if !reasons.is_empty() {
        lines.push(out::table(&["REJECTED BECAUSE OF", "BY THE ACTIVE", "BY THE CANDIDATE"], reasons));
    }
    let rows = report["attributes"].as_object().into_iter().flatten().map(|(name, e)| {
        let hot = if e["hot"] == true { "hot" } else { "" };
        let n = |key: &str| e[key].to_string();
        vec![name.clone(), hot.into(), n("rejected"), n("taken"), n("replaced"), n("derived")]
    });
    lines.push(out::table(&["ATTRIBUTE", "", "REJECTED", "TAKEN", "REPLACED", "DERIVED"], rows));
    let candidate = &report["candidate"];
    lines.push(format!(
        "candidate: {} calls, {} µs per 1,000 values (p99 {}), {} bytes of memory",
        candidate["calls"], candidate["p50_us"], candidate["p99_us"], candidate["memory_peak"]
    ));
    let problems: Vec<String> =
        report["limits"]["problems"].as_array().into_iter().flatten().map(text).collect();
    lines.push(match problems.as_slice() {
        [] => "limits: kept".to_owned(),
        problems => format!("limits: not kept: {}", problems.join("; ")),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Value {
        json!({"id": "ab", "state": "done", "progress": 1.0, "report": {
            "history": {"values": 100, "active": {"rejected:above_range": 10}, "candidate": {"rejected:stuck": 40}},
            "quarantine": {"values": 0},
            "top_reasons": [{"code": "stuck", "active": 0, "candidate": 40}, {"code": "above_range", "active": 10, "candidate": 0}],
            "limits": {"problems": []},
        }})
    }

    #[test]
    fn the_most_frequent_reasons_are_printed_with_both_counts() {
        let text = lines(&report()).join("\n");
        let (_, table) = text.split_once("REJECTED BECAUSE OF").unwrap_or_else(|| panic!("{text}"));
        let rows: Vec<Vec<&str>> =
            table.lines().skip(1).take(2).map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows, [["stuck", "0", "40"], ["above_range", "10", "0"]], "{text}");
        let mut without = report();
        without["report"]["top_reasons"] = json!([]);
        assert!(!lines(&without).join("\n").contains("REJECTED BECAUSE OF"), "a heading over nothing");
    }
}
