//! Try a plugin's function in an ordinary unit test, without WebAssembly.

use crate::bindings::{self, Batch, Decimals, Entities, Texts};
use crate::columns::Columns;
use crate::previous::Tracker;
use crate::{Decimal, Reading, SettingsFault, Value, ValueType, Verdict, dispatch, settings};
use serde::de::DeserializeOwned;

/// Readings of one entity to try a function on.
///
/// ```
/// use eaves_plugin_sdk::{Value, Verdict, testing::Sample};
///
/// let verdicts = Sample::of("pump-7", "pump")
///     .value("temperature", "degC", Value::Float(21.5))
///     .judge("{}", |reading, _: &std::collections::BTreeMap<String, f64>| match reading.value() {
///         Value::Float(f) if f > 20.0 => Verdict::reject("hot", "over 20"),
///         _ => Verdict::accept(),
///     });
/// assert_eq!(verdicts.unwrap(), [Verdict::reject("hot", "over 20")]);
/// ```
#[derive(Debug)]
pub struct Sample {
    batch: Batch,
    names: Vec<String>,
    now: i64,
}

fn texts() -> Texts {
    Texts { blob: String::new(), offsets: vec![0] }
}

fn push(texts: &mut Texts, text: &str) {
    texts.blob.push_str(text);
    texts.offsets.push(texts.blob.len() as u32);
}

impl Sample {
    /// A reading of one entity, at 2026-01-01T00:00:00Z.
    pub fn of(external_id: &str, entity_type: &str) -> Self {
        let mut entities = Entities { external_ids: texts(), types: texts() };
        push(&mut entities.external_ids, external_id);
        push(&mut entities.types, entity_type);
        let attributes = bindings::Attributes { names: texts(), types: Vec::new(), units: texts() };
        let decimals = Decimals { low: Vec::new(), high: Vec::new(), scale: Vec::new() };
        Self {
            batch: Batch {
                entities,
                attributes,
                entity: Vec::new(),
                attribute: Vec::new(),
                observed_at: Vec::new(),
                bits: Vec::new(),
                previous: bindings::Previous { row: Vec::new(), observed_at: Vec::new(), bits: Vec::new() },
                texts: texts(),
                decimals,
            },
            names: Vec::new(),
            now: 1_767_225_600_000_000,
        }
    }

    /// What is added from here on was seen so much later.
    pub fn after(mut self, seconds: f64) -> Self {
        self.now += (seconds * 1e6) as i64;
        self
    }

    /// Says what the platform knew before of the attribute that was added last: a value seen
    /// so many seconds before it. Only of the first value of an attribute.
    pub fn with_previous(mut self, seconds_before: f64, value: Value<'_>) -> Self {
        let bits = self.bits(value);
        let row = self.batch.bits.len() as u32 - 1;
        let previous = &mut self.batch.previous;
        previous.row.push(row);
        previous.observed_at.push(self.now - (seconds_before * 1e6) as i64);
        previous.bits.push(bits);
        self
    }

    /// Adds a value. In one reading each attribute goes in once; its type and unit are those
    /// it was given first.
    pub fn value(mut self, attribute: &str, unit: &str, value: Value<'_>) -> Self {
        let index = self.attribute(attribute, unit, value.value_type());
        let bits = self.bits(value);
        let batch = &mut self.batch;
        batch.attribute.push(index);
        batch.entity.push(0);
        batch.observed_at.push(self.now);
        batch.bits.push(bits);
        self
    }

    fn attribute(&mut self, name: &str, unit: &str, value_type: ValueType) -> u32 {
        if let Some(known) = self.names.iter().position(|n| n == name) {
            return known as u32;
        }
        self.names.push(name.into());
        let attributes = &mut self.batch.attributes;
        push(&mut attributes.names, name);
        push(&mut attributes.units, unit);
        attributes.types.push(value_type);
        self.names.len() as u32 - 1
    }

    fn bits(&mut self, value: Value<'_>) -> u64 {
        let batch = &mut self.batch;
        match value {
            Value::String(s) => {
                push(&mut batch.texts, &s);
                batch.texts.offsets.len() as u64 - 2
            }
            Value::Integer(i) => i as u64,
            Value::Float(f) => f.to_bits(),
            Value::Decimal(d) => push_decimal(&mut batch.decimals, d),
            Value::Boolean(b) => b.into(),
            Value::Timestamp(t) => t.0 as u64,
        }
    }

    /// What `judge` says of each value under the given settings, in the order they were added.
    /// Previous values are there for all attributes, asked for or not.
    pub fn judge<S: DeserializeOwned>(
        &self,
        settings: &str,
        judge: impl for<'a> Fn(&Reading<'a>, &S) -> Verdict,
    ) -> Result<Vec<Verdict>, SettingsFault> {
        let settings: S = settings::read(settings)?;
        let columns = Columns::new(&self.batch);
        let mut verdicts = Vec::new();
        let mut tracker = Tracker::new(&columns, |_| true);
        let asked = dispatch::judge_all(
            &columns,
            &mut tracker,
            |reading| judge(reading, &settings),
            |_, verdict| {
                verdicts.push(verdict);
                Ok::<_, std::convert::Infallible>(())
            },
        );
        asked.map(|()| verdicts).map_err(|never| match never {})
    }
}

/// Reads settings as the platform would.
pub fn read_settings<S: DeserializeOwned>(json: &str) -> Result<S, SettingsFault> {
    settings::read(json)
}

fn push_decimal(decimals: &mut Decimals, decimal: Decimal) -> u64 {
    decimals.low.push(decimal.coefficient() as u64);
    decimals.high.push((decimal.coefficient() >> 64) as i64);
    decimals.scale.push(decimal.scale());
    decimals.low.len() as u64 - 1
}
