//! What is hot: decisions, how far changes are, and what a tenant's user or the hot-projection
//! function decides (`V47__hot_decisions.sql`). The tenant is the unit's setting, and the row policies
//! and functions take it from there and from nowhere else.

use super::{Parameter, ReadError, Reader, Snapshot, Statement};
use crate::hot::{self, ByHand, Decided, HotChange};
use crate::micros::Micros;
use eaves_model::{TenantId, Timestamp};
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

const CHANGES: &str = "select a.attribute_name, c.change, \
     case when c.cancelled_at is not null then 'cancelled' when c.finished_at is not null then 'done' \
          when c.started_at is not null then 'running' else 'waiting' end, \
     c.requested_at, c.requested_by, c.reason, c.entities, c.of_entities, c.rows_changed, c.started_at, \
     coalesce(c.finished_at, c.cancelled_at) \
     from hot_changes c join attributes a on a.attribute_id = c.attribute_id \
     where c.tenant_id = $1 and ($2::text is null or a.attribute_name = $2) \
     order by coalesce(c.finished_at, c.cancelled_at) is not null, c.change_id desc limit 100";

const DECISIONS: &str = "select d.decision_id, a.attribute_name, d.decided_at, d.change, d.code, d.reason, \
     d.rule, d.decided_by, d.plugin_name, d.plugin_version, d.plugin_digest, d.statistics::text \
     from hot_decisions d left join attributes a on a.attribute_id = d.attribute_id \
     where d.tenant_id = $1 and d.decision_id < $2 and ($3::text is null or a.attribute_name = $3) \
     order by d.decision_id desc limit $4";

const RUN: &str = "select ran_at, rule, plugin_name, plugin_version, plugin_digest, attributes, changes, \
     held::text, failure, failures from hot_runs where tenant_id = $1";

/// The plugin that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecidingPlugin {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
}

/// A decision.
#[derive(Debug, Clone, PartialEq)]
pub struct HotDecision {
    /// Grows with every decision.
    pub id: i64,
    /// The attribute; `None` if a plugin failed.
    pub attribute: Option<String>,
    /// When.
    pub decided_at: Timestamp,
    /// `promote`, `demote`, `pin_hot`, `pin_cold`, `unpin`, or `none` if a plugin failed.
    pub change: String,
    /// The reason's code.
    pub code: String,
    /// The reason.
    pub reason: String,
    /// `default`, `plugin` or `hand`.
    pub rule: String,
    /// By whom.
    pub by: String,
    /// The plugin, if one decided.
    pub plugin: Option<DecidingPlugin>,
    /// The figures that it was decided on, as JSON.
    pub statistics_json: String,
}

/// The last run for a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct LastHotRun {
    /// When.
    pub ran_at: Timestamp,
    /// `default` or `plugin`.
    pub rule: String,
    /// The plugin, if it was asked.
    pub plugin: Option<DecidingPlugin>,
    /// Attributes that were looked at.
    pub attributes: u32,
    /// Attributes that were changed.
    pub changes: u32,
    /// Proposals that were not followed, as JSON.
    pub held_json: String,
    /// Why the plugin decided nothing.
    pub failure: Option<String>,
    /// How many runs in a row.
    pub failures: u32,
}

/// What a run for a tenant came to.
#[derive(Debug, Clone, Serialize)]
pub struct HotRun {
    /// When the figures were read, in microseconds since 1970: who decided by hand since then is
    /// not overruled.
    pub seen_at: i64,
    /// `default` or `plugin`.
    pub rule: &'static str,
    /// Who decides, for people.
    pub by: String,
    /// The plugin, if it was asked.
    pub plugin: Option<DecidingPlugin>,
    /// Attributes that were looked at.
    pub attributes: u32,
    /// Why the plugin decided nothing.
    pub failure: Option<String>,
    /// Proposals that are not followed.
    pub held: Vec<HeldProposal>,
    /// What is decided.
    pub decisions: Vec<RunDecision>,
}

/// A change that a run decides.
#[derive(Debug, Clone, Serialize)]
pub struct RunDecision {
    /// The attribute.
    pub attribute: String,
    /// `promote` or `demote`.
    pub change: &'static str,
    /// The reason's code.
    pub code: String,
    /// The reason.
    pub reason: String,
    /// What was seen.
    pub statistics: serde_json::Value,
}

/// A proposal that is not followed.
#[derive(Debug, Clone, Serialize)]
pub struct HeldProposal {
    /// The attribute.
    pub attribute: String,
    /// `promote` or `demote`.
    pub change: &'static str,
    /// `pinned`, `cooldown` or `no_room`.
    pub why: &'static str,
    /// The proposal's reason.
    pub reason: String,
}

fn plugin(row: &Row, from: usize) -> Result<Option<DecidingPlugin>, ReadError> {
    let Some(digest) = row.try_get(from + 2)? else { return Ok(None) };
    let text = |column: usize| row.try_get::<_, Option<String>>(column).map(Option::unwrap_or_default);
    Ok(Some(DecidingPlugin { name: text(from)?, version: text(from + 1)?, digest }))
}

