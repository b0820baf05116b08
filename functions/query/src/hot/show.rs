//! `GET /v1/hot/changes` and `GET /v1/hot/decisions`: how far changes are, and why they were made.

use crate::answer::{Metadata, Provenance};
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entity_name::checked;
use crate::params::Params;
use crate::problem::Problem;
use crate::sources::Need;
use axum::extract::State;
use axum::response::Response;
use eaves_model::Timestamp;
use eaves_store::hot::HotChange;
use eaves_store::read::{DecidingPlugin, HotDecision, LastHotRun};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 100;
const MOST_DECISIONS: u32 = 500;

/// A change of one attribute, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeBody {
    /// The attribute.
    #[schema(example = "serial")]
    attribute: String,
    /// `promote` or `demote`.
    #[schema(example = "promote")]
    change: String,
    /// `waiting`, `running`, `done` or `cancelled` (another change took its place).
    #[schema(example = "running")]
    state: String,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
    /// By whom.
    requested_by: String,
    /// Why.
    reason: String,
    /// Entities that are through.
    entities: u64,
    /// Entities that there were when it began; null before.
    of_entities: Option<u64>,
    /// About how long it will go on, by the pace so far; null while nobody can know.
    seconds_left: Option<f64>,
    /// Rows of the projection that it changed.
    rows: u64,
    /// When it began.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When it was through, or given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
}

impl ChangeBody {
    fn of(c: HotChange, now: Timestamp) -> Self {
        Self {
            seconds_left: c.seconds_left(now),
            attribute: c.attribute,
            change: c.change,
            state: c.state,
            requested_at: c.requested_at,
            requested_by: c.requested_by,
            reason: c.reason,
            entities: c.entities,
            of_entities: c.of_entities,
            rows: c.rows,
            started_at: c.started_at,
            ended_at: c.ended_at,
        }
    }
}

/// Changes of what is hot.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangesAnswer {
    /// Those under way first, then the newest; at most 100.
    changes: Vec<ChangeBody>,
    /// How fresh the answer is.
    metadata: Metadata,
}

/// The plugin that decided.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginBody {
    /// Its name.
    name: String,
    /// Its version.
    version: String,
    /// SHA-256 of the component, in hex.
    digest: String,
}

impl From<DecidingPlugin> for PluginBody {
    fn from(p: DecidingPlugin) -> Self {
        Self { name: p.name, version: p.version, digest: p.digest }
    }
}

/// A decision.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecisionBody {
    /// The attribute; null if a plugin failed and nothing was decided.
    attribute: Option<String>,
    /// `promote`, `demote`, `pin_hot`, `pin_cold`, `unpin`; `none` if a plugin failed.
    #[schema(example = "promote")]
    change: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    decided_at: Timestamp,
    /// `default`: the built-in rule. `plugin`: the tenant's. `hand`: somebody.
    #[schema(example = "default")]
    rule: String,
    /// By whom.
    by: String,
    /// The plugin, if one decided.
    plugin: Option<PluginBody>,
    /// The reason's code: `asked_for`, `no_room`, `by_hand`, `plugin_failed`, or the plugin's own.
    #[schema(example = "asked_for")]
    code: String,
    /// Why.
    reason: String,
    /// The figures that it was decided on.
    #[schema(value_type = serde_json::Value)]
    statistics: Box<RawValue>,
}

/// The last run for the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunBody {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `default` or `plugin`.
    rule: String,
    /// The plugin, if it was asked.
    plugin: Option<PluginBody>,
    /// Attributes that were looked at.
    attributes: u32,
    /// Attributes that were changed.
    changes: u32,
    /// What the plugin proposed and was not followed: `attribute`, `change`, `reason`, and `why`:
    /// `pinned`, `cooldown` or `no_room`.
    #[schema(value_type = serde_json::Value)]
    held: Box<RawValue>,
    /// Why the plugin decided nothing; null if it did its work.
    failure: Option<String>,
    /// How many runs in a row it has failed.
    failures: u32,
}

/// Decisions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecisionsAnswer {
    /// The newest first.
    decisions: Vec<DecisionBody>,
    /// Give it as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
    /// Null before the first.
    last_run: Option<RunBody>,
    /// How fresh the answer is.
    metadata: Metadata,
}

