//! What two plugin versions say of the same values, compared.

use crate::Value;
use crate::batch::{Batch, Decision, Derived};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What a plugin said of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is taken as it is.
    Accepted,
    /// It is not taken.
    Rejected,
    /// Another value is taken in its place.
    Replaced,
    /// The plugin failed on it.
    Failed,
}

impl Verdict {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Replaced => "replaced",
            Self::Failed => "failed",
        }
    }
}

/// What a plugin made of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Judgement<'a> {
    /// Its decision over the rows that it judged.
    pub decision: &'a Decision,
    /// Rows that it failed on, as ranges: the first, and the one after the last.
    pub failed: &'a [(u32, u32)],
}

/// A judgement row by row.
#[derive(Debug)]
pub struct ByRow<'a> {
    rows: Vec<Said<'a>>,
    /// What is derived from all of them, in the order in which it was said.
    derived: &'a [Derived],
    /// Rows that are not counted nor compared, ascending.
    beside: &'a [u32],
}

#[derive(Clone, Copy, Debug)]
struct Said<'a> {
    verdict: Verdict,
    code: &'a str,
    value: Option<&'a Value>,
}

impl Said<'_> {
    fn is_same(&self, other: &Said<'_>) -> bool {
        let values = match (self.value, other.value) {
            (Some(a), Some(b)) => a.exact_cmp(b).is_eq(),
            (a, b) => a.is_none() && b.is_none(),
        };
        values && self.verdict == other.verdict && self.code == other.code
    }
}

/// By row, and there by attribute and value: in whatever order they were said.
fn order(a: &Derived, b: &Derived) -> Ordering {
    let within = || a.attribute.cmp(&b.attribute).then_with(|| a.value.exact_cmp(&b.value));
    a.row.cmp(&b.row).then_with(within)
}

/// Whether the same values of the same attributes are derived. Both are in [`order`].
fn is_same_derived(one: &[&Derived], other: &[&Derived]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| order(a, b).is_eq())
}

/// Takes those of a row from the beginning of what is in [`order`].
fn take_row<'s, 'a>(sorted: &mut &'s [&'a Derived], row: usize) -> &'s [&'a Derived] {
    let of_row = sorted.iter().take_while(|d| d.row as usize <= row).count();
    let (taken, rest) = sorted.split_at(of_row);
    *sorted = rest;
    taken
}

impl<'a> ByRow<'a> {
    /// Of a batch with so many rows.
    pub fn new(rows: usize, judgement: Judgement<'a>) -> Self {
        let mut all = vec![Said { verdict: Verdict::Accepted, code: "", value: None }; rows];
        let Judgement { decision, failed } = judgement;
        for (row, reason) in &decision.rejected {
            let code = decision.reasons.get(*reason as usize).map_or("", |r| &r.code.0);
            if let Some(said) = all.get_mut(*row as usize) {
                *said = Said { verdict: Verdict::Rejected, code, value: None };
            }
        }
        for (row, value) in &decision.replaced {
            if let Some(said) = all.get_mut(*row as usize) {
                *said = Said { verdict: Verdict::Replaced, code: "", value: Some(value) };
            }
        }
        for (from, to) in failed {
            for said in all.iter_mut().take(*to as usize).skip(*from as usize) {
                *said = Said { verdict: Verdict::Failed, code: "", value: None };
            }
        }
        Self { rows: all, derived: &decision.derived, beside: &[] }
    }

    /// Leaves rows out of [`Self::count`] and [`Self::differences`]: they were judged so that others are
    /// judged as they came, and are counted elsewhere. Ascending.
    #[must_use]
    pub fn without(self, beside: &'a [u32]) -> Self {
        Self { beside, ..self }
    }

    /// Whether a row counts.
    fn counts(&self, row: usize) -> bool {
        self.beside.is_empty() || u32::try_from(row).is_ok_and(|row| self.beside.binary_search(&row).is_err())
    }

    /// The verdict on a row; accepted if there is no such row.
    pub fn verdict(&self, row: usize) -> Verdict {
        self.rows.get(row).map_or(Verdict::Accepted, |s| s.verdict)
    }

