//! The life of a plugin version from the command line, over the HTTP API.

mod api;
mod backtest;
mod limits;
mod show;

use crate::target::Data;
use anyhow::{Context as _, Result};
use api::Api;
use clap::Subcommand;
use eaves_plugin_host::{Host, HostConfig, RunnerCommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where the API is, and as whom it is asked.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Common {
    /// Whose plugins
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Print the API's answer as it is
    #[arg(long)]
    json: bool,
    /// Where the API listens [default: the platform that runs here]
    #[arg(long, env = "EAVES_API_URL")]
    url: Option<String>,
    /// Token to send, with the scope plugins:write [default: one made for --tenant, on a platform that runs here]
    #[arg(long, env = "EAVES_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    data: Data,
}

/// A version, and how it is put in force.
#[derive(clap::Args)]
pub(crate) struct Force {
    /// The plugin's name
    #[arg(long)]
    name: String,
    /// The version
    #[arg(long)]
    version: String,
    /// Its settings: JSON, or a file with JSON [default: those it has]
    #[arg(long, value_name = "JSON|FILE")]
    settings: Option<String>,
    /// Settings that it has had, by their number
    #[arg(long, conflicts_with = "settings", value_name = "NUMBER")]
    settings_version: Option<u64>,
    /// What becomes of values that it cannot judge
    #[arg(long, value_parser = ["quarantine", "accept", "reject"])]
    on_failure: Option<String>,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    common: Common,
}

/// Why, and on what condition.
#[derive(clap::Args)]
pub(crate) struct Change {
    /// Why, for the audit trail
    #[arg(long, default_value = "")]
    why: String,
    /// Only if nobody has changed anything since this revision
    #[arg(long, value_name = "REVISION")]
    expect: Option<u64>,
}

/// A plugin.
#[derive(clap::Args)]
pub(crate) struct Of {
    /// The plugin's name
    #[arg(long)]
    name: String,
    #[command(flatten)]
    common: Common,
}

/// A component for the HTTP API.
#[derive(clap::Args)]
pub(crate) struct Upload {
    /// The WebAssembly component
    #[arg(required_unless_present = "standard")]
    file: Option<PathBuf>,
    /// Upload the standard plugin: rules by settings, without code (docs/plugins.md)
    #[arg(long, conflicts_with = "file")]
    standard: bool,
    /// The plugin's name [default: as it describes itself]
    #[arg(long)]
    name: Option<String>,
    /// Its version, such as 1.0.0 [default: as it describes itself]
    #[arg(long)]
    version: Option<String>,
    /// A publisher's ed25519 signature in hex
    #[arg(long, value_name = "HEX")]
    signature: Option<String>,
    /// Why, for the audit trail
    #[arg(long, default_value = "")]
    why: String,
    #[command(flatten)]
    common: Common,
}

/// Commands of `eaves plugin` for the life of a version.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Upload a component over the HTTP API, under the tenant's limits
    Upload(Upload),
    /// Make a version the one that decides, with a failure policy
    Decide(Force),
    /// Let a version look on: it sees live values without effect
    Shadow(Force),
    /// End the shadow
    EndShadow {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        change: Change,
    },
    /// Go back to what was active before
    Rollback {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        change: Change,
    },
    /// List versions, settings, and what is in force
    Versions(Of),
    /// Try a version on stored history, beside the active one
    Backtest(backtest::Args),
    /// Calls, values, verdicts, times and memory by version
    Metrics {
        #[command(flatten)]
        of: Of,
        /// How far back
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=744))]
        hours: u32,
    },
    /// What happened to the plugin where it runs
    Events(Of),
    /// Who changed what, when and why
    Audit(Of),
    /// Show or set a tenant's limits and publishers, as the operator
    Limits(limits::Args),
}