fn decision(row: &Row) -> Result<HotDecision, ReadError> {
    Ok(HotDecision {
        id: row.try_get(0)?,
        attribute: row.try_get(1)?,
        decided_at: row.try_get::<_, Micros>(2)?.0,
        change: row.try_get(3)?,
        code: row.try_get(4)?,
        reason: row.try_get(5)?,
        rule: row.try_get(6)?,
        by: row.try_get(7)?,
        plugin: plugin(row, 8)?,
        statistics_json: row.try_get(11)?,
    })
}

fn last_run(row: &Row) -> Result<LastHotRun, ReadError> {
    let count = |column: usize| row.try_get::<_, i32>(column).map(i32::unsigned_abs);
    Ok(LastHotRun {
        ran_at: row.try_get::<_, Micros>(0)?.0,
        rule: row.try_get(1)?,
        plugin: plugin(row, 2)?,
        attributes: count(5)?,
        changes: count(6)?,
        held_json: row.try_get(7)?,
        failure: row.try_get(8)?,
        failures: count(9)?,
    })
}

impl Reader {
    /// The tenants for whom it is decided by itself, at most so many; who has waited longest comes
    /// first.
    pub async fn hot_tenants(&self, most: u32) -> Result<Vec<TenantId>, ReadError> {
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let parameters: [Parameter<'_>; 1] = [(&most, Type::INT4)];
        let statement = Statement { sql: "select hot_tenants($1)", parameters: &parameters };
        let done = self.unit(None, &[statement]).await?;
        done.value.iter().flatten().map(|row| Ok(TenantId(row.try_get(0)?))).collect()
    }

    /// Records a run and queues its changes, all or nothing. Only the primary takes it. Returns how
    /// many attributes were changed. Asking again for the same changes nothing more.
    pub async fn hot_run(&self, tenant: TenantId, run: &HotRun) -> Result<u32, ReadError> {
        let text = serde_json::to_string(run).map_err(|_| ReadError::Unreadable("a run"))?;
        let parameters: [Parameter<'_>; 1] = [(&text, Type::TEXT)];
        let statement = Statement { sql: "select hot_run($1::jsonb)", parameters: &parameters };
        let done = self.write(tenant, &[statement]).await?;
        let row = done.iter().flatten().next().ok_or(ReadError::Unreadable("a run"))?;
        Ok(row.try_get::<_, Option<i32>>(0)?.unwrap_or_default().unsigned_abs())
    }

    /// Somebody of the tenant decides about an attribute. Only the primary takes it.
    pub async fn hot_decide_own(
        &self,
        tenant: TenantId,
        attribute: &str,
        change: ByHand,
        (by, reason): (&str, &str),
    ) -> Result<Decided, ReadError> {
        let parameters: [Parameter<'_>; 4] = [
            (&attribute, Type::TEXT),
            (&change.name(), Type::TEXT),
            (&by, Type::TEXT),
            (&reason, Type::TEXT),
        ];
        let statement = Statement { sql: "select hot_decide_own($1, $2, $3, $4)", parameters: &parameters };
        let done = self.write(tenant, &[statement]).await?;
        let row = done.iter().flatten().next().ok_or(ReadError::Unreadable("an attribute's state"))?;
        Decided::of(row.try_get(0)?).ok_or(ReadError::Unreadable("an attribute's state"))
    }

    /// The tenant's changes, those under way first, then the newest; at most 100. Of one attribute,
    /// if that is given.
    pub async fn hot_changes_of(
        &self,
        tenant: TenantId,
        attribute: Option<&str>,
    ) -> Result<Snapshot<Vec<HotChange>>, ReadError> {
        let parameters: [Parameter<'_>; 2] = [(&tenant.0, Type::INT4), (&attribute, Type::TEXT)];
        let done = self.unit(Some(tenant), &[Statement { sql: CHANGES, parameters: &parameters }]).await?;
        done.try_map(|results| {
            let rows = results.iter().flatten();
            rows.map(hot::change).collect::<Result<Vec<_>, _>>().map_err(ReadError::from)
        })
    }

    /// The tenant's decisions before the one given, the newest first, and its last run.
    pub async fn hot_decisions(
        &self,
        tenant: TenantId,
        attribute: Option<&str>,
        before: i64,
        most: u32,
    ) -> Result<Snapshot<(Vec<HotDecision>, Option<LastHotRun>)>, ReadError> {
        let most = i64::from(most);
        let parameters: [Parameter<'_>; 4] =
            [(&tenant.0, Type::INT4), (&before, Type::INT8), (&attribute, Type::TEXT), (&most, Type::INT8)];
        let of_tenant: [Parameter<'_>; 1] = [(&tenant.0, Type::INT4)];
        let statements = [
            Statement { sql: DECISIONS, parameters: &parameters },
            Statement { sql: RUN, parameters: &of_tenant },
        ];
        let done = self.unit(Some(tenant), &statements).await?;
        done.try_map(|results| {
            let [decisions, run] = results.as_slice() else {
                return Err(ReadError::Unreadable("decisions"));
            };
            let decisions = decisions.iter().map(decision).collect::<Result<_, _>>()?;
            Ok((decisions, run.first().map(last_run).transpose()?))
        })
    }
}
