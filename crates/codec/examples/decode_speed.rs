//! Time to decode one value of device-shaped readings (10 values each), per wrapping.
//!
//! `cargo run --release -p eaves-codec --example decode_speed`

#![expect(clippy::print_stdout, reason = "this is what it is for")]

use eaves_codec::{decode, encode};
use eaves_model::Timestamp;
use std::hint::black_box;
use std::time::Instant;

const VALUES: usize = 10;
const READINGS: usize = 100;

fn main() {
    let now = Timestamp::now();
    let lines: Vec<String> = (0..READINGS).map(|i| line(i, now)).collect();
    let ndjson = lines.join("\n");
    let pairs: Vec<(&str, &[u8])> = lines.iter().map(|l| ("key", l.as_bytes())).collect();
    let shapes = [
        ("one reading", lines[0].clone().into_bytes(), 1),
        ("list", format!("[{}]", lines.join(",")).into_bytes(), READINGS),
        ("ndjson", ndjson.clone().into_bytes(), READINGS),
        ("ndjson.gz", encode::gzip(ndjson.as_bytes()), READINGS),
        ("kpl", encode::kpl(&pairs), READINGS),
    ];
    for (name, bytes, readings) in shapes {
        let rounds = 200_000 / readings;
        let start = Instant::now();
        for _ in 0..rounds {
            black_box(decode(black_box(&bytes), now));
        }
        let per_value = start.elapsed().as_secs_f64() * 1e9 / (rounds * readings * VALUES) as f64;
        println!("{name:12} {:7} bytes  {per_value:6.1} ns/value", bytes.len());
    }
}

fn line(i: usize, now: Timestamp) -> String {
    format!(
        r#"{{"tenant":"acme","entity":"pump-{i}","type":"pump","observed_at":"{}","values":{{"temperature":{},"pressure":{},"flow_rate":12.75,"rpm":{},"status":"running","alarm":false,"vibration":0.0312,"energy_total":{{"type":"decimal","value":"18231.250"}},"starts":1042,"firmware":"2.4.1"}}}}"#,
        now.plus_micros(-(i as i64)),
        20.0 + i as f64 / 7.0,
        3.0 + i as f64 / 13.0,
        1400 + i
    )
}
