//! A plugin on the author's machine, ready to be called by the real host.

use super::project::Project;
use super::{build, component};
use anyhow::{Context as _, Result};
use eaves_plugin_host::worker::WorkerLimits;
use eaves_plugin_host::{Host, HostConfig, Plugin};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Which plugin a command means.
#[derive(clap::Args)]
pub(super) struct Which {
    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// A component to take instead of building the project
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
}

/// A plugin that was loaded.
pub(super) struct Loaded {
    pub(super) plugin: Plugin,
    /// Size of the component.
    pub(super) bytes: usize,
    /// How long loading the compiled component took.
    pub(super) load: Duration,
}

impl Which {
    /// The project, if the command is about one.
    pub(super) fn folder(&self) -> &Path {
        &self.project
    }

    /// Builds what is to be built and loads it.
    pub(super) fn load(&self) -> Result<Loaded> {
        let Some(file) = &self.plugin else {
            let project = Project::find(&self.project)?;
            let wasm = build::build(&project)?;
            return load(&wasm, Some(&project.kit("cache")));
        };
        let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        load(&component(bytes).with_context(|| format!("{} is no plugin", file.display()))?, None)
    }
}

/// Loads a component. What was compiled before is taken from `cache`.
fn load(wasm: &[u8], cache: Option<&Path>) -> Result<Loaded> {
    let key = key(cache)?;
    let host = Host::new(HostConfig::new(&key)?)?;
    let file = cache.map(|folder| folder.join(format!("{}.compiled", hex::encode(Sha256::digest(wasm)))));
    let known = file.as_ref().and_then(|file| fs::read(file).ok());
    // Not one that this program signed, or of another version of it: it is compiled again.
    if let Some(plugin) = known.as_deref().and_then(|artefact| timed(&host, artefact).ok()) {
        return Ok(Loaded { bytes: wasm.len(), ..plugin });
    }
    let program = std::env::current_exe().context("find the running program")?;
    let worker = ["plugin", "compile-worker"];
    let artefact = host
        .check_and_compile_in_worker(&program, &worker, wasm, &WorkerLimits::for_component(wasm.len()))
        .context("the platform would refuse this plugin")?;
    if let Some(file) = file {
        forget_others(&file);
        // Without it the next run takes longer, nothing else.
        let _ = fs::write(&file, &artefact);
    }
    Ok(Loaded { bytes: wasm.len(), ..timed(&host, &artefact)? })
}

/// One compiled plugin is kept: those of a scripting language are large.
fn forget_others(keep: &Path) {
    let entries = keep.parent().and_then(|folder| fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten() {
        if entry.path() != keep && entry.path().extension().is_some_and(|e| e == "compiled") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn timed(host: &Host, artefact: &[u8]) -> Result<Loaded> {
    let start = Instant::now();
    let plugin = host.load(artefact)?;
    Ok(Loaded { plugin, bytes: 0, load: start.elapsed() })
}

/// The key that signs what is compiled here: one for each project, or for this run only.
fn key(cache: Option<&Path>) -> Result<String> {
    let fresh = || hex::encode(rand::random::<[u8; 32]>());
    let Some(folder) = cache else { return Ok(fresh()) };
    let file = folder.join("key");
    if let Ok(key) = fs::read_to_string(&file) {
        return Ok(key);
    }
    let key = fresh();
    super::kit::put(&file, key.as_bytes())?;
    Ok(key)
}
