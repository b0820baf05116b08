//! `POST /v1/entities/batch`

use crate::answer::{Metadata, Provenance};
use crate::body;
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entities::{ENTITY_COLUMNS, table_columns};
use crate::entity_body::{EntityBody, Hot};
use crate::fields::Fields;
use crate::format::{Format, Listed};
use crate::params::Params;
use crate::problem::Problem;
use crate::window;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use eaves_freshness::Source;
use eaves_model::reading::check_name;
use eaves_model::rejection::excerpt;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

const MOST_ENTITIES: usize = 100;

/// Which entities.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchBody {
    /// The tenant's own names for them, 1 to 100.
    #[schema(example = json!(["pump-7", "pump-8"]))]
    external_ids: Vec<String>,
    /// Only these attributes. Without it, all hot ones.
    #[serde(default)]
    fields: Option<Vec<String>>,
    /// How far back a field that is not hot is looked for, such as `24h` (default `7d`, at most
    /// `30d`).
    #[serde(default)]
    cold_within: Option<String>,
}

/// Why there is no entity.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reason {
    /// `not_found`, `bad_name` or `asked_twice`.
    #[schema(example = "not_found")]
    code: &'static str,
    /// What is wrong.
    message: String,
}

/// One of the entities asked for: `entity`, or `reason`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchItem<'a> {
    /// As it was asked for.
    external_id: String,
    /// The entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EntityBody>)]
    entity: Option<EntityBody<'a>>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

/// The entities, or why not.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchAnswer<'a> {
    /// In the order asked for.
    #[schema(value_type = Vec<BatchItem>)]
    items: Vec<BatchItem<'a>>,
    /// How fresh the answer is.
    metadata: Metadata,
    /// The attributes of a table, where they were named.
    #[serde(skip)]
    columns: Option<Vec<String>>,
}

impl Listed for BatchAnswer<'_> {
    fn next_cursor(&self) -> Option<&str> {
        None
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        self.items.iter().map(serde_json::to_string).collect()
    }

    /// An entity as in other tables, after why there is none.
    fn rows(&self) -> Vec<Vec<String>> {
        let entities = || self.items.iter().filter_map(|item| item.entity.as_ref());
        let columns = table_columns(self.columns.as_deref(), entities());
        let mut rows =
            vec![["reason"].iter().chain(&ENTITY_COLUMNS).chain(&columns).map(|c| (*c).to_owned()).collect()];
        rows.extend(self.items.iter().map(|item| {
            let reason = item.reason.as_ref().map(|r| r.code.to_owned()).unwrap_or_default();
            let cells = match &item.entity {
                Some(entity) => entity.cells(&columns),
                None => {
                    let mut cells = vec![String::new(); ENTITY_COLUMNS.len() + columns.len()];
                    cells[0].clone_from(&item.external_id);
                    cells
                }
            };
            std::iter::once(reason).chain(cells).collect()
        }));
        rows
    }
}

/// Up to 100 entities by name, each with its latest values or the reason why there are none.
#[utoipa::path(
    post, path = "/v1/entities/batch", tag = "entities",
    security(("jwt" = ["query:read"])),
    params(
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    request_body(content = BatchBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The entities, or why not, as one object, as lines (`Accept: application/x-ndjson`) or as a table (`Accept: text/csv`)", content(
            (BatchAnswer = "application/json"), (BatchItem = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "The body or a parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "None of the forms that `Accept` names", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn batch_entities(
    State(context): State<Arc<Context>>,
    caller: Caller,
    format: Format,
    params: Params,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let demand = params.only(&["consistency", "max_staleness"])?.demand()?;
    let body: BatchBody = body::object(&body, "{\"external_ids\": [\"pump-7\"]}")?;
    let asked = body.external_ids;
    if asked.is_empty() || asked.len() > MOST_ENTITIES {
        let detail = format!("has {} names: give 1 to {MOST_ENTITIES}", asked.len());
        return Err(Problem::bad_body("external_ids", detail));
    }
    let within = match &body.cold_within {
        None => None,
        Some(text) => Some(window::span(text).ok_or_else(|| window::bad_span("cold_within", text))?),
    };
    let tenant = caller.tenant.id;
    let within = caller.windows().within("cold_within", within)?;
    let fields = Fields::of(&context, tenant, body.fields, within, asked.len() as u32).await?;
    // What can be the name of nothing is not asked for: the database would refuse a U+0000.
    let names: HashSet<&str> =
        asked.iter().map(String::as_str).filter(|name| check_name("", name).is_ok()).collect();
    let names: Vec<&str> = names.into_iter().collect();

    let began = Instant::now();
    let mut attempt = context.sources.attempt(demand, fields.need(), None);
    loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        let done = server.reader.entities_named(tenant, &names).await;
        let Some((rows, mut lag)) = attempt.take(route, server, done)? else { continue };
        // A replica may not know an entity yet that the primary does.
        let missing = rows.len() < names.len() && route.source == Source::ReadReplica;
        if missing && context.sources.primary.lets_through() {
            attempt.skip_replica();
            continue;
        }
        let mut cold = Vec::new();
        if let Some(done) = fields.read(route, server, tenant, &rows).await {
            let Some(read) = attempt.take(route, server, done)? else { continue };
            (cold, lag) = read;
        }
        context.usage.note(tenant, &[], &fields.names(), began.elapsed());
        context.usage.write(tenant, &context.sources.primary, false).await;
        let hot = Hot::of_all(&rows)?;
        let known = fields.known(&context, tenant, &hot).await;
        let bodies = fields.bodies(hot, &known, cold);
        let mut found: HashMap<&str, EntityBody<'_>> =
            rows.iter().map(|row| row.external_id.as_str()).zip(bodies).collect();
        let items = asked.iter().enumerate().map(|(i, name)| item(&asked[..i], name, &mut found)).collect();
        let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
        let metadata = provenance.metadata();
        let columns = fields.columns();
        return Ok(provenance.respond_as(format, &BatchAnswer { items, metadata, columns }));
    }
}

fn item<'a>(earlier: &[String], name: &str, found: &mut HashMap<&str, EntityBody<'a>>) -> BatchItem<'a> {
    let entity = found.remove(name);
    let reason = match (&entity, check_name("external_id", name)) {
        (Some(_), _) => None,
        (None, Err(rejection)) => Some(Reason { code: "bad_name", message: rejection.message }),
        (None, Ok(())) if earlier.iter().any(|e| e == name) => {
            let message = format!("{} is asked for twice: see above", excerpt(name));
            Some(Reason { code: "asked_twice", message })
        }
        (None, Ok(())) => {
            let message = format!("no entity {} is registered", excerpt(name));
            Some(Reason { code: "not_found", message })
        }
    };
    BatchItem { external_id: name.to_owned(), entity, reason }
}
