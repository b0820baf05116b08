//! `GET /v1/entities/{external_id}`

use crate::answer::{Metadata, Provenance, tag};
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entity_body::{EntityBody, Hot};
use crate::entity_name::{Names, checked};
use crate::flight::{self, Boarding, Landed, Pilot};
use crate::held::Reading;
use crate::params::Params;
use crate::problem::Problem;
use crate::sources::Need;
use crate::{token, warm};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use eaves_cache::{Entry, Lease, Named};
use eaves_freshness::{Consistency, Demand, Lag, Reason, Route, Source};
use eaves_model::rejection::excerpt;
use eaves_model::{TenantId, Timestamp};
use eaves_store::read::{Allowance, EntityRow, Snapshot};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// How long a request waits for another one's read of the same entity: a statement's limit, and some.
const PATIENCE: Duration = Duration::from_secs(6);
/// Who takes an answer of this age may share another request's read.
const SHARED_FROM: Duration = Duration::from_millis(250);
/// How long one of another instance is waited for, and how often it is looked.
const LEASE_PATIENCE: Duration = Duration::from_millis(100);
const LEASE_PAUSE: Duration = Duration::from_millis(8);
/// How long an entry that is still good enough is read anew: as long as a lease holds.
const REVALIDATION: Duration = Duration::from_millis(250);

/// One entity.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntityAnswer {
    /// The entity.
    #[schema(value_type = EntityBody)]
    entity: Box<RawValue>,
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

    warm::note(&context, tenant, external_id);
    let (row, route, lag) = read(&context, tenant, external_id, demand).await?;
    let Some(row) = row else {
        let detail = format!("no entity {} is registered", excerpt(external_id));
        return Err(Problem::not_found("external_id", detail));
    };
    let hot = Hot::of(&row)?;
    let names: Vec<&str> = hot.names().collect();
    let known = context.attributes(tenant, &names).await;
    // Written once, for the answer and for its tag.
    let entity = to_raw_value(&hot.body(&known, None)).map_err(|e| {
        tracing::error!(error = %e, "query.encode_failed");
        Problem::internal()
    })?;
    let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
    let metadata = provenance.metadata();
    let tag = tag(entity.get());
    Ok(provenance.respond_tagged(&headers, &tag, &EntityAnswer { entity, metadata }))
}

/// An entity, or that there is none, where that was read and how old it may be.
type Found = (Option<Arc<EntityRow>>, Route, Lag);

async fn read(
    context: &Context,
    tenant: TenantId,
    external_id: &str,
    demand: Demand,
) -> Result<Found, Problem> {
    if demand.consistency == Consistency::Strong {
        return load(context, tenant, external_id, demand, None).await;
    }
    // Who has a token cannot make use of a read that began before, nor who wants it younger than that takes.
    if token::is_asked() || demand.bound() < SHARED_FROM {
        let cached = cached(context, tenant, external_id).await;
        return load(context, tenant, external_id, demand, cached).await;
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match context.flights.board(tenant, external_id, demand) {
            Boarding::Pilot(pilot) => {
                let began = Instant::now();
                let cached = cached(context, tenant, external_id).await;
                let age = cached.as_ref().map(|(_, age)| *age);
                let young = age.filter(|age| Lag::AtMost(*age).is_under(demand.bound()));
                if young.is_some_and(|age| age >= demand.refresh_after()) {
                    return Box::pin(aging(context, (tenant, external_id, demand), cached, (pilot, began)))
                        .await;
                }
                let (row, route, lag) = match young {
                    Some(_) => load(context, tenant, external_id, demand, cached).await?,
                    None => Box::pin(leased(context, tenant, external_id, demand, cached)).await?,
                };
                pilot.land(Landed::new(row.clone(), route, lag, began));
                return Ok((row, route, lag));
            }
            Boarding::Passenger(seat) => {
                context.told.wait();
                let Ok(landed) = tokio::time::timeout_at(end, flight::arrival(seat)).await else {
                    let detail = "the entity is being read for another request, and that takes long";
                    return Err(Problem::unavailable(detail, Duration::from_secs(1)));
                };
                match landed {
                    Some(landed) if landed.lag().is_under(demand.bound()) => {
                        return Ok((landed.row.clone(), landed.route, landed.lag()));
                    }
                    // It found something too old for this request, and may do so again.
                    Some(_) => return load(context, tenant, external_id, demand, None).await,
                    None => {}
                }
            }
        }
    }
}

