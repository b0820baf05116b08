//! Between columns and values.

use crate::bindings::{Batch, Decimals, Decision, DerivedAttribute, Reason, Texts};
use crate::verdict::{More, Outcome};
use crate::{Attribute, Decimal, Entity, Previous, Timestamp, Value, ValueType};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// The longest text of a reason that the platform takes, in bytes.
const MAX_REASON_BYTES: usize = 500;

/// A batch, with its attributes taken apart once.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    batch: &'a Batch,
    attributes: Vec<Attribute<'a>>,
}

fn text(texts: &Texts, index: usize) -> &str {
    let (Some(from), Some(to)) = (texts.offsets.get(index), texts.offsets.get(index + 1)) else { return "" };
    texts.blob.get(*from as usize..*to as usize).unwrap_or_default()
}

impl<'a> Columns<'a> {
    pub(crate) fn new(batch: &'a Batch) -> Self {
        let attributes = (batch.attributes.types.iter().enumerate())
            .map(|(index, value_type)| Attribute {
                index,
                name: text(&batch.attributes.names, index),
                value_type: *value_type,
                unit: text(&batch.attributes.units, index),
            })
            .collect();
        Self { batch, attributes }
    }

    pub(crate) fn len(&self) -> usize {
        self.batch.bits.len()
    }

    #[inline]
    pub(crate) fn attribute(&self, row: usize) -> &Attribute<'a> {
        &self.attributes[self.batch.attribute[row] as usize]
    }

    pub(crate) fn entity(&self, row: usize) -> Entity<'a> {
        let (entities, index) = (&self.batch.entities, self.batch.entity[row] as usize);
        Entity { external_id: text(&entities.external_ids, index), entity_type: text(&entities.types, index) }
    }

    pub(crate) fn observed_at(&self, row: usize) -> Timestamp {
        Timestamp(self.batch.observed_at[row])
    }

    pub(crate) fn attributes(&self) -> &[Attribute<'a>] {
        &self.attributes
    }

    /// The row's entity and attribute, by index.
    #[inline]
    pub(crate) fn pair(&self, row: usize) -> (u32, u32) {
        (self.batch.entity[row], self.batch.attribute[row])
    }

    /// How many entities the batch has.
    pub(crate) fn entities(&self) -> usize {
        self.batch.entities.external_ids.offsets.len().saturating_sub(1)
    }

    /// The row that the n-th value is for that the platform knew before the call.
    pub(crate) fn told_row(&self, nth: usize) -> Option<usize> {
        self.batch.previous.row.get(nth).map(|row| *row as usize)
    }

    /// When that value was seen.
    pub(crate) fn told_at(&self, nth: usize) -> Option<Timestamp> {
        self.batch.previous.observed_at.get(nth).map(|at| Timestamp(*at))
    }

    /// That value.
    pub(crate) fn previous(&self, nth: usize) -> Option<Previous<'a>> {
        let (row, observed_at) = (self.told_row(nth)?, self.told_at(nth)?);
        let value_type = self.attributes.get(*self.batch.attribute.get(row)? as usize)?.value_type;
        let bits = *self.batch.previous.bits.get(nth)?;
        Some(Previous { observed_at, value: self.value_of(value_type, bits) })
    }

    #[inline]
    pub(crate) fn value(&self, row: usize) -> Value<'a> {
        self.value_of(self.attribute(row).value_type, self.batch.bits[row])
    }

    #[inline]
    fn value_of(&self, value_type: ValueType, bits: u64) -> Value<'a> {
        match value_type {
            ValueType::String => Value::String(Cow::Borrowed(text(&self.batch.texts, bits as usize))),
            ValueType::Integer => Value::Integer(bits as i64),
            ValueType::Float => Value::Float(f64::from_bits(bits)),
            ValueType::Decimal => Value::Decimal(decimal(&self.batch.decimals, bits as usize)),
            ValueType::Boolean => Value::Boolean(bits != 0),
            ValueType::Timestamp => Value::Timestamp(Timestamp(bits as i64)),
        }
    }

    /// The rows of the reading that `row` is of.
    pub(crate) fn reading_of(&self, row: usize) -> Range<usize> {
        let (entity, time) = (self.batch.entity[row], self.batch.observed_at[row]);
        let same = |r: &usize| self.batch.entity[*r] == entity && self.batch.observed_at[*r] == time;
        let before = (0..row).rev().take_while(same).count();
        let from_here = (row..self.len()).take_while(same).count();
        row - before..row + from_here
    }
}

fn decimal(decimals: &Decimals, index: usize) -> Decimal {
    let low = decimals.low.get(index).copied().unwrap_or_default();
    let high = decimals.high.get(index).copied().unwrap_or_default();
    let scale = decimals.scale.get(index).copied().unwrap_or_default();
    let coefficient = i128::from(high) << 64 | i128::from(low);
    Decimal::new(coefficient, scale).unwrap_or(Decimal::from(0))
}

