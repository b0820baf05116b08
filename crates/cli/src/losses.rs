//! `eaves losses`: ranges of the stream that were gone when they were needed.

use crate::out;
use crate::target::{Data, Target};
use crate::tenant::admin;
use anyhow::{Result, bail};
use clap::Subcommand;

const EXAMPLES: &str = "\
Examples:
  eaves losses list
  eaves losses acknowledge 3 --note 'database away for 26 h on 4 May; gateways sent again'

The health check tells of a loss until somebody has acknowledged it. docs/delivery.md says
how losses can come about and how they are found.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List them, oldest first
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        data: Data,
    },
    /// Note that somebody has looked at one
    Acknowledge {
        /// Its number
        loss: i64,
        /// What was found, and what was done
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        data: Data,
    },
}

pub(crate) async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::List { json, data } => {
            let losses = admin(&Target::find(&data)?).await?.losses().await?;
            if json {
                return out::line(serde_json::to_string_pretty(&losses)?);
            }
            if losses.is_empty() {
                return out::line("The stream has kept everything that was needed.");
            }
            let rows = losses.into_iter().map(|l| {
                let seen =
                    l.acknowledged_by.map_or_else(|| "no".to_owned(), |by| format!("{by}: {}", l.note));
                let (after, before) = (l.after.unwrap_or_default(), l.before.unwrap_or_default());
                vec![l.id.to_string(), l.found_at.to_string(), l.kind, l.shard, after, before, seen]
            });
            out::line(out::table(
                &["ID", "FOUND AT", "KIND", "SHARD", "AFTER", "BEFORE", "ACKNOWLEDGED"],
                rows,
            ))
        }
        Command::Acknowledge { loss, note, data } => {
            if !admin(&Target::find(&data)?).await?.acknowledge_loss(loss, "operator", &note).await? {
                bail!("there is no loss {loss}; `eaves losses list` shows those there are");
            }
            out::line(format!("Loss {loss} is acknowledged."))
        }
    }
}
