//! The built-in rule keeps its budget, does not take turns, and says what it would bring.

use eaves_model::ValueType;
use eaves_model::hot::{Rule, decide, demand, row_bytes, simulate};
use eaves_model::promotion::{AttributeStatistics, PromotionDecision, Statistics, Verdict};
use proptest::prelude::*;

fn attribute(n: usize, hot: bool, filters: f64, bytes: f64, settled: f64) -> AttributeStatistics {
    AttributeStatistics {
        name: format!("a{n}").into(),
        value_type: ValueType::Float,
        unit: "".into(),
        hot,
        settled_seconds: settled,
        writes_per_second: 1.0,
        entities: 100,
        distinct_values: 10,
        change_ratio: 0.5,
        value_bytes: bytes,
        filters_per_second: filters,
        returns_per_second: 0.0,
        query_milliseconds: 1.0,
    }
}

fn of(attributes: Vec<AttributeStatistics>, byte_budget: u32) -> Statistics {
    Statistics { window_seconds: 3600.0, tenant_entities: 100, byte_budget, attributes }
}

fn named<'a>(statistics: &'a Statistics, decisions: &[PromotionDecision], verdict: Verdict) -> Vec<&'a str> {
    let chosen = decisions.iter().filter(|d| d.verdict == verdict);
    chosen.map(|d| &*statistics.attributes[d.attribute as usize].name).collect()
}

fn apply(statistics: &mut Statistics, decisions: &[PromotionDecision]) {
    for d in decisions {
        statistics.attributes[d.attribute as usize].hot = d.verdict == Verdict::Promote;
    }
}

const OLD: f64 = 1e9;

#[test]
fn what_serves_most_of_the_queries_becomes_hot() {
    let demands = [50.0, 20.0, 15.0, 10.0, 5.0, 0.0];
    let all = demands.iter().enumerate().map(|(n, d)| attribute(n, false, *d, 8.0, OLD)).collect();
    let statistics = of(all, 10_000);
    let decisions = decide(&statistics, &Rule::default());
    assert_eq!(named(&statistics, &decisions, Verdict::Promote), ["a0", "a1", "a2"]);
    let (before, after) = simulate(&statistics, &decisions);
    assert_eq!((before.attributes, before.demand_share, before.write_amplification), (0, 0.0, 1.0));
    assert_eq!((after.attributes, after.demand_share, after.write_amplification), (3, 0.85, 1.5));
    assert_eq!(after.row_bytes, 3.0 * (4.0 + 8.0 + 32.0));
    assert_eq!(after.fast_filters_per_second, 85.0);
}

#[test]
fn what_is_hot_leaves_only_to_make_room() {
    let all = vec![attribute(0, true, 0.0, 8.0, OLD), attribute(1, false, 3.0, 8.0, OLD)];
    let wide = of(all, 1000);
    let decisions = decide(&wide, &Rule::default());
    assert_eq!((decisions.len(), decisions[0].verdict), (1, Verdict::Promote));
    // One fits.
    let narrow = Statistics { byte_budget: 50, ..wide };
    let decisions = decide(&narrow, &Rule::default());
    assert_eq!(decisions.iter().map(|d| d.verdict).collect::<Vec<_>>(), [Verdict::Demote, Verdict::Promote]);
    assert!(decisions.iter().all(|d| !d.reason.text.is_empty()));
}

#[test]
fn a_little_more_demand_takes_no_place() {
    let one = |filters| {
        let all = vec![attribute(0, true, 1.0, 8.0, OLD), attribute(1, false, filters, 8.0, OLD)];
        decide(&of(all, 50), &Rule { share: 1.0, ..Rule::default() }).len()
    };
    assert_eq!((one(1.4), one(1.6)), (0, 2));
}

#[test]
fn what_has_just_changed_stays() {
    let rule = Rule { cooldown_seconds: 100.0, ..Rule::default() };
    let all = vec![attribute(0, true, 0.0, 8.0, 99.0), attribute(1, false, 9.0, 8.0, 99.0)];
    assert_eq!(decide(&of(all.clone(), 50), &rule), []);
    assert_eq!(decide(&of(all, 0), &rule), []);
}

proptest! {
    #[test]
    fn budgets_hold_and_nothing_swings(
        rows in proptest::collection::vec(
            (any::<bool>(), 0..20_u32, 0..200_u32, 0..120_u64, prop::sample::select(vec![0.0, 50.0, 1e6])), 0..40),
        budget in 0..3000_u32,
        most in 0..20_u32,
        share in 0.0..1.0_f64,
    ) {
        let rule = Rule { share, most, cooldown_seconds: 100.0, ..Rule::default() };
        let all = rows.iter().enumerate().map(|(n, (hot, filters, bytes, entities, settled))| AttributeStatistics {
            entities: *entities,
            ..attribute(n, *hot, f64::from(*filters), f64::from(*bytes), *settled)
        });
        let mut statistics = of(all.collect(), budget);
        let before = statistics.clone();
        let decisions = decide(&statistics, &rule);
        for d in &decisions {
            let a = &before.attributes[d.attribute as usize];
            prop_assert!(a.settled_seconds >= rule.cooldown_seconds);
            prop_assert_eq!(a.hot, d.verdict == Verdict::Demote);
            prop_assert!(d.verdict != Verdict::Promote || demand(a) > 0.0);
        }
        let (was, would) = simulate(&statistics, &decisions);
        apply(&mut statistics, &decisions);
        // What may not change is not taken back, and nothing is added to it.
        let fixed: f64 = before.attributes.iter().filter(|a| a.hot && a.settled_seconds < rule.cooldown_seconds)
            .map(|a| row_bytes(a, 100)).sum();
        prop_assert!(would.row_bytes <= f64::from(budget).max(fixed) + 1e-6, "{:?} {:?}", was, would);
        // Nobody is made to leave for somebody who is asked for less.
        let least_in = decisions.iter().filter(|d| d.verdict == Verdict::Promote)
            .map(|d| demand(&before.attributes[d.attribute as usize])).fold(f64::INFINITY, f64::min);
        for d in decisions.iter().filter(|d| d.verdict == Verdict::Demote && least_in.is_finite()) {
            let a = &before.attributes[d.attribute as usize];
            let fits_alone = row_bytes(a, 100) <= f64::from(budget) && most > 0;
            // Too large for what is left is the one other reason.
            let room = f64::from(budget) - would.row_bytes;
            prop_assert!(demand(a) * rule.hysteresis <= least_in || row_bytes(a, 100) > room || !fits_alone || would.attributes >= most);
        }
        // Asked again, with cooldowns over, it changes nothing.
        for a in &mut statistics.attributes {
            a.settled_seconds = if a.settled_seconds < rule.cooldown_seconds { a.settled_seconds } else { 1e9 };
        }
        prop_assert_eq!(decide(&statistics, &rule), []);
        let hot = statistics.attributes.iter().filter(|a| a.hot).count();
        prop_assert_eq!(hot, would.attributes as usize);
    }
}