fn raw(json: String) -> Result<Box<RawValue>, Problem> {
    RawValue::from_string(json).map_err(|e| {
        tracing::error!(error = %e, "query.statistics_unreadable");
        Problem::internal()
    })
}

fn decision(d: HotDecision) -> Result<DecisionBody, Problem> {
    Ok(DecisionBody {
        attribute: d.attribute,
        change: d.change,
        decided_at: d.decided_at,
        rule: d.rule,
        by: d.by,
        plugin: d.plugin.map(PluginBody::from),
        code: d.code,
        reason: d.reason,
        statistics: raw(d.statistics_json)?,
    })
}

fn run(r: LastHotRun) -> Result<RunBody, Problem> {
    Ok(RunBody {
        at: r.ran_at,
        rule: r.rule,
        plugin: r.plugin.map(PluginBody::from),
        attributes: r.attributes,
        changes: r.changes,
        held: raw(r.held_json)?,
        failure: r.failure,
        failures: r.failures,
    })
}

/// Changes of what is hot: how far each is, and how long it will go on.
#[utoipa::path(
    get, path = "/v1/hot/changes", tag = "attributes",
    security(("jwt" = ["query:read"])),
    params(
        ("attribute" = Option<String>, Query, description = "Only of this attribute"),
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    responses(
        (status = 200, description = "The changes", body = ChangesAnswer),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_changes(
    State(context): State<Arc<Context>>,
    caller: Caller,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let params = params.only(&["attribute", "consistency", "max_staleness"])?;
    let demand = params.demand()?;
    let attribute = params.get("attribute").map(|name| checked("attribute", name)).transpose()?;
    let mut attempt = context.sources.attempt(demand, Need::Hot, None);
    let (found, route, lag) = loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        let done = server.reader.hot_changes_of(caller.tenant.id, attribute).await;
        if let Some((found, lag)) = attempt.take(route, server, done)? {
            break (found, route, lag);
        }
    };
    let now = Timestamp::now();
    let changes = found.into_iter().map(|c| ChangeBody::of(c, now)).collect();
    let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
    Ok(provenance.respond(&ChangesAnswer { changes, metadata: provenance.metadata() }))
}

/// Decisions on what is hot, by the built-in rule, the tenant's plugin or somebody, with the
/// figures they were made on. The newest thousand are kept.
#[utoipa::path(
    get, path = "/v1/hot/decisions", tag = "attributes",
    security(("jwt" = ["query:read"])),
    params(
        ("attribute" = Option<String>, Query, description = "Only about this attribute"),
        ("limit" = Option<u32>, Query, description = "Most decisions of one answer, 1 to 500 (default 100)"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    responses(
        (status = 200, description = "The decisions", body = DecisionsAnswer),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_decisions(
    State(context): State<Arc<Context>>,
    caller: Caller,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let params = params.only(&["attribute", "limit", "cursor", "consistency", "max_staleness"])?;
    let demand = params.demand()?;
    let limit = params.limit(DEFAULT_LIMIT, MOST_DECISIONS)?;
    let attribute = params.get("attribute").map(|name| checked("attribute", name)).transpose()?;
    let before = match params.get("cursor") {
        None => i64::MAX,
        Some(text) => text
            .parse()
            .map_err(|_| Problem::bad_parameter("cursor", "is not a cursor that an answer gave"))?,
    };
    let mut attempt = context.sources.attempt(demand, Need::Hot, None);
    let ((mut found, last_run), route, lag) = loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        // One more, to know whether there is a next page.
        let done = server.reader.hot_decisions(caller.tenant.id, attribute, before, limit + 1).await;
        if let Some((found, lag)) = attempt.take(route, server, done)? {
            break (found, route, lag);
        }
    };
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| more).map(|last| last.id.to_string());
    let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
    Ok(provenance.respond(&DecisionsAnswer {
        decisions: found.into_iter().map(decision).collect::<Result<_, _>>()?,
        next_cursor,
        last_run: last_run.map(run).transpose()?,
        metadata: provenance.metadata(),
    }))
}
