//! Rust, by cargo.

use crate::plugin::project::Project;
use crate::plugin::toolchain::call;
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    manifest_path: PathBuf,
    targets: Vec<CargoTarget>,
}

#[derive(Deserialize)]
struct CargoTarget {
    name: String,
    crate_types: Vec<String>,
}

/// The core module of the project's crate.
pub(super) fn core(project: &Project) -> Result<Vec<u8>> {
    let cargo = || {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&project.folder);
        command
    };
    let said = cargo().args(["metadata", "--format-version", "1", "--no-deps"]).output();
    let said =
        said.context("Rust plugins are built with cargo, and it cannot be started: https://rustup.rs")?;
    if !said.status.success() {
        bail!("cargo does not understand the project: {}", String::from_utf8_lossy(&said.stderr).trim());
    }
    let metadata: Metadata = serde_json::from_slice(&said.stdout).context("read what cargo says")?;
    let own = project.entry.canonicalize().unwrap_or_else(|_| project.entry.clone());
    let package = metadata.packages.iter().find(|p| p.manifest_path == own);
    let library =
        package.and_then(|p| p.targets.iter().find(|t| t.crate_types.iter().any(|c| c == "cdylib")));
    let Some(library) = library else {
        bail!("{} makes no module: add `crate-type = [\"cdylib\", \"lib\"]` under [lib]", own.display())
    };
    let build =
        call(cargo().args(["build", "--release", "--quiet", "--target", TARGET]), "compile the plugin");
    build.with_context(|| target_hint(&mut cargo()))?;
    let file = format!("{}.wasm", library.name.replace('-', "_"));
    super::read(&metadata.target_directory.join(TARGET).join("release").join(file))
}

/// Says what to do if the target is not installed.
fn target_hint(cargo: &mut Command) -> String {
    let mut rustc = Command::new("rustc");
    if let Some(folder) = cargo.get_current_dir() {
        rustc.current_dir(folder);
    }
    let there = rustc
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .is_ok_and(|o| std::path::Path::new(String::from_utf8_lossy(&o.stdout).trim()).is_dir());
    if there {
        "the crate does not compile".into()
    } else {
        format!("Rust cannot compile for WebAssembly here: run `rustup target add {TARGET}`")
    }
}
