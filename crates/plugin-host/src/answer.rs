//! A plugin's answer, checked to the last index: it is input like any other.

use crate::bindings::validation::{DecimalsResult, Decision as Raw, TextsResult, ValueType as RawType};
use crate::columns::Call;
use crate::{BadAnswer, limits};
use eaves_model::batch::{Decision, Derived, Reason};
use eaves_model::reading::check_name;
use eaves_model::{Code, Decimal, Timestamp, Value, ValueType};
use std::collections::{HashMap, HashSet};

pub(crate) fn bad(
    list: &'static str,
    index: impl Into<Option<usize>>,
    problem: impl Into<String>,
) -> BadAnswer {
    BadAnswer { list, index: index.into(), problem: problem.into() }
}

/// Checks the answer to `call` and adds it to `decision`.
pub(crate) fn decode(answer: Raw, call: &Call<'_>, decision: &mut Decision) -> Result<(), BadAnswer> {
    same_length("rejected-reason", answer.rejected_reason.len(), "rejected-row", answer.rejected_row.len())?;
    same_length("replaced-bits", answer.replaced_bits.len(), "replaced-row", answer.replaced_row.len())?;
    same_length(
        "derived-attribute",
        answer.derived_attribute.len(),
        "derived-row",
        answer.derived_row.len(),
    )?;
    same_length("derived-bits", answer.derived_bits.len(), "derived-row", answer.derived_row.len())?;
    one_verdict_each(&answer, call.rows())?;
    let values = Values::new(&answer.texts, &answer.decimals)?;

    for (i, (&row, &bits)) in answer.replaced_row.iter().zip(&answer.replaced_bits).enumerate() {
        let value = values.read(bits, call.value_type(row as usize));
        let value = value.map_err(|problem| bad("replaced-bits", i, problem))?;
        decision.replaced.push((call.row_of_batch(row), value));
    }
    derived(&answer, &values, call, decision)?;
    rejected(answer, call, decision)
}

pub(crate) fn same_length(
    one: &'static str,
    found: usize,
    other: &'static str,
    wanted: usize,
) -> Result<(), BadAnswer> {
    if found == wanted {
        return Ok(());
    }
    Err(bad(one, None, format!("has {found} entries and {other} has {wanted}")))
}

fn one_verdict_each(answer: &Raw, rows: usize) -> Result<(), BadAnswer> {
    if answer.rejected_row.is_empty() && answer.replaced_row.is_empty() {
        return Ok(());
    }
    let mut judged = vec![false; rows];
    for (list, named) in [("rejected-row", &answer.rejected_row), ("replaced-row", &answer.replaced_row)] {
        for (i, &row) in named.iter().enumerate() {
            let Some(judged) = judged.get_mut(row as usize) else {
                return Err(bad(list, i, format!("names row {row} of {rows}")));
            };
            if std::mem::replace(judged, true) {
                return Err(bad(list, i, format!("names row {row}, which has a verdict already")));
            }
        }
    }
    Ok(())
}

fn rejected(answer: Raw, call: &Call<'_>, decision: &mut Decision) -> Result<(), BadAnswer> {
    let first = decision.reasons.len() as u32;
    let reasons = answer.reasons.len();
    for (i, (&row, &reason)) in answer.rejected_row.iter().zip(&answer.rejected_reason).enumerate() {
        if reason as usize >= reasons {
            return Err(bad("rejected-reason", i, format!("names reason {reason} of {reasons}")));
        }
        decision.rejected.push((call.row_of_batch(row), first + reason));
    }
    for (i, said) in answer.reasons.into_iter().enumerate() {
        decision.reasons.push(reason(i, said.code, said.text)?);
    }
    Ok(())
}

/// Checks the reason at `index` of `reasons`.
pub(crate) fn reason(index: usize, code: String, text: String) -> Result<Reason, BadAnswer> {
    if !is_code(&code) {
        return Err(bad("reasons", index, "the code is not snake case of 1 to 64 characters"));
    }
    if text.len() > limits::MAX_REASON_BYTES || text.chars().any(char::is_control) {
        return Err(bad("reasons", index, "the text is not one line of at most 500 bytes"));
    }
    Ok(Reason { code: Code(code.into()), text })
}

