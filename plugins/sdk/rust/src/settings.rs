//! Settings: JSON of the activation, read into the author's own type.

use crate::Attribute;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

/// Settings that a plugin cannot work with: where, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsFault {
    /// A path such as `attributes.temperature.min`; empty for the whole.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl SettingsFault {
    /// A fault at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

pub(crate) fn read<S: DeserializeOwned>(json: &str) -> Result<S, SettingsFault> {
    // serde would read the fields of a struct from a list, too.
    if !json.trim_start().starts_with('{') {
        return Err(SettingsFault::new("", "not a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    let settings = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let path = e.path().to_string();
        SettingsFault::new(if path == "." { "" } else { &path }, e.inner().to_string())
    })?;
    reader.end().map_err(|e| SettingsFault::new("", e.to_string()))?;
    Ok(settings)
}

/// Settings by attribute name: a JSON object, found by index once a name was looked up.
///
/// Belongs to one batch, as settings do: indices mean something else in the next one.
#[derive(Debug)]
pub struct ByAttribute<T> {
    entries: Vec<(String, T)>,
    found: RefCell<Vec<Found>>,
}

#[derive(Clone, Copy, Debug)]
enum Found {
    Unknown,
    Nothing,
    At(u32),
}

impl<T> ByAttribute<T> {
    /// What is set for an attribute.
    #[inline]
    pub fn get(&self, attribute: &Attribute<'_>) -> Option<&T> {
        let known = self.found.borrow().get(attribute.index).copied();
        let found = match known {
            None | Some(Found::Unknown) => self.look_up(attribute),
            Some(known) => known,
        };
        match found {
            Found::At(at) => Some(&self.entries[at as usize].1),
            _ => None,
        }
    }

    // Once for each attribute of a batch: not a part of the loop over its rows.
    #[inline(never)]
    fn look_up(&self, attribute: &Attribute<'_>) -> Found {
        let at = self.entries.binary_search_by(|(name, _)| name.as_str().cmp(attribute.name));
        let now = at.map_or(Found::Nothing, |at| Found::At(at as u32));
        let mut found = self.found.borrow_mut();
        if attribute.index >= found.len() {
            found.resize(attribute.index + 1, Found::Unknown);
        }
        found[attribute.index] = now;
        now
    }

    /// All entries, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }
}

impl<T> Default for ByAttribute<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), found: RefCell::default() }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByAttribute<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Vec<(String, T)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with attribute names as keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }

        let mut entries = deserializer.deserialize_map(Entries(PhantomData))?;
        entries.sort_by(|a: &(String, T), b| a.0.cmp(&b.0));
        if let Some(twice) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(D::Error::custom(format!("attribute {:?} is there twice", twice[0].0)));
        }
        Ok(Self { entries, found: RefCell::default() })
    }
}
