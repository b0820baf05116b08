//! A batch as columns, in as many calls as it takes.

use crate::bindings::validation::{
    Attributes, Batch as RawBatch, DecimalsParam, Entities, Previous as RawPrevious, TextsParam,
    ValueType as RawType,
};
use crate::description::Interest;
use crate::previous::Known;
use crate::{PluginError, limits};
use eaves_model::batch::{AttributeInfo, Batch, Decision, Row};
use eaves_model::{Timestamp, Value, ValueType};
use std::collections::HashSet;

/// Texts end to end. `offsets` is empty as long as there is none.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    blob: String,
    offsets: Vec<u32>,
}

impl Texts {
    pub(crate) fn of<'a>(texts: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let mut all = Self { blob: String::new(), offsets: Vec::with_capacity(texts.len() + 1) };
        for text in texts {
            all.push(text);
        }
        all
    }

    /// Adds a text and returns its index.
    fn push(&mut self, text: &str) -> u64 {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.blob.push_str(text);
        // 4 GiB are out of reach: a call takes 8 MiB of texts and one reading more.
        self.offsets.push(self.blob.len() as u32);
        self.offsets.len() as u64 - 2
    }

    pub(crate) fn blob(&self) -> &str {
        &self.blob
    }

    pub(crate) fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    fn lend(&self) -> TextsParam<'_> {
        TextsParam { blob: &self.blob, offsets: &self.offsets }
    }
}

/// The entities and attributes of a batch: the same in each of its calls.
#[derive(Debug)]
pub(crate) struct Tables {
    external_ids: Texts,
    entity_types: Texts,
    names: Texts,
    value_types: Vec<RawType>,
    units: Texts,
}

impl Tables {
    pub(crate) fn of(batch: &Batch) -> Self {
        Self {
            external_ids: Texts::of(batch.entities.iter().map(|e| &*e.external_id)),
            entity_types: Texts::of(batch.entities.iter().map(|e| &*e.entity_type)),
            names: Texts::of(batch.attributes.iter().map(|a| &*a.name)),
            value_types: batch.attributes.iter().map(|a| raw_type(a.value_type)).collect(),
            units: Texts::of(batch.attributes.iter().map(|a| &*a.unit)),
        }
    }
}

fn raw_type(value_type: ValueType) -> RawType {
    match value_type {
        ValueType::String => RawType::String,
        ValueType::Integer => RawType::Integer,
        ValueType::Float => RawType::Float,
        ValueType::Decimal => RawType::Decimal,
        ValueType::Boolean => RawType::Boolean,
        ValueType::Timestamp => RawType::Timestamp,
    }
}

/// The columns of a call. They are used again and again: memory that was touched once costs
/// less than fresh memory, of which each page is a fault.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// The batch's index of each row; empty if they are those from the first on.
    kept: Vec<u32>,
    entity: Vec<u32>,
    attribute: Vec<u32>,
    observed_at: Vec<i64>,
    bits: Vec<u64>,
    previous_row: Vec<u32>,
    previous_at: Vec<i64>,
    previous_bits: Vec<u64>,
    texts: Texts,
    low: Vec<u64>,
    high: Vec<i64>,
    scale: Vec<u8>,
}

impl Buffers {
    fn clear(&mut self) {
        self.kept.clear();
        self.entity.clear();
        self.attribute.clear();
        self.observed_at.clear();
        self.bits.clear();
        self.previous_row.clear();
        self.previous_at.clear();
        self.previous_bits.clear();
        self.texts.blob.clear();
        self.texts.offsets.clear();
        self.low.clear();
        self.high.clear();
        self.scale.clear();
    }

    /// Whether they are worth keeping: not after a batch with megabytes of texts.
    pub(crate) fn is_modest(&self) -> bool {
        self.bits.capacity() <= 2 * limits::MAX_ROWS_PER_CALL
            && self.texts.blob.capacity() <= 1 << 20
            && self.texts.offsets.capacity().max(self.low.capacity()) <= 2 * limits::MAX_ROWS_PER_CALL
    }
}

/// The rows of one call, and which rows of the batch they are.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    attributes: &'a [AttributeInfo],
    first: u32,
    buffers: Buffers,
}

impl<'a> Call<'a> {
    /// The value's bits; what they point at is added to the tables.
    #[inline]
    fn bits_of(&mut self, value: &Value) -> u64 {
        match value {
            Value::Float(f) => f.to_bits(),
            Value::Integer(i) => *i as u64,
            Value::String(s) => self.buffers.texts.push(s),
            Value::Boolean(b) => u64::from(*b),
            Value::Timestamp(t) => t.as_micros() as u64,
            Value::Decimal(d) => {
                let coefficient = d.mantissa();
                self.buffers.low.push(coefficient as u64);
                self.buffers.high.push((coefficient >> 64) as i64);
                // A scale is at most 28.
                self.buffers.scale.push(d.scale() as u8);
                self.buffers.low.len() as u64 - 1
            }
        }
    }

    /// Adds the value that was known before the row.
    pub(crate) fn push_previous(&mut self, row: usize, observed_at: Timestamp, value: &Value) {
        let bits = self.bits_of(value);
        self.buffers.previous_row.push(row as u32);
        self.buffers.previous_at.push(observed_at.as_micros());
        self.buffers.previous_bits.push(bits);
    }

    pub(crate) fn rows(&self) -> usize {
        self.buffers.bits.len()
    }

    pub(crate) fn text_bytes(&self) -> usize {
        self.buffers.texts.blob.len()
    }

