//! Cases of `promote`: statistics of attributes, and what is expected to become of each.

use super::cases::RawReason;
use anyhow::{Result, bail};
use eaves_model::ValueType;
use eaves_model::promotion::{AttributeStatistics, PromotionDecision, Statistics, Verdict};
use serde::Deserialize;
use std::collections::BTreeMap;

/// As a file writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStatistics {
    window_seconds: f64,
    tenant_entities: u64,
    byte_budget: u32,
    attributes: BTreeMap<String, RawAttribute>,
}

impl Default for RawStatistics {
    fn default() -> Self {
        Self { window_seconds: 3600.0, tenant_entities: 0, byte_budget: 0, attributes: BTreeMap::new() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAttribute {
    #[serde(rename = "type")]
    value_type: ValueType,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    hot: bool,
    #[serde(default)]
    settled_seconds: f64,
    #[serde(default)]
    writes_per_second: f64,
    #[serde(default)]
    entities: u64,
    #[serde(default)]
    distinct_values: u64,
    #[serde(default)]
    change_ratio: f64,
    #[serde(default)]
    value_bytes: f64,
    #[serde(default)]
    filters_per_second: f64,
    #[serde(default)]
    returns_per_second: f64,
    #[serde(default)]
    query_milliseconds: f64,
}

/// What is expected to become of an attribute, and why.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawPlace {
    Keep(RawReason),
    Promote(RawReason),
    Demote(RawReason),
}

/// Statistics, and what is expected of the attributes in them.
#[derive(Debug)]
pub(super) struct PromotionCase {
    pub(super) statistics: Statistics,
    /// By attribute; none where it is to keep its place, said or unsaid.
    expected: Vec<Option<Place>>,
}

/// A verdict, with the code of its reason and its text if that matters.
#[derive(Debug)]
struct Place {
    verdict: Verdict,
    code: String,
    text: Option<String>,
}

/// An attribute that got another place than expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) attribute: String,
    pub(super) expected: String,
    pub(super) got: String,
}

impl PromotionCase {
    /// None if the case has no statistics.
    pub(super) fn new(
        raw: Option<RawStatistics>,
        mut decide: BTreeMap<String, RawPlace>,
    ) -> Result<Option<Self>> {
        let mut expected = Vec::new();
        let mut statistics = Statistics::default();
        let is_about_promotion = raw.is_some();
        if let Some(raw) = raw {
            statistics.window_seconds = raw.window_seconds;
            statistics.tenant_entities = raw.tenant_entities;
            statistics.byte_budget = raw.byte_budget;
            for (name, known) in raw.attributes {
                expected.push(decide.remove(&name).map(Place::from));
                statistics.attributes.push(attribute(&name, known));
            }
        }
        if let Some(name) = decide.keys().next() {
            bail!("decide.{name}: `statistics.attributes` has no such attribute");
        }
        Ok(is_about_promotion.then_some(Self { statistics, expected }))
    }

    /// Where the decisions are not those that are expected.
    pub(super) fn differences(&self, decisions: &[PromotionDecision]) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (index, expected) in self.expected.iter().enumerate() {
            let got = decisions.iter().find(|d| d.attribute as usize == index);
            let same = match (expected, got) {
                (None, None) => true,
                (None, Some(got)) => got.verdict == Verdict::Keep,
                (Some(_), None) => false,
                (Some(expected), Some(got)) => expected.is(got),
            };
            if !same {
                differences.push(Difference {
                    attribute: self.statistics.attributes[index].name.to_string(),
                    expected: expected.as_ref().map_or("keep its place".into(), Place::shown),
                    got: got.map_or("no decision".into(), |d| {
                        shown(d.verdict, &d.reason.code.0, Some(&d.reason.text))
                    }),
                });
            }
        }
        differences
    }
}

