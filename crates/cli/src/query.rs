//! `eaves query`: ask the HTTP API, and see how fresh the answer is.

mod api;
mod attributes;
mod export;
mod expression;
mod show;
mod sparkline;

pub(crate) use api::{Api, escaped_query};
pub(crate) use show::cell;

use crate::out;
use crate::target::Data;
use anyhow::{Context as _, Result, bail};
use clap::{Subcommand, ValueEnum};
use reqwest::Url;
use serde_json::{Value, json};
use show::{entity, found, freshness_line, history, parts};

const EXAMPLES: &str = "\
Examples:
  eaves query entity pump-7 --tenant acme
  eaves query entity pump-7 --tenant acme --consistency strong
  eaves query entity pump-7 --tenant acme --purpose dashboard
  eaves query history pump-7 temperature --tenant acme --from 1h
  eaves query history pump-7 temperature --tenant acme --output csv > temperature.csv
  eaves query search 'status=online temperature>70' --tenant acme
  eaves query search '{\"or\": [{\"attribute\": \"status\", \"eq\": \"fault\"}]}' --tenant acme --json
  eaves query attributes --tenant acme         what is written and asked for, and what is hot
  eaves query attribute temperature --tenant acme
  eaves query freshness --tenant acme

For a deployed platform set EAVES_API_URL and EAVES_TOKEN (scope query:read).";

/// Points and entities that are shown where no limit is given.
const SHOWN: u32 = 20;
/// Those of one page of an export.
const PAGE_POINTS: u32 = 1_000;
const PAGE_ENTITIES: u32 = 100;

/// Arguments of `eaves query`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The latest values of an entity's hot attributes
    Entity {
        /// The tenant's own name for the entity
        id: String,
        #[command(flatten)]
        demand: Demand,
        #[command(flatten)]
        common: Common,
    },
    /// The values of one attribute over time, newest first
    History {
        /// The tenant's own name for the entity
        id: String,
        /// The attribute
        attribute: String,
        /// First time taken: RFC 3339, or how long ago, such as 90s, 15m, 1h or 7d
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// First time not taken any more, likewise
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Most points [default: 20; all as csv and ndjson]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: Option<u32>,
        /// Oldest first
        #[arg(long)]
        ascending: bool,
        #[command(flatten)]
        demand: Demand,
        #[command(flatten)]
        common: Common,
    },
    /// Entities by the latest values of their hot attributes
    Search {
        /// Comparisons that must all hold (status=online temperature>70), or a filter as JSON
        filter: String,
        /// Only entities of this type
        #[arg(long = "type", value_name = "TYPE")]
        entity_type: Option<String>,
        /// Most entities [default: 20; all as csv and ndjson]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: Option<u32>,
        /// Only these attributes, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "NAMES")]
        fields: Option<Vec<String>>,
        /// What becomes of a search that costs too much; analytics may cost ten times as much, and
        /// be minutes old
        #[arg(long, value_enum, value_name = "WHAT")]
        on_expensive: Option<OnExpensive>,
        #[command(flatten)]
        demand: Demand,
        #[command(flatten)]
        common: Common,
    },
    /// Attributes: which are hot, what is written to them, what queries ask of them
    Attributes {
        /// Most attributes
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        #[command(flatten)]
        demand: Demand,
        #[command(flatten)]
        common: Common,
    },
    /// One attribute likewise
    Attribute {
        /// The attribute
        name: String,
        #[command(flatten)]
        demand: Demand,
        #[command(flatten)]
        common: Common,
    },
    /// How far the primary, the replicas, slots, staging, flush and cache are
    Freshness {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Consistency {
    Strong,
    Eventual,
    Analytics,
}

#[derive(Clone, Copy, ValueEnum)]
enum OnExpensive {
    Refuse,
    Analytics,
}

/// The rows of the platform's freshness matrix (docs/freshness.md).
#[derive(Clone, Copy, ValueEnum)]
enum Purpose {
    Critical,
    Dashboard,
    Operational,
    Alerting,
    Reporting,
    Analytics,
    Historical,
    Compliance,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// As the API gives it
    Json,
    /// A row for each point or entity
    Csv,
    /// A line of JSON for each point or entity
    Ndjson,
}

impl Common {
    fn output(&self) -> Output {
        if self.json { Output::Json } else { self.output }
    }

    /// The media type of a form that the API makes itself.
    fn accept(&self) -> Option<&'static str> {
        match self.output() {
            Output::Table | Output::Json => None,
            Output::Csv => Some("text/csv"),
            Output::Ndjson => Some("application/x-ndjson"),
        }
    }
}

