//! For the platform's tests: rejects what is over a limit, and fails on entities by their names.

use eaves_plugin_sdk::{Reading, Value, Verdict, export_plugin};

/// What it fails on.
#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Numbers over this are rejected.
    max: f64,
    /// It crashes on entities whose names begin so.
    trap: String,
    /// It never comes to an end on entities whose names begin so.
    spin: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max: f64::MAX, trap: "!".into(), spin: "!".into() }
    }
}

fn validate(reading: &Reading<'_>, settings: &Settings) -> Verdict {
    let entity = reading.entity().external_id;
    assert!(!entity.starts_with(&settings.trap), "told to crash");
    while entity.starts_with(&settings.spin) {
        std::hint::black_box(entity);
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
