//! `eaves db`: the database's schema.

use crate::out;
use crate::target::{Data, Target};
use anyhow::Result;
use clap::Subcommand;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply the migrations that are missing; does nothing where none is
    ///
    /// `eaves local up` does this by itself. For a deployed database, set EAVES_DB_HOST,
    /// EAVES_DB_NAME, EAVES_DB_USER and EAVES_DB_PASSWORD; the first time, the user must be
    /// allowed to create roles and extensions.
    Migrate {
        #[command(flatten)]
        data: Data,
    },
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let Command::Migrate { data } = args.command;
    let applied = eaves_store::migrate(&Target::find(&data)?.postgres("postgres")?).await?;
    for name in &applied {
        out::line(format!("applied {name}"))?;
    }
    out::line(if applied.is_empty() { "The schema is up to date." } else { "The schema is now up to date." })
}
