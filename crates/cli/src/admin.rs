//! `eaves admin`: reads across tenants, over the API, and who made them.

use crate::query::{Api, cell, escaped_query};
use crate::target::{Data, Target};
use crate::{out, tenant, token};
use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use serde_json::Value;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  eaves admin entities --tenant acme --reason 'ticket 4711: pump-7 shows no values'
  eaves admin entities --external-id pump-7 --reason 'ticket 4711: whose is it?'
  eaves admin reads                            who read what across tenants, and why

The note of a read is made before the read, cannot be changed, and its tenant can see it. For a
deployed platform set EAVES_API_URL and EAVES_TOKEN (scope admin and the claim operator).";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Entities of a tenant or of all, with their latest values
    Entities {
        /// Only of this tenant
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// Only the one of this name
        #[arg(long, value_name = "ID")]
        external_id: Option<String>,
        /// Why: 8 to 500 characters
        #[arg(long)]
        reason: String,
        /// Most entities
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Print the API's answer as it is
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        api: Where,
    },
    /// Reads across tenants, the latest first
    Reads {
        /// Most reads
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        data: Data,
    },
}

/// Which API, and with which token.
#[derive(clap::Args)]
struct Where {
    /// Where the API listens [default: the platform that runs here]
    #[arg(long, env = "EAVES_API_URL")]
    url: Option<String>,
    /// Token to send [default: one made for --operator, on a platform that runs here]
    #[arg(long, env = "EAVES_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Who reads, on a platform that runs here [default: your user name]
    #[arg(long, value_name = "WHO", env = "USER")]
    operator: Option<String>,
    #[command(flatten)]
    data: Data,
}

impl Where {
    fn api(&self) -> Result<Api> {
        if let (Some(url), Some(token)) = (&self.url, &self.token) {
            return Api::new(url, token.clone());
        }
        let target = Target::find(&self.data)?;
        let url = match &self.url {
            Some(url) => url.clone(),
            None => target.api_url()?,
        };
        let token = match (&self.token, &self.operator) {
            (Some(token), _) => token.clone(),
            (None, Some(who)) => token::sign_operator(&target, who, "admin", Duration::from_secs(300))
                .context("give a token with --token or EAVES_TOKEN")?,
            (None, None) => bail!("who reads? Give --operator WHO, or a token with --token or EAVES_TOKEN"),
        };
        Api::new(&url, token)
    }
}

pub(crate) async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Entities { tenant, external_id, reason, limit, json, api } => {
            let api = api.api()?;
            let mut url = api.url(&["v1", "admin", "entities"])?;
            let limit = limit.to_string();
            escaped_query(
                &mut url,
                &[
                    ("reason", Some(reason.as_str())),
                    ("tenant", tenant.as_deref()),
                    ("external_id", external_id.as_deref()),
                    ("limit", Some(limit.as_str())),
                ],
            );
            let answer = api.get(url).await?;
            if json {
                return out::line(serde_json::to_string_pretty(&answer)?);
            }
            out::line(entities(&answer))
        }
        Command::Reads { limit, json, data } => {
            let reads = tenant::admin(&Target::find(&data)?).await?.admin_reads(limit).await?;
            if json {
                return out::line(serde_json::to_string_pretty(&reads)?);
            }
            if reads.is_empty() {
                return out::line("Nobody has read across tenants.");
            }
            let rows = reads.into_iter().map(|r| {
                let tenant = r.tenant.unwrap_or_else(|| "all".into());
                vec![r.opened_at.to_string(), r.who, r.role, r.what, tenant, r.reason]
            });
            out::line(out::table(&["WHEN", "WHO", "ROLE", "WHAT", "TENANT", "WHY"], rows))
        }
    }
}

fn entities(answer: &Value) -> String {
    let all = answer["entities"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return "No entity is there.".into();
    }
    let rows = all.iter().map(|e| {
        let values = e["attributes"].as_object().into_iter().flatten();
        let values: Vec<String> = values.map(|(name, value)| format!("{name}={}", cell(value))).collect();
        vec![cell(&e["tenant"]), cell(&e["external_id"]), cell(&e["type"]), values.join(" ")]
    });
    let mut text = out::table(&["TENANT", "ENTITY", "TYPE", "VALUES"], rows);
    if !answer["next_cursor"].is_null() {
        text.push_str("\nThere are more: raise --limit.");
    }
    text
}