/// Answers from an entry that is under the bound and soon will not be. One request of all instances reads it
/// anew, within a moment, and takes the entry all the same where nothing fresher answers; the others have the
/// entry at once. (It is a request that does so, because an instance is frozen once it has answered.)
async fn aging(
    context: &Context,
    (tenant, external_id, demand): (TenantId, &str, Demand),
    cached: Option<(Arc<EntityRow>, Duration)>,
    (pilot, began): (Pilot<'_>, Instant),
) -> Result<Found, Problem> {
    let (row, route, lag) = load(context, tenant, external_id, demand, cached).await?;
    pilot.land(Landed::new(row.clone(), route, lag, began));
    let (Reason::CacheFresh { age, bound }, Some(cache)) = (route.reason, &context.cache) else {
        return Ok((row, route, lag));
    };
    match cache.lease(tenant, external_id).await {
        Ok(Some(lease)) => {
            let anew = load(context, tenant, external_id, demand, None);
            let (anew, _) = Allowance::scope(REVALIDATION, anew).await;
            release(context, lease);
            match anew {
                Ok((row, read, young)) if young.is_under(age) => {
                    Ok((row, read.in_place_of(age, bound), young))
                }
                Ok(_) => Ok((row, route, lag)),
                Err(problem) => {
                    tracing::debug!(problem = ?problem, "query.not_revalidated");
                    Ok((row, route, lag))
                }
            }
        }
        Ok(None) => Ok((row, route.while_read_anew(), lag)),
        // Without it there is nobody to share the work with.
        Err(_) => Ok((row, route, lag)),
    }
}

/// Gives a lease back. Whoever waits looks for the entry and not for the lease, which ends by itself a moment
/// later: the answer need not wait for it.
fn release(context: &Context, lease: Lease) {
    if let Some(cache) = context.cache.clone() {
        drop(tokio::spawn(async move { drop(cache.release(lease).await) }));
    }
}

/// Reads it as the only one of all instances, or takes what another one has read meanwhile; after a moment
/// it reads in any case.
async fn leased(
    context: &Context,
    tenant: TenantId,
    external_id: &str,
    demand: Demand,
    mut known: Option<(Arc<EntityRow>, Duration)>,
) -> Result<Found, Problem> {
    let Some(cache) = &context.cache else { return load(context, tenant, external_id, demand, known).await };
    let end = Instant::now() + LEASE_PATIENCE;
    let lease = loop {
        match cache.lease(tenant, external_id).await {
            Ok(Some(lease)) => break Some(lease),
            // Without a cache there is nothing to wait for.
            Err(_) => break None,
            Ok(None) if Instant::now() >= end => break None,
            Ok(None) => {}
        }
        context.told.wait();
        tokio::time::sleep(LEASE_PAUSE).await;
        known = cached(context, tenant, external_id).await;
        if known.as_ref().is_some_and(|(_, age)| Lag::AtMost(*age).is_under(demand.bound())) {
            break None;
        }
    };
    let done = load(context, tenant, external_id, demand, known).await;
    if let Some(lease) = lease {
        release(context, lease);
    }
    done
}

/// From where the route leads. `cached` is what the cache has.
async fn load(
    context: &Context,
    tenant: TenantId,
    external_id: &str,
    demand: Demand,
    mut cached: Option<(Arc<EntityRow>, Duration)>,
) -> Result<Found, Problem> {
    let age = cached.as_ref().map(|(_, age)| *age);
    let began = Instant::now();
    let mut attempt = context.sources.attempt_cached(demand, Need::Hot, age);
    loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else {
            if let Some((row, age)) = cached.take() {
                context.told.hit(age);
                return Ok((Some(row), route, Lag::AtMost(age)));
            }
            return Err(Problem::internal());
        };
        let reading = reading(context, tenant, external_id);
        let done = server.reader.entity(tenant, external_id).await;
        let at = done.as_ref().map_or_else(|_| Timestamp::now(), |s| s.at);
        let behind = done.as_ref().map_or(Duration::ZERO, Snapshot::behind);
        let Some((row, lag)) = attempt.take(route, server, done)? else { continue };
        match &row {
            Some(row) => {
                let named = Named { entity: row.entity, entity_type: row.entity_type.clone() };
                context.remember_named(tenant, external_id, named).await;
                fill(context, tenant, std::slice::from_ref(row), (at, Lag::AtMost(behind)), reading).await;
                if demand.consistency == Consistency::Eventual {
                    context.told.miss(began.elapsed());
                }
            }
            // A replica may not know the entity yet that the primary does.
            None if route.source == Source::ReadReplica && context.sources.primary.lets_through() => {
                attempt.skip_replica();
                continue;
            }
            None => {}
        }
        return Ok((row.map(Arc::new), route, lag));
    }
}

