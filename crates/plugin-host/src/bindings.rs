//! What wasmtime makes of the WIT package: one copy per column, no detours.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../plugins/wit/eaves-rules/0.1.0",
    world: "plugin",
    ownership: Borrowing { duplicate_if_necessary: true },
});

pub use exports::eaves::rules::validation::*;
