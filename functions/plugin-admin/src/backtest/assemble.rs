//! Readings out of history and quarantine, as a batch that can be judged.

use super::before::Ids;
use super::refusals::{Aside, Refused};
use eaves_model::batch::{AttributeInfo, Batch, EntityInfo, Row};
use eaves_model::{AttributeId, EntityId, Timestamp, Value};
use eaves_store::read::{AttributeInfoRow, StoredValue};
use std::collections::HashMap;

/// An entity's own name and type.
pub(super) type Named = (Box<str>, Box<str>);

/// A batch, reading by reading.
#[derive(Debug, Default)]
pub(super) struct Assembled {
    pub(super) batch: Batch,
    /// The rows of each reading: the first, and the one after the last.
    pub(super) readings: Vec<(u32, u32)>,
    pub(super) ids: Ids,
    /// Rows that make a reading whole and are counted elsewhere, ascending.
    pub(super) beside: Vec<u32>,
}

struct Assembly<'a> {
    by_id: HashMap<AttributeId, &'a AttributeInfoRow>,
    known: HashMap<AttributeId, u32>,
    out: Assembled,
}

impl<'a> Assembly<'a> {
    fn new(attributes: &'a [AttributeInfoRow]) -> Self {
        let by_id = attributes.iter().map(|a| (a.id, a)).collect();
        Self { by_id, known: HashMap::new(), out: Assembled::default() }
    }

    fn entity(&mut self, id: Option<EntityId>, (name, kind): (&str, &str)) -> u32 {
        self.out.batch.entities.push(EntityInfo { external_id: name.into(), entity_type: kind.into() });
        self.out.ids.entities.push(id);
        self.out.batch.entities.len() as u32 - 1
    }

    /// A row, unless its attribute is one that nobody has been told of.
    fn row(&mut self, entity: u32, observed_at: Timestamp, id: AttributeId, value: Value, is_beside: bool) {
        let Some(info) = self.by_id.get(&id) else { return };
        let out = &mut self.out;
        let attribute = *self.known.entry(id).or_insert_with(|| {
            out.batch.attributes.push(AttributeInfo {
                name: info.name.as_str().into(),
                value_type: info.value_type,
                unit: info.unit.as_str().into(),
            });
            out.ids.attributes.push(id);
            out.batch.attributes.len() as u32 - 1
        });
        if is_beside {
            out.beside.push(out.batch.rows.len() as u32);
        }
        out.batch.rows.push(Row { entity, attribute, observed_at, value });
    }

    /// The rows since then are a reading.
    fn reading(&mut self, first: usize) {
        let end = self.out.batch.rows.len();
        if end > first {
            self.out.readings.push((first as u32, end as u32));
        }
    }
}

/// Values of history: reading by reading, in the order of time, as they came; beside them what was
/// refused of the same readings.
pub(super) fn history(
    mut values: Vec<StoredValue>,
    attributes: &[AttributeInfoRow],
    names: &HashMap<EntityId, Named>,
    aside: &Aside,
) -> Assembled {
    values.sort_unstable_by_key(|v| (v.observed_at, v.entity, v.attribute));
    let mut assembly = Assembly::new(attributes);
    let mut entities = HashMap::new();
    assembly.out.batch.rows.reserve(values.len());
    let mut values = values.into_iter().peekable();
    while let Some(v) = values.peek() {
        let (id, observed_at) = (v.entity, v.observed_at);
        let name = names.get(&id);
        let first = assembly.out.batch.rows.len();
        let entity = name.map(|(name, kind)| {
            *entities.entry(id).or_insert_with(|| assembly.entity(Some(id), (name, kind)))
        });
        let refused = name.map_or(&[][..], |(name, _)| aside.of(name, observed_at));
        let mut stored = Vec::new();
        while let Some(v) = values.next_if(|v| (v.entity, v.observed_at) == (id, observed_at)) {
            if !refused.is_empty() {
                stored.push(v.attribute);
            }
            if let Some(entity) = entity {
                assembly.row(entity, observed_at, v.attribute, v.value, false);
            }
        }
        if let Some(entity) = entity {
            // What was sent again and then taken is there already.
            for (attribute, value) in refused.iter().filter(|(a, _)| !stored.contains(a)) {
                assembly.row(entity, observed_at, *attribute, value.clone(), true);
            }
        }
        assembly.reading(first);
    }
    assembly.out
}

