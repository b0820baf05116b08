//! A run as it is kept: each decision with the figures it was made on.

use eaves_model::hot::step::Step;
use eaves_model::hot::{demand, row_bytes, simulate};
use eaves_model::promotion::{AttributeStatistics, PromotionDecision, Verdict};
use eaves_registry::Activation;
use eaves_store::read::{DecidingPlugin, HeldProposal, HotRun, HotStatistics, RunDecision};
use serde_json::{Value, json};

/// Most proposals not followed that are kept of a run.
const HELD: usize = 100;

pub(crate) fn run(
    found: &HotStatistics,
    step: &Step,
    plugin: Option<&Activation>,
    failure: Option<String>,
) -> HotRun {
    let all = &found.statistics.attributes;
    let (before, after) = simulate(&found.statistics, &step.changes);
    let whole = json!({
        "window_seconds": found.statistics.window_seconds.round(),
        "byte_budget": found.statistics.byte_budget,
        "hot_limit": found.hot_limit,
        "before": {"attributes": before.attributes, "row_bytes": rounded(before.row_bytes), "demand_share": rounded(before.demand_share)},
        "after": {"attributes": after.attributes, "row_bytes": rounded(after.row_bytes), "demand_share": rounded(after.demand_share)},
    });
    let decision = |d: &PromotionDecision| {
        let attribute = all.get(d.attribute as usize)?;
        Some(RunDecision {
            attribute: attribute.name.to_string(),
            change: named(d.verdict)?,
            code: d.reason.code.0.to_string(),
            reason: text(&d.reason.text),
            statistics: seen(attribute, found, &whole),
        })
    };
    let held = |(d, why): &(PromotionDecision, eaves_model::hot::step::Hold)| {
        let attribute = all.get(d.attribute as usize)?;
        let reason = text(&d.reason.text);
        Some(HeldProposal {
            attribute: attribute.name.to_string(),
            change: named(d.verdict)?,
            why: why.name(),
            reason,
        })
    };
    let by = |p: &Activation| format!("plugin {} {}", p.name, p.version);
    HotRun {
        seen_at: found.read_at.map_or(0, eaves_model::Timestamp::as_micros),
        rule: if plugin.is_some() { "plugin" } else { "default" },
        by: plugin.map_or_else(|| "the built-in rule".to_owned(), by),
        plugin: plugin.map(|p| DecidingPlugin {
            name: p.name.clone(),
            version: p.version.clone(),
            digest: p.digest.clone(),
        }),
        attributes: u32::try_from(all.len()).unwrap_or(u32::MAX),
        failure: failure.as_deref().map(text),
        held: step.held.iter().take(HELD).filter_map(held).collect(),
        decisions: step.changes.iter().filter_map(decision).collect(),
    }
}

fn named(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Keep => None,
        Verdict::Promote => Some("promote"),
        Verdict::Demote => Some("demote"),
    }
}

/// What was seen of an attribute, and of all.
fn seen(a: &AttributeStatistics, found: &HotStatistics, whole: &Value) -> Value {
    let mut seen = json!({
        "hot": a.hot,
        "settled_seconds": a.settled_seconds.round(),
        "writes_per_second": a.writes_per_second,
        "entities": a.entities,
        "distinct_values": a.distinct_values,
        "change_ratio": a.change_ratio,
        "value_bytes": rounded(a.value_bytes),
        "row_bytes": rounded(row_bytes(a, found.statistics.tenant_entities)),
        "filters_per_second": a.filters_per_second,
        "returns_per_second": a.returns_per_second,
        "queries_per_second": demand(a),
        "query_milliseconds": rounded(a.query_milliseconds),
    });
    for (name, value) in whole.as_object().into_iter().flatten() {
        seen[name] = value.clone();
    }
    seen
}

fn rounded(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

/// A plugin's text as the database can hold it.
fn text(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(1000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use eaves_model::batch::Reason;
    use eaves_model::promotion::Statistics;
    use eaves_model::{Code, ValueType};

    #[test]
    fn a_decision_is_kept_with_what_it_was_made_on() {
        let attribute = AttributeStatistics {
            name: "serial".into(),
            value_type: ValueType::String,
            unit: "".into(),
            hot: false,
            settled_seconds: 100_000.4,
            writes_per_second: 2.0,
            entities: 10,
            distinct_values: 10,
            change_ratio: f64::NAN,
            value_bytes: 9.0,
            filters_per_second: 0.5,
            returns_per_second: 0.0,
            query_milliseconds: 3.0,
        };
        let statistics = Statistics {
            window_seconds: 7200.0,
            tenant_entities: 10,
            byte_budget: 1600,
            attributes: vec![attribute],
        };
        let reason = Reason { code: Code("asked_for".into()), text: "a\0b\nc".into() };
        let change = PromotionDecision { attribute: 0, verdict: Verdict::Promote, reason };
        let step = Step { changes: vec![change], held: Vec::new() };
        let found = HotStatistics { statistics, hot_limit: 64, ..HotStatistics::default() };
        let run = run(&found, &step, None, None);
        let decision = &run.decisions[0];
        assert_eq!((&*decision.attribute, decision.change, &*decision.reason), ("serial", "promote", "abc"));
        let seen = &decision.statistics;
        assert_eq!((&seen["filters_per_second"], &seen["row_bytes"]), (&json!(0.5), &json!(53.0)));
        assert_eq!((&seen["before"]["attributes"], &seen["after"]["attributes"]), (&json!(0), &json!(1)));
        // Not known: JSON has no number for it.
        assert_eq!(seen["change_ratio"], Value::Null);
        assert_eq!((run.rule, run.seen_at, run.attributes), ("default", 0, 1));
    }
}
