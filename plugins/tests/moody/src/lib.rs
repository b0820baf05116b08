//! For the platform's tests: rejects what is over a limit, and fails on entities by their names.

use eaves_plugin_sdk::{Reading, Value, Verdict, export_plugin};
use std::hint::black_box;

/// What it fails on: each is the beginning of entities' names, and no name begins with `!`.
#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Numbers over this are rejected.
    max: f64,
    /// On these it crashes.
    trap: String,
    /// On these it never comes to an end.
    spin: String,
    /// On these it takes memory without end.
    grow: String,
    /// On these it answers what no answer may be: two values of one attribute.
    garble: String,
    /// It takes 16 MiB of memory for these, and judges them.
    eat: String,
}

impl Default for Settings {
    fn default() -> Self {
        let none = || "!".to_owned();
        Self { max: f64::MAX, trap: none(), spin: none(), grow: none(), garble: none(), eat: none() }
    }
}

fn validate(reading: &Reading<'_>, settings: &Settings) -> Verdict {
    let entity = reading.entity().external_id;
    assert!(!entity.starts_with(&settings.trap), "told to crash");
    while entity.starts_with(&settings.spin) {
        black_box(entity);
    }
    while entity.starts_with(&settings.grow) {
        // Nobody gives it back. Where there is no more, allocating ends the plugin.
        std::mem::forget(black_box(Vec::<u8>::with_capacity(1 << 20)));
    }
    if entity.starts_with(&settings.garble) {
        return Verdict::accept().and_derive("twice", 1.0).and_derive("twice", 2.0);
    }
    if entity.starts_with(&settings.eat) {
        black_box(Vec::<u8>::with_capacity(16 << 20));
    }
    match reading.value() {
        Value::Float(f) if f > settings.max => {
            Verdict::reject("above_max", format!("{f} is over {}", settings.max))
        }
        _ => Verdict::accept(),
    }
}

export_plugin! {
    settings: Settings,
    validate: validate,
}
