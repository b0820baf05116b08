//! What two plugin versions say of the same values, compared.

use crate::Value;
use crate::batch::{Batch, Decision};
use serde::{Deserialize, Serialize};
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
    derived: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Said<'a> {
    verdict: Verdict,
    code: &'a str,
    value: Option<&'a Value>,
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
        let mut derived = vec![0; rows];
        for d in &decision.derived {
            if let Some(count) = derived.get_mut(d.row as usize) {
                *count += 1;
            }
        }
        Self { rows: all, derived }
    }

    /// The verdict on a row; accepted if there is no such row.
    pub fn verdict(&self, row: usize) -> Verdict {
        self.rows.get(row).map_or(Verdict::Accepted, |s| s.verdict)
    }

    /// The code with which a row is rejected; empty if it is not.
    pub fn code(&self, row: usize) -> &'a str {
        self.rows.get(row).map_or("", |s| s.code)
    }

    /// How many values are derived from a row.
    pub fn derived(&self, row: usize) -> u32 {
        self.derived.get(row).copied().unwrap_or_default()
    }

    /// Adds up the verdicts: `accepted`, `replaced`, `failed`, `rejected:<code>`, `derived`.
    pub fn count(&self, into: &mut BTreeMap<String, u64>) {
        let mut plain = [0u64; 3];
        let mut rejected: BTreeMap<&str, u64> = BTreeMap::new();
        for said in &self.rows {
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
        add(into, "derived", self.derived.iter().map(|n| u64::from(*n)).sum());
    }

    /// Calls `found` with each row on which the other says something else: another verdict,
    /// another code, another value, or more or fewer derived values.
    pub fn differences(&self, other: &Self, mut found: impl FnMut(usize)) {
        for row in 0..self.rows.len().min(other.rows.len()) {
            if self.rows[row] != other.rows[row] || self.derived[row] != other.derived[row] {
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
    /// The one's code, or replacement as JSON.
    pub before: String,
    /// The other's.
    pub after: String,
}

impl Difference {
    /// About a row of a batch.
    pub fn of(batch: &Batch, row: usize, before: &ByRow<'_>, after: &ByRow<'_>) -> Option<Self> {
        let r = batch.rows.get(row)?;
        let json = |value: &Value| {
            let mut text = String::new();
            value.write_json(&mut text);
            text.chars().take(200).collect::<String>()
        };
        let said = |by: &ByRow<'_>| {
            let said = by.rows.get(row)?;
            Some(said.value.map_or_else(|| said.code.to_owned(), json))
        };
        Some(Self {
            change: change(before.verdict(row), after.verdict(row)),
            entity: batch.entities.get(r.entity as usize)?.external_id.to_string(),
            attribute: batch.attributes.get(r.attribute as usize)?.name.to_string(),
            observed_at: r.observed_at.to_string(),
            value: json(&r.value),
            before: said(before)?,
            after: said(after)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use crate::batch::Reason;

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
}
