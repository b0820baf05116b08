//! Python, by componentize-py.

use crate::plugin::project::Project;
use crate::plugin::toolchain::{call, componentize_py};
use anyhow::Result;

/// The component of the project.
pub(super) fn component(project: &Project) -> Result<Vec<u8>> {
    let out = project.kit("build/plugin.wasm");
    let mut command = componentize_py()?;
    command.arg("--wit-path").arg(project.wit()).args(["--world", "plugin", "componentize"]);
    // Every part of WASI that Python could use is replaced by a trap.
    command.args(["--stub-wasi", "eaves_app", "--python-path"]).arg(project.folder.join("src"));
    command.arg("--python-path").arg(project.kit("sdk/python")).arg("--output").arg(&out);
    call(&mut command, "make a component of the plugin")?;
    super::read(&out)
}
