//! The drill: faults under load, and what the data says afterwards.
//!
//! `make drill` runs it whole, `make test` a shorter one; each case of the list of faults
//! is a function in [`cases`]. A fleet of its own writes to the real platform meanwhile and
//! keeps its own record of what was sent ([`load`]); when the case is over and everything
//! has come to rest, that record is compared with history, hot projection, ledger and
//! watermarks ([`check`]).

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is what the program is for")]

mod cases;
mod check;
mod forward;
mod load;
mod olap;
mod stage;
mod table;

use anyhow::Result;
use cases::{CASES, Case};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use stage::Stage;
use std::process::ExitCode;
use std::time::Instant;
use table::Outcome;

/// How much is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    /// A few faults of each kind: part of `make test`.
    Short,
    /// A hundred kills and more.
    Full,
}

struct Arguments {
    size: Size,
    seed: u64,
    only: Option<String>,
}

impl Arguments {
    fn read() -> Result<Option<Self>> {
        let mut read = Self { size: Size::Short, seed: 1, only: None };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--full" => read.size = Size::Full,
                "--seed" => {
                    let seed = args.next().unwrap_or_default();
                    read.seed = seed
                        .parse()
                        .map_err(|_| anyhow::anyhow!("--seed {seed:?} is not a number; example: --seed 7"))?;
                }
                "--only" => read.only = args.next(),
                // What `cargo test` says to every test program.
                "--list" => return Ok(None),
                "--quiet" | "--nocapture" | "--include-ignored" | "--ignored" => {}
                other if other.starts_with('-') => {
                    anyhow::bail!("{other} is not an option; there are --full, --seed N and --only CASE")
                }
                // A filter meant for other test programs.
                filter if "drill".contains(filter) => {}
                _ => return Ok(None),
            }
        }
        Ok(Some(read))
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("drill: {e:#}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("drill: the runtime cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("drill: {e:?}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<bool> {
    let chosen: Vec<&Case> = CASES
        .iter()
        .filter(|c| {
            arguments.only.as_ref().is_none_or(|only| c.name.contains(only.as_str()) || c.number == *only)
        })
        .collect();
    anyhow::ensure!(
        !chosen.is_empty(),
        "no case is called {:?}; there are {}",
        arguments.only,
        CASES.iter().map(|c| c.name).collect::<Vec<_>>().join(", ")
    );
    println!("drill: seed {}, {} cases", arguments.seed, chosen.len());
    let began = Instant::now();
    let stage = Stage::set().await?;
    let mut outcomes = Vec::new();
    table::heading();
    for case in chosen {
        let mut rng = SmallRng::seed_from_u64(arguments.seed ^ u64::from(case.number.as_bytes()[0]) << 8);
        let times = if arguments.size == Size::Full { case.full } else { case.short };
        let outcome = match check::under_load(&stage, case, times, &mut rng).await {
            Ok(outcome) => outcome,
            Err(e) => Outcome::broken(case, format!("{e:#}")),
        };
        outcome.print();
        outcomes.push(outcome);
    }
    stage.clear().await?;
    table::write(arguments.seed, &outcomes)?;
    let passed = outcomes.iter().all(|o| o.passed);
    let injected: u32 = outcomes.iter().map(|o| o.injected).sum();
    println!(
        "{} of {} cases passed, {injected} faults in {:.0} s (target/drill.json)",
        outcomes.iter().filter(|o| o.passed).count(),
        outcomes.len(),
        began.elapsed().as_secs_f64()
    );
    Ok(passed)
}
