//! `eaves local`: the platform on this machine.

use crate::out;
use crate::target::Data;
use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use eaves_local::{Endpoints, Options, Platform};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  eaves local up                          run until Ctrl-C; data is kept
  eaves local up --data ./mine --port 8080
  eaves local status                      what runs where, and its logs
  eaves local down                        stop it from another terminal
  eaves local reset                       delete its data";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything and run until Ctrl-C or `eaves local down`
    Up(Up),
    /// Show what runs where
    Status {
        #[command(flatten)]
        data: Data,
    },
    /// Stop the platform that runs on the data folder
    Down {
        #[command(flatten)]
        data: Data,
    },
    /// Delete all data of the platform
    Reset {
        #[command(flatten)]
        data: Data,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(clap::Args)]
struct Up {
    #[command(flatten)]
    data: Data,
    /// Port of the HTTP API [default: a free one]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Shards of a new stream
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: u32,
    /// Most memory the stream takes; its oldest records go over it, as if retention had passed
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(8..=1_048_576))]
    stream_mib: u64,
    /// Folder with the function binaries [default: that of this program]
    #[arg(long, value_name = "DIR")]
    bin: Option<PathBuf>,
    /// Ask the authorizer function about tokens, as `Authorizer=lambda` of the SAM template does
    #[arg(long)]
    authorizer_function: bool,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Up(args) => up(args).await,
        Command::Status { data } => status(&data).await,
        Command::Down { data } => down(&data).await,
        Command::Reset { data, yes } => reset(&data, yes),
    }
}

async fn up(args: Up) -> Result<()> {
    let mut options = Options::new(args.data.folder());
    options.http_port = args.port;
    options.shards = args.shards;
    options.stream_bytes = args.stream_mib * 1024 * 1024;
    options.bin_dir = args.bin;
    options.authorizer_function = args.authorizer_function;
    // Functions have an environment of their own: what says where traces go is passed on.
    options.function_env.extend(std::env::vars().filter(|(name, _)| name.starts_with("OTEL_")));
    // Progress is for people; whoever closed the output does not want it.
    options.progress = Some(Arc::new(|text| drop(out::line(format!("  {text}")))));
    out::line(format!("Starting on {} …", options.data_dir.display()))?;
    let mut stop = Stop::listen()?;
    let started = Instant::now();
    let platform = tokio::select! {
        platform = Platform::start(options) => platform?,
        () = stop.asked() => {
            out::line("Stopped while starting.")?;
            return Ok(());
        }
    };
    let endpoints = platform.endpoints();
    out::line(format!("Ready after {:.1} s.\n", started.elapsed().as_secs_f64()))?;
    out::line(processes(endpoints))?;
    out::line(format!("\nHTTP API   {}", endpoints.api_url))?;
    out::line(format!("Kinesis    {} (stream {})", endpoints.kinesis_endpoint_url, endpoints.stream))?;
    out::line("\nStop with Ctrl-C, or `eaves local down` from another terminal.")?;
    let failure = tokio::select! {
        () = stop.asked() => None,
        text = platform.failure() => Some(text),
    };
    out::line("Stopping …")?;
    tokio::select! {
        () = platform.stop() => {}
        // Whoever asks twice does not want to wait: the children end with this process.
        () = stop.asked() => bail!("stopped at once"),
    }
    match failure {
        Some(text) => bail!("{text}"),
        None => out::line("Stopped."),
    }
}

/// Ctrl-C and SIGTERM.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn status(data: &Data) -> Result<()> {
    let Some(endpoints) = data.running()? else {
        bail!("no platform runs on {}", data.folder().display());
    };
    out::line(format!("Platform   process {} since {}", endpoints.pid, endpoints.started_at))?;
    out::line(format!("HTTP API   {}", endpoints.api_url))?;
    out::line(format!("Kinesis    {} (stream {})\n", endpoints.kinesis_endpoint_url, endpoints.stream))?;
    out::line(processes(&endpoints))?;
    let health = format!("{}/healthz", endpoints.api_url);
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let answer = client.get(&health).send().await.with_context(|| format!("GET {health}"))?;
    if !answer.status().is_success() {
        bail!("{health} answers {}: {}", answer.status(), answer.text().await.unwrap_or_default());
    }
    let dead = endpoints.processes.iter().filter(|p| !p.is_running()).count();
    match dead {
        0 => out::line("\nAll is well."),
        _ => bail!("{dead} of the processes do not run"),
    }
}

fn processes(endpoints: &Endpoints) -> String {
    let rows = endpoints.processes.iter().map(|process| {
        let state = if process.is_running() { "runs" } else { "DOWN" };
        let number = |n: Option<u32>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let log = process.log.display().to_string();
        vec![
            process.name.clone(),
            state.into(),
            number(process.pid),
            number(process.port.map(u32::from)),
            log,
        ]
    });
    out::table(&["PROCESS", "STATE", "PID", "PORT", "LOG"], rows)
}

async fn down(data: &Data) -> Result<()> {
    let Some(endpoints) = data.running()? else {
        return out::line(format!("No platform runs on {}.", data.folder().display()));
    };
    endpoints.terminate()?;
    let deadline = Instant::now() + Duration::from_secs(90);
    while endpoints.is_running() {
        if Instant::now() > deadline {
            bail!(
                "process {} has not ended after 90 s; its data folder is {}",
                endpoints.pid,
                endpoints.data_dir.display()
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    out::line("Stopped.")
}

fn reset(data: &Data, yes: bool) -> Result<()> {
    let folder = data.folder();
    if data.running()?.is_some() {
        bail!("a platform runs on {}: stop it first with `eaves local down`", folder.display());
    }
    if !folder.exists() {
        return out::line(format!("There is no data in {}.", folder.display()));
    }
    if !is_data_folder(&folder) {
        bail!("{} is no data folder of Eaves: not deleted", folder.display());
    }
    if !yes && !confirmed(&folder)? {
        return out::line("Nothing was deleted.");
    }
    std::fs::remove_dir_all(&folder).with_context(|| format!("delete {}", folder.display()))?;
    out::line(format!("Deleted {}.", folder.display()))
}

/// Whether a platform made the folder: a mistyped `--data` must not delete a home.
fn is_data_folder(folder: &Path) -> bool {
    ["lock", "secrets.json"].iter().all(|name| folder.join(name).is_file())
}

fn confirmed(folder: &Path) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("say --yes to delete all data in {}", folder.display());
    }
    let mut terminal = std::io::stderr().lock();
    write!(terminal, "Delete all data in {}? [y/N] ", folder.display())?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
