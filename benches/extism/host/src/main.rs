//! `eaves-bench-extism <guest.wasm> <settings> <calls>`: prints the median nanoseconds a value of
//! 10,000 values a call, serialised, called in a fresh instance, and the answer read. The values
//! are those of `eaves_plugin_host::speed::device_batch`.

use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, Wasm};
use serde::{Deserialize, Serialize};
use std::time::Instant;

const VALUES: usize = 10_000;
const NAMES: [&str; 10] = [
    "temperature",
    "relative_humidity",
    "pressure",
    "flow",
    "vibration",
    "voltage",
    "current",
    "power",
    "cycles",
    "status",
];

#[derive(Serialize)]
enum Value {
    Float(f64),
    Integer(i64),
    Text(&'static str),
}

#[derive(Serialize)]
struct Batch<'a> {
    settings: &'a str,
    entities: Vec<(String, &'static str)>,
    attributes: Vec<(&'static str, &'static str)>,
    rows: Vec<(u32, u32, i64, Value)>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Rejected {
    row: u32,
    code: String,
    text: String,
}

fn batch(settings: &str) -> Batch<'_> {
    let row = |i: usize| {
        let value = match NAMES[i % 10] {
            "cycles" => Value::Integer(i as i64),
            "status" => Value::Text("online"),
            _ => Value::Float(20.0 + (i % 500) as f64 / 10.0),
        };
        ((i / 10) as u32, (i % 10) as u32, 1_767_225_600_000_000 + (i / 10) as i64 * 1_000, value)
    };
    Batch {
        settings,
        entities: (0..VALUES / 10).map(|i| (format!("pump-{i}"), "pump")).collect(),
        attributes: NAMES
            .iter()
            .map(|name| (*name, if *name == "temperature" { "degC" } else { "" }))
            .collect(),
        rows: (0..VALUES).map(row).collect(),
    }
}

fn main() -> Result<(), extism::Error> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or_else(|| extism::Error::msg("usage: <guest.wasm> <settings> <calls>"));
    let (guest, settings, calls) = (next()?, next()?, next()?.parse::<usize>()?);
    let manifest = Manifest::new([Wasm::data(std::fs::read(guest)?)]);
    let compiled = CompiledPlugin::new(PluginBuilder::new(manifest).with_wasi(false))?;
    let batch = batch(&settings);
    let mut times = Vec::with_capacity(calls);
    let mut rejected = 0;
    for call in 0..calls + 5 {
        let start = Instant::now();
        let mut plugin = Plugin::new_from_compiled(&compiled)?;
        let input = rmp_serde::to_vec(&batch)?;
        let output: Vec<u8> = plugin.call("validate", input)?;
        let answer: Vec<Rejected> = rmp_serde::from_slice(&output)?;
        rejected = answer.len();
        drop(plugin);
        if call >= 5 {
            times.push(start.elapsed().as_nanos() as f64 / VALUES as f64);
        }
    }
    times.sort_by(f64::total_cmp);
    println!("{:.1} {rejected}", times.get(times.len() / 2).copied().unwrap_or_default());
    Ok(())
}
