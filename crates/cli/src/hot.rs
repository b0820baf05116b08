//! `eaves hot`: what is, or would be, in the hot projection.

mod change;
mod decisions;
mod simulate;
mod verify;

use anyhow::Result;
use clap::Subcommand;
use eaves_store::hot::ByHand;

const EXAMPLES: &str = "\
Examples:
  eaves hot simulate --tenant acme                        what the built-in rule would change
  eaves hot simulate --tenant acme --share 0.95 --byte-budget 4000
  eaves hot simulate --tenant acme --promote serial,site --demote debug
  eaves hot promote acme serial --reason 'searched by support'
  eaves hot changes acme --watch                          how far it is, and how long it will take
  eaves hot pin acme serial hot                           always hot, whatever is decided
  eaves hot unpin acme serial
  eaves hot decisions --tenant acme                       what was decided, by whom, on which figures
  eaves hot verify acme                                   the projection against history
  eaves hot verify acme --sample 1000 --repair

See docs/hot.md.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an attribute hot: its history is filled in first
    Promote(change::Args),
    /// End that an attribute is hot
    Demote(change::Args),
    /// Fix that an attribute is always, or never, hot
    Pin(change::PinArgs),
    /// Let it be decided about again
    Unpin(change::Args),
    /// Changes of what is hot, and how far they are
    Changes(change::ListArgs),
    /// What was decided, by whom, why and on which figures
    Decisions(decisions::Args),
    /// What a rule, or a change by hand, would do: attributes, row size, writes, queries
    Simulate(simulate::Args),
    /// Compare hot values with the latest of history, and repair them
    Verify(verify::Args),
}

pub(crate) async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Promote(args) => change::run(args, ByHand::Promote).await,
        Command::Demote(args) => change::run(args, ByHand::Demote).await,
        Command::Pin(args) => change::pin(args).await,
        Command::Unpin(args) => change::run(args, ByHand::Unpin).await,
        Command::Decisions(args) => decisions::run(args).await,
        Command::Changes(args) => change::list(args).await,
        Command::Simulate(args) => simulate::run(args).await,
        Command::Verify(args) => verify::run(args).await,
    }
}
