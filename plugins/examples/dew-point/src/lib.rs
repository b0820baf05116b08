//! Derives `dew_point` from `temperature` (°C) and `relative_humidity` (%) of the same reading.

use eaves_plugin_sdk::{Reading, SettingsFault, Verdict, export_plugin};
use serde::Deserialize;

/// How the result is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Digits after the point.
    #[serde(default = "two")]
    digits: u8,
}

fn two() -> u8 {
    2
}

fn check(settings: &Settings) -> Result<(), SettingsFault> {
    match settings.digits {
        0..=6 => Ok(()),
        n => Err(SettingsFault::new("digits", format!("{n} is not between 0 and 6"))),
    }
}

fn validate(reading: &Reading<'_>, settings: &Settings) -> Verdict {
    if reading.attribute().name != "temperature" {
        return Verdict::accept();
    }
    let temperature = reading.value().as_f64();
    let humidity = reading.sibling("relative_humidity").and_then(|v| v.as_f64());
    match temperature.zip(humidity).and_then(|(t, h)| dew_point(t, h)) {
        Some(point) => {
            let unit = 10_f64.powi(settings.digits.into());
            Verdict::accept().and_derive("dew_point", (point * unit).round() / unit)
        }
        None => Verdict::accept(),
    }
}

/// Magnus formula with the constants of Sonntag (1990), good to 0.35 °C where it is defined.
fn dew_point(celsius: f64, humidity: f64) -> Option<f64> {
    const A: f64 = 17.62;
    const B: f64 = 243.12;
    let in_range = (-45.0..=60.0).contains(&celsius) && humidity > 0.0 && humidity <= 100.0;
    in_range.then(|| {
        let gamma = (humidity / 100.0).ln() + A * celsius / (B + celsius);
        B * gamma / (A - gamma)
    })
}

export_plugin! {
    settings: Settings,
    validate: validate,
    check: check,
    attributes: ["temperature", "relative_humidity"],
    settings_schema: include_str!("settings.schema.json"),
}

#[cfg(test)]
mod tests {
    use super::*;
    use eaves_plugin_sdk::{Value, testing::Sample};

    #[test]
    fn a_warm_damp_room_condenses_at_14_degrees() {
        let verdicts = Sample::of("room-1", "room")
            .value("temperature", "degC", Value::Float(25.0))
            .value("relative_humidity", "%", Value::Integer(50))
            .judge("{}", validate)
            .unwrap();
        assert_eq!(verdicts[0], Verdict::accept().and_derive("dew_point", 13.85));
        assert_eq!(verdicts[1], Verdict::accept());
    }

    #[test]
    fn nothing_is_derived_from_half_a_reading_or_an_impossible_one() {
        let alone = Sample::of("room-1", "room").value("temperature", "", Value::Float(25.0));
        assert_eq!(alone.judge("{}", validate).unwrap(), [Verdict::accept()]);
        let absurd = alone.value("relative_humidity", "%", Value::Float(140.0));
        assert_eq!(absurd.judge("{}", validate).unwrap(), [Verdict::accept(), Verdict::accept()]);
    }
}
