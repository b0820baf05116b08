//! Prints what a call of an example plugin costs:
//! `cargo run --release -p eaves-plugin-host --example validate_speed [plugin.wasm [settings]]`.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use eaves_plugin_host::{Host, HostConfig, speed};

const RULES: &str = r#"{"attributes": {
    "temperature": {"unit": "degC", "min": -40, "max": 125}, "relative_humidity": {"min": 0, "max": 100},
    "pressure": {"min": 0}, "flow": {"min": 0}, "voltage": {"max": 400}, "cycles": {"min": 0},
    "status": {"allowed": ["online", "offline", "fault"]}}}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
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
    println!("compiled and tried in {compiled:?}, loaded in {loaded:?}");
    for values in [10, 100, 1_000, 10_000, 50_000] {
        let speed = speed::measure(&plugin, &speed::device_batch(values), &settings, 300)?;
        println!("{values:>6} values: median {:6.1} ns a value, p95 {:6.1}", speed.median_ns, speed.p95_ns);
    }
    Ok(())
}
