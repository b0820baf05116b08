//! Which attributes are hot: what a plugin is told, and what it decides.

use crate::bindings::promotion as raw;
use crate::dispatch::one_line;
use crate::{SettingsFault, ValueType, settings};
use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// What is known of the attributes of a tenant. Rates and counts are estimates over
/// `window_seconds`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// The time the rates were taken over, in seconds.
    pub window_seconds: f64,
    /// The tenant's entities.
    pub tenant_entities: u64,
    /// How many bytes of hot values an entity may have.
    pub byte_budget: u32,
    /// The attributes.
    pub attributes: Vec<AttributeStatistics>,
}

/// What is known of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeStatistics {
    /// Its place in [`Statistics::attributes`].
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// Its unit; empty if none is set.
    pub unit: String,
    /// Whether it is hot now.
    pub hot: bool,
    /// Seconds since it became hot or ceased to be; since it was first seen if neither.
    pub settled_seconds: f64,
    /// Values written per second.
    pub writes_per_second: f64,
    /// Distinct entities with a value of it.
    pub entities: u64,
    /// Distinct values.
    pub distinct_values: u64,
    /// How many writes changed the value, as a share from 0 to 1.
    pub change_ratio: f64,
    /// Mean size of a value, in bytes.
    pub value_bytes: f64,
    /// Queries per second that filter by it.
    pub filters_per_second: f64,
    /// Queries per second that return it.
    pub returns_per_second: f64,
    /// Mean time of the queries that name it, in milliseconds.
    pub query_milliseconds: f64,
}

impl AttributeStatistics {
    /// Of an attribute of which nothing is known yet: for tests.
    pub fn of(name: impl Into<String>, value_type: ValueType) -> Self {
        Self {
            index: 0,
            name: name.into(),
            value_type,
            unit: String::new(),
            hot: false,
            settled_seconds: 0.0,
            writes_per_second: 0.0,
            entities: 0,
            distinct_values: 0,
            change_ratio: 0.0,
            value_bytes: 0.0,
            filters_per_second: 0.0,
            returns_per_second: 0.0,
            query_milliseconds: 0.0,
        }
    }

    /// It becomes hot. `code` is for machines (`read_often`: snake case, up to 64 characters),
    /// `text` for people.
    pub fn promote(
        &self,
        code: impl Into<Cow<'static, str>>,
        text: impl Into<Cow<'static, str>>,
    ) -> Promotion {
        Promotion { attribute: self.index, hot: true, code: code.into(), text: text.into() }
    }

    /// It ceases to be hot.
    pub fn demote(
        &self,
        code: impl Into<Cow<'static, str>>,
        text: impl Into<Cow<'static, str>>,
    ) -> Promotion {
        Promotion { hot: false, ..self.promote(code, text) }
    }
}

/// A change of one attribute's place. Attributes without one keep theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Promotion {
    /// Its place in [`Statistics::attributes`].
    pub attribute: usize,
    /// Whether it is hot from now on.
    pub hot: bool,
    /// Why, for machines.
    pub code: Cow<'static, str>,
    /// Why, for people.
    pub text: Cow<'static, str>,
}

/// Reads the settings and asks `judge`. Called by `export_plugin!`.
#[doc(hidden)]
pub fn promote<S: DeserializeOwned>(
    statistics: &raw::Statistics,
    settings: &str,
    judge: impl Fn(&Statistics, &S) -> Vec<Promotion>,
) -> Result<raw::Decision, String> {
    let settings: S = settings::read(settings)
        .map_err(|SettingsFault { path, message }| format!("settings: {path}: {message}"))?;
    let statistics = lifted(statistics).ok_or("the statistics' lists do not fit together")?;
    let changes = judge(&statistics, &settings);
    let mut decision =
        raw::Decision { row: Vec::new(), verdict: Vec::new(), reason: Vec::new(), reasons: Vec::new() };
    for (i, change) in changes.into_iter().enumerate() {
        decision.row.push(change.attribute as u32);
        decision.verdict.push(if change.hot { raw::Verdict::Promote } else { raw::Verdict::Demote });
        decision.reason.push(i as u32);
        decision.reasons.push(raw::Reason { code: change.code.into_owned(), text: one_line(change.text) });
    }
    Ok(decision)
}

fn lifted(raw: &raw::Statistics) -> Option<Statistics> {
    let text = |texts: &raw::Texts, i: usize| -> Option<String> {
        let (from, to) = (*texts.offsets.get(i)?, *texts.offsets.get(i + 1)?);
        texts.blob.get(from as usize..to as usize).map(str::to_owned)
    };
    let attribute = |index: usize| {
        Some(AttributeStatistics {
            index,
            name: text(&raw.names, index)?,
            value_type: value_type(*raw.types.get(index)?),
            unit: text(&raw.units, index)?,
            hot: *raw.hot.get(index)? != 0,
            settled_seconds: *raw.settled_seconds.get(index)?,
            writes_per_second: *raw.writes_per_second.get(index)?,
            entities: *raw.entities.get(index)?,
            distinct_values: *raw.distinct_values.get(index)?,
            change_ratio: *raw.change_ratio.get(index)?,
            value_bytes: *raw.value_bytes.get(index)?,
            filters_per_second: *raw.filters_per_second.get(index)?,
            returns_per_second: *raw.returns_per_second.get(index)?,
            query_milliseconds: *raw.query_milliseconds.get(index)?,
        })
    };
    Some(Statistics {
        window_seconds: raw.window_seconds,
        tenant_entities: raw.tenant_entities,
        byte_budget: raw.byte_budget,
        attributes: (0..raw.types.len()).map(attribute).collect::<Option<_>>()?,
    })
}

fn value_type(raw: raw::ValueType) -> ValueType {
    match raw {
        raw::ValueType::String => ValueType::String,
        raw::ValueType::Integer => ValueType::Integer,
        raw::ValueType::Float => ValueType::Float,
        raw::ValueType::Decimal => ValueType::Decimal,
        raw::ValueType::Boolean => ValueType::Boolean,
        raw::ValueType::Timestamp => ValueType::Timestamp,
    }
}
