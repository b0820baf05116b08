//! The rules of one attribute.

use crate::span::Span;
use eaves_plugin_sdk::{Bound, Decimal, Reading, SettingsFault, Value, Verdict, checks, units};
use serde::Deserialize;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;

/// Applied in this order: unit, conversion, range, allowed values, pattern, order, counter, rate
/// of change, sameness. The first that rejects decides.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    unit: Option<String>,
    convert: Option<Convert>,
    min: Option<Bound>,
    max: Option<Bound>,
    #[serde(rename = "enum")]
    allowed: Option<Vec<String>>,
    pattern: Option<String>,
    counter: Option<Counter>,
    max_rate: Option<MaxRate>,
    stale: Option<Stale>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Convert {
    from: String,
    to: String,
    #[serde(default)]
    entity_types: Vec<String>,
}

/// The value never falls, but for resets.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Counter {
    /// A fall to this or less is the counter beginning anew.
    reset_to: Option<Bound>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaxRate {
    change: f64,
    per: Span,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stale {
    /// How long the value may stay the same.
    same_for: Option<Span>,
    /// How much older than the latest value a late one may be.
    older_than: Option<Span>,
}

/// Since when values have been the same, by entity and attribute: what this call has seen.
#[derive(Default)]
pub(crate) struct Runs {
    since: RefCell<HashMap<(String, usize), i64>>,
}

impl Rule {
    /// Whether it looks at the value before.
    pub(crate) fn compares(&self) -> bool {
        self.counter.is_some() || self.max_rate.is_some() || self.stale.is_some()
    }

    /// Checks what the types of the settings cannot say.
    pub(crate) fn check(&self, path: &str) -> Result<(), SettingsFault> {
        let fault = |field: &str, message: &str| Err(SettingsFault::new(format!("{path}.{field}"), message));
        if let (Some(min), Some(max)) = (&self.min, &self.max)
            && max < min
        {
            return fault("max", &format!("{max} is below min {min}"));
        }
        if self.allowed.as_ref().is_some_and(Vec::is_empty) {
            return fault("enum", "lists no value: leave it out to allow all");
        }
        if self.pattern.as_ref().is_some_and(String::is_empty) {
            return fault("pattern", "is empty: leave it out to allow all, or write such as P-####");
        }
        if let Some(Convert { from, to, .. }) = &self.convert
            && let Err(why) = units::convert(0.0, from, to)
        {
            return fault("convert", &why);
        }
        if let Some(rate) = &self.max_rate
            && !(rate.change > 0.0 && rate.change.is_finite())
        {
            return fault("max_rate.change", &format!("{} is not above 0", rate.change));
        }
        if let Some(Stale { same_for: None, older_than: None }) = &self.stale {
            return fault("stale", "says nothing: set same_for, older_than or both");
        }
        Ok(())
    }

    /// What becomes of a value of this attribute.
    pub(crate) fn judge(&self, reading: &Reading<'_>, runs: &Runs) -> Verdict {
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
        let alone = || {
            checks::range(judged, self.min.as_ref(), self.max.as_ref())
                .or_else(|| self.allowed.as_ref().and_then(|allowed| checks::one_of(judged, allowed)))
                .or_else(|| self.pattern.as_ref().and_then(|shape| checks::pattern(judged, shape)))
        };
        if let Some(rejection) = alone().or_else(|| self.compared(reading, judged, runs)) {
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

    /// The rules that look at the value before.
    fn compared(&self, reading: &Reading<'_>, value: &Value<'_>, runs: &Runs) -> Option<Verdict> {
        let previous = reading.previous()?;
        let late = previous.observed_at.0 - reading.observed_at().0;
        if late > 0 {
            // The other rules are about what follows the latest value.
            let limit = self.stale.as_ref()?.older_than.as_ref().filter(|limit| late > limit.micros)?;
            let seconds = late as f64 / 1e6;
            let text = format!("is {seconds} s older than the latest value, over {limit}");
            return Some(Verdict::reject("too_old", text));
        }
        self.fallen(value, &previous.value)
            .or_else(|| self.too_fast(reading, value))
            .or_else(|| self.unchanged(reading, value, &previous.value, -late, runs))
    }

    fn fallen(&self, value: &Value<'_>, before: &Value<'_>) -> Option<Verdict> {
        let Counter { reset_to } = self.counter.as_ref()?;
        let bound = match before {
            Value::Integer(i) => Bound::from(*i),
            Value::Decimal(d) => Bound::from(*d),
            other => Bound::from(other.as_f64()?),
        };
        let order = Bound::comparing(value)?;
        let began_anew = reset_to.as_ref().is_some_and(|reset| order(reset) != Ordering::Greater);
        if order(&bound) != Ordering::Less || began_anew {
            return None;
        }
        let text = format!("{} is below {}, and a counter does not fall", checks::shown(value), bound);
        Some(Verdict::reject("counter_fell", text))
    }

    fn too_fast(&self, reading: &Reading<'_>, value: &Value<'_>) -> Option<Verdict> {
        let MaxRate { change, per } = self.max_rate.as_ref()?;
        let rate = checks::rate_per_second(reading, value)? * per.seconds();
        let text = || format!("changed by {rate:.6} per {per}, over {change}");
        (rate.abs() > *change).then(|| Verdict::reject("too_fast", text()))
    }

    fn unchanged(
        &self,
        reading: &Reading<'_>,
        value: &Value<'_>,
        before: &Value<'_>,
        elapsed: i64,
        runs: &Runs,
    ) -> Option<Verdict> {
        let same_for = self.stale.as_ref()?.same_for.as_ref()?;
        let key = (reading.entity().external_id.to_owned(), reading.attribute().index);
        let now = reading.observed_at().0;
        let mut since = runs.since.borrow_mut();
        if value != before {
            since.insert(key, now);
            return None;
        }
        let begin = *since.entry(key).or_insert(now - elapsed);
        if now - begin < same_for.micros {
            return None;
        }
        let seconds = (now - begin) as f64 / 1e6;
        let text = format!("has been {} for {seconds} s, at least {same_for}", checks::shown(value));
        Some(Verdict::reject("stale", text))
    }
}
