//! Prints what a call of an example plugin costs:
//! `cargo run --release -p eaves-plugin-host --example validate_speed [plugin.wasm [settings]]`.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use eaves_plugin_host::{Host, HostConfig, RunnerCommand, run_plugins, speed};
use std::process::ExitCode;

const RULES: &str = r#"{"attributes": {
    "temperature": {"unit": "degC", "min": -40, "max": 125}, "relative_humidity": {"min": 0, "max": 100},
    "pressure": {"min": 0}, "flow": {"min": 0}, "voltage": {"max": 400}, "cycles": {"min": 0},
    "status": {"allowed": ["online", "offline", "fault"]}}}"#;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    if RunnerCommand::is_meant() {
        return Ok(run_plugins());
    }
    let mut args = std::env::args().skip(1);
    let default =
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/plugins/telemetry-rules.wasm").to_string();
    let path = args.next().unwrap_or_else(default);
    let settings = args.next().unwrap_or_else(|| RULES.into());
    let wasm = std::fs::read(&path)?;
    let host = Host::new(HostConfig::new(&"5a".repeat(32))?)?;
    let start = std::time::Instant::now();
    let artefact = host.check_and_compile(&wasm)?;
    let compiled = start.elapsed();
    let start = std::time::Instant::now();
    let plugin = host.load(&artefact)?;
    let loaded = start.elapsed();
    println!("{path}: {} bytes, artefact {} bytes", wasm.len(), artefact.len());
    let isolated = Host::isolated(HostConfig::new(&"5a".repeat(32))?, RunnerCommand::this_program()?)?;
    let start = std::time::Instant::now();
    let away = isolated.load(&artefact)?;
    println!("the other process is up and has loaded it in {:?}; {:?}", start.elapsed(), isolated.lock());
    println!("compiled and tried in {compiled:?}, loaded in {loaded:?}");
    for values in [10, 100, 1_000, 10_000, 50_000] {
        let batch = speed::device_batch(values);
        let here = speed::measure(&plugin, &batch, &settings, 300)?;
        let there = speed::measure(&away, &batch, &settings, 300)?;
        println!(
            "{values:>6} values: median {:6.1} ns a value, p95 {:6.1}; in a process of its own {:6.1}, p95 {:6.1}",
            here.median_ns, here.p95_ns, there.median_ns, there.p95_ns
        );
    }
    Ok(ExitCode::SUCCESS)
}