#[derive(clap::Args)]
struct Demand {
    /// strong: all that was acknowledged; eventual (the default): fresh enough; analytics: minutes
    /// old if need be, with longer statements
    #[arg(long, value_enum)]
    consistency: Option<Consistency>,
    /// What the answer is for: a budget that says how old it may be and where it is read
    #[arg(long, value_enum)]
    purpose: Option<Purpose>,
    /// Oldest answer to take, such as 2s or 500ms
    #[arg(long, value_name = "TIME")]
    max_staleness: Option<String>,
    /// The answer must have what this token names: one that `eaves send --token` or a write over HTTP returned
    #[arg(long, value_name = "TOKEN")]
    after: Option<String>,
    /// How long to wait for that, such as 500ms or 10s
    #[arg(long, value_name = "TIME", requires = "after")]
    wait: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct Common {
    /// The tenant to ask for
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// How to print the answer; csv and ndjson are for histories and searches
    #[arg(long, value_enum, default_value = "table", value_name = "FORM")]
    output: Output,
    /// The same as --output json
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// Where the API listens [default: the platform that runs here]
    #[arg(long, env = "EAVES_API_URL")]
    url: Option<String>,
    /// Token to send [default: one made for --tenant, on a platform that runs here]
    #[arg(long, env = "EAVES_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    data: Data,
}

impl Demand {
    fn add(&self, url: &mut Url) {
        add_choice(url, "consistency", self.consistency);
        add_choice(url, "purpose", self.purpose);
        let given = [("max_staleness", &self.max_staleness), ("token", &self.after), ("wait", &self.wait)];
        for (name, value) in given {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
    }
}

/// Adds one of several choices, as it is called on the command line.
fn add_choice(url: &mut Url, parameter: &str, choice: Option<impl ValueEnum>) {
    if let Some(value) = choice.and_then(|c| c.to_possible_value()) {
        url.query_pairs_mut().append_pair(parameter, value.get_name());
    }
}

/// Runs `eaves query`.
pub(crate) async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Entity { id, demand, common } => {
            let api = Api::find(&common).await?;
            let mut url = api.url(&["v1", "entities", &id])?;
            demand.add(&mut url);
            let answer = api.get(url).await?;
            print(&common, &answer, |answer| vec![entity(&answer["entity"])])
        }
        Command::History { id, attribute, from, to, limit, ascending, demand, common } => {
            let api = Api::find(&common).await?;
            let mut url = api.url(&["v1", "entities", &id, "history", &attribute])?;
            demand.add(&mut url);
            let accept = common.accept();
            let count = limit.unwrap_or(if accept.is_some() { PAGE_POINTS } else { SHOWN });
            url.query_pairs_mut().append_pair("limit", &count.to_string());
            // A cursor has the window and the order with it.
            let further = url.clone();
            for (name, value) in [("from", &from), ("to", &to)] {
                if let Some(value) = value {
                    url.query_pairs_mut().append_pair(name, &time(name, value)?);
                }
            }
            if ascending {
                url.query_pairs_mut().append_pair("order", "asc");
            }
            let Some(accept) = accept else {
                let answer = api.get(url).await?;
                return print(&common, &answer, history);
            };
            let ask = async |cursor: Option<&str>| {
                let mut url = if cursor.is_some() { further.clone() } else { url.clone() };
                if let Some(cursor) = cursor {
                    url.query_pairs_mut().append_pair("cursor", cursor);
                }
                api.page(url, None, accept).await
            };
            export::pages(limit.is_some(), common.output() == Output::Csv, ask).await
        }
        Command::Search { filter, entity_type, limit, fields, on_expensive, demand, common } => {
            let filter = expression::filter(&filter)?;
            let api = Api::find(&common).await?;
            let mut url = api.url(&["v1", "entities", "search"])?;
            demand.add(&mut url);
            add_choice(&mut url, "on_expensive", on_expensive);
            let accept = common.accept();
            let count = limit.unwrap_or(if accept.is_some() { PAGE_ENTITIES } else { SHOWN });
            let mut body = json!({"filter": filter, "limit": count});
            if let Some(entity_type) = entity_type {
                body["type"] = entity_type.into();
            }
            if let Some(fields) = fields {
                body["fields"] = fields.into();
            }
            let Some(accept) = accept else {
                let answer = api.post(url, &body).await?;
                return print(&common, &answer, found);
            };
            let ask = async |cursor: Option<&str>| {
                let mut body = body.clone();
                if let Some(cursor) = cursor {
                    body["cursor"] = cursor.into();
                }
                api.page(url.clone(), Some(&body), accept).await
            };
            export::pages(limit.is_some(), common.output() == Output::Csv, ask).await
        }
        Command::Attributes { limit, demand, common } => {
            let api = Api::find(&common).await?;
            let mut url = api.url(&["v1", "attributes"])?;
            url.query_pairs_mut().append_pair("limit", &limit.to_string());
            demand.add(&mut url);
            let answer = api.get(url).await?;
            print(&common, &answer, attributes::list)
        }
        Command::Attribute { name, demand, common } => {
            let api = Api::find(&common).await?;
            let mut url = api.url(&["v1", "attributes", &name])?;
            demand.add(&mut url);
            let answer = api.get(url).await?;
            print(&common, &answer, |answer| attributes::one(&answer["attribute"]))
        }
        Command::Freshness { common } => {
            let api = Api::find(&common).await?;
            let answer = api.get(api.url(&["v1", "freshness"])?).await?;
            print(&common, &answer, parts)
        }
    }
}

