//! Try a plugin's function in an ordinary unit test, without WebAssembly.

use crate::bindings::{self, Batch, Decimals, Entities, Texts};
use crate::columns::Columns;
use crate::{Decimal, Reading, SettingsFault, Timestamp, Value, Verdict, settings};
use serde::de::DeserializeOwned;

/// A reading to try a function on.
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
                texts: texts(),
                decimals,
            },
        }
    }

    /// Adds a value. Each attribute goes in once.
    pub fn value(mut self, attribute: &str, unit: &str, value: Value<'_>) -> Self {
        let batch = &mut self.batch;
        batch.attribute.push(batch.attributes.types.len() as u32);
        push(&mut batch.attributes.names, attribute);
        push(&mut batch.attributes.units, unit);
        batch.attributes.types.push(value.value_type());
        batch.entity.push(0);
        batch.observed_at.push(Timestamp(1_767_225_600_000_000).0);
        let bits = match value {
            Value::String(s) => {
                push(&mut batch.texts, &s);
                batch.texts.offsets.len() as u64 - 2
            }
            Value::Integer(i) => i as u64,
            Value::Float(f) => f.to_bits(),
            Value::Decimal(d) => push_decimal(&mut batch.decimals, d),
            Value::Boolean(b) => b.into(),
            Value::Timestamp(t) => t.0 as u64,
        };
        batch.bits.push(bits);
        self
    }

    /// What `judge` says of each value under the given settings, in the order they were added.
    pub fn judge<S: DeserializeOwned>(
        &self,
        settings: &str,
        judge: impl for<'a> Fn(&Reading<'a>, &S) -> Verdict,
    ) -> Result<Vec<Verdict>, SettingsFault> {
        let settings: S = settings::read(settings)?;
        let columns = Columns::new(&self.batch);
        let rows = 0..columns.len();
        Ok(rows.clone().map(|row| judge(&Reading::new(&columns, row, rows.clone()), &settings)).collect())
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
