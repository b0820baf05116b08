//! `eaves plugin build`: from source to component.

mod assemblyscript;
mod c;
mod js;
mod python;
mod rust;

use super::kit;
use super::project::{Language, Project};
use anyhow::{Context as _, Result};
use std::path::Path;

/// Builds the project and returns the component, which is also in `build/plugin.wasm`.
pub(super) fn build(project: &Project) -> Result<Vec<u8>> {
    kit::write(&project.folder, project.language)?;
    let out = project.component();
    for folder in [out.parent().unwrap_or(&out), &project.kit("build")] {
        std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    }
    let component = match project.language {
        Language::Rust => componentize(&rust::core(project)?)?,
        Language::C => componentize(&c::core(project)?)?,
        Language::Assemblyscript => componentize(&assemblyscript::core(project)?)?,
        Language::Js => js::component(project)?,
        Language::Python => python::component(project)?,
    };
    kit::put(&out, &component)?;
    Ok(component)
}

fn componentize(core: &[u8]) -> Result<Vec<u8>> {
    eaves_plugin_host::componentize(core).context(
        "what was compiled is no plugin. A plugin may import nothing: no files, no clock, no random numbers, no output",
    )
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read what was built, {}", path.display()))
}