    /// The code with which a row is rejected; empty if it is not.
    pub fn code(&self, row: usize) -> &'a str {
        self.rows.get(row).map_or("", |s| s.code)
    }

    /// What is derived, as far as there are such rows, in [`order`].
    fn sorted(&self) -> Vec<&'a Derived> {
        let mut sorted: Vec<&Derived> =
            self.derived.iter().filter(|d| (d.row as usize) < self.rows.len()).collect();
        sorted.sort_unstable_by(|a, b| order(a, b));
        sorted
    }

    /// What is derived from a row, in [`order`].
    fn derived(&self, row: usize) -> Vec<&'a Derived> {
        let mut derived: Vec<&Derived> = self.derived.iter().filter(|d| d.row as usize == row).collect();
        derived.sort_unstable_by(|a, b| order(a, b));
        derived
    }

    /// Adds up the verdicts: `accepted`, `replaced`, `failed`, `rejected:<code>`, `derived`.
    pub fn count(&self, into: &mut BTreeMap<String, u64>) {
        let mut plain = [0u64; 3];
        let mut rejected: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, said) in self.rows.iter().enumerate().filter(|(row, _)| self.counts(*row)) {
            match said.verdict {
                Verdict::Accepted => plain[0] += 1,
                Verdict::Replaced => plain[1] += 1,
                Verdict::Failed => plain[2] += 1,
                Verdict::Rejected => *rejected.entry(said.code).or_default() += 1,
            }
        }
        for (code, count) in rejected {
            add(into, &format!("rejected:{code}"), count);
        }
        add(into, "accepted", plain[0]);
        add(into, "replaced", plain[1]);
        add(into, "failed", plain[2]);
        let of_rows = |row: usize| row < self.rows.len() && self.counts(row);
        let derived = self.derived.iter().filter(|d| of_rows(d.row as usize)).count();
        add(into, "derived", derived as u64);
    }

    /// Calls `found` with each row on which the other says something else: another verdict,
    /// another code, another value, or other derived values. Values are compared exactly
    /// ([`Value::exact_cmp`]), and the order in which they are derived does not matter.
    pub fn differences(&self, other: &Self, mut found: impl FnMut(usize)) {
        let (mine, theirs) = (self.sorted(), other.sorted());
        let (mut mine, mut theirs) = (mine.as_slice(), theirs.as_slice());
        for (row, (one, two)) in self.rows.iter().zip(&other.rows).enumerate() {
            let derived = (take_row(&mut mine, row), take_row(&mut theirs, row));
            let same = one.is_same(two) && is_same_derived(derived.0, derived.1);
            if !same && self.counts(row) {
                found(row);
            }
        }
    }
}

fn add(into: &mut BTreeMap<String, u64>, key: &str, count: u64) {
    if count > 0 {
        *into.entry(key.to_owned()).or_default() += count;
    }
}

/// The name of a change: `accepted>rejected`.
pub fn change(from: Verdict, to: Verdict) -> String {
    format!("{}>{}", from.name(), to.name())
}

/// A value on which two versions differ, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// What the one says and what the other: `accepted>rejected`.
    pub change: String,
    /// The entity's own name.
    pub entity: String,
    /// The attribute's name.
    pub attribute: String,
    /// When the value was seen, RFC 3339.
    pub observed_at: String,
    /// The value as JSON.
    pub value: String,
    /// The one's code, or replacement as JSON. Where the two derive different values, they follow:
    /// `derived {"dew_point":16.7}`.
    pub before: String,
    /// The other's.
    pub after: String,
}

/// Most characters of a value that are shown.
const SHOWN: usize = 200;

/// Derived values for people, as a JSON object.
fn write_derived(derived: &[&Derived], out: &mut String) {
    out.push_str("derived {");
    for (i, d) in derived.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(&serde_json::Value::from(&*d.attribute).to_string());
        out.push(':');
        d.value.write_json(out);
    }
    out.push('}');
}