/// What is held or in the cache, with its age: its `as_of` makes that an upper bound. Nothing that lacks what
/// the request's token names.
pub(crate) async fn cached(
    context: &Context,
    tenant: TenantId,
    external_id: &str,
) -> Option<(Arc<EntityRow>, Duration)> {
    let cache = context.cache.as_ref()?;
    let named = context.named(tenant, external_id).await?;
    let age = |entry: &Entry| Duration::from_secs_f64(Timestamp::now().seconds_since(entry.as_of).max(0.0));
    let of =
        |entry: &Entry| (Arc::new(flight::row(entry, external_id, named.entity_type.clone())), age(entry));
    let held = context.held.as_ref();
    if let Some(entry) = held.and_then(|held| held.get(tenant, named.entity))
        // One that ages may be younger in the cache.
        && age(&entry) < Demand::EVENTUAL.refresh_after()
        && token::covers(&entry)
    {
        return Some(of(&entry));
    }
    let reading = held.map(|held| held.reading(tenant, named.entity));
    let entry = Arc::new(cache.get(tenant, named.entity).await.ok()??);
    if let (Some(held), Some(reading)) = (held, &reading) {
        held.hold(reading, &entry);
    }
    token::covers(&entry).then(|| of(&entry))
}

/// Before an entity is read that is known by name.
fn reading(context: &Context, tenant: TenantId, external_id: &str) -> Option<Reading> {
    let named = context.memory.entity(tenant, external_id)?;
    Some(context.held.as_ref()?.reading(tenant, named.entity))
}

/// Puts rows that were read together into the cache, vouched for as of when that was true: `at`, by the
/// server's clock when the read began, less what the server was behind. What `reading` says began then is
/// held, too, if the cache took it: a replica may not know what the cache does.
pub(crate) async fn fill(
    context: &Context,
    tenant: TenantId,
    rows: &[EntityRow],
    (at, behind): (Timestamp, Lag),
    reading: Option<Reading>,
) {
    let (Some(cache), Lag::AtMost(behind)) = (&context.cache, behind) else { return };
    let as_of = at.plus_micros(-i64::try_from(behind.as_micros()).unwrap_or(i64::MAX));
    let entry = |row: &EntityRow| Entry {
        tenant,
        entity: row.entity,
        version: row.version,
        as_of,
        attrs_json: row.attrs_json.clone(),
        times_json: row.times_json.clone(),
        taken: None,
    };
    let entries: Vec<Entry> = rows.iter().map(entry).collect();
    // The cache being away only costs the next reader time.
    let stored = cache.fill(&entries).await.unwrap_or(0);
    let Some(held) = &context.held else { return };
    for entry in &entries {
        match &reading {
            Some(reading) if stored > 0 && reading.is_of(tenant, entry.entity) => {
                held.hold_read(reading, &Arc::new(entry.clone()));
            }
            _ => held.saw(tenant, entry.entity, entry.version),
        }
    }
}
