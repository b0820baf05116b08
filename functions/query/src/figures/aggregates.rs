//! `POST /v1/aggregates`

use super::WindowMetadata;
use crate::answer::{Provenance, figure};
use crate::body;
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entity_name::checked;
use crate::format::{Format, Listed, cell};
use crate::guard::Judged;
use crate::params::Params;
use crate::problem::Problem;
use crate::sources::Need;
use crate::window::Window;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use eaves_model::rejection::excerpt;
use eaves_model::{AttributeId, Timestamp, ValueType};
use eaves_store::read::{Aggregate, AggregateQuery, AggregateRow, AttributeRow};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

const MOST_ATTRIBUTES: usize = 50;
const MOST_GROUPS: u32 = 1000;

/// What makes a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupBy {
    /// An attribute.
    #[default]
    Attribute,
    /// An attribute and a type of entity.
    EntityType,
}

/// What to compute.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AggregatesBody {
    /// 1 to 50 attributes.
    #[schema(example = json!(["temperature"]))]
    attributes: Vec<String>,
    /// First time taken. Default: 7 days before `to`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// First time not taken any more. Default: now, and what is dated ahead of now. At most 30 days
    /// after `from`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Only entities of this type.
    #[serde(rename = "type", default)]
    #[schema(example = "pump")]
    entity_type: Option<String>,
    /// `attribute` (default) or `entity_type`: a group for each attribute and type of entity.
    #[serde(default)]
    group_by: GroupBy,
    /// Which of `count`, `entities`, `sum`, `avg`, `min`, `max`, `p50`, `p95`, `p99`. Default: all but
    /// `entities` and `sum`.
    #[serde(default)]
    #[schema(example = json!(["count", "avg", "p95"]))]
    aggregates: Option<Vec<String>>,
    /// Only groups of at least so many values (default 1).
    #[serde(default)]
    min_count: Option<u32>,
}

/// The figures of one group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Group {
    /// The attribute.
    #[schema(example = "temperature")]
    attribute: String,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(example = "float")]
    value_type: &'static str,
    /// Its unit; empty if none is set.
    unit: String,
    /// The type of entity, with `group_by: entity_type`; empty if it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_type: Option<String>,
    /// By name. Integers and decimals are exact, a percentile is one of the values (nearest rank);
    /// null where it makes no sense for the type.
    #[schema(value_type = HashMap<String, serde_json::Value>, example = json!({"count": 1200, "avg": 71.4, "p95": 88.0}))]
    figures: BTreeMap<&'static str, Option<Box<RawValue>>>,
}

/// Figures over a window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AggregatesAnswer {
    /// Those that have values, in the order of the attributes asked for.
    groups: Vec<Group>,
    /// What the answer covers, and how fresh it is.
    metadata: WindowMetadata,
    /// The figures of a table, in the order asked for.
    #[serde(skip)]
    columns: Vec<&'static str>,
}

impl Listed for AggregatesAnswer {
    fn next_cursor(&self) -> Option<&str> {
        None
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        self.groups.iter().map(serde_json::to_string).collect()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let names = ["attribute", "type", "unit", "entity_type"];
        let mut rows = vec![names.iter().chain(&self.columns).map(|name| (*name).to_owned()).collect()];
        rows.extend(self.groups.iter().map(|group| {
            let entity_type = group.entity_type.clone().unwrap_or_default();
            let mut row =
                vec![group.attribute.clone(), group.value_type.to_owned(), group.unit.clone(), entity_type];
            let figures = self.columns.iter().map(|name| group.figures.get(name).and_then(Option::as_ref));
            row.extend(figures.map(|figure| figure.map(|f| cell(f)).unwrap_or_default()));
            row
        }));
        rows
    }
}