impl From<RawPlace> for Place {
    fn from(raw: RawPlace) -> Self {
        let (verdict, reason) = match raw {
            RawPlace::Keep(reason) => (Verdict::Keep, reason),
            RawPlace::Promote(reason) => (Verdict::Promote, reason),
            RawPlace::Demote(reason) => (Verdict::Demote, reason),
        };
        let (code, text) = reason.parts();
        Self { verdict, code, text }
    }
}

impl Place {
    fn is(&self, got: &PromotionDecision) -> bool {
        self.verdict == got.verdict
            && *self.code == *got.reason.code.0
            && self.text.as_ref().is_none_or(|text| *text == got.reason.text)
    }

    fn shown(&self) -> String {
        shown(self.verdict, &self.code, self.text.as_deref())
    }
}

fn shown(verdict: Verdict, code: &str, text: Option<&str>) -> String {
    let verdict = match verdict {
        Verdict::Keep => "keep",
        Verdict::Promote => "promote",
        Verdict::Demote => "demote",
    };
    text.map_or_else(|| format!("{verdict} {code}"), |text| format!("{verdict} {code}: {text}"))
}

fn attribute(name: &str, known: RawAttribute) -> AttributeStatistics {
    AttributeStatistics {
        name: name.into(),
        value_type: known.value_type,
        unit: known.unit.into(),
        hot: known.hot,
        settled_seconds: known.settled_seconds,
        writes_per_second: known.writes_per_second,
        entities: known.entities,
        distinct_values: known.distinct_values,
        change_ratio: known.change_ratio,
        value_bytes: known.value_bytes,
        filters_per_second: known.filters_per_second,
        returns_per_second: known.returns_per_second,
        query_milliseconds: known.query_milliseconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eaves_model::Code;
    use eaves_model::batch::Reason;

    const CASE: &str = r#"
cases:
  - name: places
    statistics:
      byte_budget: 2048
      attributes:
        a: {type: float, unit: degC, filters_per_second: 2}
        b: {type: string, hot: true}
        c: {type: integer}
    decide:
      a: {promote: {code: read_often, text: twice}}
      b: {demote: hardly_read}
"#;

    fn decision(attribute: u32, verdict: Verdict, code: &'static str) -> PromotionDecision {
        let reason = Reason { code: Code(code.into()), text: "twice".into() };
        PromotionDecision { attribute, verdict, reason }
    }

    #[test]
    fn what_is_not_decided_as_expected_is_told() {
        let case = super::super::cases::parse(CASE, false).unwrap().remove(0).promotion.unwrap();
        assert_eq!((case.statistics.byte_budget, case.statistics.window_seconds), (2048, 3600.0));
        assert_eq!(&*case.statistics.attributes[0].unit, "degC");
        let right = [
            decision(1, Verdict::Demote, "hardly_read"),
            decision(0, Verdict::Promote, "read_often"),
            decision(2, Verdict::Keep, "settling"),
        ];
        assert_eq!(case.differences(&right), []);
        assert_eq!(case.differences(&right[..2]), []);
        let told =
            case.differences(&[decision(0, Verdict::Promote, "often"), decision(2, Verdict::Promote, "x")]);
        let told: Vec<_> = told.iter().map(|d| (&*d.attribute, &*d.expected, &*d.got)).collect();
        assert_eq!(
            told,
            [
                ("a", "promote read_often: twice", "promote often: twice"),
                ("b", "demote hardly_read", "no decision"),
                ("c", "keep its place", "promote x: twice"),
            ]
        );
    }

    #[test]
    fn a_case_that_is_wrong_says_where() {
        for (from, to, says) in [
            ("      b: {demote", "      d: {demote", "decide.d"),
            ("type: integer", "type: number", "number"),
            ("byte_budget", "budget", "budget"),
            ("{demote: hardly_read}", "{cool: hardly_read}", "cool"),
            ("    decide:", "    settings_fault: x\n    decide:", "statistics"),
        ] {
            let text = CASE.replacen(from, to, 1);
            assert_ne!(text, CASE);
            let why = format!("{:#}", super::super::cases::parse(&text, false).unwrap_err());
            assert!(why.contains(says), "{to}: {why}");
        }
    }
}
