//! Statistics as columns, and a plugin's decision over them, checked.

use crate::answer::{bad, reason, same_length};
use crate::bindings::promotion as raw;
use crate::columns::Texts;
use crate::{BadAnswer, PluginError};
use eaves_model::ValueType;
use eaves_model::promotion::{AttributeStatistics, PromotionDecision, Statistics, Verdict};

/// Statistics as columns.
pub(crate) struct Columns {
    window_seconds: f64,
    tenant_entities: u64,
    byte_budget: u32,
    names: Texts,
    types: Vec<raw::ValueType>,
    units: Texts,
    hot: Vec<u8>,
    settled_seconds: Vec<f64>,
    writes_per_second: Vec<f64>,
    entities: Vec<u64>,
    distinct_values: Vec<u64>,
    change_ratio: Vec<f64>,
    value_bytes: Vec<f64>,
    filters_per_second: Vec<f64>,
    returns_per_second: Vec<f64>,
    query_milliseconds: Vec<f64>,
}

impl Columns {
    pub(crate) fn of(statistics: &Statistics) -> Self {
        let all = &statistics.attributes;
        let floats = |of: fn(&AttributeStatistics) -> f64| all.iter().map(of).collect::<Vec<_>>();
        Self {
            window_seconds: statistics.window_seconds,
            tenant_entities: statistics.tenant_entities,
            byte_budget: statistics.byte_budget,
            names: Texts::of(all.iter().map(|a| &*a.name)),
            types: all.iter().map(|a| raw_type(a.value_type)).collect(),
            units: Texts::of(all.iter().map(|a| &*a.unit)),
            hot: all.iter().map(|a| u8::from(a.hot)).collect(),
            settled_seconds: floats(|a| a.settled_seconds),
            writes_per_second: floats(|a| a.writes_per_second),
            entities: all.iter().map(|a| a.entities).collect(),
            distinct_values: all.iter().map(|a| a.distinct_values).collect(),
            change_ratio: floats(|a| a.change_ratio),
            value_bytes: floats(|a| a.value_bytes),
            filters_per_second: floats(|a| a.filters_per_second),
            returns_per_second: floats(|a| a.returns_per_second),
            query_milliseconds: floats(|a| a.query_milliseconds),
        }
    }

    pub(crate) fn lend(&self) -> raw::Statistics<'_> {
        raw::Statistics {
            window_seconds: self.window_seconds,
            tenant_entities: self.tenant_entities,
            byte_budget: self.byte_budget,
            names: raw::Texts { blob: self.names.blob(), offsets: self.names.offsets() },
            types: &self.types,
            units: raw::Texts { blob: self.units.blob(), offsets: self.units.offsets() },
            hot: &self.hot,
            settled_seconds: &self.settled_seconds,
            writes_per_second: &self.writes_per_second,
            entities: &self.entities,
            distinct_values: &self.distinct_values,
            change_ratio: &self.change_ratio,
            value_bytes: &self.value_bytes,
            filters_per_second: &self.filters_per_second,
            returns_per_second: &self.returns_per_second,
            query_milliseconds: &self.query_milliseconds,
        }
    }
}

fn raw_type(value_type: ValueType) -> raw::ValueType {
    match value_type {
        ValueType::String => raw::ValueType::String,
        ValueType::Integer => raw::ValueType::Integer,
        ValueType::Float => raw::ValueType::Float,
        ValueType::Decimal => raw::ValueType::Decimal,
        ValueType::Boolean => raw::ValueType::Boolean,
        ValueType::Timestamp => raw::ValueType::Timestamp,
    }
}

/// Checks a decision over `attributes` attributes.
pub(crate) fn decode(
    answer: raw::Decision,
    attributes: usize,
) -> Result<Vec<PromotionDecision>, PluginError> {
    Ok(decisions(answer, attributes)?)
}

fn decisions(answer: raw::Decision, attributes: usize) -> Result<Vec<PromotionDecision>, BadAnswer> {
    same_length("verdict", answer.verdict.len(), "row", answer.row.len())?;
    same_length("reason", answer.reason.len(), "row", answer.row.len())?;
    let given = answer.reasons.len();
    let mut reasons = Vec::with_capacity(given);
    for (i, said) in answer.reasons.into_iter().enumerate() {
        reasons.push(reason(i, said.code, said.text)?);
    }
    let mut judged = vec![false; attributes];
    let mut decisions = Vec::with_capacity(answer.row.len());
    for (i, &row) in answer.row.iter().enumerate() {
        let Some(judged) = judged.get_mut(row as usize) else {
            return Err(bad("row", i, format!("names row {row} of {attributes}")));
        };
        if std::mem::replace(judged, true) {
            return Err(bad("row", i, format!("names row {row}, which has a verdict already")));
        }
        let why = answer.reason[i];
        let Some(reason) = reasons.get(why as usize) else {
            return Err(bad("reason", i, format!("names reason {why} of {given}")));
        };
        let verdict = match answer.verdict[i] {
            raw::Verdict::Keep => Verdict::Keep,
            raw::Verdict::Promote => Verdict::Promote,
            raw::Verdict::Demote => Verdict::Demote,
        };
        decisions.push(PromotionDecision { attribute: row, verdict, reason: reason.clone() });
    }
    Ok(decisions)
}