fn is_code(code: &str) -> bool {
    code.len() <= limits::MAX_CODE_BYTES
        && code.starts_with(|c: char| c.is_ascii_lowercase())
        && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn derived(
    answer: &Raw,
    values: &Values<'_>,
    call: &Call<'_>,
    decision: &mut Decision,
) -> Result<(), BadAnswer> {
    let types = derived_attributes(answer, call)?;
    let (added, rows) = (answer.derived_row.len(), call.rows());
    if added > rows * limits::MAX_DERIVED_PER_ROW {
        return Err(bad("derived-row", None, format!("adds {added} values to a batch of {rows}")));
    }
    let mut seen = HashSet::new();
    let mut before = None;
    let named = answer.derived_row.iter().zip(&answer.derived_attribute);
    for (i, ((&row, &attribute), &bits)) in named.zip(&answer.derived_bits).enumerate() {
        if row as usize >= rows {
            return Err(bad("derived-row", i, format!("names row {row} of {rows}")));
        }
        let Some(&value_type) = types.get(attribute as usize) else {
            return Err(bad(
                "derived-attribute",
                i,
                format!("names attribute {attribute} of {}", types.len()),
            ));
        };
        // Plugins answer in the order of the rows, so a set is rarely needed.
        let in_order = before < Some((row, attribute)) && seen.is_empty();
        if !in_order {
            if seen.is_empty() {
                let earlier = answer.derived_row.iter().zip(&answer.derived_attribute).take(i);
                seen.extend(earlier.map(|(r, a)| (*r, *a)));
            }
            if !seen.insert((row, attribute)) {
                return Err(bad("derived-row", i, format!("derives an attribute of row {row} twice")));
            }
        }
        before = Some((row, attribute));
        let value = values.read(bits, value_type).map_err(|problem| bad("derived-bits", i, problem))?;
        let name = &answer.derived_attributes[attribute as usize].name;
        decision.derived.push(Derived {
            row: call.row_of_batch(row),
            attribute: name.as_str().into(),
            value,
        });
    }
    Ok(())
}

/// The types of the derived attributes, their names checked.
fn derived_attributes(answer: &Raw, call: &Call<'_>) -> Result<Vec<ValueType>, BadAnswer> {
    let list = "derived-attributes";
    let derived = &answer.derived_attributes;
    if derived.is_empty() {
        return Ok(Vec::new());
    }
    if derived.len() > limits::MAX_DERIVED_ATTRIBUTES {
        return Err(bad(list, None, format!("names {} attributes, at most 1,000", derived.len())));
    }
    let known: HashMap<&str, ValueType> =
        call.attributes().iter().map(|a| (&*a.name, a.value_type)).collect();
    let mut names = HashSet::new();
    let mut types = Vec::with_capacity(derived.len());
    for (i, attribute) in derived.iter().enumerate() {
        check_name("name", &attribute.name).map_err(|e| bad(list, i, format!("the name {}", e.message)))?;
        if !names.insert(&*attribute.name) {
            return Err(bad(list, i, format!("names {:?} twice", attribute.name)));
        }
        let value_type = model_type(attribute.type_);
        match known.get(&*attribute.name) {
            Some(&is) if is != value_type => {
                return Err(bad(list, i, format!("{:?} is a {is}, not a {value_type}", attribute.name)));
            }
            _ => types.push(value_type),
        }
    }
    Ok(types)
}

fn model_type(raw: RawType) -> ValueType {
    match raw {
        RawType::String => ValueType::String,
        RawType::Integer => ValueType::Integer,
        RawType::Float => ValueType::Float,
        RawType::Decimal => ValueType::Decimal,
        RawType::Boolean => ValueType::Boolean,
        RawType::Timestamp => ValueType::Timestamp,
    }
}

/// The values of an answer.
struct Values<'a> {
    texts: &'a TextsResult,
    decimals: &'a DecimalsResult,
}

impl<'a> Values<'a> {
    fn new(texts: &'a TextsResult, decimals: &'a DecimalsResult) -> Result<Self, BadAnswer> {
        let offsets = &texts.offsets;
        let ends_right = match (offsets.first(), offsets.last()) {
            (None, _) | (_, None) => texts.blob.is_empty(),
            (Some(&first), Some(&last)) => first == 0 && last as usize == texts.blob.len(),
        };
        if !ends_right {
            return Err(bad("texts", None, "the offsets do not go from 0 to the end of the blob"));
        }
        if let Some(i) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(bad("texts", i + 1, "the offset is below the one before"));
        }
        let (low, high, scale) = (decimals.low.len(), decimals.high.len(), decimals.scale.len());
        if low != high || low != scale {
            return Err(bad("decimals", None, format!("has lists of {low}, {high} and {scale} entries")));
        }
        Ok(Self { texts, decimals })
    }

    fn read(&self, bits: u64, value_type: ValueType) -> Result<Value, String> {
        match value_type {
            ValueType::Float => Value::float(f64::from_bits(bits))
                .ok_or_else(|| format!("{} is not a value", f64::from_bits(bits))),
            ValueType::Integer => Ok(Value::Integer(bits as i64)),
            ValueType::Boolean if bits <= 1 => Ok(Value::Boolean(bits == 1)),
            ValueType::Boolean => Err(format!("{bits} is neither 0 nor 1")),
            ValueType::String => self.text(bits).map(|s| Value::String(s.into())),
            ValueType::Decimal => self.decimal(bits).map(Value::Decimal),
            ValueType::Timestamp => Timestamp::from_micros(bits as i64)
                .map(Value::Timestamp)
                .ok_or_else(|| format!("{} microseconds are outside the years 1 to 9999", bits as i64)),
        }
    }

    fn text(&self, index: u64) -> Result<&'a str, String> {
        let offsets = &self.texts.offsets;
        let at = |i: u64| usize::try_from(i).ok().and_then(|i| offsets.get(i)).map(|o| *o as usize);
        let (Some(from), Some(to)) = (at(index), at(index.saturating_add(1))) else {
            return Err(format!("names text {index} of {}", offsets.len().saturating_sub(1)));
        };
        let text =
            self.texts.blob.get(from..to).ok_or("names a text that starts or ends inside a character")?;
        if text.len() > eaves_model::limits::MAX_STRING_BYTES {
            return Err(format!("a text of {} bytes is longer than a value may be", text.len()));
        }
        Ok(text)
    }

    fn decimal(&self, index: u64) -> Result<Decimal, String> {
        let decimals = self.decimals;
        let i = usize::try_from(index).ok().filter(|i| *i < decimals.low.len());
        let i = i.ok_or_else(|| format!("names decimal {index} of {}", decimals.low.len()))?;
        let coefficient = i128::from(decimals.high[i]) << 64 | i128::from(decimals.low[i]);
        Decimal::try_from_i128_with_scale(coefficient, decimals.scale[i].into())
            .map_err(|_| format!("{coefficient} / 10^{} is not a decimal of 28 digits", decimals.scale[i]))
    }
}
