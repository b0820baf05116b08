//! Prints what loading a compiled component takes, step by step:
//! `cargo run --release -p eaves-plugin-host --example cold_load -- build/plugin.wasm`.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use eaves_plugin_host::{Artefact, Host, HostConfig, LoadError, RunnerCommand, run_plugins};
use std::process::ExitCode;
use std::time::Instant;

const LOADS: usize = 50;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    if RunnerCommand::is_meant() {
        return Ok(run_plugins());
    }
    let path = std::env::args().nth(1).ok_or("which component?")?;
    let config = HostConfig::new(&"5a".repeat(32))?;
    let here = Host::new(config.clone())?;
    let bytes = here.check_and_compile(&std::fs::read(path)?)?;
    println!("an artefact of {} KiB", bytes.len() >> 10);
    let arrive = || -> Result<Artefact, LoadError> {
        let mut arrival = here.arrival();
        for part in bytes.chunks(16 << 10) {
            arrival.push(part)?;
        }
        arrival.finish()
    };
    time("arrives, is verified and kept", || arrive().map(drop))?;
    let artefact = arrive()?;
    let away = Host::isolated(config, RunnerCommand::this_program()?)?;
    time("loaded in this process", || here.load_arrived(&artefact).map(drop))?;
    time("loaded in a process of its own", || away.load_arrived(&artefact).map(drop))?;
    Ok(ExitCode::SUCCESS)
}

fn time(what: &str, does: impl Fn() -> Result<(), LoadError>) -> Result<(), LoadError> {
    let mut times = Vec::with_capacity(LOADS);
    for _ in 0..LOADS {
        let start = Instant::now();
        does()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("{what}: median {:.2} ms, p95 {:.2} ms", times[LOADS / 2], times[LOADS * 95 / 100]);
    Ok(())
}
