//! The rules of one attribute.

use crate::bound::Bound;
use crate::units;
use eaves_plugin_sdk::{ByAttribute, Decimal, Reading, SettingsFault, Value, Verdict};
use serde::Deserialize;
use std::cmp::Ordering;

/// What a tenant sets.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Rules by attribute name.
    #[serde(default)]
    pub(crate) attributes: ByAttribute<Rule>,
    /// Whether attributes without a rule are rejected.
    #[serde(default)]
    pub(crate) reject_others: bool,
}

/// Rules of one attribute, applied in this order: unit, conversion, range, allowed values.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    unit: Option<String>,
    convert: Option<Convert>,
    min: Option<Bound>,
    max: Option<Bound>,
    allowed: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Convert {
    from: String,
    to: String,
    #[serde(default)]
    entity_types: Vec<String>,
}

impl Rule {
    /// Checks what the types of the settings cannot say.
    pub(crate) fn check(&self, path: &str) -> Result<(), SettingsFault> {
        let fault =
            |field: &str, message: String| Err(SettingsFault::new(format!("{path}.{field}"), message));
        if let (Some(min), Some(max)) = (&self.min, &self.max)
            && max < min
        {
            return fault("max", format!("{max} is below min {min}"));
        }
        if self.allowed.as_ref().is_some_and(Vec::is_empty) {
            return fault("allowed", "lists no value: leave it out to allow all".into());
        }
        if let Some(Convert { from, to, .. }) = &self.convert
            && let Err(why) = units::convert(0.0, from, to)
        {
            return fault("convert", why);
        }
        Ok(())
    }

    /// What becomes of a value of this attribute.
    pub(crate) fn judge(&self, reading: &Reading<'_>) -> Verdict {
        let is = reading.attribute().unit;
        if let Some(unit) = &self.unit
            && !is.is_empty()
            && is != unit
        {
            return Verdict::reject("wrong_unit", format!("the unit is {is}, not {unit}"));
        }
        let value = reading.value();
        let converted = self.converted(reading, &value);
        let judged = converted.as_ref().unwrap_or(&value);
        if let Some(rejection) = self.out_of_range(judged).or_else(|| self.not_allowed(judged)) {
            return rejection;
        }
        converted.map_or_else(Verdict::accept, Verdict::replace)
    }

    fn converted(&self, reading: &Reading<'_>, value: &Value<'_>) -> Option<Value<'static>> {
        let Convert { from, to, entity_types } = self.convert.as_ref()?;
        let entity_type = reading.entity().entity_type;
        if !entity_types.is_empty() && !entity_types.iter().any(|t| t == entity_type) {
            return None;
        }
        let number = units::convert(value.as_f64()?, from, to).ok()?;
        match value {
            Value::Float(_) => number.is_finite().then_some(Value::Float(number)),
            // `as` saturates, so a result beyond 64 bits becomes the nearest bound.
            Value::Integer(_) => Some(Value::Integer(number.round() as i64)),
            Value::Decimal(d) => Decimal::from_f64(number, d.scale()).map(Value::Decimal),
            _ => None,
        }
    }

    fn out_of_range(&self, value: &Value<'_>) -> Option<Verdict> {
        if self.min.is_none() && self.max.is_none() {
            return None;
        }
        // Most values are floats within their range: two comparisons.
        if let Value::Float(f) = value
            && self.min.as_ref().is_none_or(|min| *f >= min.as_f64())
            && self.max.as_ref().is_none_or(|max| *f <= max.as_f64())
        {
            return None;
        }
        let Some(order) = Bound::comparing(value) else {
            let what = format!("{} is not a number, and there is a range", shown(value));
            return Some(Verdict::reject("not_a_number", what));
        };
        if let Some(min) = self.min.as_ref().filter(|min| order(min) == Ordering::Less) {
            return Some(Verdict::reject("below_range", format!("{} is below {min}", shown(value))));
        }
        let max = self.max.as_ref().filter(|max| order(max) == Ordering::Greater)?;
        Some(Verdict::reject("above_range", format!("{} is above {max}", shown(value))))
    }

    fn not_allowed(&self, value: &Value<'_>) -> Option<Verdict> {
        let allowed = self.allowed.as_ref()?;
        let found = match value {
            Value::String(s) => allowed.iter().any(|a| a == s),
            other => allowed.contains(&shown(other)),
        };
        let text = || format!("{} is none of {}", shown(value), allowed.join(", "));
        (!found).then(|| Verdict::reject("not_allowed", text()))
    }
}

/// The value as a person would write it, cut to 40 characters.
fn shown(value: &Value<'_>) -> String {
    match value {
        Value::String(s) => s.chars().take(40).collect(),
        Value::Integer(i) => i.to_string(),
        Value::Float(f) => f.to_string(),
        Value::Decimal(d) => d.to_string(),
        Value::Boolean(b) => b.to_string(),
        Value::Timestamp(t) => t.0.to_string(),
    }
}
