//! For the host's tests: promotes what is read often enough, and says how values change.

use eaves_plugin_sdk::{Interest, Previous, Promotion, Reading, Statistics, Verdict, export_plugin};

/// From which rate on an attribute is worth its place, and which attributes only grow.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Filtering queries per second.
    #[serde(default)]
    worth: f64,
    /// Attributes that must not fall, and whose change is derived.
    #[serde(default)]
    growing: Vec<String>,
    /// How it fails when it is asked which attributes are hot: `trap` or `loop`.
    #[serde(default)]
    fails: String,
}

fn interest(settings: &Settings) -> Interest {
    Interest { previous: settings.growing.clone(), ..Interest::default() }
}

fn validate(reading: &Reading<'_>, _settings: &Settings) -> Verdict {
    let Some(Previous { observed_at, value }) = reading.previous() else { return Verdict::accept() };
    let (Some(before), Some(now)) = (value.as_f64(), reading.value().as_f64()) else {
        return Verdict::accept();
    };
    if *observed_at <= reading.observed_at() && now < before {
        return Verdict::reject("falls", format!("{now} after {before}"));
    }
    Verdict::accept().and_derive(format!("{}.grown", reading.attribute().name), now - before)
}

fn promote(statistics: &Statistics, settings: &Settings) -> Vec<Promotion> {
    match settings.fails.as_str() {
        "trap" => panic!("as the settings say"),
        "loop" => loop {
            std::hint::black_box(settings);
        },
        _ => {}
    }
    let judge = |a: &eaves_plugin_sdk::AttributeStatistics| match a.filters_per_second >= settings.worth {
        true if !a.hot => Some(a.promote("read_often", format!("{}/s", a.filters_per_second))),
        false if a.hot => Some(a.demote("not_read", "not worth its place")),
        _ => None,
    };
    statistics.attributes.iter().filter_map(judge).collect()
}

export_plugin! {
    settings: Settings,
    validate: validate,
    interest: interest,
    promote: promote,
}
