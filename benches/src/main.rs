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
mod hot;
mod http;
mod languages;
mod live;
mod million;
mod olap;
mod plugin;
mod points;
mod processor;
mod queries;
mod recovery;
mod results;
mod rig;
mod tracing;

use anyhow::{Context as _, Result, bail, ensure};
use eaves_local::Options;
use eaves_plugin_host::{RunnerCommand, run_plugins};
use results::Figure;
use std::path::PathBuf;
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
    tracing::NAMES[0],
];

fn main() -> Result<ExitCode> {
    // Where plugins run that are measured in a process of their own.
    if RunnerCommand::is_meant() {
        return Ok(run_plugins());
    }
    if tracing::is_meant() {
        return tracing::run().map(|()| ExitCode::SUCCESS);
    }
    bench().map(|()| ExitCode::SUCCESS)
}

#[tokio::main]
async fn bench() -> Result<()> {
    let Arguments { only, keep, percent } = arguments(std::env::args().skip(1))?;
    let wanted = |names: &[&str]| only.is_empty() || only.iter().any(|o| names.contains(&o.as_str()));
    let mut figures: Vec<Figure> = Vec::new();
    if wanted(&plugin::NAMES) {
        figures.extend(plugin::measure()?);
    }
    figures.extend(languages::measure(&wanted)?);
    if wanted(tracing::NAMES) {
        figures.push(tracing::measure()?);
    }
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
    if [hot::NAMES, queries::NAMES, live::NAMES].iter().any(|names| wanted(names)) {
        let outcome = large(keep, percent, &wanted, &mut figures).await;
        if let Err(e) = outcome {
            // What was measured before took minutes to load.
            if !figures.is_empty() {
                results::publish(&figures)?;
            }
            return Err(e);
        }
    }
    figures.retain(|f| wanted(&[f.name]));
    results::publish(&figures)
}

/// History is loaded into files when that is measured, and not by the clock while others are.
fn without_loads() -> Options {
    Options { olap_pause: None, ..Options::ephemeral() }
}

/// What is measured, and how.
#[derive(Default)]
struct Arguments {
    /// These figures; all where none is named.
    only: Vec<String>,
    /// Where the million entities are kept from one run to the next.
    keep: Option<PathBuf>,
    /// How many of them there are.
    percent: u32,
}

fn arguments(mut args: impl Iterator<Item = String>) -> Result<Arguments> {
    let names = || [NAMES, hot::NAMES, queries::NAMES, live::NAMES].concat();
    let mut all = Arguments { percent: 100, ..Arguments::default() };
    while let Some(option) = args.next() {
        let value = args.next().with_context(|| format!("{option} takes a value"))?;
        match option.as_str() {
            "--only" => {
                for name in value.split(',') {
                    ensure!(
                        names().contains(&name),
                        "--only takes some of {}, with commas between, not {name:?}",
                        names().join(", ")
                    );
                    all.only.push(name.to_owned());
                }
            }
            "--keep" => all.keep = Some(PathBuf::from(value)),
            "--percent" => {
                all.percent = value.parse().ok().filter(|p| (1..=100).contains(p)).with_context(|| {
                    format!("--percent takes 1 to 100, the share of a million entities, not {value:?}")
                })?;
            }
            _ => bail!(
                "unknown argument {option:?}: --only NAMES, --keep FOLDER and --percent N are all there is"
            ),
        }
    }
    Ok(all)
}

/// The figures of a million entities.
async fn large(
    keep: Option<PathBuf>,
    percent: u32,
    wanted: &impl Fn(&[&str]) -> bool,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let mut options = keep.map_or_else(Options::ephemeral, Options::new);
    options.olap_pause = None;
    // Each works on one request at a time, and waits for a database or Redis at one in four: one more than there
    // are cores. Many more would take turns, each with a memory of its own.
    options.query_instances = std::thread::available_parallelism()?.get() + 1;
    // A quarter of the memory, as RDS has it.
    options.database_settings = vec![("shared_buffers".into(), results::quarter_of_memory())];
    let rig = rig::Rig::bare(options).await.context("start the platform")?;
    let outcome = async {
        let million = million::Million::find_or_load(&rig, percent).await.context("a million entities")?;
        rig.settled().await?;
        if wanted(queries::NAMES) {
            queries::measure(&rig, &million, wanted, figures).await?;
        }
        if wanted(hot::NAMES) {
            hot::measure(&rig, &million, wanted, figures).await?;
        }
        if wanted(live::NAMES) {
            figures.push(live::measure(&rig, &million).await?);
        }
        anyhow::Ok(())
    }
    .await;
    rig.stop().await;
    outcome
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
