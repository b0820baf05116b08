//! How fast a fleet writes its messages.
//!
//! `cargo run --release -p eaves-simulate --example fleet_speed`

#![expect(clippy::print_stdout, reason = "this is what it is for")]

use eaves_model::Timestamp;
use eaves_simulate::{Fleet, Options};
use std::time::Instant;

fn main() {
    let start = Instant::now();
    let fleet = Fleet::new(&Options::new(1, "acme", 1_000, Timestamp::now()));
    let values: u64 = fleet.take(200_000).map(|m| u64::from(std::hint::black_box(m).values)).sum();
    println!("{:.0} values/s", values as f64 / start.elapsed().as_secs_f64());
}
