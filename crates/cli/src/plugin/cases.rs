//! Files of cases: readings, and what a plugin is expected to say of each value.

use super::batch::{self, Attributes, Batcher, Latest, Named};
use super::promotion_case::{PromotionCase, RawPlace, RawStatistics};
use anyhow::{Context as _, Result, bail};
use eaves_model::batch::Batch;
use eaves_model::{Timestamp, Value, ValueType};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::path::Path;

/// A file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseFile {
    /// Settings of the cases that have none of their own.
    #[serde(default)]
    settings: Map<String, Json>,
    /// Types and units of attributes. Others have the type of their first value.
    #[serde(default)]
    attributes: BTreeMap<String, Declared>,
    cases: Vec<RawCase>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    #[serde(rename = "type")]
    value_type: ValueType,
    #[serde(default)]
    unit: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    settings: Option<Map<String, Json>>,
    /// What was known before the batch.
    #[serde(default)]
    previous: Vec<RawReading>,
    #[serde(default)]
    readings: Vec<RawReading>,
    /// The path at which the settings are expected to be refused.
    settings_fault: Option<String>,
    /// What `promote` is told.
    statistics: Option<RawStatistics>,
    /// By attribute, what `promote` is expected to decide; the others keep their place.
    #[serde(default)]
    decide: BTreeMap<String, RawPlace>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReading {
    #[serde(default = "an_entity")]
    entity: String,
    #[serde(rename = "type")]
    entity_type: Option<String>,
    observed_at: Option<String>,
    values: Map<String, Json>,
    /// By attribute; values that are not named are expected to be accepted.
    #[serde(default)]
    expect: BTreeMap<String, RawExpected>,
    /// By attribute, what is expected to be derived.
    #[serde(default)]
    derive: Map<String, Json>,
}

fn an_entity() -> String {
    "entity-1".into()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawExpected {
    Accept,
    Reject(RawReason),
    Replace(Json),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RawReason {
    Code(String),
    Both { code: String, text: String },
}

impl RawReason {
    /// The code, and the text if that matters.
    pub(super) fn parts(self) -> (String, Option<String>) {
        match self {
            Self::Code(code) => (code, None),
            Self::Both { code, text } => (code, Some(text)),
        }
    }
}

/// What is expected of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expected {
    Accept,
    /// The reason's code, and its text if that matters.
    Reject(String, Option<String>),
    Replace(Value),
}

/// A case that can be run.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// JSON.
    pub(super) settings: String,
    /// The path at which the settings are to be refused.
    pub(super) settings_fault: Option<String>,
    /// Attributes to decide about, if that is what the case is about.
    pub(super) promotion: Option<PromotionCase>,
    batcher: Batcher,
    latest: Latest,
    /// By row.
    pub(super) expected: Vec<Expected>,
    /// By the reading's first row: its last row, and what is derived from it.
    pub(super) derived: Vec<(std::ops::Range<usize>, Named)>,
}

impl Case {
    /// The batch for a plugin that asks for these previous values; with what is expected of it.
    pub(super) fn into_batch(self, asked: &[String]) -> Batch {
        self.batcher.finish(asked, &self.latest)
    }
}

/// Reads a file of cases: JSON if it is named so, else YAML.
pub(super) fn read(path: &Path) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let is_json = path.extension().is_some_and(|e| e == "json");
    parse(&text, is_json).with_context(|| format!("{} is no file of cases", path.display()))
}

/// Reads cases from text.
pub(super) fn parse(text: &str, is_json: bool) -> Result<Vec<Case>> {
    let file: CaseFile = if is_json { serde_json::from_str(text)? } else { serde_saphyr::from_str(text)? };
    let mut types = Attributes::default();
    for (name, declared) in &file.attributes {
        types.declare(name, declared.value_type, &declared.unit);
    }
    let mut cases = Vec::new();
    for raw in file.cases {
        let name = raw.name.clone();
        let settings = raw.settings.as_ref().unwrap_or(&file.settings).clone();
        // Each case begins with what is declared: no case depends on the one before.
        let case = case(raw, settings, types.clone()).with_context(|| format!("case {name:?}"))?;
        cases.push(case);
    }
    if cases.is_empty() {
        bail!("`cases` lists none");
    }
    Ok(cases)
}