/// Collects verdicts into the columns of a decision.
#[derive(Debug)]
pub(crate) struct Answer {
    decision: Decision,
    /// Where a reason of this hash is. Of two with one hash only the later one is found again: that
    /// the same reason stands there twice is no harm.
    reasons: HashMap<u64, u32>,
}

impl Answer {
    pub(crate) fn new() -> Self {
        let no_texts = Texts { blob: String::new(), offsets: Vec::new() };
        let no_decimals = Decimals { low: Vec::new(), high: Vec::new(), scale: Vec::new() };
        let decision = Decision {
            rejected_row: Vec::new(),
            rejected_reason: Vec::new(),
            reasons: Vec::new(),
            replaced_row: Vec::new(),
            replaced_bits: Vec::new(),
            derived_row: Vec::new(),
            derived_attribute: Vec::new(),
            derived_bits: Vec::new(),
            derived_attributes: Vec::new(),
            texts: no_texts,
            decimals: no_decimals,
        };
        Self { decision, reasons: HashMap::new() }
    }

    /// Adds the verdict on `row`, whose attribute holds values of `value_type`.
    // Not a part of the loop over the rows, which is to stay small: most rows are just accepted.
    #[inline(never)]
    pub(crate) fn add(&mut self, row: u32, value_type: ValueType, verdict: More) -> Result<(), String> {
        match verdict.outcome {
            Outcome::Accept => {}
            Outcome::Reject { code, text } => self.reject(row, code, text),
            Outcome::Replace(value) => {
                if value.value_type() != value_type {
                    let got = value.value_type();
                    return Err(format!(
                        "row {row}: a {got:?} cannot replace a value of type {value_type:?}"
                    ));
                }
                let bits = self.bits(&value);
                self.decision.replaced_row.push(row);
                self.decision.replaced_bits.push(bits);
            }
        }
        for (name, value) in &verdict.derived {
            let attribute = self.derived_attribute(name, value.value_type())?;
            let bits = self.bits(value);
            self.decision.derived_row.push(row);
            self.decision.derived_attribute.push(attribute);
            self.decision.derived_bits.push(bits);
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Decision {
        self.decision
    }

    fn reject(&mut self, row: u32, code: Cow<'static, str>, text: Cow<'static, str>) {
        let known = self.reasons.entry(hash(&code, &text)).or_insert(u32::MAX);
        let reasons = &mut self.decision.reasons;
        let text = one_line(text);
        if !reasons.get(*known as usize).is_some_and(|is| is.code == code && is.text == text) {
            *known = reasons.len() as u32;
            reasons.push(Reason { code: code.into_owned(), text });
        }
        self.decision.rejected_row.push(row);
        self.decision.rejected_reason.push(*known);
    }

    fn derived_attribute(&mut self, name: &str, value_type: ValueType) -> Result<u32, String> {
        let known = &mut self.decision.derived_attributes;
        // A plugin derives a handful of attributes: a scan beats hashing.
        match known.iter().position(|a| a.name == name) {
            Some(index) if known[index].type_ == value_type => Ok(index as u32),
            Some(index) => {
                let first = known[index].type_;
                Err(format!("derived attribute {name:?} is a {first:?} here and a {value_type:?} there"))
            }
            None => {
                known.push(DerivedAttribute { name: name.to_string(), type_: value_type });
                Ok(known.len() as u32 - 1)
            }
        }
    }

    fn bits(&mut self, value: &Value<'_>) -> u64 {
        match value {
            Value::String(s) => {
                let texts = &mut self.decision.texts;
                if texts.offsets.is_empty() {
                    texts.offsets.push(0);
                }
                texts.blob.push_str(s);
                texts.offsets.push(texts.blob.len() as u32);
                texts.offsets.len() as u64 - 2
            }
            Value::Integer(i) => *i as u64,
            Value::Float(f) => f.to_bits(),
            Value::Decimal(d) => {
                let decimals = &mut self.decision.decimals;
                decimals.low.push(d.coefficient() as u64);
                decimals.high.push((d.coefficient() >> 64) as i64);
                decimals.scale.push(d.scale());
                decimals.low.len() as u64 - 1
            }
            Value::Boolean(b) => (*b).into(),
            Value::Timestamp(t) => t.0 as u64,
        }
    }
}

/// FNV-1a of both.
fn hash(code: &str, text: &str) -> u64 {
    let bytes = code.bytes().chain([0]).chain(text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(crate) fn one_line(text: Cow<'_, str>) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if plain && text.len() <= MAX_REASON_BYTES {
        return text.into_owned();
    }
    let mut line = String::with_capacity(text.len().min(MAX_REASON_BYTES));
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if line.len() + c.len_utf8() > MAX_REASON_BYTES {
            break;
        }
        line.push(c);
    }
    line
}
