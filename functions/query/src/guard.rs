//! What a tenant's queries may cost: how long its windows are, and whether a query would read too
//! much.
//!
//! A query whose work is bounded by what it answers (an entity, a page of a history, a search by an
//! equality) is never asked for its plan: that would cost as much as the query. The others are,
//! where their window is long enough to matter; a search is in the same round trip.

use crate::context::Context;
use crate::problem::{Estimate, Problem};
use crate::window::{DAY, Window};
use eaves_freshness::Demand;
use eaves_model::TenantId;
use eaves_store::read::{Cost, TenantGuards};
use quick_cache::sync::Cache;
use std::time::{Duration, Instant};

/// How long a tenant's settings are believed without looking again.
const FOR: Duration = Duration::from_secs(10);
/// Windows of figures over all entities that are not worth a look at the plan.
const SHORT_FIGURES: i64 = DAY / 24;
/// Time of one attribute of one entity that is not worth it.
const SHORT_BUCKETS: i64 = DAY;

/// What is read for analytics may cost so many times as much.
const ANALYTICS: f64 = 10.0;

/// What becomes of a query that was planned.
#[derive(Debug, PartialEq)]
pub(crate) enum Judged {
    /// It is run.
    Run,
    /// It is asked of the sources of analytics, with this demand.
    Elsewhere(Demand),
}

/// What an instance knows of its tenants' limits.
pub(crate) struct Guards {
    known: Cache<TenantId, (TenantGuards, Instant)>,
    /// Most that a query may cost.
    most: Option<f64>,
}

impl Guards {
    /// `most` 0: queries may cost what they will.
    pub(crate) fn new(most: u32) -> Self {
        Self { known: Cache::new(10_000), most: (most > 0).then_some(f64::from(most)) }
    }

    /// Looks the tenant's settings up again when they are next needed.
    pub(crate) fn forget(&self, tenant: TenantId) {
        self.known.remove(&tenant);
    }

    /// Most that what is demanded may cost.
    pub(crate) fn most(&self, demand: Demand) -> Option<f64> {
        self.most.map(|most| if demand.is_analytics() { most * ANALYTICS } else { most })
    }

    /// Whether figures over a window are worth a look at the plan.
    pub(crate) fn looks_at_figures(&self, window: Window) -> bool {
        self.most.is_some() && window.micros() > SHORT_FIGURES
    }

    /// Whether the buckets of some attributes of an entity are.
    pub(crate) fn looks_at_buckets(&self, window: Window, attributes: usize) -> bool {
        let time = i64::try_from(attributes).unwrap_or(i64::MAX).saturating_mul(window.micros());
        self.most.is_some() && time > SHORT_BUCKETS
    }

    /// Lets a query run, or sends it to the sources of analytics where the caller lets it be moved; all
    /// else is refused: `field` could be narrowed, `add` says how.
    pub(crate) fn judge(
        &self,
        cost: Cost,
        (demand, may_move): (Demand, bool),
        field: &str,
        add: &str,
    ) -> Result<Judged, Problem> {
        match self.most(demand) {
            Some(most) if cost.total > most => {
                self.elsewhere(cost, (demand, may_move), field, add).map(Judged::Elsewhere)
            }
            _ => Ok(Judged::Run),
        }
    }

    /// The demand with which a query that costs too much may be asked all the same.
    pub(crate) fn elsewhere(
        &self,
        cost: Cost,
        (demand, may_move): (Demand, bool),
        field: &str,
        add: &str,
    ) -> Result<Demand, Problem> {
        let most = self.most(demand).unwrap_or_default();
        match demand.redirected_to_analytics().filter(|_| !demand.is_analytics()) {
            Some(moved) if may_move => Ok(moved),
            Some(_) => {
                let add =
                    format!("{add}; with on_expensive=analytics it may cost {}", grouped(most * ANALYTICS));
                Err(refuse(cost, most, field, &add))
            }
            None => Err(refuse(cost, most, field, add)),
        }
    }
}

fn refuse(cost: Cost, limit: f64, field: &str, add: &str) -> Problem {
    let detail = format!(
        "the database would go through about {} rows at a cost of {}, at most {} is spent: {add}",
        grouped(cost.rows),
        grouped(cost.total),
        grouped(limit)
    );
    Problem::too_expensive(field, detail, Estimate { rows: cost.rows, cost: cost.total, limit })
}

/// A number with commas between thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Context {
    /// What the tenant's queries may cost, as far as it can be had: what is not known costs nobody an
    /// answer.
    pub(crate) async fn tenant_guards(&self, tenant: TenantId) -> TenantGuards {
        let old = match self.guards.known.get(&tenant) {
            Some((guards, since)) if since.elapsed() < FOR => return guards,
            old => old.map(|(guards, _)| guards),
        };
        // The primary first: whoever changed them a moment ago is to see them changed.
        let servers =
            std::iter::once(&self.sources.primary).chain(self.sources.replicas.iter().map(|r| &r.server));
        for server in servers.filter(|server| server.lets_through()) {
            match server.reader.tenant_guards(tenant).await {
                Ok(Some(guards)) => {
                    self.guards.known.insert(tenant, (guards, Instant::now()));
                    return guards;
                }
                Ok(None) => {}
                Err(e) if e.is_away() => server.note::<()>(&Err(e)),
                Err(e) => tracing::warn!(error = %e, "query.guards_unread"),
            }
        }
        old.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_the_estimate_and_what_to_add() {
        let guards = Guards::new(1_000_000);
        let judge = |cost: Cost, demand, may_move| {
            guards.judge(cost, (demand, may_move), "from", "shorten the window")
        };
        let cheap = Cost { total: 999_999.0, rows: 1e9 };
        assert_eq!(judge(cheap, Demand::EVENTUAL, false).unwrap(), Judged::Run);
        let cost = Cost { total: 2_400_000.4, rows: 48_123_456.0 };
        let refused = format!("{:?}", judge(cost, Demand::EVENTUAL, false).unwrap_err());
        assert!(refused.contains("48,123,456 rows at a cost of 2,400,000, at most 1,000,000"), "{refused}");
        assert!(
            refused.contains("shorten the window; with on_expensive=analytics it may cost 10,000,000"),
            "{refused}"
        );
        let strong = format!("{:?}", judge(cost, Demand::STRONG, true).unwrap_err());
        assert!(strong.contains("shorten the window") && !strong.contains("on_expensive"), "{strong}");
        // Analytics may spend more, and not everything.
        let moved = judge(cost, Demand::EVENTUAL, true).unwrap();
        assert!(matches!(moved, Judged::Elsewhere(demand) if demand.is_analytics() && demand.redirected));
        assert_eq!(judge(cost, Demand::ANALYTICS, false).unwrap(), Judged::Run);
        let huge = Cost { total: 1e8, rows: 1e9 };
        assert!(judge(huge, Demand::ANALYTICS, true).is_err());
        assert_eq!(Guards::new(0).judge(huge, (Demand::EVENTUAL, false), "from", "x").unwrap(), Judged::Run);
        assert_eq!(grouped(7.0), "7");
    }
}
