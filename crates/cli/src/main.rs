//! `eaves`: the command line of Eaves.
//!
//! Each subcommand is a module with `Args` and `run`. It parses, calls one crate that does
//! the work, and prints; a platform is found by [`target`]. Errors are sentences on
//! standard error with exit code 1; wrong usage has exit code 2. (`eaves audit` exits with 1
//! only where something does not add up, and with 2 on every error.)

mod admin;
mod advise;
mod attribute;
mod audit;
mod db;
mod demo;
#[cfg(test)]
mod documented;
mod hot;
mod local;
mod losses;
mod olap;
mod out;
mod pace;
mod plugin;
mod plugin_life;
mod quarantine;
mod query;
mod replay;
mod send;
mod sender;
mod simulate;
mod stream;
mod target;
mod tenant;
mod token;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  eaves demo                                   see everything work, in a temporary platform
  eaves local up                               start the platform; Ctrl-C stops it
  eaves tenant create acme                     in another terminal
  eaves send readings.ndjson --tenant acme     put readings into the stream
  eaves simulate --tenant acme --devices 100   or let a made-up fleet send them
  eaves query entity pump-7 --tenant acme      the latest values, and how fresh they are

Commands find the platform that `eaves local up` runs; with --data another one. To reach
a deployed platform, set the variables of docs/configuration.md.";

#[derive(Parser)]
#[command(name = "eaves", version, about = "Telemetry from devices to fresh answers", after_help = EXAMPLES)]
#[command(max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start, look at, stop or delete the platform on this machine
    Local(local::Args),
    /// Create, change and list tenants
    Tenant(tenant::Args),
    /// List attributes, and set how late their values may be
    Attribute(attribute::Args),
    /// Print a token for the HTTP API
    Token(token::Args),
    /// Write, try, upload and list plugins
    Plugin(plugin::Args),
    /// Send readings from a file or standard input to the stream
    Send(send::Args),
    /// Ask for entities, histories, searches and freshness
    Query(query::Args),
    /// What is in the hot projection: change it, simulate changes, check it
    Hot(hot::Args),
    /// Play a fleet of devices
    Simulate(simulate::Args),
    /// See everything work, in a temporary platform
    Demo(demo::Args),
    /// Look at what could not be taken, send it again, or give it up
    Quarantine(quarantine::Args),
    /// Check that what was sent adds up with what became of it
    Audit(audit::Args),
    /// Read a range of a shard again
    Replay(replay::Args),
    /// List and acknowledge ranges of the stream that were gone when they were needed
    Losses(losses::Args),
    /// History as files in object storage: how far it is, and whether it is true
    Olap(olap::Args),
    /// Bring the database's schema up to date
    Db(db::Args),
    /// Say what could be done about slow queries
    Advise(advise::Args),
    /// Read across tenants; each read is noted with who and why
    Admin(admin::Args),
}

fn main() -> ExitCode {
    // The worker limits its own memory before it reads a byte: no runtime, no threads.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|a| a == "plugin") && args.next().is_some_and(|a| a == "compile-worker") {
        return eaves_plugin_host::compile_worker();
    }
    // Nor does what runs a tenant's plugin hold anything.
    if eaves_plugin_host::RunnerCommand::is_meant() {
        return eaves_plugin_host::run_plugins();
    }
    let cli = Cli::parse();
    eaves_telemetry::init_for_people("eaves");
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("eaves: the runtime cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(e) if out::is_closed(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("eaves: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Local(args) => local::run(args).await,
        Command::Tenant(args) => tenant::run(args).await,
        Command::Attribute(args) => attribute::run(args).await,
        Command::Token(args) => token::run(args).await,
        // Its exit code says whether the cases passed.
        Command::Plugin(args) => return plugin::run(args).await,
        Command::Send(args) => send::run(args).await,
        Command::Query(args) => query::run(args).await,
        Command::Hot(args) => hot::run(args).await,
        Command::Simulate(args) => simulate::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Quarantine(args) => quarantine::run(args).await,
        // Its exit code says what it found.
        Command::Audit(args) => return Ok(audit::run(args).await),
        Command::Olap(args) => return olap::run(args).await,
        Command::Replay(args) => replay::run(args).await,
        Command::Losses(args) => losses::run(args).await,
        Command::Db(args) => db::run(args).await,
        Command::Advise(args) => advise::run(args).await,
        Command::Admin(args) => admin::run(args).await,
    }?;
    Ok(ExitCode::SUCCESS)
}