fn case(raw: RawCase, settings: Map<String, Json>, mut types: Attributes) -> Result<Case> {
    let about = [!raw.readings.is_empty(), raw.statistics.is_some(), raw.settings_fault.is_some()];
    if about.iter().filter(|is| **is).count() != 1 {
        bail!(
            "has either `readings`, or `statistics` of attributes, or `settings_fault` with the path at which the \
             settings are refused"
        );
    }
    let promotion = PromotionCase::new(raw.statistics, raw.decide)?;
    let mut case = Case {
        name: raw.name,
        settings: Json::Object(settings).to_string(),
        settings_fault: raw.settings_fault,
        promotion,
        batcher: Batcher::default(),
        latest: Latest::new(),
        expected: Vec::new(),
        derived: Vec::new(),
    };
    for (index, known) in raw.previous.iter().enumerate() {
        let at = || format!("previous[{index}]");
        if !known.expect.is_empty() || !known.derive.is_empty() {
            bail!("{}: nothing can be expected of what is known before", at());
        }
        let (at_time, values) = resolve(known, BEFORE, &mut types).with_context(at)?;
        for (name, value) in values {
            batch::remember(&mut case.latest, &known.entity, &name, at_time, value);
        }
    }
    for (index, reading) in raw.readings.iter().enumerate() {
        add(&mut case, reading, START + index as i64 * SECOND, &mut types)
            .with_context(|| format!("readings[{index}]"))?;
    }
    Ok(case)
}

/// 2026-01-01T00:00:00Z: readings without a time follow each other from here, one a second.
const START: i64 = 1_767_225_600_000_000;
/// What was known before without a time is a minute older.
const BEFORE: i64 = START - 60 * SECOND;
const SECOND: i64 = 1_000_000;

fn add(case: &mut Case, raw: &RawReading, otherwise: i64, types: &mut Attributes) -> Result<()> {
    let (at, values) = resolve(raw, otherwise, types)?;
    for name in raw.expect.keys() {
        if !values.iter().any(|(attribute, _)| **attribute == **name) {
            bail!("expect.{name}: the reading has no such value");
        }
    }
    for (name, value) in &values {
        let expected = match raw.expect.get(&**name) {
            None | Some(RawExpected::Accept) => Expected::Accept,
            Some(RawExpected::Reject(reason)) => {
                let (code, text) = reason.clone().parts();
                Expected::Reject(code, text)
            }
            Some(RawExpected::Replace(json)) => Expected::Replace(
                typed(json, value.value_type()).with_context(|| format!("expect.{name}.replace"))?,
            ),
        };
        case.expected.push(expected);
    }
    let count = values.len();
    let entity_type = raw.entity_type.as_deref().unwrap_or_default();
    let first = case.batcher.push(&raw.entity, entity_type, at, values, types);
    // What is derived has the type it is derived with: an integer here stands for a float, too.
    let mut free = Attributes::default();
    let derived = match raw.derive.is_empty() {
        true => Vec::new(),
        false => free.resolve(decode(raw, &raw.derive, at)?).context("derive")?,
    };
    case.derived.push((first..first + count, derived));
    Ok(())
}

fn resolve(raw: &RawReading, otherwise: i64, types: &mut Attributes) -> Result<(Timestamp, Named)> {
    let at = match &raw.observed_at {
        Some(text) => text.parse().map_err(|e| anyhow::anyhow!("observed_at: {e}"))?,
        None => Timestamp::from_micros(otherwise).unwrap_or_else(Timestamp::now),
    };
    let values = types.resolve(decode(raw, &raw.values, at)?).context(
        "a value does not fit (the first value of an attribute sets its type, unless `attributes` names it)",
    )?;
    Ok((at, values))
}

/// By the decoder of the platform, so that a case means what a device would send.
fn decode(raw: &RawReading, values: &Map<String, Json>, at: Timestamp) -> Result<eaves_model::Reading> {
    let mut reading = serde_json::json!({
        "tenant": "cases", "entity": raw.entity, "observed_at": at.to_string(), "values": values,
    });
    if let Some(entity_type) = &raw.entity_type {
        reading["type"] = entity_type.as_str().into();
    }
    batch::reading(reading.to_string().as_bytes())
}

/// One JSON value as one of a type.
fn typed(json: &Json, value_type: ValueType) -> Result<Value> {
    let reading = serde_json::json!({
        "tenant": "cases", "entity": "e", "observed_at": "2026-01-01T00:00:00Z", "values": {"value": json},
    });
    let mut types = Attributes::default();
    types.declare("value", value_type, "");
    let mut values = types.resolve(batch::reading(reading.to_string().as_bytes())?)?;
    values.pop().map(|(_, value)| value).context("is no value")
}

#[cfg(test)]
#[path = "cases_tests.rs"]
mod tests;