/// What was refused of readings; beside it what history has of the same readings, by their place.
/// `registered`: each reading's entity and its type, if there is one.
pub(super) fn quarantine(
    refused: Vec<Refused>,
    attributes: &[AttributeInfoRow],
    registered: &[Option<(EntityId, String)>],
    stored: Vec<(usize, StoredValue)>,
) -> Assembled {
    let mut beside: HashMap<usize, Vec<StoredValue>> = HashMap::new();
    for (place, value) in stored {
        beside.entry(place).or_default().push(value);
    }
    let mut assembly = Assembly::new(attributes);
    for (place, reading) in refused.into_iter().enumerate() {
        let Refused { entity: name, entity_type, observed_at, values, .. } = reading;
        let known = registered.get(place).and_then(Option::as_ref);
        let (id, registered) = known.map_or((None, ""), |(id, kind)| (Some(*id), kind.as_str()));
        // As live: what is registered holds.
        let kind = if registered.is_empty() { &*entity_type } else { registered };
        // Each for itself, and not as one entity's values: what was before is another thing for each.
        let entity = assembly.entity(id, (&name, kind));
        let first = assembly.out.batch.rows.len();
        let refused: Vec<AttributeId> = values.iter().map(|(a, _)| *a).collect();
        for (attribute, value) in values {
            assembly.row(entity, observed_at, attribute, value, false);
        }
        for v in beside.remove(&place).unwrap_or_default() {
            if !refused.contains(&v.attribute) {
                assembly.row(entity, observed_at, v.attribute, v.value, true);
            }
        }
        assembly.reading(first);
    }
    assembly.out
}

#[cfg(test)]
mod tests {
    use super::super::refusals::tests::attributes;
    use super::*;
    use eaves_store::read::StoredRefusal;

    fn at(second: i64) -> Timestamp {
        // Of 2026: a reading of 1970 is none.
        Timestamp::from_micros((1_767_225_600 + second) * 1_000_000).unwrap()
    }

    fn stored(entity: i64, attribute: i32, second: i64) -> StoredValue {
        let (entity, attribute) = (EntityId(entity), AttributeId(attribute));
        StoredValue { entity, attribute, observed_at: at(second), value: Value::Float(1.0) }
    }

    fn refused(entity: &str, attribute: i32, second: i64) -> Refused {
        let values = vec![(AttributeId(attribute), Value::Float(9.0))];
        Refused { id: 1, entity: entity.into(), entity_type: "said".into(), observed_at: at(second), values }
    }

    /// Each row's entity, attribute's number and value.
    fn rows(of: &Assembled) -> Vec<(&str, i32, f64)> {
        let row = |r: &Row| {
            let Value::Float(value) = r.value else { panic!("{r:?}") };
            let entity = &of.batch.entities[r.entity as usize];
            (&*entity.external_id, of.ids.attributes[r.attribute as usize].0, value)
        };
        of.batch.rows.iter().map(row).collect()
    }

    #[test]
    fn history_has_beside_it_what_was_refused_of_the_same_reading() {
        let names =
            HashMap::from([(EntityId(5), ("e".into(), "".into())), (EntityId(6), ("f".into(), "".into()))]);
        let mut aside = Aside::default();
        // Of another entity, of another time, of a reading that has it, and of one that does not.
        for (entity, attribute, second) in [("f", 2, 1), ("e", 2, 3), ("e", 1, 2), ("e", 1, 1)] {
            let name = if attribute == 1 { "t" } else { "p" };
            let text = format!(
                r#"{{"tenant":"a","entity":"{entity}","observed_at":"{}","values":{{"{name}":9.0}}}}"#,
                at(second)
            );
            aside.keep(&[StoredRefusal { id: 1, payload: text.into_bytes() }], &attributes());
        }
        let values = vec![stored(5, 1, 2), stored(5, 2, 1), stored(6, 1, 2), stored(7, 1, 1)];
        let out = history(values, &attributes(), &names, &aside);
        assert_eq!(rows(&out), [("e", 2, 1.0), ("e", 1, 9.0), ("e", 1, 1.0), ("f", 1, 1.0)]);
        assert_eq!((out.readings, out.beside), (vec![(0, 2), (2, 3), (3, 4)], vec![1]));
        assert_eq!(out.batch.entities.len(), 2);
    }

    #[test]
    fn what_was_refused_has_beside_it_what_history_has_of_the_same_reading() {
        let readings = vec![refused("e", 1, 1), refused("g", 1, 1), refused("e", 2, 2)];
        let registered = [Some((EntityId(5), "pump".into())), None, Some((EntityId(5), String::new()))];
        // The second of them was taken later.
        let found = vec![(0, stored(5, 2, 1)), (2, stored(5, 2, 2)), (2, stored(5, 99, 2))];
        let out = quarantine(readings, &attributes(), &registered, found);
        assert_eq!(rows(&out), [("e", 1, 9.0), ("e", 2, 1.0), ("g", 1, 9.0), ("e", 2, 9.0)]);
        assert_eq!((out.readings, out.beside), (vec![(0, 2), (2, 3), (3, 4)], vec![1]));
        let types: Vec<&str> = out.batch.entities.iter().map(|e| &*e.entity_type).collect();
        assert_eq!(types, ["pump", "said", "said"]);
    }
}
