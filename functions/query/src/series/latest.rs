//! `GET /v1/entities/{external_id}/latest`

use super::wanted;
use crate::answer::{Metadata, Provenance};
use crate::caller::{Caller, QUERY_READ};
use crate::context::Context;
use crate::entity_body::AttributeValue;
use crate::entity_name::{Names, checked};
use crate::params::Params;
use crate::problem::Problem;
use crate::sources::Need;
use axum::extract::State;
use axum::response::Response;
use eaves_freshness::Source;
use eaves_model::{Timestamp, limits};
use eaves_store::read::LatestQuery;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

/// The values that were the latest at a time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatestAnswer<'a> {
    /// The tenant's own name for the entity.
    #[schema(example = "pump-7")]
    external_id: String,
    /// The time asked for: values observed later are left out.
    #[schema(value_type = String, format = DateTime)]
    before: Timestamp,
    /// By name; an attribute without a value is not there.
    #[schema(value_type = BTreeMap<String, AttributeValue>)]
    attributes: BTreeMap<&'a str, AttributeValue<'a>>,
    /// Attributes asked for that have no value until then.
    without: Vec<String>,
    /// How fresh the answer is.
    metadata: Metadata,
}

/// The latest values of attributes, hot or not, at or before a time: as history has them.
#[utoipa::path(
    get, path = "/v1/entities/{external_id}/latest", tag = "entities",
    security(("jwt" = ["query:read"])),
    params(
        ("external_id" = String, Path, description = "The tenant's own name for the entity, percent-encoded", max_length = 255, example = "pump-7"),
        ("attributes" = String, Query, description = "1 to 50 attributes, separated by commas", example = "temperature,pressure"),
        ("before" = Option<String>, Query, description = "Last time taken, RFC 3339. Default: now, and what is dated ahead of now"),
        ("consistency" = Option<String>, Query, description = "`strong`: from the primary, with what is acknowledged but not flushed yet. `eventual` (default)"),
        ("max_staleness" = Option<String>, Query, description = "Oldest answer to take, such as `2s` or `500ms`"),
    ),
    responses(
        (status = 200, description = "The values", body = LatestAnswer),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such entity or attribute", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No source can answer as asked", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_latest(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(external_id): Names<String>,
    params: Params,
) -> Result<Response, Problem> {
    caller.need(QUERY_READ)?;
    let params = params.only(&["attributes", "before", "consistency", "max_staleness"])?;
    let demand = params.demand()?;
    let external_id = checked("external_id", &external_id)?;
    let names = wanted(&params)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let open_end = Timestamp::now().plus_micros(limits::MAX_AHEAD_MICROS);
    let before = params.time("before")?.unwrap_or(open_end);
    let Some(earliest) = Timestamp::from_micros(limits::EARLIEST_OBSERVED_MICROS) else {
        return Err(Problem::internal());
    };
    let tenant = caller.tenant.id;

    let began = Instant::now();
    let (entity, attributes) = context.identified(tenant, external_id, &names).await?;
    let mut attempt = context.sources.attempt(demand, Need::History, None);
    loop {
        let (route, server) = attempt.next().await?;
        let Some(server) = server else { return Err(Problem::internal()) };
        let query = LatestQuery {
            tenant,
            entities: vec![entity],
            attributes: attributes.iter().map(|a| (a.id, a.value_type)).collect(),
            from: earliest,
            until: before,
            with_staging: route.source == Source::Primary,
        };
        let done = server.reader.latest(&query).await;
        let Some((found, lag)) = attempt.take(route, server, done)? else { continue };
        context.usage.note(tenant, &[], &names, began.elapsed());
        context.usage.write(tenant, &context.sources.primary, false).await;
        let (mut values, mut without) = (BTreeMap::new(), Vec::new());
        for attribute in &attributes {
            match found.iter().find(|v| v.attribute == attribute.id) {
                Some(v) => {
                    let value = AttributeValue::new(&v.value, attribute, v.observed_at);
                    values.insert(attribute.name.as_str(), value);
                }
                None => without.push(attribute.name.clone()),
            }
        }
        let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
        return Ok(provenance.respond(&LatestAnswer {
            external_id: external_id.to_owned(),
            before,
            attributes: values,
            without,
            metadata: provenance.metadata(),
        }));
    }
}
