//! AssemblyScript, by its compiler from npm.

use crate::plugin::kit;
use crate::plugin::project::{Language, Project};
use crate::plugin::toolchain::{call, npm};
use anyhow::Result;

/// Binds the author's `plugin()` to the functions of the component model.
const ENTRY: &str = r#"// Written by `eaves plugin build`.
import { plugin } from "../../assembly/index";
import * as abi from "../sdk/assemblyscript/assembly/abi";
export { realloc } from "../sdk/assemblyscript/assembly/abi";

export function describe(): usize {
  return abi.describe(plugin());
}

export function configure(json: usize, length: usize): usize {
  return abi.configure(plugin(), json, length);
}

export function validate(args: usize): usize {
  return abi.validate(plugin(), args);
}

export function abort(message: usize, file: usize, line: u32, column: u32): void {
  unreachable();
}
"#;

/// What a project with [`PROMOTION`] adds to that.
const PROMOTION_ENTRY: &str = r#"
import { promote as decide } from "../../assembly/promotion";

export function promote(args: usize): usize {
  return abi.promote(plugin(), decide, args);
}
"#;

/// The file that decides which attributes are hot, if there is one.
const PROMOTION: &str = "assembly/promotion.ts";

/// The core module of the project.
pub(super) fn core(project: &Project) -> Result<Vec<u8>> {
    let promotes = project.folder.join(PROMOTION).is_file();
    let entry = if promotes { format!("{ENTRY}{PROMOTION_ENTRY}") } else { ENTRY.to_owned() };
    kit::put(&project.kit("build/entry.ts"), entry.as_bytes())?;
    let (mut node, toolchain) = npm(Language::Assemblyscript)?;
    node.arg(toolchain.join("node_modules/assemblyscript/bin/asc.js"));
    // Nothing is freed: an instance lives for one call. `abort` would be an import.
    node.args([".eaves/build/entry.ts", "--outFile", ".eaves/build/core.wasm", "-O3", "--runtime", "stub"]);
    node.args(["--exportStart", "eaves_start", "--use", "abort=.eaves/build/entry/abort", "--transform"]);
    node.arg(toolchain.join("transform.mjs"));
    call(node.current_dir(&project.folder), "compile the plugin")?;
    super::read(&project.kit("build/core.wasm"))
}
