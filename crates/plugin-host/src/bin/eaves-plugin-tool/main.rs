//! What builds and tests of plugins need, without the whole `eaves` command line:
//! `componentize <core.wasm> <component.wasm>`, `compile-worker`, `run-plugins`, `probe`,
//! which tries what a locked process must not be able to do, and `without-filters <program> …`, which
//! runs a program where no filter of system calls can be installed.

mod filters;
mod probe;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["compile-worker"] => eaves_plugin_host::compile_worker(),
        ["run-plugins"] => eaves_plugin_host::run_plugins(),
        ["probe"] => probe::run(true),
        ["probe", "unlocked"] => probe::run(false),
        ["without-filters", program, args @ ..] => filters::run_without(program, args),
        ["componentize", core, component] => match componentize(core, component) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{core}: {why}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!(
                "usage: eaves-plugin-tool componentize <core.wasm> <component.wasm> | compile-worker \
                 | run-plugins | probe [unlocked] | without-filters <program> [<argument> ...]"
            );
            ExitCode::from(2)
        }
    }
}

fn componentize(core: &str, component: &str) -> Result<(), Box<dyn std::error::Error>> {
    let made = eaves_plugin_host::componentize(&std::fs::read(core)?)?;
    // A reader never sees half a file, and an unchanged one keeps its time.
    if std::fs::read(component).is_ok_and(|old| old == made) {
        return Ok(());
    }
    let part = format!("{component}.part");
    std::fs::write(&part, made)?;
    std::fs::rename(&part, component)?;
    Ok(())
}
