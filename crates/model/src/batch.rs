//! A tenant's values on their way through a plugin, and into the database.

use crate::{AttributeId, Code, EntityId, PluginId, TenantId, Timestamp, Value, ValueType};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// An entity as a plugin sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityInfo {
    /// The tenant's own name for it.
    pub external_id: Box<str>,
    /// Its type; empty if unknown.
    pub entity_type: Box<str>,
}

/// An attribute as a plugin sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeInfo {
    /// Its name.
    pub name: Box<str>,
    /// Its type.
    pub value_type: ValueType,
    /// Its unit; empty if none is set.
    pub unit: Box<str>,
}

/// One value, with its entity and attribute as indices into the batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Index into [`Batch::entities`].
    pub entity: u32,
    /// Index into [`Batch::attributes`].
    pub attribute: u32,
    /// When it was seen.
    pub observed_at: Timestamp,
    /// The value, of the attribute's type.
    pub value: Value,
}

/// The latest value that is known of a row's entity and attribute, from before the batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Previous {
    /// Index into [`Batch::rows`]: the first row of that entity and attribute.
    pub row: u32,
    /// When it was seen. Later than the row's own time if the row comes late.
    pub observed_at: Timestamp,
    /// The value, of the attribute's type.
    pub value: Value,
}

/// Values of one tenant, as one call of its plugin takes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The entities the rows name.
    pub entities: Vec<EntityInfo>,
    /// The attributes the rows name.
    pub attributes: Vec<AttributeInfo>,
    /// The values.
    pub rows: Vec<Row>,
    /// Values from the hot projection, for rows of attributes whose previous value the plugin
    /// asks for. Rows ascend.
    pub previous: Vec<Previous>,
}

impl Batch {
    /// Some of the rows, for a call of their own. A row that is the first of its entity and
    /// attribute there keeps the previous value that was known when the batch began.
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let known: HashMap<(u32, u32), &Previous> = (self.previous.iter())
            .filter_map(|p| self.rows.get(p.row as usize).map(|r| ((r.entity, r.attribute), p)))
            .collect();
        let rows = self.rows.get(rows).unwrap_or_default().to_vec();
        let mut seen = HashSet::new();
        let mut previous = Vec::new();
        for (i, row) in rows.iter().enumerate().filter(|_| !known.is_empty()) {
            let pair = (row.entity, row.attribute);
            if let Some(known) = known.get(&pair).filter(|_| seen.insert(pair)) {
                previous.push(Previous { row: i as u32, ..(*known).clone() });
            }
        }
        Self { entities: self.entities.clone(), attributes: self.attributes.clone(), rows, previous }
    }
}

/// What a plugin decided. Rows it does not name are accepted as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Rows that are rejected, each with the index of its reason. At most one verdict a row.
    pub rejected: Vec<(u32, u32)>,
    /// The reasons.
    pub reasons: Vec<Reason>,
    /// Rows whose value is replaced. The new value has the attribute's type.
    pub replaced: Vec<(u32, Value)>,
    /// Values the plugin adds.
    pub derived: Vec<Derived>,
}

/// Why a plugin rejected a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// The plugin's code, in snake case, such as `above_range`.
    pub code: Code,
    /// A sentence for people.
    pub text: String,
}

/// A value a plugin computed from others.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// The row it was computed from: it gives entity and time.
    pub row: u32,
    /// The name of the attribute it is for.
    pub attribute: Box<str>,
    /// The value.
    pub value: Value,
}

/// An accepted value with its identifiers: one row of history.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Whose it is.
    pub tenant: TenantId,
    /// Of which entity.
    pub entity: EntityId,
    /// Of which attribute.
    pub attribute: AttributeId,
    /// When it was seen.
    pub observed_at: Timestamp,
    /// The plugin version that let it pass, if the tenant has one.
    pub plugin: Option<PluginId>,
    /// The value.
    pub value: Value,
}
