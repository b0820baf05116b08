//! The range and enum rules of `telemetry-rules`, as an Extism plugin: a batch as MessagePack
//! in, the rejected rows with their reasons as MessagePack out.

use extism_pdk::{FnResult, plugin_fn};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

#[derive(Deserialize)]
enum Value {
    Float(f64),
    Integer(i64),
    Text(String),
}

#[derive(Deserialize)]
struct Batch {
    settings: String,
    /// External id and type.
    #[allow(dead_code)]
    entities: Vec<(String, String)>,
    /// Name and unit.
    attributes: Vec<(String, String)>,
    /// Entity, attribute, microseconds, value.
    rows: Vec<(u32, u32, i64, Value)>,
}

#[derive(Deserialize)]
struct Settings {
    attributes: HashMap<String, Rule>,
}

#[derive(Deserialize, Default)]
struct Rule {
    min: Option<f64>,
    max: Option<f64>,
    allowed: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Rejected {
    row: u32,
    code: &'static str,
    text: String,
}

fn judge(rule: &Rule, value: &Value) -> Option<(&'static str, String)> {
    let number = match value {
        Value::Float(f) => *f,
        Value::Integer(i) => *i as f64,
        Value::Text(text) => {
            let allowed = rule.allowed.as_ref()?;
            return (!allowed.contains(text))
                .then(|| ("not_allowed", format!("{text} is none of {}", allowed.join(", "))));
        }
    };
    if let Some(min) = rule.min.filter(|min| number < *min) {
        return Some(("below_range", format!("{number} is below {min}")));
    }
    let max = rule.max.filter(|max| number > *max)?;
    Some(("above_range", format!("{number} is above {max}")))
}

#[plugin_fn]
pub fn validate(input: Vec<u8>) -> FnResult<Vec<u8>> {
    let batch: Batch = rmp_serde::from_slice(&input)?;
    let mut settings: Settings = serde_json::from_str(&batch.settings)?;
    let rules: Vec<Rule> = batch
        .attributes
        .iter()
        .map(|(name, _)| settings.attributes.remove(name).unwrap_or_default())
        .collect();
    let mut rejected = Vec::new();
    for (row, (_, attribute, _, value)) in batch.rows.iter().enumerate() {
        if let Some((code, text)) = rules.get(*attribute as usize).and_then(|rule| judge(rule, value)) {
            rejected.push(Rejected { row: row as u32, code, text });
        }
    }
    Ok(rmp_serde::to_vec(&rejected)?)
}
