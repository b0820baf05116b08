//! JavaScript and TypeScript: bundled by esbuild, made a component by ComponentizeJS.

use crate::plugin::project::{Language, Project};
use crate::plugin::toolchain::{call, npm};
use anyhow::{Context as _, Result};

/// The component of the project.
pub(super) fn component(project: &Project) -> Result<Vec<u8>> {
    let (mut node, toolchain) = npm(Language::Js)?;
    let out = project.kit("build/plugin.wasm");
    node.arg(toolchain.join("build.mjs")).args([
        &project.entry,
        &project.kit("sdk/js"),
        &project.wit(),
        &out,
    ]);
    call(&mut node, "make a component of the plugin").context("the plugin's source was not taken")?;
    super::read(&out)
}
