//! C, by Clang: bindings are generated from the WIT package, the kit and all of `src/*.c` go into
//! one module. A project with `src/promotion.c` decides which attributes are hot, too.

use crate::plugin::kit;
use crate::plugin::project::Project;
use crate::plugin::toolchain::{c_compiler, call};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use wit_bindgen_core::Files;

/// What every compiler is told. Linking for the C library alone: no start, no `main`.
const FLAGS: [&str; 11] = [
    "-target",
    "wasm32-wasi",
    "-mexec-model=reactor",
    "-O2",
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-fno-sanitize=undefined",
    "-Wl,--no-entry",
    "-Wl,--strip-all",
    "-Wl,-z,stack-size=131072",
];

/// The file that defines `eaves_promote`, and the kit's file that calls it.
const PROMOTION: &str = "promotion.c";

/// The core module of the project.
pub(super) fn core(project: &Project) -> Result<Vec<u8>> {
    let work = project.kit("build");
    let (sdk, own) = (project.kit("sdk/c"), project.folder.join("src"));
    let promotes = own.join(PROMOTION).is_file();
    let bindings = generate(&project.wit(), promotes, &work)?;
    let mut kit = sources(&sdk.join("src"))?;
    kit.retain(|file| promotes || !file.ends_with(PROMOTION));
    let module = work.join("core.wasm");
    let mut compiler = c_compiler().context(
        "C plugins are compiled by Clang for WebAssembly. With a Clang of your own \
        (Debian: apt install clang lld wasi-libc libclang-rt-14-dev-wasm32), set EAVES_CC=clang",
    )?;
    compiler.command.args(FLAGS).arg("-o").arg(&module);
    for include in [&sdk.join("include"), &sdk.join("src"), &work, &own] {
        compiler.command.arg("-I").arg(include);
    }
    compiler.command.args(bindings).args(kit).args(sources(&own)?);
    call(&mut compiler.command, "compile the plugin")?;
    without_initialize(&super::read(&module)?)
}

/// Writes the bindings; returns what must be linked.
fn generate(wit: &Path, promotes: bool, to: &Path) -> Result<Vec<PathBuf>> {
    let what = "generate C bindings from the WIT package";
    let world = if promotes { "plugin-with-promotion" } else { "plugin" };
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_path(wit).context(what)?;
    let world = resolve.select_world(&[package], Some(world)).context(what)?;
    let mut files = Files::default();
    // The kit includes plugin.h, whatever the world is.
    let options = wit_bindgen_c::Opts { rename_world: Some("plugin".into()), ..Default::default() };
    options.build().generate(&mut resolve, world, &mut files).context(what)?;
    let mut linked = Vec::new();
    for (name, bytes) in files.iter() {
        kit::put(&to.join(name), bytes)?;
        if name.ends_with(".c") || name.ends_with(".o") {
            linked.push(to.join(name));
        }
    }
    Ok(linked)
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "c") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Takes the export `_initialize` away: the component would call it as a start function, which a
/// plugin may not have. It runs the constructors of C++ and of libraries; C has none.
fn without_initialize(module: &[u8]) -> Result<Vec<u8>> {
    use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
    use wasmparser::{ExternalKind, Parser, Payload};
    let mut out = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.context("read the module that was compiled")?;
        if let Payload::ExportSection(exports) = &payload {
            let mut kept = ExportSection::new();
            for export in exports.clone() {
                let export = export.context("read the module's exports")?;
                let kind = match export.kind {
                    ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
                    ExternalKind::Table => ExportKind::Table,
                    ExternalKind::Memory => ExportKind::Memory,
                    ExternalKind::Global => ExportKind::Global,
                    ExternalKind::Tag => ExportKind::Tag,
                };
                if export.name != "_initialize" {
                    kept.export(export.name, kind, export.index);
                }
            }
            out.section(&kept);
        } else if let Some((id, range)) = payload.as_section() {
            out.section(&RawSection { id, data: &module[range] });
        }
    }
    Ok(out.finish())
}
