//! One value with its surroundings, as an author sees it.

use crate::columns::Columns;
use crate::{Previous, Timestamp, Value, ValueType};

/// The entity a value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entity<'a> {
    /// The tenant's own name for it.
    pub external_id: &'a str,
    /// Its type; empty if it is not known.
    pub entity_type: &'a str,
}

/// The attribute a value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its number in this batch: small, and the same for all values of the attribute.
    pub index: usize,
    /// Its name.
    pub name: &'a str,
    /// The type of its values.
    pub value_type: ValueType,
    /// Its unit; empty if none is set.
    pub unit: &'a str,
}

/// One value in its reading: what one device saw of one attribute, at one time.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    columns: &'a Columns<'a>,
    row: usize,
    /// Lent: as a value, it would be copied for every row, and it is large.
    previous: Option<&'a Previous<'a>>,
}

impl<'a> Reading<'a> {
    #[inline]
    pub(crate) fn new(columns: &'a Columns<'a>, row: usize, previous: Option<&'a Previous<'a>>) -> Self {
        Self { columns, row, previous }
    }

    /// The latest value that is known of this entity and attribute: that of the hot projection
    /// when the batch began, or one that was accepted (or put in a value's place) earlier in
    /// the batch, whichever was seen later. Only if the plugin asks for it (`previous:` or
    /// `interest:` of [`crate::export_plugin!`]) and, for the first value in a batch, if the
    /// attribute is hot.
    pub fn previous(&self) -> Option<&Previous<'a>> {
        self.previous
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> Value<'a> {
        self.columns.value(self.row)
    }

    /// The attribute it is of.
    pub fn attribute(&self) -> &'a Attribute<'a> {
        self.columns.attribute(self.row)
    }

    /// The entity it is of.
    pub fn entity(&self) -> Entity<'a> {
        self.columns.entity(self.row)
    }

    /// When it was seen.
    pub fn observed_at(&self) -> Timestamp {
        self.columns.observed_at(self.row)
    }

    /// All values of the same reading, this one included. A plugin that wants only
    /// some attributes sees only those here.
    pub fn siblings(&self) -> impl Iterator<Item = (&'a Attribute<'a>, Value<'a>)> {
        let columns = self.columns;
        columns.reading_of(self.row).map(move |row| (columns.attribute(row), columns.value(row)))
    }

    /// The value of another attribute in the same reading.
    pub fn sibling(&self, attribute: &str) -> Option<Value<'a>> {
        let row =
            self.columns.reading_of(self.row).find(|row| self.columns.attribute(*row).name == attribute)?;
        Some(self.columns.value(row))
    }
}