/// Figures over the values of attributes in a window of time, of all entities or those of a type.
/// What is not flushed yet is not in them: `metadata` says how old that is.
#[utoipa::path(
    post, path = "/v1/aggregates", tag = "attributes",
    security(("jwt" = ["query:read"])),
    params(
        ("consistency" = Option<String>, Query, description = "`eventual` (default) or `analytics`; `strong` is not possible: what is not flushed yet is in no figure"),
        ("on_expensive" = Option<String>, Query, description = "What becomes of figures that cost too much: `refuse` (default), or `analytics`: they are read as with `consistency=analytics`, which may cost ten times as much"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    request_body(content = AggregatesBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The figures, as one object, as lines (`Accept: application/x-ndjson`) or as a table (`Accept: text/csv`)", content(
            (AggregatesAnswer = "application/json"), (Group = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "The body or a parameter is wrong, or the query takes too long", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "None of the forms that `Accept` names", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_aggregates(
    State(context): State<Arc<Context>>,
    caller: Caller,
    format: Format,
    params: Params,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let params = params.only(&["consistency", "max_staleness", "on_expensive"])?;
    let (mut demand, may_move) = (super::demand(&params)?, params.may_move()?);
    let body: AggregatesBody = body::object(&body, "{\"attributes\": [\"temperature\"]}")?;
    let window = Window::of(body.from, body.to, Timestamp::now(), caller.windows())?;
    let names = names(&body.attributes)?;
    let wanted = wanted(body.aggregates.as_deref())?;
    if let Some(entity_type) = body.entity_type.as_deref().filter(|t| !t.is_empty()) {
        checked("type", entity_type)?;
    }
    let tenant = caller.tenant.id;
    let attributes = context.registered(tenant, &names, "attributes").await?;
    let query = AggregateQuery {
        tenant,
        attributes: attributes.iter().map(|a| (a.id, a.value_type)).collect(),
        from: window.from,
        to: window.to,
        entity_type: body.entity_type,
        by_entity_type: body.group_by == GroupBy::EntityType,
        wanted,
        min_count: body.min_count.unwrap_or(1),
        // One more, to know whether there are too many.
        limit: MOST_GROUPS + 1,
    };

    let began = Instant::now();
    let mut attempt = context.sources.attempt(demand, Need::Flushed, None);
    loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        if context.guards.looks_at_figures(window) {
            let done = server.reader.aggregates_cost(&query).await;
            let Some((cost, _)) = attempt.take(route, server, done)? else { continue };
            if let Judged::Elsewhere(moved) =
                context.guards.judge(cost, (demand, may_move), "from", super::NARROW)?
            {
                demand = moved;
                attempt = context.sources.attempt(demand, Need::Flushed, None);
                continue;
            }
        }
        let done = server.reader.aggregates(&query).await;
        let Some((rows, lag)) = attempt.take(route, server, done)? else { continue };
        context.usage.note(tenant, &[], &names, began.elapsed());
        context.usage.write(tenant, &context.sources.primary, false).await;
        if rows.len() > MOST_GROUPS as usize {
            let detail =
                format!("makes over {MOST_GROUPS} groups: name a type, fewer attributes, or a min_count");
            return Err(Problem::too_many("group_by", detail));
        }
        let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
        let answer = AggregatesAnswer {
            groups: groups(&attributes, rows, &query.wanted),
            metadata: WindowMetadata::new(window, provenance.metadata().freshness),
            columns: query.wanted.iter().map(|aggregate| aggregate.name()).collect(),
        };
        return Ok(provenance.respond_as(format, &answer));
    }
}

fn names(attributes: &[String]) -> Result<Vec<&str>, Problem> {
    if attributes.is_empty() || attributes.len() > MOST_ATTRIBUTES {
        let detail = format!("names {} attributes: name 1 to {MOST_ATTRIBUTES}", attributes.len());
        return Err(Problem::bad_body("attributes", detail));
    }
    let mut names: Vec<&str> = Vec::with_capacity(attributes.len());
    for name in attributes {
        if names.contains(&name.as_str()) {
            return Err(Problem::bad_body("attributes", format!("names {} twice", excerpt(name))));
        }
        names.push(checked("attributes", name)?);
    }
    Ok(names)
}

fn wanted(names: Option<&[String]>) -> Result<Vec<Aggregate>, Problem> {
    let Some(names) = names else {
        let usual = |a: &Aggregate| !matches!(a, Aggregate::Entities | Aggregate::Sum);
        return Ok(Aggregate::ALL.into_iter().filter(usual).collect());
    };
    let known = || Aggregate::ALL.map(Aggregate::name).join(", ");
    let mut wanted = Vec::new();
    for name in names {
        let found = Aggregate::ALL.into_iter().find(|a| a.name() == name);
        let found = found.ok_or_else(|| {
            Problem::bad_body("aggregates", format!("{} is none of {}", excerpt(name), known()))
        })?;
        if !wanted.contains(&found) {
            wanted.push(found);
        }
    }
    if wanted.is_empty() {
        return Err(Problem::bad_body("aggregates", format!("is empty: name some of {}", known())));
    }
    Ok(wanted)
}

fn groups(attributes: &[AttributeRow], rows: Vec<AggregateRow>, wanted: &[Aggregate]) -> Vec<Group> {
    let mut by_attribute: HashMap<AttributeId, Vec<AggregateRow>> = HashMap::new();
    for row in rows {
        by_attribute.entry(row.attribute).or_default().push(row);
    }
    let mut groups = Vec::new();
    for attribute in attributes {
        for row in by_attribute.remove(&attribute.id).unwrap_or_default() {
            let figures = wanted.iter().zip(row.figures).map(|(aggregate, digits)| {
                let value_type = match aggregate {
                    Aggregate::Count | Aggregate::Entities => ValueType::Integer,
                    _ => attribute.value_type,
                };
                (aggregate.name(), digits.map(|digits| figure(&digits, value_type)))
            });
            groups.push(Group {
                attribute: attribute.name.clone(),
                value_type: attribute.value_type.name(),
                unit: attribute.unit.clone(),
                entity_type: row.entity_type,
                figures: figures.collect(),
            });
        }
    }
    groups
}