pub(crate) async fn run(command: Command) -> Result<()> {
    match command {
        Command::Upload(args) => upload(args).await,
        Command::Decide(force) => put(force, "activate").await,
        Command::Shadow(force) => put(force, "shadow").await,
        Command::EndShadow { of, change } => change_of(&of, &change, &["shadow", "end"]).await,
        Command::Rollback { of, change } => change_of(&of, &change, &["rollback"]).await,
        Command::Versions(of) => get(&of, &["versions"], &[], show::versions).await,
        Command::Backtest(args) => backtest::run(args).await,
        Command::Metrics { of, hours } => {
            get(&of, &["metrics"], &[("hours", &hours.to_string())], show::metrics).await
        }
        Command::Events(of) => get(&of, &["events"], &[], show::events).await,
        Command::Audit(of) => get(&of, &["audit"], &[], show::audit).await,
        Command::Limits(args) => limits::run(args).await,
    }
}

async fn upload(args: Upload) -> Result<()> {
    let file = match args.file {
        Some(file) => file,
        None => crate::plugin::standard::find()?,
    };
    let wasm = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    let (name, version) = match (args.name, args.version) {
        (Some(name), Some(version)) => (name, version),
        (name, version) => {
            let said =
                described(&wasm).with_context(|| format!("{} says no name and version", file.display()))?;
            (name.unwrap_or(said.0), version.unwrap_or(said.1))
        }
    };
    let api = Api::find(&args.common).await?;
    let mut body = json!({"name": name, "version": version, "why": args.why});
    if wasm.len() > api::IN_A_REQUEST {
        body["upload"] = api.put_component(wasm).await?.into();
    } else {
        body["wasm_base64"] = api::base64(&wasm).into();
    }
    if let Some(signature) = args.signature {
        body["signature"] = signature.into();
    }
    let answer = api.post(&["plugins"], &body).await?;
    show::print(&args.common, &answer, |v| {
        let word = |key: &str| v[key].as_str().unwrap_or_default().to_owned();
        vec![format!(
            "{} {} is {} ({}).",
            word("name"),
            word("version"),
            word("state"),
            word("digest").chars().take(12).collect::<String>()
        )]
    })
}

/// Name and version that a component says of itself. It is compiled for that as the platform does, in
/// processes of their own.
fn described(wasm: &[u8]) -> Result<(String, String)> {
    // What is compiled here is forgotten again.
    let config = HostConfig::new(&hex::encode(rand::random::<[u8; 32]>()))?;
    let host = Host::isolated(config, RunnerCommand::this_program()?)?;
    let (_, plugin) = crate::plugin::compile(&host, wasm)?;
    let said = plugin.describe();
    Ok((said.name.clone(), said.version.clone()))
}

async fn put(force: Force, how: &str) -> Result<()> {
    let mut body = with_change(&force.change);
    if let Some(settings) = &force.settings {
        body["settings"] = read_settings(settings)?;
    }
    if let Some(number) = force.settings_version {
        body["settings_version"] = number.into();
    }
    if let Some(policy) = &force.on_failure {
        body["on_failure"] = policy.as_str().into();
    }
    let api = Api::find(&force.common).await?;
    let answer = api.post(&["plugins", &force.name, "versions", &force.version, how], &body).await?;
    show::print(&force.common, &answer, show::standing)
}

async fn change_of(of: &Of, change: &Change, path: &[&str]) -> Result<()> {
    let api = Api::find(&of.common).await?;
    let path: Vec<&str> = ["plugins", &of.name].into_iter().chain(path.iter().copied()).collect();
    let answer = api.post(&path, &with_change(change)).await?;
    show::print(&of.common, &answer, show::standing)
}

async fn get(
    of: &Of,
    path: &[&str],
    query: &[(&str, &str)],
    with: impl FnOnce(&Value) -> Vec<String>,
) -> Result<()> {
    let api = Api::find(&of.common).await?;
    let path: Vec<&str> = ["plugins", &of.name].into_iter().chain(path.iter().copied()).collect();
    let answer = api.get(&path, query).await?;
    show::print(&of.common, &answer, with)
}

fn with_change(change: &Change) -> Value {
    let mut body = json!({"why": change.why});
    if let Some(expect) = change.expect {
        body["expected_revision"] = expect.into();
    }
    body
}

/// JSON as given, or of the file that is named.
fn read_settings(given: &str) -> Result<Value> {
    let text = if given.trim_start().starts_with('{') {
        given.to_owned()
    } else {
        std::fs::read_to_string(Path::new(given))
            .with_context(|| format!("read the settings file {given}"))?
    };
    serde_json::from_str(&text).context("the settings are no JSON")
}
