//! `eaves olap`: history as files in object storage.

mod verify;

use crate::target::{Data, Target};
use crate::{out, tenant};
use anyhow::{Context as _, Result};
use clap::Subcommand;
use std::process::ExitCode;

/// Exit code where files and history differ.
const DIFFERENT: u8 = 1;
/// Exit code where the question could not be answered.
const FAILED: u8 = 2;
const EXAMPLES: &str = "\
Examples:
  eaves olap status                    how far the files are, and what the slot holds back
  eaves olap files --after 26843545600 what to load elsewhere since a position
  eaves olap verify                    the files against history: counts and checksums by tenant and day
  eaves olap verify --tenant acme --wait 600

See docs/olap.md. Exit code of verify: 0 they are the same, 1 they differ, 2 it could not be found out.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// How far the files are, and what the slot holds back
    Status(StatusArgs),
    /// The current files, in the order of the log
    Files(FilesArgs),
    /// Compare the files with history
    Verify(verify::Args),
}

#[derive(clap::Args)]
struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

#[derive(clap::Args)]
struct FilesArgs {
    /// Only files that end after this position of the log
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Status(args) => status(args).await?,
        Command::Files(args) => files(args).await?,
        Command::Verify(args) => {
            return match verify::run(&args).await {
                Ok(true) => Ok(ExitCode::SUCCESS),
                Ok(false) => Ok(ExitCode::from(DIFFERENT)),
                Err(e) if out::is_closed(&e) => Ok(ExitCode::SUCCESS),
                Err(e) => {
                    // The exit code must tell a failure from a difference.
                    drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("eaves: {e:#}\n")));
                    Ok(ExitCode::from(FAILED))
                }
            };
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(args: StatusArgs) -> Result<()> {
    let target = Target::find(&args.data)?;
    let status = tenant::admin(&target).await?.olap_status().await?;
    if args.json {
        return out::line(serde_json::to_string_pretty(&status)?);
    }
    let rows = status.as_object().context("a status")?.iter().map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        vec![name.clone(), value]
    });
    out::line(out::table(&["WHAT", "VALUE"], rows))
}

async fn files(args: FilesArgs) -> Result<()> {
    let target = Target::find(&args.data)?;
    let found = tenant::admin(&target).await?.olap_files(args.after).await?;
    let found = found.context("nothing was ever loaded: does olap-load run?")?;
    let rows = found.files.iter().map(|file| {
        vec![
            file.from.to_string(),
            file.to.to_string(),
            file.rows.to_string(),
            file.bytes.to_string(),
            file.name.clone(),
        ]
    });
    out::line(out::table(&["FROM", "TO", "ROWS", "BYTES", "NAME"], rows))
}
