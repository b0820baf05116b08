//! What one run decides for a tenant: the rule's or the plugin's proposals, as far as pins,
//! cooldown and budget let them.
//!
//! The rule has its hysteresis ([`Rule::hysteresis`]); what a plugin wants is not known to have
//! any. So an attribute that keeps changing waits longer each time ([`Standing::recent_changes`]),
//! whoever decides.

use super::{Rule, decide_among, row_bytes};
use crate::promotion::{AttributeStatistics, PromotionDecision, Statistics, Verdict};

/// Each change of the last [`RECENT_DAYS`] after the first doubles the cooldown, up to 32 times.
const MOST_DOUBLINGS: u32 = 5;

/// How many days [`Standing::recent_changes`] looks back.
pub const RECENT_DAYS: u32 = 7;

/// What somebody has fixed by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pin {
    /// Always hot.
    Hot,
    /// Never hot.
    Cold,
}

impl Pin {
    /// Its name in rows and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Cold => "cold",
        }
    }
}

impl std::str::FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Hot, Self::Cold]
            .into_iter()
            .find(|pin| pin.name() == text)
            .ok_or_else(|| format!("{text:?} is neither hot nor cold"))
    }
}

/// What holds for an attribute beside its figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What somebody has fixed.
    pub pin: Option<Pin>,
    /// How often it became hot or ceased to be in the last [`RECENT_DAYS`] days.
    pub recent_changes: u32,
}

/// Why a proposal is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Somebody has fixed the attribute.
    Pinned,
    /// It changed a short while ago.
    Cooldown,
    /// It does not fit into the byte budget, or under the most hot attributes.
    NoRoom,
}

impl Hold {
    /// Its name in rows and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Cooldown => "cooldown",
            Self::NoRoom => "no_room",
        }
    }
}

/// What a run comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Changes, demotions first.
    pub changes: Vec<PromotionDecision>,
    /// Proposals that are not followed. The built-in rule proposes only what may be.
    pub held: Vec<(PromotionDecision, Hold)>,
}

/// How long an attribute stays as it is after a change, in seconds.
pub fn cooldown(standing: &Standing, seconds: f64) -> f64 {
    seconds * f64::from(1_u32 << standing.recent_changes.saturating_sub(1).min(MOST_DOUBLINGS))
}

fn hold(attribute: &AttributeStatistics, standing: &Standing, rule: &Rule) -> Option<Hold> {
    if standing.pin.is_some() {
        return Some(Hold::Pinned);
    }
    let settled = attribute.settled_seconds >= cooldown(standing, rule.cooldown_seconds);
    (!settled).then_some(Hold::Cooldown)
}

/// What holds for each attribute; one that nothing is known of is free.
fn holds(statistics: &Statistics, standing: &[Standing], rule: &Rule) -> Vec<Option<Hold>> {
    let known = standing.iter().copied().chain(std::iter::repeat(Standing::default()));
    statistics.attributes.iter().zip(known).map(|(a, s)| hold(a, &s, rule)).collect()
}

/// The built-in rule's step. `standing` goes with the attributes of `statistics`.
pub fn by_rule(statistics: &Statistics, standing: &[Standing], rule: &Rule) -> Step {
    let free: Vec<bool> = holds(statistics, standing, rule).iter().map(Option::is_none).collect();
    Step { changes: decide_among(statistics, rule, &free), held: Vec::new() }
}

/// The step that follows a plugin's proposals. Of `rule` only cooldown and [`Rule::most`] count.
///
/// Demotions make room first; then promotions are taken in the plugin's order, as far as they
/// fit. Where the row is over its budget already nothing is added to it, and the plugin is not
/// made to demote.
pub fn by_plugin(
    statistics: &Statistics,
    standing: &[Standing],
    proposals: Vec<PromotionDecision>,
    rule: &Rule,
) -> Step {
    let holds = holds(statistics, standing, rule);
    let all = &statistics.attributes;
    let bytes = |a: &AttributeStatistics| row_bytes(a, statistics.tenant_entities);
    let mut room = f64::from(statistics.byte_budget);
    let mut places = i64::from(rule.most);
    for attribute in all.iter().filter(|a| a.hot) {
        room -= bytes(attribute);
        places -= 1;
    }
    let mut step = Step::default();
    let (demotions, promotions): (Vec<_>, Vec<_>) =
        proposals.into_iter().partition(|p| p.verdict == Verdict::Demote);
    for proposal in demotions.into_iter().chain(promotions) {
        let at = proposal.attribute as usize;
        let Some(attribute) = all.get(at) else { continue };
        let wanted = match proposal.verdict {
            Verdict::Keep => continue,
            Verdict::Promote => true,
            Verdict::Demote => false,
        };
        if wanted == attribute.hot {
            continue;
        }
        if let Some(why) = holds[at] {
            step.held.push((proposal, why));
            continue;
        }
        let size = bytes(attribute);
        if wanted && (size > room || places < 1) {
            step.held.push((proposal, Hold::NoRoom));
            continue;
        }
        room += if wanted { -size } else { size };
        places += if wanted { -1 } else { 1 };
        step.changes.push(proposal);
    }
    step
}