impl Difference {
    /// About a row of a batch.
    pub fn of(batch: &Batch, row: usize, before: &ByRow<'_>, after: &ByRow<'_>) -> Option<Self> {
        let r = batch.rows.get(row)?;
        let json = |value: &Value| {
            let mut text = String::new();
            value.write_json(&mut text);
            text.chars().take(SHOWN).collect::<String>()
        };
        let derived = (before.derived(row), after.derived(row));
        let same = is_same_derived(&derived.0, &derived.1);
        let said = |by: &ByRow<'_>, derived: &[&Derived]| {
            let said = by.rows.get(row)?;
            let mut text = said.value.map_or_else(|| said.code.to_owned(), json);
            if !same {
                if !text.is_empty() {
                    text.push(' ');
                }
                write_derived(derived, &mut text);
            }
            Some(text.chars().take(2 * SHOWN).collect())
        };
        Some(Self {
            change: change(before.verdict(row), after.verdict(row)),
            entity: batch.entities.get(r.entity as usize)?.external_id.to_string(),
            attribute: batch.attributes.get(r.attribute as usize)?.name.to_string(),
            observed_at: r.observed_at.to_string(),
            value: json(&r.value),
            before: said(before, &derived.0)?,
            after: said(after, &derived.1)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{AttributeInfo, EntityInfo, Reason, Row};
    use crate::{Code, Decimal, Timestamp, ValueType};
    use proptest::prelude::*;

    fn reason(code: &'static str) -> Reason {
        Reason { code: Code(code.into()), text: String::new() }
    }

    #[test]
    fn differences_are_of_verdict_code_or_value() {
        let one = Decision {
            rejected: vec![(0, 0), (1, 0)],
            reasons: vec![reason("above_range")],
            replaced: vec![(2, Value::Integer(1))],
            ..Decision::default()
        };
        let two = Decision {
            rejected: vec![(1, 0)],
            reasons: vec![reason("stuck")],
            replaced: vec![(2, Value::Integer(1))],
            ..Decision::default()
        };
        let one = ByRow::new(5, Judgement { decision: &one, failed: &[(4, 5)] });
        let two = ByRow::new(5, Judgement { decision: &two, failed: &[] });
        let mut found = Vec::new();
        one.differences(&two, |row| found.push((row, change(one.verdict(row), two.verdict(row)))));
        let expected = [(0, "rejected>accepted"), (1, "rejected>rejected"), (4, "failed>accepted")];
        assert_eq!(found, expected.map(|(row, text)| (row, text.to_owned())));
        let mut counts = BTreeMap::new();
        one.count(&mut counts);
        let counts: Vec<(&str, u64)> = counts.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        assert_eq!(counts, [("accepted", 1), ("failed", 1), ("rejected:above_range", 2), ("replaced", 1)]);
    }

    fn derived(row: u32, attribute: &str, value: Value) -> Derived {
        Derived { row, attribute: attribute.into(), value }
    }

    fn deriving(derived: Vec<Derived>) -> Decision {
        Decision { derived, ..Decision::default() }
    }

    /// The rows on which two decisions differ, of so many.
    fn differing(rows: usize, one: &Decision, two: &Decision) -> Vec<usize> {
        let by = |decision| ByRow::new(rows, Judgement { decision, failed: &[] });
        let mut found = Vec::new();
        by(one).differences(&by(two), |row| found.push(row));
        found
    }

    #[test]
    fn other_derived_values_are_a_difference_and_their_order_is_none() {
        let one = deriving(vec![
            derived(0, "dew_point", Value::Float(16.7)),
            derived(0, "near_limit", Value::Boolean(true)),
            derived(1, "dew_point", Value::Float(3.0)),
            derived(2, "dew_point", Value::Float(4.0)),
        ]);
        let two = deriving(vec![
            derived(2, "frost_point", Value::Float(4.0)),
            derived(1, "dew_point", Value::Float(3.5)),
            derived(0, "near_limit", Value::Boolean(true)),
            derived(0, "dew_point", Value::Float(16.7)),
        ]);
        assert_eq!(differing(4, &one, &two), [1, 2]);
        assert!(differing(4, &one, &one).is_empty());
        assert_eq!(differing(4, &one, &deriving(Vec::new())), [0, 1, 2]);
        // What names a row that is not there is nobody's.
        assert!(differing(1, &one, &two).is_empty());
    }

    #[test]
    fn rows_beside_others_are_neither_counted_nor_compared() {
        let mut one = deriving(vec![derived(0, "x", Value::Float(1.0)), derived(2, "x", Value::Float(1.0))]);
        (one.rejected, one.reasons) = (vec![(1, 0), (2, 0)], vec![reason("above_range")]);
        let two = deriving(Vec::new());
        let by = |decision, beside| ByRow::new(4, Judgement { decision, failed: &[] }).without(beside);
        let mut differing = Vec::new();
        by(&one, &[0, 1]).differences(&by(&two, &[0, 1]), |row| differing.push(row));
        let mut counts = BTreeMap::new();
        by(&one, &[0, 1]).count(&mut counts);
        let expected = [("accepted", 1), ("derived", 1), ("rejected:above_range", 1)];
        assert_eq!(differing, [2]);
        assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)).into());
    }

    #[test]
    fn values_are_told_apart_to_the_last_bit_and_digit() {
        let decimal = |text: &str| Value::Decimal(text.parse::<Decimal>().unwrap());
        let other_nan = f64::from_bits(f64::NAN.to_bits() | 1);
        let pairs = [
            (Value::Float(0.0), Value::Float(-0.0)),
            (Value::Float(0.1), Value::Float(0.1 + f64::EPSILON / 8.0)),
            (Value::Float(f64::NAN), Value::Float(other_nan)),
            (Value::Float(1.0), Value::Integer(1)),
            (decimal("1.5"), decimal("1.50")),
            (Value::Integer(i64::MAX), Value::Integer(i64::MAX - 1)),
            (Value::String("a".into()), Value::String("A".into())),
        ];
        for (a, b) in pairs {
            for same in [&a, &b] {
                let said = deriving(vec![derived(0, "x", same.clone())]);
                assert!(differing(1, &said, &said.clone()).is_empty(), "{same:?} is itself");
                let put = Decision { replaced: vec![(0, same.clone())], ..Decision::default() };
                assert!(differing(1, &put, &put.clone()).is_empty(), "{same:?} is itself");
            }
            let say = |v: &Value| deriving(vec![derived(0, "x", v.clone())]);
            assert_eq!(differing(1, &say(&a), &say(&b)), [0], "{a:?} and {b:?}");
            let put = |v: &Value| Decision { replaced: vec![(0, v.clone())], ..Decision::default() };
            assert_eq!(differing(1, &put(&a), &put(&b)), [0], "{a:?} and {b:?}");
        }
    }

    #[test]
    fn a_difference_shows_what_is_derived_where_that_differs() {
        let observed_at = Timestamp::from_micros(0).unwrap();
        let batch = Batch {
            entities: vec![EntityInfo { external_id: "room-1".into(), entity_type: "".into() }],
            attributes: vec![AttributeInfo {
                name: "t".into(),
                value_type: ValueType::Float,
                unit: "".into(),
            }],
            rows: vec![Row { entity: 0, attribute: 0, observed_at, value: Value::Float(25.0) }],
            previous: Vec::new(),
        };
        let mut one = deriving(vec![derived(0, "b", Value::Float(2.0)), derived(0, "a", Value::Float(16.7))]);
        let two = deriving(vec![derived(0, "a", Value::Float(17.0))]);
        let of = |one: &Decision, two: &Decision| {
            let by = |decision| ByRow::new(1, Judgement { decision, failed: &[] });
            let shown = Difference::of(&batch, 0, &by(one), &by(two)).unwrap();
            (shown.change, shown.before, shown.after)
        };
        let shown = of(&one, &two);
        assert_eq!(shown.0, "accepted>accepted");
        assert_eq!((&*shown.1, &*shown.2), (r#"derived {"a":16.7,"b":2.0}"#, r#"derived {"a":17.0}"#));
        assert_eq!(of(&two, &deriving(Vec::new())).2, "derived {}");
        one.replaced.push((0, Value::Float(24.5)));
        assert_eq!(of(&one, &two).1, r#"24.5 derived {"a":16.7,"b":2.0}"#);
        // What is the same is not repeated.
        let derives = one.derived.clone();
        assert_eq!(of(&one, &deriving(derives)).1, "24.5");
    }

    fn some_value() -> impl Strategy<Value = Value> {
        let bits = [0.0, -0.0, 1.5, f64::NAN].map(f64::to_bits);
        prop_oneof![
            prop::sample::select(bits.to_vec()).prop_map(|bits| Value::Float(f64::from_bits(bits))),
            (0..2_i64).prop_map(Value::Integer),
            (10..12_i64, 0..2_u32).prop_map(|(digits, scale)| Value::Decimal(Decimal::new(digits, scale))),
            any::<bool>().prop_map(Value::Boolean),
            "[ab]".prop_map(|text| Value::String(text.into())),
        ]
    }

    fn some_derived() -> impl Strategy<Value = Vec<Derived>> {
        let one = (0..5_u32, "[xy]", some_value()).prop_map(|(row, name, value)| derived(row, &name, value));
        prop::collection::vec(one, 0..8)
    }

    /// What is derived from a row, each as a text in which every bit and digit counts.
    fn plainly(all: &[Derived], row: usize) -> Vec<String> {
        let text = |d: &Derived| match &d.value {
            Value::Float(f) => format!("{} {:016x}", d.attribute, f.to_bits()),
            Value::Decimal(digits) => format!("{} decimal {digits}", d.attribute),
            other => format!("{} {other:?}", d.attribute),
        };
        let mut of_row: Vec<String> = all.iter().filter(|d| d.row as usize == row).map(text).collect();
        of_row.sort();
        of_row
    }

    proptest! {
        #[test]
        fn rows_differ_where_what_is_derived_does(one in some_derived(), two in some_derived()) {
            const ROWS: usize = 4;
            let expected: Vec<usize> =
                (0..ROWS).filter(|row| plainly(&one, *row) != plainly(&two, *row)).collect();
            let (one, two) = (deriving(one), deriving(two));
            prop_assert_eq!(differing(ROWS, &one, &two), expected.clone());
            prop_assert_eq!(differing(ROWS, &two, &one), expected);
        }

        #[test]
        fn the_order_of_what_is_derived_makes_no_difference(
            (said, mixed) in some_derived().prop_flat_map(|d| (Just(d.clone()), Just(d).prop_shuffle())),
        ) {
            prop_assert!(differing(4, &deriving(said), &deriving(mixed)).is_empty());
        }
    }
}
