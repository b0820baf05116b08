//! `eaves plugin`: writing plugins, and the plugins of a tenant.

mod batch;
mod build;
mod cases;
mod check;
mod kit;
mod load;
mod new;
mod project;
mod promotion_case;
pub(crate) mod standard;
mod toolchain;
mod try_out;

use crate::target::{Data, Target};
use crate::{out, tenant};
use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use eaves_model::TenantId;
use eaves_plugin_host::worker::WorkerLimits;
use eaves_plugin_host::{Host, HostConfig, RunnerCommand};
use eaves_registry::Registry;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long a plugin may look at its settings.
const CHECK: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  eaves plugin new no-frost --lang rust      make a project; also js, assemblyscript, c, python
  eaves plugin test                          build the project here, and check its cases
  eaves plugin run sample.ndjson             see the verdict on each value of a sample
  eaves plugin push limits.wasm --tenant acme --name limits --version 1.0.0 --activate \\
      --settings '{\"rules\": []}'
  eaves plugin push limits.wasm --tenant acme --name limits --version 1.1.0
  eaves plugin activate --tenant acme --name limits --version 1.0.0 --settings limits.json
  eaves plugin push --standard --tenant acme --settings rules.json --activate
  eaves plugin list --tenant acme

How to write one: docs/plugins.md.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args)]
struct Of {
    /// Whose plugins
    #[arg(long, value_name = "NAME")]
    tenant: String,
    #[command(flatten)]
    data: Data,
}

#[derive(Subcommand)]
enum Command {
    /// Make a project to write a plugin in
    New(new::Args),
    /// Build a project into a component, build/plugin.wasm
    Build {
        /// The project's folder
        #[arg(default_value = ".")]
        project: PathBuf,
    },
    /// Build a project and check the cases in its files
    Test(check::Args),
    /// Build a project and print its verdict on each value of a sample
    Run(try_out::Args),
    /// Check, compile and upload a plugin
    Push(Push),
    /// Make an uploaded version the one that decides
    Activate {
        #[command(flatten)]
        of: Of,
        /// The plugin's name
        #[arg(long)]
        name: String,
        /// The version to activate
        #[arg(long)]
        version: String,
        /// Its settings: JSON, or a file with JSON
        #[arg(long, value_name = "JSON|FILE", default_value = "{}")]
        settings: String,
    },
    /// Let no plugin decide: the tenant's values get the built-in checks only
    Deactivate {
        #[command(flatten)]
        of: Of,
    },
    /// List a tenant's versions; the active one is marked
    List {
        #[command(flatten)]
        of: Of,
    },
    #[command(flatten)]
    Life(crate::plugin_life::Command),
    /// Compile a component from standard input, within limits (used by push)
    #[command(hide = true)]
    CompileWorker,
}

