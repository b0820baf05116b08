//! `GET /v1/entities/{external_id}`

use crate::answer::{EntityBody, Metadata, Provenance, attribute_names, entity_body, tag};
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entity_name::{Names, checked};
use crate::params::Params;
use crate::problem::Problem;
use crate::sources::Need;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use eaves_cache::{Entry, Named};
use eaves_freshness::{Consistency, Demand, Lag, Route, Source};
use eaves_model::rejection::excerpt;
use eaves_model::{TenantId, Timestamp};
use eaves_store::read::EntityRow;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// One entity.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntityAnswer {
    /// The entity.
    entity: EntityBody,
    /// How fresh the answer is.
    metadata: Metadata,
}

/// Latest values of an entity's hot attributes.
#[utoipa::path(
    get, path = "/v1/entities/{external_id}", tag = "entities",
    security(("jwt" = ["query:read"])),
    params(
        ("external_id" = String, Path, description = "The tenant's own name for the entity, percent-encoded (a slash twice: %252F)", max_length = 255, example = "pump-7"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of an earlier answer: 304 if nothing has changed"),
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary. `eventual` (default): cache, replica or primary, whichever is fresh enough"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    responses(
        (status = 200, description = "The entity", body = EntityAnswer, headers(("ETag" = String, description = "Changes with the entity, not with its freshness"))),
        (status = 304, description = "The entity is the one that `If-None-Match` names; the headers say how fresh that is"),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such entity", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_entity(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(external_id): Names<String>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let demand = params.only(&["consistency", "max_staleness"])?.demand()?;
    let external_id = checked("external_id", &external_id)?;
    let tenant = caller.tenant.id;

    let (row, route, lag) = read(&context, tenant, external_id, demand).await?;
    let Some(row) = row else {
        let detail = format!("no entity {} is registered", excerpt(external_id));
        return Err(Problem::not_found("external_id", detail));
    };
    let names = attribute_names(&row);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let known = context.attributes(tenant, &names).await;
    let entity = entity_body(row, &known, None).map_err(|e| {
        tracing::error!(error = %e, "query.hot_attrs_unreadable");
        Problem::internal()
    })?;
    let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
    let metadata = provenance.metadata();
    let tag = tag(&entity);
    Ok(provenance.respond_tagged(&headers, &tag, &EntityAnswer { entity, metadata }))
}

async fn read(
    context: &Context,
    tenant: TenantId,
    external_id: &str,
    demand: Demand,
) -> Result<(Option<EntityRow>, Route, Lag), Problem> {
    let mut cached = match demand.consistency {
        Consistency::Eventual | Consistency::Analytics => cached(context, tenant, external_id).await,
        Consistency::Strong => None,
    };
    let age = cached.as_ref().map(|(_, age)| *age);
    let mut attempt = context.sources.attempt_cached(demand, Need::Hot, age);
    loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else {
            if let Some((row, age)) = cached.take() {
                return Ok((Some(row), route, Lag::AtMost(age)));
            }
            return Err(Problem::internal());
        };
        let began = Timestamp::now();
        let done = server.reader.entity(tenant, external_id).await;
        let Some((row, lag)) = attempt.take(route, server, done)? else { continue };
        match &row {
            Some(row) => fill(context, tenant, row, (began, lag)).await,
            // A replica may not know the entity yet that the primary does.
            None if route.source == Source::ReadReplica && context.sources.primary.lets_through() => {
                attempt.skip_replica();
                continue;
            }
            None => {}
        }
        return Ok((row, route, lag));
    }
}

/// The cache's entry with its age. Its `as_of` makes the age an upper bound.
async fn cached(context: &Context, tenant: TenantId, external_id: &str) -> Option<(EntityRow, Duration)> {
    let cache = context.cache.as_ref()?;
    let named = context.named(tenant, external_id).await?;
    let entry = cache.get(tenant, named.entity).await.ok()??;
    let age = Timestamp::now().seconds_since(entry.as_of).max(0.0);
    let row = EntityRow {
        entity: named.entity,
        external_id: external_id.to_owned(),
        entity_type: named.entity_type,
        version: entry.version,
        attrs_json: entry.attrs_json,
        times_json: entry.times_json,
    };
    Some((row, Duration::from_secs_f64(age)))
}

/// Puts what was read into the cache, vouched for as of when it was true: its lag before the read
/// began, whatever time has passed since.
async fn fill(context: &Context, tenant: TenantId, row: &EntityRow, (began, lag): (Timestamp, Lag)) {
    let named = Named { entity: row.entity, entity_type: row.entity_type.clone() };
    context.remember_named(tenant, &row.external_id, named).await;
    let (Some(cache), Lag::AtMost(lag)) = (&context.cache, lag) else { return };
    // An entity without hot attributes has no version to compare.
    if row.version == 0 {
        return;
    }
    let lag = i64::try_from(lag.as_micros()).unwrap_or(i64::MAX);
    let entry = Entry {
        tenant,
        entity: row.entity,
        version: row.version,
        as_of: began.plus_micros(-lag),
        attrs_json: row.attrs_json.clone(),
        times_json: row.times_json.clone(),
        taken: None,
    };
    // The cache being away only costs the next reader time.
    drop(cache.write_through(&[entry]).await);
}
