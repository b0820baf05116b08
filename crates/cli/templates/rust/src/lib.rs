//! Three rules to start from: a highest temperature, how fast it may rise, and which states a
//! device may report. A temperature near the limit is marked by a value of its own.

use eaves_plugin_sdk::{Reading, SettingsFault, Value, Verdict, export_plugin};

const STATES: [&str; 3] = ["online", "offline", "fault"];

#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// degC
    highest: f64,
    /// degC a second; 0 for any
    max_rise_per_second: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { highest: 90.0, max_rise_per_second: 0.0 }
    }
}

fn check(settings: &Settings) -> Result<(), SettingsFault> {
    if settings.max_rise_per_second < 0.0 {
        return Err(SettingsFault::new("max_rise_per_second", "must not be below 0"));
    }
    Ok(())
}

/// Change per second since the previous value, if there is an earlier one.
fn rate(reading: &Reading<'_>, now: f64) -> Option<f64> {
    let previous = reading.previous()?;
    let seconds = (reading.observed_at().0 - previous.observed_at.0) as f64 / 1e6;
    (seconds > 0.0).then_some((now - previous.value.as_f64()?) / seconds)
}

fn validate(reading: &Reading<'_>, settings: &Settings) -> Verdict {
    let value = reading.value();
    match (reading.attribute().name, &value) {
        ("temperature", value) => temperature(reading, value, settings),
        (_, Value::String(state)) if !STATES.contains(&&**state) => {
            Verdict::reject("unknown_state", format!("{state} is none of {}", STATES.join(", ")))
        }
        _ => Verdict::accept(),
    }
}

fn temperature(reading: &Reading<'_>, value: &Value<'_>, settings: &Settings) -> Verdict {
    let Some(degrees) = value.as_f64() else { return Verdict::accept() };
    if degrees > settings.highest {
        return Verdict::reject("too_hot", format!("{degrees} is over {}", settings.highest));
    }
    let most = settings.max_rise_per_second;
    if let Some(rise) = rate(reading, degrees).filter(|rise| most > 0.0 && *rise > most) {
        return Verdict::reject("too_fast", format!("rose by {rise} a second, at most {most} is plausible"));
    }
    if degrees > settings.highest - 5.0 {
        return Verdict::accept().and_derive("near_limit", true);
    }
    Verdict::accept()
}

export_plugin! {
    settings: Settings,
    validate: validate,
    check: check,
    attributes: ["temperature", "status"],
    previous: ["temperature"],
    settings_schema: r#"{"type": "object", "properties": {"highest": {"type": "number"},
        "max_rise_per_second": {"type": "number", "minimum": 0}}}"#,
}
