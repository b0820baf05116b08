//! Random modules through the whole way: looked through, compiled, tried and called. The seed is
//! printed; `EAVES_SMITH_SEED` repeats a run, `EAVES_SMITH_MODULES` makes it longer.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and prints")]

mod support;

use arbitrary::Unstructured;
use eaves_plugin_host::scan::{ScanLimits, scan};
use eaves_plugin_host::{CompileError, componentize};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::time::Duration;
use support::{floats, host, module};
use wasm_smith::{Component, Config, Module};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|e| panic!("{name}={v}: {e}")))
}

#[test]
fn random_modules_end_in_a_verdict_or_a_typed_error() {
    let seed = number("EAVES_SMITH_SEED")
        .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    let modules = number("EAVES_SMITH_MODULES").unwrap_or(60);
    println!("EAVES_SMITH_SEED={seed} EAVES_SMITH_MODULES={modules}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);

    let host = host();
    let exports = wat::parse_str(module("", "(i32.const 1024)")).unwrap();
    let (mut compiled, mut refused, mut called) = (0, 0, 0);
    let mut why = String::new();
    for _ in 0..modules {
        let mut noise = vec![0; 4_000];
        rng.fill_bytes(&mut noise);
        // The exports of a plugin, with whatever behind them.
        let config = Config {
            exports: Some(exports.clone()),
            max_imports: 0,
            min_funcs: 1,
            max_memories: 1,
            max_memory32_bytes: 4 << 20,
            memory64_enabled: false,
            allow_start_export: false,
            threads_enabled: false,
            relaxed_simd_enabled: false,
            exceptions_enabled: false,
            gc_enabled: false,
            tail_call_enabled: false,
            reference_types_enabled: false,
            max_tables: 2,
            ..Config::default()
        };
        let mut noise = Unstructured::new(&noise);
        let Ok(core) = Module::new(config, &mut noise) else { continue };
        let wasm = match componentize(&core.to_bytes()) {
            Ok(wasm) => wasm,
            Err(e) => {
                why = e.to_string();
                refused += 1;
                continue;
            }
        };
        match host.check_and_compile(&wasm) {
            Ok(artefact) => {
                compiled += 1;
                let plugin = host.load(&artefact).unwrap();
                // A verdict or an error, in time.
                let _ = plugin.validate(&floats(), "{}", Duration::from_millis(100));
                called += 1;
            }
            // It compiled, was asked what it is, and said nonsense, crashed or looped.
            Err(CompileError::NotAPlugin(_)) => compiled += 1,
            Err(e) => {
                why = e.to_string();
                refused += 1;
            }
        }
        // A component with everything the component model has.
        if let Ok(component) = Component::new(Config::default(), &mut noise) {
            let wasm = component.to_bytes();
            if scan(&wasm, &ScanLimits::default()).is_ok() {
                host.check_and_compile(&wasm).unwrap_err();
            }
        }
    }
    println!("{compiled} compiled, {called} of them called, {refused} refused");
    assert!(compiled > 0, "no module came as far as being called: {refused} refused, the last: {why}");
}
