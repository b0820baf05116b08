//! `eaves query`: ask the HTTP API, and see how fresh the answer is.

mod attributes;
mod expression;

use crate::target::{Data, Target};
use crate::{out, token};
use anyhow::{Context as _, Result, bail};
use clap::{Subcommand, ValueEnum};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use std::time::Duration;

/// What the tokens made here allow.
const SCOPE: &str = "query:read";
/// How long they hold: one command.
const TTL: Duration = Duration::from_secs(300);
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(35);

const EXAMPLES: &str = "\
Examples:
  eaves query entity pump-7 --tenant acme
  eaves query entity pump-7 --tenant acme --consistency strong
  eaves query entity pump-7 --tenant acme --purpose dashboard
  eaves query history pump-7 temperature --tenant acme --from 1h
  eaves query search 'status=online temperature>70' --tenant acme
  eaves query search '{\"or\": [{\"attribute\": \"status\", \"eq\": \"fault\"}]}' --tenant acme --json
  eaves query attributes --tenant acme         what is written and asked for, and what is hot
  eaves query attribute temperature --tenant acme
  eaves query freshness --tenant acme

For a deployed platform set EAVES_API_URL and EAVES_TOKEN (scope query:read).";

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
        /// Most points
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
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
        /// Most entities
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Only these attributes, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "NAMES")]
        fields: Option<Vec<String>>,
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
}

