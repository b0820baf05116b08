//! A run's step keeps the budget, leaves alone what is pinned, and does not swing.

use eaves_model::batch::Reason;
use eaves_model::hot::step::{Hold, Pin, Standing, Step, by_plugin, by_rule, cooldown};
use eaves_model::hot::{Rule, row_bytes};
use eaves_model::promotion::{AttributeStatistics, PromotionDecision, Statistics, Verdict};
use eaves_model::{Code, ValueType};
use proptest::prelude::*;

const DAY: f64 = 86_400.0;

fn attribute(n: usize, hot: bool, filters: f64, bytes: f64) -> AttributeStatistics {
    AttributeStatistics {
        name: format!("a{n}").into(),
        value_type: ValueType::Float,
        unit: "".into(),
        hot,
        settled_seconds: 1e9,
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

fn proposal(attribute: u32, verdict: Verdict) -> PromotionDecision {
    let reason = Reason { code: Code("wanted".into()), text: "because".into() };
    PromotionDecision { attribute, verdict, reason }
}

fn bytes(statistics: &Statistics) -> f64 {
    statistics.attributes.iter().filter(|a| a.hot).map(|a| row_bytes(a, 100)).sum()
}

fn hot(statistics: &Statistics) -> usize {
    statistics.attributes.iter().filter(|a| a.hot).count()
}

fn apply(statistics: &mut Statistics, standing: &mut [Standing], step: &Step) {
    for change in &step.changes {
        let at = change.attribute as usize;
        let attribute = &mut statistics.attributes[at];
        let to = change.verdict == Verdict::Promote;
        assert_ne!(attribute.hot, to, "{} is so already", attribute.name);
        (attribute.hot, attribute.settled_seconds) = (to, 0.0);
        standing[at].recent_changes += 1;
    }
}

#[test]
fn a_plugins_proposals_are_followed_as_far_as_they_may_be() {
    // Each takes 44 bytes: two fit.
    let all = (0..4).map(|n| attribute(n, n == 0, 0.0, 8.0)).collect();
    let statistics = of(all, 90);
    let standing = [Standing::default(); 4];
    let rule = Rule::default();
    let wanted = vec![
        proposal(1, Verdict::Promote),
        proposal(2, Verdict::Promote),
        proposal(3, Verdict::Promote),
        proposal(0, Verdict::Demote),
        proposal(9, Verdict::Promote),
    ];
    let step = by_plugin(&statistics, &standing, wanted.clone(), &rule);
    let changes: Vec<_> = step.changes.iter().map(|d| (d.attribute, d.verdict)).collect();
    assert_eq!(changes, [(0, Verdict::Demote), (1, Verdict::Promote), (2, Verdict::Promote)]);
    assert_eq!(step.held, [(proposal(3, Verdict::Promote), Hold::NoRoom)]);

    // Room for one place only; one is pinned, one has just changed.
    let mut young = statistics.clone();
    young.attributes[2].settled_seconds = 1.0;
    let standing =
        [Standing { pin: Some(Pin::Hot), ..Standing::default() }, standing[1], standing[2], standing[3]];
    let step = by_plugin(&young, &standing, wanted, &Rule { most: 2, ..rule });
    assert_eq!(step.changes, [proposal(1, Verdict::Promote)]);
    let held: Vec<_> = step.held.iter().map(|(d, why)| (d.attribute, *why)).collect();
    assert_eq!(held, [(0, Hold::Pinned), (2, Hold::Cooldown), (3, Hold::NoRoom)]);
}

#[test]
fn a_pinned_attribute_keeps_its_place_from_the_rule() {
    let all =
        vec![attribute(0, true, 0.0, 8.0), attribute(1, false, 9.0, 8.0), attribute(2, false, 1.0, 8.0)];
    let statistics = of(all, 50);
    let rule = Rule { share: 1.0, ..Rule::default() };
    let free = [Standing::default(); 3];
    assert_eq!(by_rule(&statistics, &free, &rule).changes.len(), 2);
    let pinned = |at: usize, pin: Pin| {
        let mut all = free;
        all[at].pin = Some(pin);
        by_rule(&statistics, &all, &rule).changes
    };
    assert_eq!(pinned(0, Pin::Hot), []);
    let changes: Vec<_> = pinned(1, Pin::Cold).iter().map(|d| (d.attribute, d.verdict)).collect();
    assert_eq!(changes, [(0, Verdict::Demote), (2, Verdict::Promote)]);
}

#[test]
fn who_changes_often_waits_longer() {
    let after = |recent_changes| cooldown(&Standing { pin: None, recent_changes }, 10.0);
    assert_eq!([0, 1, 2, 3, 6, 100].map(after), [10.0, 10.0, 20.0, 40.0, 320.0, 320.0]);
}

fn pins() -> impl Strategy<Value = Option<Pin>> {
    prop_oneof![6 => Just(None), 1 => Just(Some(Pin::Hot)), 1 => Just(Some(Pin::Cold))]
}

proptest! {
    /// Whatever is proposed by whom.
    #[test]
    fn budgets_and_pins_hold(
        rows in prop::collection::vec(
            (any::<bool>(), 0..20_u32, 0..200_u32, pins(), 0..4_u32, prop::sample::select(vec![0.0, 2.0 * DAY, 1e9])), 0..30),
        wanted in prop::collection::vec((0..40_u32, prop::sample::select(vec![Verdict::Keep, Verdict::Promote, Verdict::Demote])), 0..40),
        budget in 0..2000_u32,
        most in 0..20_u32,
        ask_the_plugin in any::<bool>(),
    ) {
        let rule = Rule { most, ..Rule::default() };
        let all = rows.iter().enumerate().map(|(n, (hot, filters, bytes, .., settled))| AttributeStatistics {
            settled_seconds: *settled,
            ..attribute(n, *hot, f64::from(*filters), f64::from(*bytes))
        });
        let mut statistics = of(all.collect(), budget);
        let mut standing: Vec<Standing> = rows.iter()
            .map(|(.., pin, recent_changes, _)| Standing { pin: *pin, recent_changes: *recent_changes }).collect();
        let mut seen = std::collections::HashSet::new();
        let wanted: Vec<_> = wanted.into_iter().filter(|(at, _)| seen.insert(*at)).map(|(at, v)| proposal(at, v)).collect();
        let (was, before) = (statistics.clone(), standing.clone());
        let step = match ask_the_plugin {
            true => by_plugin(&statistics, &standing, wanted.clone(), &rule),
            false => by_rule(&statistics, &standing, &rule),
        };
        for change in &step.changes {
            let at = change.attribute as usize;
            prop_assert_eq!(before[at].pin, None);
            prop_assert!(was.attributes[at].settled_seconds >= cooldown(&before[at], rule.cooldown_seconds));
        }
        // Of a plugin nothing is lost: what is not followed is told.
        if ask_the_plugin {
            let told = step.changes.len() + step.held.len();
            let meant = wanted.iter().filter(|d| was.attributes.get(d.attribute as usize)
                .is_some_and(|a| match d.verdict { Verdict::Keep => false, v => a.hot != (v == Verdict::Promote) })).count();
            prop_assert_eq!(told, meant);
        }
        apply(&mut statistics, &mut standing, &step);
        let promoted = step.changes.iter().any(|d| d.verdict == Verdict::Promote);
        prop_assert!(bytes(&statistics) <= f64::from(budget).max(bytes(&was)) + 1e-6);
        prop_assert!(!promoted || bytes(&statistics) <= f64::from(budget) + 1e-6);
        prop_assert!(!promoted || hot(&statistics) <= most as usize);
    }

    /// Demand that swings by less than the hysteresis changes nothing after the first run.
    #[test]
    fn a_swing_within_the_hysteresis_moves_nobody(
        demands in prop::collection::vec(1..1000_u32, 2..20),
        swings in prop::collection::vec(prop::collection::vec(0.0..1.0_f64, 20), 1..12),
        budget in 44..600_u32,
    ) {
        // All of one size, so that only the demand decides; and all of the demand is wanted.
        let rule = Rule { share: 1.0, hysteresis: 1.5, most: 1000, ..Rule::default() };
        let all = demands.iter().enumerate().map(|(n, d)| AttributeStatistics {
            name: format!("a{n:03}").into(),
            ..attribute(n, false, f64::from(*d), 8.0)
        });
        let mut statistics = of(all.collect(), budget);
        let mut standing = vec![Standing::default(); demands.len()];
        let first = by_rule(&statistics, &standing, &rule);
        apply(&mut statistics, &mut standing, &first);
        for swing in swings {
            for (n, a) in statistics.attributes.iter_mut().enumerate() {
                // By at most a tenth up and down: a ratio of 1.1 / 0.9 < 1.5.
                a.filters_per_second = f64::from(demands[n]) * (0.9 + 0.2 * swing[n % swing.len()]);
                a.settled_seconds = 1e9;
            }
            prop_assert_eq!(by_rule(&statistics, &standing, &rule), Step::default());
        }
    }

    /// A plugin that wants the opposite each time changes an attribute a few times a week at most.
    #[test]
    fn a_plugin_that_swings_is_slowed_down(every_hours in 1..30_u32) {
        let rule = Rule { cooldown_seconds: DAY, ..Rule::default() };
        let mut statistics = of(vec![attribute(0, false, 1.0, 8.0)], 1000);
        let mut standing = [Standing::default()];
        let mut changed_at: Vec<f64> = Vec::new();
        let pause = f64::from(every_hours) * 3600.0;
        for run in 0..(14.0 * DAY / pause) as u32 {
            let now = f64::from(run) * pause;
            standing[0].recent_changes = changed_at.iter().filter(|at| now - **at <= 7.0 * DAY).count() as u32;
            statistics.attributes[0].settled_seconds = changed_at.last().map_or(1e9, |at| now - at);
            let verdict = if statistics.attributes[0].hot { Verdict::Demote } else { Verdict::Promote };
            let step = by_plugin(&statistics, &standing, vec![proposal(0, verdict)], &rule);
            if !step.changes.is_empty() {
                changed_at.push(now);
            }
            apply(&mut statistics, &mut standing, &step);
        }
        // At once, then after 1, 2, 4 … days; in the second week much the same again.
        prop_assert!((2..=8).contains(&changed_at.len()), "{changed_at:?}");
        let first_week = changed_at.iter().filter(|at| **at <= 7.0 * DAY).count();
        prop_assert!(first_week <= 4, "{changed_at:?}");
    }
}
