//! The standard plugin: rules by settings, without code. Most tenants need no other.
//!
//! The settings are described in `docs/plugins.md` and `settings.schema.json`.

mod required;
mod rule;
mod settings;
mod span;
#[cfg(test)]
mod tests;

use eaves_plugin_sdk::{Interest, Reading, SettingsFault, Verdict, export_plugin};
use settings::Settings;

fn validate(reading: &Reading<'_>, settings: &Settings) -> Verdict {
    if let Some(rejection) = settings.required.judge(reading) {
        return rejection;
    }
    let attribute = reading.attribute();
    match settings.attributes.get(attribute) {
        Some(rule) => rule.judge(reading, &settings.runs),
        None if settings.reject_others => {
            Verdict::reject("no_rule", format!("{:?} has no rule and others are rejected", attribute.name))
        }
        None => Verdict::accept(),
    }
}

fn check(settings: &Settings) -> Result<(), SettingsFault> {
    settings.required.check()?;
    settings.attributes.iter().try_for_each(|(name, rule)| rule.check(&format!("attributes.{name}")))
}

/// Attributes without a rule are not looked at, unless something is said of all.
fn interest(settings: &Settings) -> Interest {
    let sees_all = settings.reject_others || !settings.required.is_empty();
    let names = |wanted: fn(&rule::Rule) -> bool| -> Vec<String> {
        settings.attributes.iter().filter(|(_, rule)| wanted(rule)).map(|(name, _)| name.to_owned()).collect()
    };
    Interest {
        attributes: (!sees_all).then(|| names(|_| true)),
        entity_types: None,
        previous: names(rule::Rule::compares),
    }
}

export_plugin! {
    settings: Settings,
    validate: validate,
    check: check,
    interest: interest,
    settings_schema: include_str!("settings.schema.json"),
}
