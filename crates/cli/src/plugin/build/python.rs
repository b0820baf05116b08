//! Python, by componentize-py.

use crate::plugin::project::Project;
use crate::plugin::toolchain::{call, componentize_py};
use anyhow::{Context as _, Result, ensure};
use wasm_encoder::{Component, ComponentExportKind, ComponentExportSection, RawSection};
use wasmparser::{ComponentExternalKind, Parser, Payload};

/// The component of the project.
pub(super) fn component(project: &Project) -> Result<Vec<u8>> {
    let out = project.kit("build/plugin.wasm");
    let mut command = componentize_py()?;
    command.arg("--wit-path").arg(project.wit()).args(["--world", "plugin", "componentize"]);
    // Every part of WASI that Python could use is replaced by a trap.
    command.args(["--stub-wasi", "eaves_app", "--python-path"]).arg(project.folder.join("src"));
    command.arg("--python-path").arg(project.kit("sdk/python")).arg("--output").arg(&out);
    call(&mut command, "make a component of the plugin")?;
    without_init(&super::read(&out)?).context("componentize-py made something else than expected")
}

/// The instance with the function `init`, by which componentize-py has imported the author's
/// modules before it took the snapshot that the component is. It is of no more use, and a plugin
/// exports its world and nothing else.
const INIT: &str = "exports";

/// Takes the export [`INIT`] away. An export is an instance of its own in the component's count of
/// them, so what is exported later moves up by one. Whether the result is a plugin is for the
/// host to say, as of any component.
fn without_init(component: &[u8]) -> Result<Vec<u8>> {
    let mut out = Component::new();
    let (mut depth, mut instances, mut dropped) = (0_usize, 0_u32, None);
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.context("read the component")?;
        match &payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            // Modules and nested components are taken over as they are.
            _ if depth != 1 => {}
            Payload::ComponentExportSection(exports) => {
                let mut kept = ComponentExportSection::new();
                for export in exports.clone() {
                    let export = export.context("read the component's exports")?;
                    let name = export.name.name;
                    let is_instance = export.kind == ComponentExternalKind::Instance && export.ty.is_none();
                    ensure!(is_instance, "it exports {name:?}, which is no instance");
                    if name == INIT && dropped.is_none() {
                        dropped = Some(instances);
                    } else {
                        let moved = dropped.is_some_and(|at| export.index > at);
                        let index = export.index - u32::from(moved);
                        kept.export(name, ComponentExportKind::Instance, index, None);
                    }
                    instances += 1;
                }
                if !kept.is_empty() {
                    out.section(&kept);
                }
            }
            payload => {
                if let Payload::ComponentInstanceSection(section) = payload {
                    instances += section.count();
                }
                if let Some((id, range)) = payload.as_section() {
                    out.section(&RawSection { id, data: &component[range] });
                }
            }
        }
    }
    ensure!(dropped.is_some(), "it has no export {INIT:?}");
    Ok(out.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::{ComponentInstanceSection, InstanceSection, Module, ModuleArg, ModuleSection};

    /// Two instances of nothing, each exported under a name.
    fn with_exports(names: [&str; 2]) -> Vec<u8> {
        let mut component = Component::new();
        component.section(&ModuleSection(&Module::new()));
        let mut core = InstanceSection::new();
        core.instantiate(0, std::iter::empty::<(&str, ModuleArg)>());
        component.section(&core);
        let mut own = 0;
        for name in names {
            let mut instances = ComponentInstanceSection::new();
            instances.export_items(std::iter::empty::<(&str, ComponentExportKind, u32)>());
            component.section(&instances);
            let mut exports = ComponentExportSection::new();
            exports.export(name, ComponentExportKind::Instance, own, None);
            component.section(&exports);
            own += 2;
        }
        component.finish()
    }

    fn exports(component: &[u8]) -> Vec<(String, u32)> {
        let sections = Parser::new(0).parse_all(component).filter_map(|payload| match payload.unwrap() {
            Payload::ComponentExportSection(exports) => Some(exports),
            _ => None,
        });
        let exports = sections.flatten().map(|export| export.unwrap());
        exports.map(|e| (e.name.name.to_owned(), e.index)).collect()
    }

    #[test]
    fn only_the_export_that_is_meant_is_taken_away() {
        for names in [["exports", "world"], ["world", "exports"]] {
            let stripped = without_init(&with_exports(names)).unwrap();
            wasmparser::Validator::new().validate_all(&stripped).unwrap();
            let index = if names[0] == "exports" { 1 } else { 0 };
            assert_eq!(exports(&stripped), [("world".to_owned(), index)]);
        }
        let why = without_init(&with_exports(["a", "b"])).unwrap_err().to_string();
        assert!(why.contains("no export \"exports\""), "{why}");
        assert!(without_init(b"\0asm").is_err());
    }
}