#[derive(clap::Args)]
pub(crate) struct Common {
    /// The tenant to ask for
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Print the API's answer as it is
    #[arg(long)]
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
        let mut query = url.query_pairs_mut();
        // As they are called on the command line.
        let name = |value: Option<clap::builder::PossibleValue>| value.map(|v| v.get_name().to_owned());
        let named = [
            ("consistency", name(self.consistency.and_then(|c| c.to_possible_value()))),
            ("purpose", name(self.purpose.and_then(|p| p.to_possible_value()))),
        ];
        for (parameter, value) in named {
            if let Some(value) = value {
                query.append_pair(parameter, &value);
            }
        }
        if let Some(bound) = &self.max_staleness {
            query.append_pair("max_staleness", bound);
        }
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
            for (name, value) in [("from", &from), ("to", &to)] {
                if let Some(value) = value {
                    url.query_pairs_mut().append_pair(name, &time(name, value)?);
                }
            }
            url.query_pairs_mut().append_pair("limit", &limit.to_string());
            if ascending {
                url.query_pairs_mut().append_pair("order", "asc");
            }
            demand.add(&mut url);
            let answer = api.get(url).await?;
            print(&common, &answer, history)
        }
        Command::Search { filter, entity_type, limit, fields, demand, common } => {
            let filter = expression::filter(&filter)?;
            let api = Api::find(&common).await?;
            let mut url = api.url(&["v1", "entities", "search"])?;
            demand.add(&mut url);
            let mut body = json!({"filter": filter, "limit": limit});
            if let Some(entity_type) = entity_type {
                body["type"] = entity_type.into();
            }
            if let Some(fields) = fields {
                body["fields"] = fields.into();
            }
            let answer = api.post(url, &body).await?;
            print(&common, &answer, found)
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

/// The API with a token.
pub(crate) struct Api {
    base: Url,
    token: String,
    client: reqwest::Client,
}

impl Api {
    pub(crate) async fn find(common: &Common) -> Result<Self> {
        // A platform here is only needed for what the user did not give.
        let target = if common.url.is_some() && common.token.is_some() {
            None
        } else {
            Some(Target::find(&common.data)?)
        };
        let base = match (&common.url, &target) {
            (Some(url), _) => url.clone(),
            (None, Some(target)) => target.api_url()?,
            (None, None) => bail!("give --url"),
        };
        let token = match (&common.token, &target, &common.tenant) {
            (Some(token), _, _) => token.clone(),
            (None, Some(target), Some(tenant)) => token::sign(target, tenant, SCOPE, TTL).await.context(
                "give a token with --token or EAVES_TOKEN, or --tenant with a platform on this machine",
            )?,
            (None, _, None) => {
                bail!("whom to ask for? Give --tenant NAME, or a token with --token or EAVES_TOKEN")
            }
            (None, None, _) => bail!("give a token with --token or EAVES_TOKEN"),
        };
        let base = base.trim_end_matches('/');
        let base =
            Url::parse(base).with_context(|| format!("{base:?} is no URL such as http://127.0.0.1:8080"))?;
        let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self { base, token, client })
    }

    pub(crate) fn url(&self, segments: &[&str]) -> Result<Url> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(segments.iter().map(|s| escaped(s))),
            Err(()) => bail!("{} is no URL such as http://127.0.0.1:8080", self.base),
        };
        Ok(url)
    }

    pub(crate) async fn get(&self, url: Url) -> Result<Value> {
        self.send(self.client.request(Method::GET, url)).await
    }

    pub(crate) async fn post(&self, url: Url, body: &Value) -> Result<Value> {
        self.send(self.client.request(Method::POST, url).json(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let unreachable = || format!("the API at {} does not answer", self.base);
        let answer = request.bearer_auth(&self.token).send().await.with_context(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.with_context(unreachable)?;
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(body);
        }
        let word = |name: &str| body[name].as_str().map(str::to_owned);
        let detail =
            word("detail").or_else(|| word("message")).unwrap_or_else(|| text.chars().take(200).collect());
        match word("field") {
            Some(field) => bail!("{} ({}): {detail}", field, status.as_u16()),
            None => bail!("{status}: {detail}"),
        }
    }
}

/// A name for a path. It is escaped once more when it is put into the URL, because API
/// Gateway decodes a path before the function splits it: a slash must survive that.
fn escaped(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
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
    if common.json {
        return out::line(serde_json::to_string_pretty(answer)?);
    }
    for line in readable(answer) {
        out::line(line)?;
    }
    if let Some(line) = freshness_line(&answer["metadata"]["freshness"]) {
        out::line(format!("\n{line}"))?;
    }
    Ok(())
}

/// `🟢 REALTIME  at most 0.8 s old, from cache (cache entry is 0.8 s old, under 5 s)`
fn freshness_line(freshness: &Value) -> Option<String> {
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

fn entity(entity: &Value) -> String {
    let rows = entity["attributes"].as_object().into_iter().flatten().map(|(name, a)| {
        vec![name.clone(), cell(&a["value"]), cell(&a["unit"]), cell(&a["type"]), cell(&a["observed_at"])]
    });
    let table = out::table(&["ATTRIBUTE", "VALUE", "UNIT", "TYPE", "OBSERVED AT"], rows);
    let entity_type = cell(&entity["type"]);
    let entity_type = if entity_type.is_empty() { entity_type } else { format!(" ({entity_type})") };
    format!("{}{entity_type}\n{table}", cell(&entity["external_id"]))
}

fn history(answer: &Value) -> Vec<String> {
    let points = answer["points"].as_array().map(Vec::as_slice).unwrap_or_default();
    if points.is_empty() {
        let window = &answer["metadata"];
        return vec![format!("No values from {} to {}.", cell(&window["from"]), cell(&window["to"]))];
    }
    let heading = format!("{} {}", cell(&answer["attribute"]).to_uppercase(), cell(&answer["unit"]));
    let rows = points.iter().map(|p| vec![cell(&p["observed_at"]), cell(&p["value"])]);
    let mut lines = vec![out::table(&["OBSERVED AT", heading.trim_end()], rows)];
    if !answer["next_cursor"].is_null() {
        lines.push("There are more: raise --limit, or narrow the window with --from and --to.".into());
    }
    lines
}

fn found(answer: &Value) -> Vec<String> {
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

fn parts(answer: &Value) -> Vec<String> {
    let seconds = |v: &Value| v.as_f64().map_or_else(|| "unknown".into(), |s| format!("{s:.3} s"));
    let up = |v: &Value| if v == true { "up".to_owned() } else { "AWAY".to_owned() };
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let primary = &answer["primary"];
    let (staging, flush, cache) = (&answer["staging"], &answer["flush"], &answer["cache"]);
    let mut rows = vec![vec![
        "primary".into(),
        up(&primary["available"]),
        format!("heartbeat {} ago", seconds(&primary["heartbeat_age_seconds"])),
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
        let behind = format!("{} bytes behind", slot["lag_bytes"]);
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

#[cfg(test)]
mod tests {
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
