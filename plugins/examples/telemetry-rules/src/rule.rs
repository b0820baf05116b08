//! The rules of one attribute.

use eaves_plugin_sdk::{Bound, ByAttribute, Decimal, Reading, SettingsFault, Value, Verdict, checks, units};
use serde::Deserialize;

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
        if let Some(rejection) = self.rejection(judged) {
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

    fn rejection(&self, value: &Value<'_>) -> Option<Verdict> {
        let out_of_range = checks::range(value, self.min.as_ref(), self.max.as_ref());
        out_of_range.or_else(|| self.allowed.as_ref().and_then(|allowed| checks::one_of(value, allowed)))
    }
}
