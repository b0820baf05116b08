//! Previous values, for plugins that ask for them: one read of the hot projection per batch.

use crate::directory::{KnownAttribute, KnownEntity};
use crate::rules::Force;
use eaves_model::batch::{Batch, Previous};
use eaves_model::{EntityId, TenantId, Timestamp, Value, ValueType};
use eaves_store::StoreError;
use eaves_store::ingest::{HotValue, IngestStore};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The attributes whose previous values the plugins that are to be asked want.
fn wanted(force: &Force, shadow: bool) -> HashSet<&str> {
    let asked = [&force.active, &force.fallback].into_iter().flatten();
    let asked = asked.chain(force.shadow.iter().filter(|_| shadow));
    asked.flat_map(|loaded| loaded.previous.iter().map(String::as_str)).collect()
}

/// Fills `batch.previous`, where somebody asks for it; `shadow` says whether the shadow is asked.
pub(crate) async fn fill(
    store: &IngestStore,
    tenant: TenantId,
    (force, shadow): (&Force, bool),
    (batch, entities, attributes): (&mut Batch, &[KnownEntity], &[Arc<KnownAttribute>]),
) -> Result<(), StoreError> {
    let wanted = wanted(force, shadow);
    if wanted.is_empty() {
        return Ok(());
    }
    let hot: Vec<bool> =
        attributes.iter().map(|a| a.row.is_hot && wanted.contains(a.row.name.as_str())).collect();
    // The first row of each entity and attribute.
    let mut first: HashMap<(u32, u32), u32> = HashMap::new();
    for (at, row) in (0u32..).zip(&batch.rows) {
        if hot.get(row.attribute as usize).copied().unwrap_or_default() {
            first.entry((row.entity, row.attribute)).or_insert(at);
        }
    }
    if first.is_empty() {
        return Ok(());
    }
    let mut asked: Vec<EntityId> = first.keys().map(|(e, _)| entities[*e as usize].id).collect();
    asked.sort_unstable();
    asked.dedup();
    let names: Vec<&str> =
        attributes.iter().zip(&hot).filter(|(_, hot)| **hot).map(|(a, _)| a.row.name.as_str()).collect();
    let found = store.hot_previous(tenant, &asked, &names).await?;
    let mut by: HashMap<(EntityId, &str), &HotValue> =
        found.iter().map(|h| ((h.entity, h.name.as_str()), h)).collect();
    let mut previous: Vec<Previous> = first
        .into_iter()
        .filter_map(|((entity, attribute), row)| {
            let (entity, attribute) = (entities.get(entity as usize)?, attributes.get(attribute as usize)?);
            let hot = by.remove(&(entity.id, attribute.row.name.as_str()))?;
            let value = value(&hot.value_json, attribute.row.value_type)?;
            Some(Previous { row, observed_at: Timestamp::from_micros(hot.observed_at)?, value })
        })
        .collect();
    previous.sort_unstable_by_key(|p| p.row);
    batch.previous = previous;
    Ok(())
}

/// A hot value, as `Value::write_json` wrote it; `None` if it is of another type.
fn value(json: &str, value_type: ValueType) -> Option<Value> {
    Some(match value_type {
        ValueType::String => Value::String(serde_json::from_str::<String>(json).ok()?.into()),
        ValueType::Integer => Value::Integer(json.parse().ok()?),
        ValueType::Float => Value::float(json.parse().ok()?)?,
        ValueType::Decimal => Value::Decimal(eaves_model::value::decimal(json).ok()?),
        ValueType::Boolean => Value::Boolean(json.parse().ok()?),
        ValueType::Timestamp => Value::Timestamp(serde_json::from_str::<String>(json).ok()?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_again(i: i64, f in -1e300f64..1e300, s: String, b: bool, d: i64, scale in 0u32..18) {
            let values = [
                Value::Integer(i),
                Value::Float(f),
                Value::String(s.into()),
                Value::Boolean(b),
                Value::Decimal(eaves_model::Decimal::new(d, scale)),
                Value::Timestamp(Timestamp::from_micros(i % 1_000_000_000_000_000).unwrap()),
            ];
            for value in values {
                let mut json = String::new();
                value.write_json(&mut json);
                prop_assert_eq!(super::value(&json, value.value_type()), Some(value.clone()), "{}", json);
            }
        }

        #[test]
        fn nothing_panics(text: String) {
            for value_type in [ValueType::String, ValueType::Integer, ValueType::Float, ValueType::Decimal,
                               ValueType::Boolean, ValueType::Timestamp] {
                let _ = value(&text, value_type);
            }
        }
    }
}
