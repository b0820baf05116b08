//! `eaves hot simulate`: what a rule, or the tenant's plugin, would change.

use crate::out;
use crate::query::{Api, Common, cell, print};
use anyhow::Result;
use serde_json::{Map, Value};

/// What to try.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Share of the queries that hot attributes are to serve, 0 to 1 [default: 0.8]
    #[arg(long)]
    share: Option<f64>,
    /// By how much an attribute must be asked for more than a hot one [default: 1.5]
    #[arg(long)]
    hysteresis: Option<f64>,
    /// Attributes younger than so many seconds are left as they are [default: 86400]
    #[arg(long, value_name = "SECONDS")]
    cooldown: Option<f64>,
    /// Most hot attributes [default: the tenant's limit]
    #[arg(long)]
    most: Option<u32>,
    /// Bytes of hot values of a mean entity [default: 1600]
    #[arg(long, value_name = "BYTES")]
    byte_budget: Option<u32>,
    /// Instead of the rule: make these hot, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    promote: Vec<String>,
    /// Instead of the rule: make these cease to be hot
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    demote: Vec<String>,
    /// Ask this plugin of the tenant's instead of the built-in rule
    #[arg(long, value_name = "NAME", conflicts_with_all = ["share", "hysteresis", "promote", "demote"])]
    plugin: Option<String>,
    /// The plugin's version to ask [default: the active one]
    #[arg(long, requires = "plugin")]
    version: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let mut body = Map::new();
    let settings = [
        ("share", args.share.map(Value::from)),
        ("hysteresis", args.hysteresis.map(Value::from)),
        ("cooldown_seconds", args.cooldown.map(Value::from)),
        ("most", args.most.map(Value::from)),
        ("byte_budget", args.byte_budget.map(Value::from)),
        ("version", args.version.map(Value::from)),
        ("promote", (!args.promote.is_empty()).then(|| args.promote.into())),
        ("demote", (!args.demote.is_empty()).then(|| args.demote.into())),
    ];
    for (name, value) in settings {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    }
    let api = Api::find(&args.common).await?;
    let url = match &args.plugin {
        Some(plugin) => api.url(&["v1", "plugins", plugin, "simulate"])?,
        None => api.url(&["v1", "hot", "simulate"])?,
    };
    let answer = api.post(url, &body.into()).await?;
    print(&args.common, &answer, shown)
}

fn shown(answer: &Value) -> Vec<String> {
    let number = |v: &Value, digits: usize| v.as_f64().map_or_else(String::new, |n| format!("{n:.digits$}"));
    let changes = answer["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = Vec::new();
    if changes.is_empty() {
        lines.push("Nothing would change.".to_owned());
    } else {
        let rows = changes.iter().map(|c| {
            vec![
                cell(&c["change"]),
                cell(&c["attribute"]),
                number(&c["queries_per_second"], 4),
                number(&c["row_bytes"], 0),
                cell(&c["reason"]),
            ]
        });
        lines.push(out::table(&["CHANGE", "ATTRIBUTE", "QUERIES/S", "ROW BYTES", "WHY"], rows));
    }
    for proposal in answer["held"].as_array().into_iter().flatten() {
        let [change, attribute, held, why] =
            ["change", "attribute", "held", "reason"].map(|key| cell(&proposal[key]));
        lines.push(format!("Not followed ({held}): {change} {attribute}: {why}"));
    }
    let (before, after) = (&answer["before"], &answer["after"]);
    let row = |name: &str, key: &str, digits: usize| {
        vec![name.to_owned(), number(&before[key], digits), number(&after[key], digits)]
    };
    let rows = [
        row("hot attributes", "attributes", 0),
        row("bytes of a mean hot row", "row_bytes", 0),
        row("values written per value", "write_amplification", 2),
        row("filters/s from the projection", "fast_filters_per_second", 4),
        row("share of the queries that name hot ones", "demand_share", 3),
    ];
    lines.push(out::table(&["", "NOW", "THEN"], rows));
    let hours = answer["window_seconds"].as_f64().unwrap_or_default() / 3600.0;
    lines.push(format!("By the figures of {hours:.1} h; byte budget {}.", cell(&answer["byte_budget"])));
    lines
}