    pub(crate) fn columns<'b>(&'b self, tables: &'b Tables) -> RawBatch<'b> {
        RawBatch {
            entities: Entities {
                external_ids: tables.external_ids.lend(),
                types: tables.entity_types.lend(),
            },
            attributes: Attributes {
                names: tables.names.lend(),
                types: &tables.value_types,
                units: tables.units.lend(),
            },
            entity: &self.buffers.entity,
            attribute: &self.buffers.attribute,
            observed_at: &self.buffers.observed_at,
            bits: &self.buffers.bits,
            previous: RawPrevious {
                row: &self.buffers.previous_row,
                observed_at: &self.buffers.previous_at,
                bits: &self.buffers.previous_bits,
            },
            texts: self.buffers.texts.lend(),
            decimals: DecimalsParam {
                low: &self.buffers.low,
                high: &self.buffers.high,
                scale: &self.buffers.scale,
            },
        }
    }

    /// The attributes of the batch.
    pub(crate) fn attributes(&self) -> &'a [AttributeInfo] {
        self.attributes
    }

    /// The type of the values of this call's row, which exists.
    pub(crate) fn value_type(&self, row: usize) -> ValueType {
        self.attributes[self.buffers.attribute[row] as usize].value_type
    }

    /// The batch's index of this call's row.
    pub(crate) fn row_of_batch(&self, row: u32) -> u32 {
        self.buffers.kept.get(row as usize).copied().unwrap_or(self.first + row)
    }
}

/// Takes a batch apart into calls, between readings.
pub(crate) struct Calls<'a> {
    batch: &'a Batch,
    /// For each attribute and entity whether it is wanted; empty if all are.
    wanted_attributes: Vec<bool>,
    wanted_entities: Vec<bool>,
    known: Known<'a>,
    next: usize,
    spare: Buffers,
}

impl<'a> Calls<'a> {
    pub(crate) fn new(batch: &'a Batch, interest: &Interest, spare: Buffers) -> Result<Self, PluginError> {
        fn marks<'n>(names: Option<&[String]>, all: impl Iterator<Item = &'n str>) -> Vec<bool> {
            let Some(names) = names else { return Vec::new() };
            let names: HashSet<&str> = names.iter().map(String::as_str).collect();
            all.map(|name| names.contains(name)).collect()
        }
        let names = || batch.attributes.iter().map(|a| &*a.name);
        Ok(Self {
            batch,
            wanted_attributes: marks(interest.attributes.as_deref(), names()),
            wanted_entities: marks(
                interest.entity_types.as_deref(),
                batch.entities.iter().map(|e| &*e.entity_type),
            ),
            known: Known::new(batch, marks(Some(&interest.previous), names()))?,
            next: 0,
            spare,
        })
    }

    /// Takes the columns of a call back, for the next.
    pub(crate) fn recycle(&mut self, call: Call<'_>) {
        self.spare = call.buffers;
    }

    /// The columns, for another batch.
    pub(crate) fn into_spare(self) -> Buffers {
        self.spare
    }

    /// The next call with rows, after `decision` was made over the calls before it.
    pub(crate) fn next(&mut self, decision: &Decision) -> Result<Option<Call<'a>>, PluginError> {
        while self.next < self.batch.rows.len() {
            let call = self.fill(decision)?;
            if call.rows() > 0 {
                return Ok(Some(call));
            }
            self.recycle(call);
        }
        Ok(None)
    }

    fn wants(&self, row: &Row) -> bool {
        self.wanted_attributes.get(row.attribute as usize).copied().unwrap_or(true)
            && self.wanted_entities.get(row.entity as usize).copied().unwrap_or(true)
    }

    fn fill(&mut self, decision: &Decision) -> Result<Call<'a>, PluginError> {
        let batch = self.batch;
        let first = self.next;
        let rows = &batch.rows[first..];
        let chooses = !self.wanted_attributes.is_empty() || !self.wanted_entities.is_empty();
        let mut buffers = std::mem::take(&mut self.spare);
        buffers.clear();
        let mut call = Call { attributes: &batch.attributes, first: first as u32, buffers };
        let room = rows.len().min(limits::MAX_ROWS_PER_CALL);
        call.buffers.bits.reserve(room);
        let mut taken = 0;
        for row in rows {
            let full =
                call.rows() >= limits::MAX_ROWS_PER_CALL || call.text_bytes() >= limits::MAX_TEXT_PER_CALL;
            if full && !same_reading(&rows[taken - 1], row) {
                break;
            }
            let expected = batch.attributes.get(row.attribute as usize).map(|a| a.value_type);
            if expected != Some(row.value.value_type()) || row.entity as usize >= batch.entities.len() {
                return Err(PluginError::BadBatch { row: first + taken });
            }
            if !chooses || self.wants(row) {
                let bits = call.bits_of(&row.value);
                call.buffers.bits.push(bits);
                if chooses {
                    call.buffers.kept.push((first + taken) as u32);
                }
            }
            taken += 1;
        }
        // Column by column: a list that is extended by many asks for room once.
        let Buffers { kept, entity, attribute, observed_at, .. } = &mut call.buffers;
        if chooses {
            let row = |i: &u32| &batch.rows[*i as usize];
            entity.extend(kept.iter().map(|i| row(i).entity));
            attribute.extend(kept.iter().map(|i| row(i).attribute));
            observed_at.extend(kept.iter().map(|i| row(i).observed_at.as_micros()));
        } else {
            entity.extend(rows[..taken].iter().map(|row| row.entity));
            attribute.extend(rows[..taken].iter().map(|row| row.attribute));
            observed_at.extend(rows[..taken].iter().map(|row| row.observed_at.as_micros()));
        }
        self.next += taken;
        self.known.fill(&mut call, first..self.next, decision);
        Ok(call)
    }
}

fn same_reading(one: &Row, other: &Row) -> bool {
    one.entity == other.entity && one.observed_at == other.observed_at
}
