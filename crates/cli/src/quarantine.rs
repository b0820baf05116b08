//! `eaves quarantine`: what could not be taken, looked at, sent again, or given up.
//!
//! Works on the database as the operator, for rows of any tenant and of none; a tenant's
//! own users have the HTTP API (`/v1/quarantine`).

use crate::query::time;
use crate::target::{Data, Target};
use crate::{out, tenant};
use anyhow::{Context as _, Result, bail, ensure};
use aws_sdk_kinesis::primitives::Blob;
use clap::Subcommand;
use eaves_codec::redrive::{self, Marker};
use eaves_model::Timestamp;
use eaves_store::admin::AdminStore;
use eaves_store::quarantine::{Filter, Item, KINDS, Owner, STATES};
use serde_json::json;

/// Who the quarantine says it was, for what is done here.
const OPERATOR: &str = "operator";
/// Rows taken out at a time: each may have megabytes.
const PORTION: usize = 20;

const EXAMPLES: &str = "\
Examples:
  eaves quarantine list --tenant acme --state open
  eaves quarantine show 17
  eaves quarantine redrive --id 17                        after its cause is mended
  eaves quarantine redrive --tenant acme --reason unknown_attribute --since 1d --dry-run
  eaves quarantine drop --id 17 --why 'a test device'

docs/quarantine.md says what becomes of a row.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List rows, newest first
    List {
        #[command(flatten)]
        which: Which,
        /// Only in this state
        #[arg(long, value_parser = STATES)]
        state: Option<String>,
        /// Most rows
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Only rows before this one: the last of the page before
        #[arg(long, value_name = "ID")]
        before: Option<i64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        data: Data,
    },
    /// Show a row with its payload
    Show {
        /// The row
        id: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        data: Data,
    },
    /// Send rows through the stream again
    Redrive {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        data: Data,
    },
    /// Give rows up and remove their payload
    Drop {
        #[command(flatten)]
        chosen: Chosen,
        /// Why, for whoever looks at them later
        #[arg(long, value_name = "TEXT")]
        why: String,
        #[command(flatten)]
        data: Data,
    },
}

/// A filter.
#[derive(clap::Args)]
struct Which {
    /// Only this tenant's
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Only those of no tenant
    #[arg(long, conflicts_with = "tenant")]
    nobody: bool,
    /// Only with this reason
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Only of this kind
    #[arg(long, value_parser = KINDS)]
    kind: Option<String>,
    /// Only about this attribute
    #[arg(long, value_name = "NAME")]
    attribute: Option<String>,
    /// Only since: RFC 3339, or how long ago, such as 15m or 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before, likewise
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Rows by number, or by a filter.
#[derive(clap::Args)]
struct Chosen {
    /// These rows
    #[arg(long, value_name = "ID", num_args = 1.., value_delimiter = ',')]
    id: Vec<i64>,
    #[command(flatten)]
    which: Which,
    /// Most rows of a filter
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Only tell which rows it would be
    #[arg(long)]
    dry_run: bool,
}

impl Which {
    fn names_some(&self) -> bool {
        let texts = [&self.tenant, &self.reason, &self.kind, &self.attribute, &self.since, &self.until];
        self.nobody || texts.iter().any(|t| t.is_some())
    }

    async fn filter(&self, target: &Target) -> Result<Filter> {
        let owner = match (&self.tenant, self.nobody) {
            (Some(name), _) => Owner::Tenant(tenant::find(target, name).await?),
            (None, true) => Owner::Nobody,
            (None, false) => Owner::Any,
        };
        let at = |name: &str, text: &Option<String>| -> Result<Option<Timestamp>> {
            text.as_deref().map(|t| Ok(time(name, t)?.parse()?)).transpose()
        };
        Ok(Filter {
            owner,
            reason: self.reason.clone(),
            kind: self.kind.clone(),
            attribute: self.attribute.clone(),
            since: at("since", &self.since)?,
            until: at("until", &self.until)?,
            ..Filter::default()
        })
    }
}

impl Chosen {
    /// The rows that are meant, oldest first.
    async fn ids(&self, target: &Target, store: &AdminStore) -> Result<Vec<i64>> {
        ensure!(
            self.id.is_empty() == self.which.names_some(),
            "name rows with --id, or give a filter such as --tenant, --reason or --since"
        );
        if !self.id.is_empty() {
            let mut ids = self.id.clone();
            ids.sort_unstable();
            ids.dedup();
            return Ok(ids);
        }
        let filter = self.which.filter(target).await?;
        let filter = Filter { state: Some("open".into()), oldest_first: true, ..filter };
        Ok(store.quarantine_list(&filter, self.limit).await?.into_iter().map(|item| item.id).collect())
    }
}

/// Runs `eaves quarantine`.
pub(crate) async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::List { which, state, limit, before, json, data } => {
            let target = Target::find(&data)?;
            let filter = Filter { state, after: before, ..which.filter(&target).await? };
            let items = tenant::admin(&target).await?.quarantine_list(&filter, limit).await?;
            if json {
                return out::line(serde_json::to_string_pretty(&items)?);
            }
            if items.is_empty() {
                return out::line("There is nothing of that in quarantine.");
            }
            out::line(table(&items))
        }
        Command::Show { id, json, data } => {
            let store = tenant::admin(&Target::find(&data)?).await?;
            let found = store.quarantine_get(id).await?;
            let (item, payload) = found.with_context(|| format!("there is no quarantine row {id}"))?;
            show(&item, payload.as_deref(), json)
        }
        Command::Redrive { chosen, data } => {
            let target = Target::find(&data)?;
            let store = tenant::admin(&target).await?;
            let ids = chosen.ids(&target, &store).await?;
            if chosen.dry_run {
                return told("would be sent again", &ids);
            }
            redriven(&target, &store, &ids).await
        }
        Command::Drop { chosen, why, data } => {
            let target = Target::find(&data)?;
            let store = tenant::admin(&target).await?;
            let ids = chosen.ids(&target, &store).await?;
            if chosen.dry_run {
                return told("would be dropped", &ids);
            }
            let dropped = store.quarantine_drop(&ids, OPERATOR, &why).await?;
            told("dropped", &dropped)?;
            all(&ids, &dropped)
        }
    }
}

