//! An entity as it is answered: from the JSON of its row, with what is known of its attributes.

use crate::answer::raw;
use crate::format;
use crate::names::Attributes;
use crate::problem::Problem;
use eaves_model::{EntityId, Timestamp, Value, ValueType};
use eaves_store::read::{AttributeRow, EntityRow};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The latest value of an attribute.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttributeValue<'a> {
    /// The value, exactly: integers and decimals keep all digits.
    #[schema(value_type = serde_json::Value, example = 72.5)]
    value: Cow<'a, RawValue>,
    /// `string`, `integer`, `float`, `decimal`, `boolean` or `timestamp`.
    #[serde(rename = "type")]
    #[schema(example = "float")]
    value_type: &'static str,
    /// Empty if none is set.
    #[schema(example = "")]
    unit: &'a str,
    /// When it was seen.
    #[schema(value_type = String, format = DateTime, example = "2026-03-01T12:00:00.25Z")]
    observed_at: Option<Timestamp>,
}

/// An entity with the latest values of its hot attributes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntityBody<'a> {
    /// The tenant's own name for it.
    #[schema(example = "pump-7")]
    external_id: &'a str,
    /// Its type; empty if unknown.
    #[serde(rename = "type")]
    #[schema(example = "pump")]
    entity_type: &'a str,
    /// Grows with every change of its hot attributes; 0 if it has none.
    #[schema(example = 42)]
    version: i64,
    /// The newest `observed_at` of its attributes.
    #[schema(value_type = Option<String>, format = DateTime)]
    observed_at: Option<Timestamp>,
    /// By name.
    #[schema(value_type = BTreeMap<String, AttributeValue>)]
    attributes: BTreeMap<Cow<'a, str>, AttributeValue<'a>>,
}

impl<'a> AttributeValue<'a> {
    /// A value with its attribute's type and unit.
    pub(crate) fn new(value: &Value, attribute: &'a AttributeRow, observed_at: Timestamp) -> Self {
        Self {
            value: Cow::Owned(raw(value)),
            value_type: attribute.value_type.name(),
            unit: &attribute.unit,
            observed_at: Some(observed_at),
        }
    }
}

impl<'a> EntityBody<'a> {
    /// Names of the attributes that it has.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes.keys().map(Cow::as_ref)
    }

    /// What it is called and how it is, and the values of some attributes, as text.
    pub(crate) fn cells(&self, attributes: &[&str]) -> Vec<String> {
        let observed_at = self.observed_at.map(|t| t.to_string()).unwrap_or_default();
        let mut cells =
            vec![self.external_id.into(), self.entity_type.into(), self.version.to_string(), observed_at];
        for name in attributes {
            cells.push(self.attributes.get(*name).map(|a| format::cell(&a.value)).unwrap_or_default());
        }
        cells
    }

    /// Adds the latest value of an attribute that is not hot.
    pub(crate) fn add(&mut self, attribute: &'a AttributeRow, value: &Value, observed_at: Timestamp) {
        let name = Cow::Borrowed(attribute.name.as_str());
        self.attributes.insert(name, AttributeValue::new(value, attribute, observed_at));
    }
}

/// A row's JSON, taken apart once and copied nowhere.
pub(crate) struct Hot<'a> {
    row: &'a EntityRow,
    values: Pairs<'a, &'a RawValue>,
    times: Pairs<'a, i64>,
}

impl<'a> Hot<'a> {
    /// Those of rows, in their order.
    pub(crate) fn of_all(rows: &'a [EntityRow]) -> Result<Vec<Self>, Problem> {
        rows.iter().map(Self::of).collect()
    }

    /// Of a row. The error is for the log: what a database or the cache has is always JSON.
    pub(crate) fn of(row: &'a EntityRow) -> Result<Self, Problem> {
        let unreadable = |e: serde_json::Error| {
            tracing::error!(entity.id = %row.entity, error = %e, "query.hot_attrs_unreadable");
            Problem::internal()
        };
        let values = serde_json::from_str(&row.attrs_json).map_err(unreadable)?;
        let times = serde_json::from_str(&row.times_json).map_err(unreadable)?;
        Ok(Self { row, values, times })
    }

    /// Whose it is.
    pub(crate) fn entity(&self) -> EntityId {
        self.row.entity
    }

    /// The attributes that it names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.0.iter().map(|(name, _)| name.as_ref())
    }

    /// The entity as it is answered, with the wanted attributes or all.
    pub(crate) fn body(self, known: &'a Attributes, wanted: Option<&[String]>) -> EntityBody<'a> {
        let Self { row, values: Pairs(values), times: Pairs(times) } = self;
        let (mut attributes, mut next) = (BTreeMap::new(), 0);
        for (name, value) in values {
            // Both are written in the order of their names: what is wanted is the next one almost always.
            let is_it = |(other, _): &(Cow<'_, str>, i64)| *other == name;
            let at = times[next..].iter().position(is_it).map(|at| next + at);
            let at = at.or_else(|| times[..next].iter().position(is_it));
            next = at.map_or(next, |at| at + 1);
            if wanted.is_some_and(|w| !w.iter().any(|wanted| *wanted == name)) {
                continue;
            }
            let meta = known.get(name.as_ref());
            // Being filled, and not complete; or on its way out.
            if meta.is_some_and(|m| !m.is_hot) {
                continue;
            }
            let value_type = meta.map_or_else(|| guess(value), |m| m.value_type);
            let observed_at = at.and_then(|at| Timestamp::from_micros(times[at].1));
            let unit = meta.map_or("", |m| m.unit.as_str());
            let value = Cow::Borrowed(value);
            attributes
                .insert(name, AttributeValue { value, value_type: value_type.name(), unit, observed_at });
        }
        let newest = times.iter().map(|(_, t)| *t).max().and_then(Timestamp::from_micros);
        EntityBody {
            external_id: &row.external_id,
            entity_type: &row.entity_type,
            version: row.version,
            observed_at: newest,
            attributes,
        }
    }
}

/// The pairs of a JSON object, in its order.
struct Pairs<'a, T>(Vec<(Cow<'a, str>, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<'de, T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = Pairs<'de, T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(16));
                while let Some((Name(name), value)) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }

        from.deserialize_map(Object(std::marker::PhantomData))
    }
}