/// A time as the API takes it.
pub(crate) fn time(name: &str, text: &str) -> Result<String> {
    let ago = text.strip_suffix(['s', 'm', 'h', 'd']).and_then(|digits| digits.parse::<i64>().ok());
    if let Some(count) = ago {
        let unit = match text.as_bytes().last() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            _ => 86_400,
        };
        let micros =
            count.checked_mul(unit * 1_000_000).with_context(|| format!("--{name} {text}: too long ago"))?;
        return Ok(eaves_model::Timestamp::now().plus_micros(-micros).to_string());
    }
    let parsed: Result<eaves_model::Timestamp, _> = text.parse();
    Ok(parsed
        .with_context(|| format!("--{name}: give an RFC 3339 time, or how long ago, such as 1h"))?
        .to_string())
}

pub(crate) fn print(common: &Common, answer: &Value, readable: impl Fn(&Value) -> Vec<String>) -> Result<()> {
    match common.output() {
        Output::Json => return out::line(serde_json::to_string_pretty(answer)?),
        Output::Ndjson => return out::line(answer),
        Output::Csv => bail!("--output csv is for histories and searches; take json, ndjson or table here"),
        Output::Table => {}
    }
    for line in readable(answer) {
        out::line(line)?;
    }
    if let Some(line) = freshness_line(&answer["metadata"]["freshness"]) {
        out::line(format!("\n{line}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::api::escaped;
    use super::*;

    #[test]
    fn the_freshness_line_tells_tier_age_source_and_reason() {
        let line = freshness_line(&json!({
            "tier": "NEAR_REALTIME", "lag_seconds": 2.31, "source": "read-replica", "sla_target": 10.0,
            "sla_met": true, "route_reason": "replica lag is 2.3 s, under 5 s",
        }));
        assert_eq!(
            line.unwrap(),
            "🟡 NEAR_REALTIME  at most 2.3 s old, from read-replica (replica lag is 2.3 s, under 5 s); target 10 s met"
        );
    }

    #[test]
    fn names_survive_the_gateway() {
        let mut url = Url::parse("http://127.0.0.1:1").unwrap();
        url.path_segments_mut().unwrap().push(&escaped("a/b%c ü"));
        assert_eq!(url.path(), "/a%252Fb%2525c%2520%25C3%25BC");
        assert_eq!(escaped("pump-7"), "pump-7");
    }

    #[test]
    fn times_are_absolute_or_ago() {
        assert_eq!(time("from", "2026-03-01T12:00:00+02:00").unwrap(), "2026-03-01T10:00:00Z");
        let hour: eaves_model::Timestamp = time("from", "1h").unwrap().parse().unwrap();
        let ago = eaves_model::Timestamp::now().seconds_since(hour);
        assert!((3599.0..3601.0).contains(&ago), "{ago}");
        assert!(time("from", "yesterday").is_err());
    }
}
