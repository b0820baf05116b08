//! Which attributes should be hot: the built-in rule, and what a change would bring.
//!
//! Pure functions over [`Statistics`]; nothing here changes anything. [`step`] is what the
//! hot-projection function follows.

pub mod step;

use crate::Code;
use crate::batch::Reason;
use crate::promotion::{AttributeStatistics, PromotionDecision, Statistics, Verdict};
use std::cmp::Ordering;
use std::collections::HashSet;

/// Bytes that an attribute takes in the projection beside its name (twice: once with its value,
/// once with its time) and its value.
const OVERHEAD: f64 = 32.0;

/// Bytes of hot values of a mean entity, where nothing else is said. Rows above two kilobytes
/// are compressed and moved out of line by PostgreSQL, and dear to write from there on.
pub const BYTE_BUDGET: u32 = 1600;

/// Settings of the built-in rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Share of the demand that the hot attributes are to serve, from 0 to 1.
    pub share: f64,
    /// By how much an attribute that is not hot must be asked for more than one that is, to take
    /// its place; 1 or more.
    pub hysteresis: f64,
    /// An attribute that became hot, or ceased to be, stays so for this long.
    pub cooldown_seconds: f64,
    /// Most hot attributes.
    pub most: u32,
}

impl Default for Rule {
    fn default() -> Self {
        Self { share: 0.8, hysteresis: 1.5, cooldown_seconds: 86_400.0, most: 64 }
    }
}

/// How often queries per second name it: what a place in the projection is worth.
pub fn demand(attribute: &AttributeStatistics) -> f64 {
    let known = |x: f64| if x.is_finite() { x.max(0.0) } else { 0.0 };
    known(attribute.filters_per_second) + known(attribute.returns_per_second)
}

/// Bytes that it takes of a mean entity's hot row: not every entity has it.
pub fn row_bytes(attribute: &AttributeStatistics, tenant_entities: u64) -> f64 {
    let share = match tenant_entities {
        0 => 1.0,
        all => (attribute.entities as f64 / all as f64).min(1.0),
    };
    let value = if attribute.value_bytes.is_finite() { attribute.value_bytes.max(0.0) } else { 0.0 };
    (2.0 * attribute.name.len() as f64 + value + OVERHEAD) * share
}

/// What is taken of the budget.
struct Room {
    bytes: f64,
    places: usize,
}

impl Room {
    fn take(&mut self, bytes: f64) -> bool {
        let fits = self.places > 0 && bytes <= self.bytes;
        if fits {
            self.bytes -= bytes;
            self.places -= 1;
        }
        fits
    }
}

/// The built-in rule: the attributes asked for most, until they serve [`Rule::share`] of the
/// demand, as far as they fit into the byte budget and [`Rule::most`].
///
/// What is hot already stays while there is room, also if no query names it: whoever reads whole
/// entities sees it. So a demotion always makes room for something that is asked for more, or
/// brings a row back into its budget. Only changes are returned, demotions first.
pub fn decide(statistics: &Statistics, rule: &Rule) -> Vec<PromotionDecision> {
    let settled = |a: &AttributeStatistics| a.settled_seconds >= rule.cooldown_seconds;
    let free: Vec<bool> = statistics.attributes.iter().map(settled).collect();
    decide_among(statistics, rule, &free)
}