/// A name, borrowed unless it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Where the registered type cannot be had (all databases away, the cache has the value).
fn guess(value: &RawValue) -> ValueType {
    match value.get().as_bytes().first() {
        Some(b'"') => ValueType::String,
        Some(b't' | b'f') => ValueType::Boolean,
        _ if value.get().parse::<i64>().is_ok() => ValueType::Integer,
        _ => ValueType::Float,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eaves_model::AttributeId;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::Arc;

    fn row(attrs: &str, times: &str) -> EntityRow {
        EntityRow {
            entity: EntityId(7),
            external_id: "pump-7".into(),
            entity_type: "pump".into(),
            version: 3,
            attrs_json: attrs.into(),
            times_json: times.into(),
        }
    }

    fn attribute(name: &str, is_hot: bool) -> (String, Arc<AttributeRow>) {
        let unit = "°C".into();
        let (id, value_type) = (AttributeId(1), ValueType::Decimal);
        (name.into(), Arc::new(AttributeRow { name: name.into(), id, value_type, unit, is_hot }))
    }

    fn written(row: &EntityRow, known: &Attributes, wanted: Option<&[String]>) -> serde_json::Value {
        serde_json::to_value(Hot::of(row).unwrap().body(known, wanted)).unwrap()
    }

    #[test]
    fn an_entity_has_its_values_exactly_each_with_its_own_time() {
        // Times in another order than values, one without a time, and a name that has to be escaped.
        let row = row(
            r#"{"c": 1.50, "a": 12345678901234567890, "say \"hi\"": "ü", "cold": 1, "d": true}"#,
            r#"{"say \"hi\"": 3000000, "a": 1000000, "c": 2000000, "d": -62135596800000001}"#,
        );
        let known: Attributes = [attribute("c", true), attribute("cold", false)].into();
        let text = serde_json::to_string(&Hot::of(&row).unwrap().body(&known, None)).unwrap();
        let expected = r#"{"external_id":"pump-7","type":"pump","version":3,"observed_at":"1970-01-01T00:00:03Z","attributes":{"#
            .to_owned()
            + r#""a":{"value":12345678901234567890,"type":"float","unit":"","observed_at":"1970-01-01T00:00:01Z"},"#
            + r#""c":{"value":1.50,"type":"decimal","unit":"°C","observed_at":"1970-01-01T00:00:02Z"},"#
            + r#""d":{"value":true,"type":"boolean","unit":"","observed_at":null},"#
            + r#""say \"hi\"":{"value":"ü","type":"string","unit":"","observed_at":"1970-01-01T00:00:03Z"}}}"#;
        assert_eq!(text, expected);
        let wanted = ["d".to_owned(), "cold".to_owned(), "none".to_owned()];
        let some = written(&row, &known, Some(&wanted));
        assert_eq!(some["attributes"].as_object().unwrap().keys().collect::<Vec<_>>(), ["d"]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for (attrs, times) in
            [("[]", "{}"), ("{}", "null"), ("{", "{}"), ("{}", r#"{"a": "then"}"#), ("", "")]
        {
            assert!(Hot::of(&row(attrs, times)).is_err(), "{attrs} {times}");
        }
    }

    proptest! {
        /// The same as by maps.
        #[test]
        fn any_names_and_values_come_through(
            values in proptest::collection::btree_map(".{0,6}", any::<i64>(), 0..12),
            times in proptest::collection::hash_map(".{0,6}", 0..4_102_444_800_000_000_i64, 0..12),
            shared in proptest::collection::btree_map(".{0,6}", (any::<i64>(), 0..4_102_444_800_000_000_i64), 0..12),
        ) {
            let mut values = values;
            let mut times: HashMap<String, i64> = times;
            for (name, (value, time)) in shared {
                values.insert(name.clone(), value);
                times.insert(name, time);
            }
            let (attrs, stamps) = (serde_json::to_string(&values).unwrap(), serde_json::to_string(&times).unwrap());
            let entity = row(&attrs, &stamps);
            let body = written(&entity, &Attributes::new(), None);
            let attributes = body["attributes"].as_object().unwrap();
            prop_assert_eq!(attributes.keys().collect::<Vec<_>>(), values.keys().collect::<Vec<_>>());
            for (name, value) in &values {
                prop_assert_eq!(attributes[name]["value"].as_i64(), Some(*value));
                let stamp = times.get(name).and_then(|t| Timestamp::from_micros(*t)).map(|t| t.to_string());
                prop_assert_eq!(attributes[name]["observed_at"].as_str(), stamp.as_deref());
            }
        }
    }
}
