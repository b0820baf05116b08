//! `make bench`: measures Eaves on this machine, each figure beside a baseline of the same run.
//!
//! Prints a table, writes `target/bench.json` and appends to `benches/RESULTS.md`. The
//! measured binaries are the release builds of what is deployed, behind the Runtime API;
//! the events they are handed are made before the clock starts.

mod activation;
mod backtest;
mod baseline;
mod e2e;
mod events;
mod http;
mod languages;
mod olap;
mod plugin;
mod points;
mod recovery;
mod results;
mod rig;

use anyhow::{Context as _, Result, bail};
use eaves_local::Options;
use eaves_plugin_host::{RunnerCommand, run_plugins};
use results::Figure;
use std::process::ExitCode;

/// The figures, in the order they are measured.
const NAMES: &[&str] = &[
    plugin::NAMES[0],
    plugin::NAMES[1],
    plugin::NAMES[2],
    "copy_history_values_per_s",
    "e2e_device_values_per_s",
    "e2e_random_values_per_s",
    "ingest_ack_p95_ms",
    "ingest_rss_mb",
    "cold_start_ms",
    "http_entity_p95_ms",
    "plugin_activation_ms",
    "backtest_values_per_s",
    points::NAMES[0],
    points::NAMES[1],
    olap::NAMES[0],
    olap::NAMES[1],
    "guaranteed_values_per_s",
    "recovery_first_value_s",
    "replay_values_per_s",
    languages::NAMES[0],
    languages::NAMES[1],
    languages::NAMES[2],
    languages::NAMES[3],
];

fn main() -> Result<ExitCode> {
    // Where plugins run that are measured in a process of their own.
    if RunnerCommand::is_meant() {
        return Ok(run_plugins());
    }
    bench().map(|()| ExitCode::SUCCESS)
}

#[tokio::main]
async fn bench() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let only = match (args.next().as_deref(), args.next()) {
        (None, _) => None,
        (Some("--only"), Some(name)) if NAMES.contains(&name.as_str()) => Some(name),
        (Some("--only"), name) => bail!("--only takes one of {}, not {name:?}", NAMES.join(", ")),
        (Some(other), _) => bail!("unknown argument {other:?}: --only NAME is all there is"),
    };
    let wanted = |names: &[&str]| only.as_deref().is_none_or(|o| names.contains(&o));
    let mut figures: Vec<Figure> = Vec::new();
    if wanted(&plugin::NAMES) {
        figures.extend(plugin::measure()?);
    }
    figures.extend(languages::measure(&wanted)?);
    // The rest needs the platform; figures that come from one run are measured together.
    if wanted(&NAMES[3..17]) {
        let rig = rig::Rig::start(without_loads()).await.context("start the platform")?;
        let outcome = measure(&rig, &wanted, &mut figures).await;
        rig.stop().await;
        outcome?;
    }
    if wanted(recovery::NAMES) {
        // As many shards as 5,000 records a second need, with some to spare.
        let options = Options { shards: recovery::SHARDS, ingest_instances: Some(2), ..without_loads() };
        let rig = rig::Rig::start(options).await.context("start the platform")?;
        let outcome = recovery::measure(&rig).await.context("recovery");
        rig.stop().await;
        figures.extend(outcome?);
    }
    figures.retain(|f| wanted(&[f.name]));
    results::publish(&figures)
}

/// History is loaded into files when that is measured, and not by the clock while others are.
fn without_loads() -> Options {
    Options { olap_pause: None, ..Options::ephemeral() }
}

async fn measure(rig: &rig::Rig, wanted: &impl Fn(&[&str]) -> bool, figures: &mut Vec<Figure>) -> Result<()> {
    if wanted(&["cold_start_ms"]) {
        figures.push(e2e::cold_start(rig).await?);
    }
    if wanted(&NAMES[3..8]) {
        figures.extend(e2e::measure(rig).await?);
    }
    if wanted(&["http_entity_p95_ms"]) {
        figures.push(http::measure(rig).await?);
    }
    if wanted(&["plugin_activation_ms"]) {
        figures.push(activation::measure(rig).await.context("activation")?);
    }
    if wanted(&["backtest_values_per_s"]) {
        figures.push(backtest::measure(rig).await?);
    }
    if wanted(points::NAMES) {
        figures.extend(points::measure(rig).await.context("rules for points")?);
    }
    if wanted(olap::NAMES) {
        figures.extend(olap::measure(rig).await.context("history as files")?);
    }
    // Last: it leaves the database unfit for the others.
    if wanted(&["guaranteed_values_per_s"]) {
        figures.push(e2e::guarantees(rig).await?);
    }
    Ok(())
}
