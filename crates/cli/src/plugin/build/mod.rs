//! `eaves plugin build`: from source to component.

mod assemblyscript;
mod c;
mod js;
mod python;
mod rust;

use super::kit;
use super::project::{Language, Project};
use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

/// Builds the project and returns the component, which is also in `build/plugin.wasm`.
pub(super) fn build(project: &Project) -> Result<Vec<u8>> {
    kit::write(&project.folder, project.language)?;
    let out = project.component();
    for folder in [out.parent().unwrap_or(&out), &project.kit("build")] {
        std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    }
    let (stamp, inputs) = (project.kit("build/inputs"), inputs(project)?);
    if inputs.is_some() && std::fs::read_to_string(&stamp).ok() == inputs && out.is_file() {
        return read(&out);
    }
    // What is built from here on belongs to no inputs until it is complete.
    kit::put(&stamp, b"")?;
    let component = match project.language {
        Language::Rust => componentize(&rust::core(project)?)?,
        Language::C => componentize(&c::core(project)?)?,
        Language::Assemblyscript => componentize(&assemblyscript::core(project)?)?,
        Language::Js => js::component(project)?,
        Language::Python => python::component(project)?,
    };
    kit::put(&out, &component)?;
    kit::put(&stamp, inputs.unwrap_or_default().as_bytes())?;
    Ok(component)
}

/// A digest of all that the component is made of, so that it is not made again of the same.
/// Nothing where others know better: cargo, or packages of the author's own.
fn inputs(project: &Project) -> Result<Option<String>> {
    if project.language == Language::Rust || project.folder.join("node_modules").exists() {
        return Ok(None);
    }
    let mut files = Vec::new();
    collect(&project.folder, &mut files)?;
    collect(&project.kit("sdk"), &mut files)?;
    files.sort();
    let mut digest = Sha256::new_with_prefix(env!("CARGO_PKG_VERSION"));
    for (name, bytes) in super::kit::toolchain(project.language) {
        digest.update(name);
        digest.update(bytes);
    }
    digest.update(std::env::var("EAVES_CC").unwrap_or_default());
    for file in files {
        digest.update(file.as_os_str().as_encoded_bytes());
        digest.update(Sha256::digest(read(&file)?));
    }
    Ok(Some(hex::encode(digest.finalize())))
}

/// All files below, but for what is hidden, what was built, and what only tries the plugin.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || ["build", "target", "cases"].contains(&&*name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn componentize(core: &[u8]) -> Result<Vec<u8>> {
    eaves_plugin_host::componentize(core).context(
        "what was compiled is no plugin. A plugin may import nothing: no files, no clock, no random numbers, no output",
    )
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}