#[derive(clap::Args)]
struct Push {
    /// The plugin: a WebAssembly component, or a core module built with the SDK
    #[arg(required_unless_present = "standard")]
    file: Option<PathBuf>,
    /// Push the standard plugin: rules by settings, without code (docs/plugins.md)
    #[arg(long, conflicts_with = "file")]
    standard: bool,
    #[command(flatten)]
    of: Of,
    /// The plugin's name [default: as it describes itself]
    #[arg(long)]
    name: Option<String>,
    /// Its version, such as 1.0.0 [default: as it describes itself]
    #[arg(long)]
    version: Option<String>,
    /// Its settings: JSON, or a file with JSON
    #[arg(long, value_name = "JSON|FILE", default_value = "{}")]
    settings: String,
    /// Let it decide from now on
    #[arg(long)]
    activate: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::New(args) => new::run(&args),
        Command::Build { project } => {
            let project = project::Project::find(&project)?;
            let component = build::build(&project)?;
            out::line(format!("Built {} ({} bytes).", project.component().display(), component.len()))
        }
        Command::Test(args) => return check::run(&args),
        Command::Run(args) => try_out::run(&args),
        Command::Push(push) => self::push(push).await,
        Command::Activate { of, name, version, settings } => {
            let (registry, tenant, host) = open(&of).await?;
            let settings = read_settings(&settings)?;
            let versions = registry.versions(tenant).await?;
            let chosen = versions.iter().rev().find(|v| v.name == name && v.version == version);
            let chosen = chosen.with_context(|| {
                format!(
                    "{} has no version {version} of {name}: see `eaves plugin list --tenant {0}`",
                    of.tenant
                )
            })?;
            let wasm = registry.wasm(&chosen.digest).await?;
            check(&compile(&host, &wasm)?.1, &settings)?;
            registry.activate(tenant, &name, &chosen.digest, &settings).await?;
            out::line(format!("{name} {version} is active for {}.", of.tenant))
        }
        Command::Deactivate { of } => {
            let (registry, tenant, _) = open(&of).await?;
            registry.deactivate(tenant).await?;
            out::line(format!("No plugin is active for {}.", of.tenant))
        }
        Command::List { of } => list(&of).await,
        Command::Life(command) => crate::plugin_life::run(command).await,
        // `main` answers this before anything is started.
        Command::CompileWorker => bail!("the compile worker was called in an unexpected way"),
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn push(args: Push) -> Result<()> {
    let settings = read_settings(&args.settings)?;
    let path = match args.file {
        Some(file) => file,
        None => standard::find()?,
    };
    let file = path.display();
    let bytes = std::fs::read(&path).with_context(|| format!("read {file}"))?;
    let (registry, tenant, host) = open(&args.of).await?;
    let wasm = component(bytes).with_context(|| format!("{file} is no plugin"))?;
    let (artefact, plugin) = compile(&host, &wasm).with_context(|| format!("{file} was refused"))?;
    check(&plugin, &settings)?;
    let (name, version) = (
        args.name.unwrap_or_else(|| plugin.describe().name.clone()),
        args.version.unwrap_or_else(|| plugin.describe().version.clone()),
    );
    let schema = &plugin.describe().settings_schema;
    let pushed = registry.push_described(tenant, (&name, &version), wasm, artefact, schema).await?;
    out::line(format!("Pushed {name} {version} ({}).", &pushed.digest[..12]))?;
    if args.activate {
        registry.activate(tenant, &name, &pushed.digest, &settings).await?;
        out::line(format!("It is active for {}.", args.of.tenant))?;
    }
    Ok(())
}

async fn list(of: &Of) -> Result<()> {
    let (registry, tenant, _) = open(of).await?;
    let active = registry.active(tenant).await?;
    let versions = registry.versions(tenant).await?;
    if versions.is_empty() {
        return out::line(format!("{} has no plugins. Upload one with `eaves plugin push`.", of.tenant));
    }
    let rows = versions.into_iter().map(|v| {
        let is_active = active.as_ref().is_some_and(|a| a.name == v.name && a.digest == v.digest);
        let mark = if is_active { "active" } else { "" };
        vec![v.name, v.version, v.digest[..12].into(), v.pushed_at.to_string(), mark.into()]
    });
    out::line(out::table(&["PLUGIN", "VERSION", "DIGEST", "PUSHED", ""], rows))
}

async fn open(of: &Of) -> Result<(Registry, TenantId, Host)> {
    let target = Target::find(&of.data)?;
    let tenant = tenant::find(&target, &of.tenant).await?;
    let settings = eaves_settings::Registry::read(&target.vars("eaves_admin"))?;
    // What is asked is a tenant's code, and this process holds an operator's credentials.
    let config = HostConfig::new(settings.signing_key.expose())?;
    let host = Host::isolated(config, RunnerCommand::this_program()?)?;
    let registry = Registry::connect(&target.aws().await, &settings).await?;
    Ok((registry, tenant, host))
}

/// The component in a file: core modules built with the SDK are wrapped.
fn component(bytes: Vec<u8>) -> Result<Vec<u8>> {
    // Bytes 4 to 7: version 1, layer 0 is a core module; layer 1 a component.
    let is_core = bytes.starts_with(b"\0asm\x01\0\0\0");
    if is_core { Ok(eaves_plugin_host::componentize(&bytes)?) } else { Ok(bytes) }
}

/// Compiles in a limited process of this program.
pub(crate) fn compile(host: &Host, wasm: &[u8]) -> Result<(Vec<u8>, eaves_plugin_host::Plugin)> {
    let program = std::env::current_exe().context("find the running program")?;
    let worker = ["plugin", "compile-worker"];
    let artefact =
        host.check_and_compile_in_worker(&program, &worker, wasm, &WorkerLimits::for_component(wasm.len()))?;
    let plugin = host.load(&artefact)?;
    Ok((artefact, plugin))
}

fn check(plugin: &eaves_plugin_host::Plugin, settings: &str) -> Result<()> {
    plugin.configure(settings, CHECK).context("the plugin does not take these settings")?;
    Ok(())
}

/// JSON as given, or of the file that is named.
fn read_settings(given: &str) -> Result<String> {
    let is_json = given.trim_start().starts_with('{');
    let text = if is_json {
        given.to_owned()
    } else {
        std::fs::read_to_string(Path::new(given))
            .with_context(|| format!("read the settings file {given}"))?
    };
    let value: serde_json::Value = serde_json::from_str(&text).context("the settings are no JSON")?;
    if !value.is_object() {
        bail!("the settings must be a JSON object, such as {{}}");
    }
    Ok(text)
}
