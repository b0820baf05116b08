//! Readings in the wire format as a batch, as ingest would make it of them.

use anyhow::{Result, anyhow, bail};
use eaves_model::batch::{AttributeInfo, Batch, EntityInfo, Previous, Row};
use eaves_model::{Reading, Timestamp, Value, ValueType};
use std::collections::{HashMap, HashSet};

/// Types and units of attributes: those declared, then those of the first values.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    known: HashMap<Box<str>, (ValueType, Box<str>)>,
}

impl Attributes {
    /// Says what an attribute is.
    pub(super) fn declare(&mut self, name: &str, value_type: ValueType, unit: &str) {
        self.known.insert(name.into(), (value_type, unit.into()));
    }

    /// The values of a reading, of their attributes' types. A value that does not fit is an error.
    pub(super) fn resolve(&mut self, reading: Reading) -> Result<Named> {
        if let Some((why, _)) = reading.refused.first() {
            bail!("{why}");
        }
        let mut values = Vec::new();
        for (name, wire) in reading.values {
            let inferred = wire.inferred_type();
            let (value_type, _) = self.known.entry(name.clone()).or_insert((inferred, "".into()));
            let value =
                wire.resolve(*value_type, &format!("values.{name}")).map_err(|why| anyhow!("{why}"))?;
            values.push((name, value));
        }
        Ok(values)
    }

    fn unit(&self, name: &str) -> Box<str> {
        self.known.get(name).map(|(_, unit)| unit.clone()).unwrap_or_default()
    }
}

/// Values by the names of their attributes.
pub(super) type Named = Vec<(Box<str>, Value)>;

/// A value of an entity, with its time.
pub(super) type Latest = HashMap<(Box<str>, Box<str>), (Timestamp, Value)>;

/// Keeps a value if it is the latest of its entity and attribute.
pub(super) fn remember(latest: &mut Latest, entity: &str, attribute: &str, at: Timestamp, value: Value) {
    let entry = latest.entry((entity.into(), attribute.into())).or_insert_with(|| (at, value.clone()));
    if entry.0 <= at {
        *entry = (at, value);
    }
}

/// Puts readings together.
#[derive(Debug, Default)]
pub(super) struct Batcher {
    batch: Batch,
    entities: HashMap<Box<str>, u32>,
    attributes: HashMap<Box<str>, u32>,
}

impl Batcher {
    /// Adds the values of a reading; returns the row of the first.
    pub(super) fn push(
        &mut self,
        entity: &str,
        entity_type: &str,
        at: Timestamp,
        values: Named,
        types: &Attributes,
    ) -> usize {
        let batch = &mut self.batch;
        let first = batch.rows.len();
        let entity_index = *self.entities.entry(entity.into()).or_insert_with(|| {
            batch.entities.push(EntityInfo { external_id: entity.into(), entity_type: entity_type.into() });
            batch.entities.len() as u32 - 1
        });
        for (name, value) in values {
            let attribute = *self.attributes.entry(name.clone()).or_insert_with(|| {
                let (value_type, unit) = (value.value_type(), types.unit(&name));
                batch.attributes.push(AttributeInfo { name, value_type, unit });
                batch.attributes.len() as u32 - 1
            });
            batch.rows.push(Row { entity: entity_index, attribute, observed_at: at, value });
        }
        first
    }

    /// The batch, with the previous values of the attributes that the plugin asks for.
    pub(super) fn finish(mut self, asked: &[String], latest: &Latest) -> Batch {
        let batch = &mut self.batch;
        let mut seen = HashSet::new();
        for (row, Row { entity, attribute, .. }) in batch.rows.iter().enumerate() {
            let name = &batch.attributes[*attribute as usize].name;
            if !asked.iter().any(|a| **a == **name) || !seen.insert((*entity, *attribute)) {
                continue;
            }
            let external_id = &batch.entities[*entity as usize].external_id;
            let Some((observed_at, value)) = latest.get(&(external_id.clone(), name.clone())) else {
                continue;
            };
            batch.previous.push(Previous {
                row: row as u32,
                observed_at: *observed_at,
                value: value.clone(),
            });
        }
        self.batch
    }
}

/// Reads one reading of the wire format.
pub(super) fn reading(json: &[u8]) -> Result<Reading> {
    // Cases and samples may be of any time.
    let now = Timestamp::from_micros(FAR).unwrap_or_else(Timestamp::now);
    let mut items = eaves_codec::decode(json, now).items;
    match items.pop().map(|item| item.outcome) {
        Some(Ok(mut readings)) if readings.len() == 1 => match readings.pop() {
            Some(Ok(reading)) => Ok(reading),
            Some(Err(refused)) => bail!("{}", refused.rejection),
            None => bail!("is not one reading"),
        },
        Some(Err(refused)) => bail!("{}", refused.rejection),
        _ => bail!("is not one reading: put each on a line of its own"),
    }
}

/// 9000-01-01T00:00:00Z, in microseconds.
const FAR: i64 = 221_845_392_000_000_000;
