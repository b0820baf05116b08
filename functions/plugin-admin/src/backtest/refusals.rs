//! What is in quarantine, as a batch that can be judged.

use eaves_model::batch::{AttributeInfo, Batch, EntityInfo, Row};
use eaves_model::{AttributeId, Timestamp, ValueType};
use eaves_store::read::{AttributeInfoRow, StoredRefusal};
use std::collections::HashMap;

/// Readings out of quarantine.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    pub(super) batch: Batch,
    pub(super) readings: Vec<(u32, u32)>,
    /// Of the batch's attributes.
    pub(super) attributes: Vec<AttributeId>,
    /// What could not be made a value of.
    pub(super) untried: u64,
}

/// Takes payloads apart, as ingest would.
pub(super) fn batch(rows: &[StoredRefusal], attributes: &[AttributeInfoRow]) -> Refusals {
    let by_name: HashMap<&str, &AttributeInfoRow> = attributes.iter().map(|a| (a.name.as_str(), a)).collect();
    let mut out = Refusals::default();
    let mut known: HashMap<&str, u32> = HashMap::new();
    for stored in rows {
        for item in eaves_codec::decode(&stored.payload, Timestamp::now()).items {
            let Ok(readings) = item.outcome else {
                out.untried += 1;
                continue;
            };
            for reading in readings {
                let Ok(reading) = reading else {
                    out.untried += 1;
                    continue;
                };
                out.untried += reading.refused.len() as u64;
                let (entity, first) = (out.batch.entities.len() as u32, out.batch.rows.len() as u32);
                for (name, wire) in reading.values {
                    let value = by_name.get(&*name).and_then(|a| {
                        let value = wire.resolve(a.value_type, "value").ok()?;
                        Some((*a, value))
                    });
                    let Some((row, value)) = value else {
                        out.untried += 1;
                        continue;
                    };
                    let attribute = *known.entry(row.name.as_str()).or_insert_with(|| {
                        out.batch.attributes.push(info(row));
                        out.attributes.push(row.id);
                        out.batch.attributes.len() as u32 - 1
                    });
                    out.batch.rows.push(Row { entity, attribute, observed_at: reading.observed_at, value });
                }
                let end = out.batch.rows.len() as u32;
                if end > first {
                    out.batch.entities.push(EntityInfo {
                        external_id: reading.entity,
                        entity_type: reading.entity_type.unwrap_or_default(),
                    });
                    out.readings.push((first, end));
                }
            }
        }
    }
    out
}

/// As plugins see an attribute.
pub(super) fn info(row: &AttributeInfoRow) -> AttributeInfo {
    let value_type: ValueType = row.value_type;
    AttributeInfo { name: row.name.as_str().into(), value_type, unit: row.unit.as_str().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_become_readings_and_the_rest_is_counted() {
        let attribute = AttributeInfoRow {
            id: AttributeId(1),
            name: "t".into(),
            value_type: ValueType::Float,
            unit: String::new(),
            is_hot: true,
        };
        let payload = |text: &str| StoredRefusal { id: 1, payload: text.as_bytes().to_vec() };
        let good =
            r#"{"tenant":"a","entity":"e","observed_at":"2026-01-01T00:00:00Z","values":{"t":1.5,"x":1}}"#;
        let wrong = good.replace("1.5", "\"warm\"");
        let out = batch(&[payload(good), payload(&wrong), payload("rubbish")], &[attribute]);
        assert_eq!(out.batch.rows.len(), 1);
        assert_eq!(out.readings, [(0, 1)]);
        // `x` twice, `warm`, and the rubbish.
        assert_eq!(out.untried, 4);
    }

    proptest::proptest! {
        #[test]
        fn nothing_in_quarantine_panics(payload: Vec<u8>, text in "[{}\\[\\]\":,a-z0-9.]{0,80}") {
            let rows = [payload, text.into_bytes()].map(|payload| StoredRefusal { id: 1, payload });
            let out = batch(&rows, &[]);
            proptest::prop_assert!(out.batch.rows.is_empty() && out.readings.is_empty());
        }
    }
}