/// Claims rows and puts their records, portion by portion.
async fn redriven(target: &Target, store: &AdminStore, ids: &[i64]) -> Result<()> {
    let (client, stream) = (target.kinesis().await, target.stream()?);
    let mut sent = Vec::new();
    let mut failed = Vec::new();
    for portion in ids.chunks(PORTION) {
        for row in store.quarantine_claim(portion, OPERATOR).await? {
            let record = redrive::wrap(Marker { id: row.id, token: row.token }, &row.payload);
            let record = match record {
                Ok(record) => record,
                Err(why) => {
                    failed.push(format!("{}: {why}", row.id));
                    continue;
                }
            };
            let key = redrive::partition_key(row.id, &row.payload, Timestamp::now());
            let put = client.put_record().stream_name(&stream).partition_key(key).data(Blob::new(record));
            // The client tries again by itself; a record that arrives twice has one effect.
            match put.send().await {
                Ok(_) => sent.push(row.id),
                Err(e) => failed.push(format!("{}: the stream did not take it: {}", row.id, chain(&e))),
            }
        }
    }
    told("sent again", &sent)?;
    if !failed.is_empty() {
        bail!("not sent, and still under way; redrive them again:\n  {}", failed.join("\n  "));
    }
    all(ids, &sent)
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn told(what: &str, ids: &[i64]) -> Result<()> {
    let shown: Vec<String> = ids.iter().take(20).map(ToString::to_string).collect();
    let more = if ids.len() > shown.len() { ", …" } else { "" };
    let list = if ids.is_empty() { String::new() } else { format!(": {}{more}", shown.join(", ")) };
    out::line(format!("{} {what}{list}", ids.len()))
}

/// An error that names rows which are not there, or settled or dropped.
fn all(asked: &[i64], done: &[i64]) -> Result<()> {
    let left: Vec<String> = asked.iter().filter(|id| !done.contains(id)).map(ToString::to_string).collect();
    if left.is_empty() {
        return Ok(());
    }
    bail!("not there, or settled or dropped already: {}", left.join(", "))
}

fn table(items: &[Item]) -> String {
    let rows = items.iter().map(|i| {
        let tenant = i.tenant.clone().or_else(|| i.named_tenant.as_ref().map(|n| format!("({n})")));
        vec![
            i.id.to_string(),
            tenant.unwrap_or_else(|| "-".into()),
            i.state.clone(),
            i.kind.clone(),
            i.reason.clone(),
            i.field.clone(),
            i.created_at.to_string(),
            i.attempts.to_string(),
        ]
    });
    out::table(&["ID", "TENANT", "STATE", "KIND", "REASON", "FIELD", "SINCE", "ATTEMPTS"], rows)
}

fn show(item: &Item, payload: Option<&[u8]>, json: bool) -> Result<()> {
    let text = payload.and_then(|p| std::str::from_utf8(p).ok());
    let parsed: Option<serde_json::Value> = text.and_then(|t| serde_json::from_str(t).ok());
    if json {
        let mut all = serde_json::to_value(item)?;
        // Digits as they stand would be lost in numbers: the text is there too.
        all["payload"] = parsed.unwrap_or_default();
        all["payload_text"] = json!(text);
        all["payload_hex"] = json!(payload.filter(|_| text.is_none()).map(hex));
        return out::line(serde_json::to_string_pretty(&all)?);
    }
    let fields = serde_json::to_value(item)?;
    let rows = fields.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()).map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        vec![name.replace('_', " "), value]
    });
    out::line(out::table(&["", ""], rows).trim_start_matches('\n'))?;
    out::line(match (payload, text, parsed) {
        (None, ..) => "\nThe payload is gone.".to_owned(),
        (_, _, Some(json)) => format!("\n{}", serde_json::to_string_pretty(&json)?),
        (_, Some(text), None) => format!("\n{text}"),
        (Some(bytes), None, None) => format!("\nnot text, in hexadecimal:\n{}", hex(bytes)),
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(out, "{byte:02x}");
        out
    })
}
