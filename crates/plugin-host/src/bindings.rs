//! What wasmtime makes of the WIT package: one copy per column, no detours.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../plugins/wit/eaves-rules/1.0.0",
    // Of this world a component may leave out `promotion`: the two interfaces are looked up
    // one by one.
    world: "plugin-with-promotion",
    ownership: Borrowing { duplicate_if_necessary: true },
});

pub use exports::eaves::rules::{promotion, validation};
