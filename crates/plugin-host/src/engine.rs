//! How wasmtime is set up. One function makes both kinds of engine, so that what is
//! compiled in the worker is what the host can load.

use sha2::{Digest, Sha256};
use std::hash::{Hash, Hasher};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmFeatures};

/// Most stack a plugin may use, in bytes.
const MAX_STACK: usize = 512 << 10;

/// How much of a slot's memory stays mapped between calls, in bytes: what 10,000 values take.
const KEPT_RESIDENT: usize = 2 << 20;

/// The version of wasmtime in this build, part of every artefact's identity.
pub(crate) const WASMTIME: &str = "48.0.8";

/// An engine that only compiles: no pool, no threads.
pub(crate) fn compiler() -> wasmtime::Result<Engine> {
    let mut config = common()?;
    config.parallel_compilation(false);
    Engine::new(&config)
}

/// How large the pool is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    /// Most instances at once.
    pub(crate) concurrency: u32,
    /// Most memory of one, in bytes.
    pub(crate) memory_bytes: usize,
    /// Most entries of one table.
    pub(crate) table_entries: usize,
}

/// An engine that runs plugins in a pool of slots.
pub(crate) fn runner(host: &Pool) -> wasmtime::Result<Engine> {
    // wit-component gives a component a few small core instances beside the plugin's own; Python
    // comes as 38, linked together.
    const CORE_INSTANCES: u32 = 48;
    const TABLES: u32 = 4;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(host.concurrency)
        .total_core_instances(host.concurrency * CORE_INSTANCES)
        .total_memories(host.concurrency)
        .total_tables(host.concurrency * TABLES)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .max_memory_size(host.memory_bytes)
        .table_elements(host.table_entries)
        .table_keep_resident(0);
    // A used slot goes back to the kernel: no byte of one tenant waits for the next. From Linux
    // 6.7 on the kernel tells which pages were written; those are set to zero instead and need
    // not be faulted in again (2 µs a page where virtual machines are nested). Without being told,
    // all kept pages would have to be written in each call, which costs small batches more.
    let kept = if PoolingAllocationConfig::is_pagemap_scan_available() { KEPT_RESIDENT } else { 0 };
    pool.pagemap_scan(Enabled::Auto).linear_memory_keep_resident(kept);
    let mut config = common()?;
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

fn common() -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        // With a target named, wasmtime assumes no feature of this machine's processor:
        // an artefact made on one machine runs on all of the architecture.
        .target(target())?
        .epoch_interruption(true)
        .max_wasm_stack(MAX_STACK)
        .concurrency_support(false)
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        // For debuggers and profilers of the host: megabytes of an interpreter, registered at load.
        .native_unwind_info(false)
        .wasm_features(
            WasmFeatures::TAIL_CALL
                | WasmFeatures::MULTI_MEMORY
                | WasmFeatures::MEMORY64
                | WasmFeatures::RELAXED_SIMD
                | WasmFeatures::EXCEPTIONS
                | WasmFeatures::THREADS
                | WasmFeatures::FUNCTION_REFERENCES
                | WasmFeatures::GC,
            false,
        );
    Ok(config)
}

pub(crate) fn target() -> &'static str {
    match (std::env::consts::ARCH, std::env::consts::OS) {
        ("x86_64", "macos") => "x86_64-apple-darwin",
        ("aarch64", "macos") => "aarch64-apple-darwin",
        ("aarch64", _) => "aarch64-unknown-linux-gnu",
        _ => "x86_64-unknown-linux-gnu",
    }
}

/// What an artefact must have been compiled for: version, target and every setting.
pub(crate) fn identity(engine: &Engine) -> [u8; 32] {
    struct Collect(Sha256);
    impl Hasher for Collect {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut collect = Collect(Sha256::new());
    WASMTIME.hash(&mut collect);
    target().hash(&mut collect);
    engine.precompile_compatibility_hash().hash(&mut collect);
    collect.0.finalize().into()
}
