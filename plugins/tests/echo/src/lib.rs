//! For the host's tests: answers every value with itself, twice.

use eaves_plugin_sdk::{Reading, Verdict, export_plugin};

/// Takes nothing; serde reads it from any object.
#[derive(serde::Deserialize)]
pub struct Settings {}

fn validate(reading: &Reading<'_>, _settings: &Settings) -> Verdict {
    let copy = format!("copy.{}", reading.attribute().name);
    Verdict::replace(reading.value()).and_derive(copy, reading.value())
}

export_plugin! {
    settings: Settings,
    validate: validate,
}