/// The same where only attributes that are `free`, by their index, may change.
fn decide_among(statistics: &Statistics, rule: &Rule, free: &[bool]) -> Vec<PromotionDecision> {
    let all = &statistics.attributes;
    let bytes: Vec<f64> = all.iter().map(|a| row_bytes(a, statistics.tenant_entities)).collect();
    // What is hot counts for more: two that are asked for alike do not take turns.
    let weight = |a: &AttributeStatistics| demand(a) * if a.hot { rule.hysteresis.max(1.0) } else { 1.0 };
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|a, b| {
        let heavier = weight(&all[*b]).partial_cmp(&weight(&all[*a])).unwrap_or(Ordering::Equal);
        heavier.then(all[*b].hot.cmp(&all[*a].hot)).then_with(|| all[*a].name.cmp(&all[*b].name))
    });

    let mut room = Room { bytes: f64::from(statistics.byte_budget), places: rule.most as usize };
    let mut chosen: HashSet<usize> = HashSet::new();
    // Those that may not change take their place whether it is there or not.
    for at in order.iter().copied().filter(|at| all[*at].hot && !free[*at]) {
        room.bytes -= bytes[at];
        room.places = room.places.saturating_sub(1);
        chosen.insert(at);
    }
    let total: f64 = all.iter().map(demand).sum();
    let mut served: f64 = chosen.iter().map(|at| demand(&all[*at])).sum();
    for at in order.iter().copied() {
        if served >= total * rule.share.clamp(0.0, 1.0) {
            break;
        }
        if demand(&all[at]) > 0.0 && free[at] && !chosen.contains(&at) && room.take(bytes[at]) {
            served += demand(&all[at]);
            chosen.insert(at);
        }
    }
    for at in order.iter().copied().filter(|at| all[*at].hot) {
        if !chosen.contains(&at) && room.take(bytes[at]) {
            chosen.insert(at);
        }
    }

    let change = |at: usize| {
        let a = &all[at];
        let (verdict, code, text) = match (a.hot, chosen.contains(&at)) {
            (true, false) => {
                let text =
                    format!("{:.4} queries/s name it, too few for its {:.0} bytes", demand(a), bytes[at]);
                (Verdict::Demote, "no_room", text)
            }
            (false, true) => {
                let share = if total > 0.0 { demand(a) / total * 100.0 } else { 0.0 };
                let text = format!("{share:.1} % of the demand for {:.0} bytes", bytes[at]);
                (Verdict::Promote, "asked_for", text)
            }
            _ => return None,
        };
        let reason = Reason { code: Code(code.into()), text };
        Some(PromotionDecision { attribute: at as u32, verdict, reason })
    };
    let mut changes: Vec<_> = order.into_iter().filter_map(change).collect();
    changes.sort_by_key(|d| d.verdict != Verdict::Demote);
    changes
}

/// The projection as it is or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outlook {
    /// Hot attributes.
    pub attributes: u32,
    /// Bytes of a mean entity's hot row.
    pub row_bytes: f64,
    /// Values written per value received: 1 for history, and the share that is written to the
    /// projection too.
    pub write_amplification: f64,
    /// Filters per second on hot attributes: they are answered from the projection.
    pub fast_filters_per_second: f64,
    /// Share of all demand that names hot attributes, from 0 to 1; 1 if there is none.
    pub demand_share: f64,
}

/// What changes would bring: before and after. Decisions on attributes that do not exist count
/// for nothing.
pub fn simulate(statistics: &Statistics, decisions: &[PromotionDecision]) -> (Outlook, Outlook) {
    let mut hot: Vec<bool> = statistics.attributes.iter().map(|a| a.hot).collect();
    let before = outlook(statistics, &hot);
    for decision in decisions {
        if let Some(hot) = hot.get_mut(decision.attribute as usize) {
            match decision.verdict {
                Verdict::Keep => {}
                Verdict::Promote => *hot = true,
                Verdict::Demote => *hot = false,
            }
        }
    }
    (before, outlook(statistics, &hot))
}

fn outlook(statistics: &Statistics, hot: &[bool]) -> Outlook {
    let mut out = Outlook { write_amplification: 1.0, demand_share: 1.0, ..Outlook::default() };
    let (mut asked, mut served, mut written, mut doubled) = (0.0, 0.0, 0.0, 0.0);
    for (a, hot) in statistics.attributes.iter().zip(hot) {
        asked += demand(a);
        written += a.writes_per_second;
        if *hot {
            out.attributes += 1;
            out.row_bytes += row_bytes(a, statistics.tenant_entities);
            out.fast_filters_per_second += a.filters_per_second;
            served += demand(a);
            doubled += a.writes_per_second;
        }
    }
    if written > 0.0 {
        out.write_amplification = 1.0 + doubled / written;
    }
    if asked > 0.0 {
        out.demand_share = served / asked;
    }
    out
}
