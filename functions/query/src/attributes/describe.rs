//! `PUT` and `PATCH /v1/attributes/{name}`

use super::{AttributeAnswer, read};
use crate::answer::Provenance;
use crate::body;
use crate::caller::{Caller, SETTINGS_WRITE};
use crate::context::Context;
use crate::entity_name::{Names, checked};
use crate::params::Params;
use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use eaves_freshness::Demand;
use eaves_model::ValueType;
use eaves_model::rejection::excerpt;
use eaves_model::value::UnknownType;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

const MOST_UNIT_CHARS: usize = 64;
const MOST_DESCRIPTION_CHARS: usize = 1000;

/// What to say of an attribute. What is not given stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DescribeBody {
    /// Its unit, up to 64 characters; empty: none.
    #[serde(default)]
    #[schema(example = "°C", max_length = 64)]
    unit: Option<String>,
    /// What it is, up to 1000 characters.
    #[serde(default)]
    #[schema(example = "At the bearing, drive end", max_length = 1000)]
    description: Option<String>,
}

/// An attribute that is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeclareBody {
    /// `string`, `integer`, `float`, `decimal`, `boolean` or `timestamp`.
    #[serde(rename = "type")]
    #[schema(example = "decimal")]
    value_type: String,
    /// Its unit, up to 64 characters; empty: none.
    #[serde(default)]
    #[schema(example = "kWh", max_length = 64)]
    unit: Option<String>,
    /// What it is, up to 1000 characters.
    #[serde(default)]
    #[schema(example = "Counter of the main meter", max_length = 1000)]
    description: Option<String>,
}

/// Makes an attribute with its type before its first value comes, which would decide the type; a tenant that is
/// strict takes no values of others. Of one that is there already, unit and description are set; its type stays,
/// because values of it may be stored.
#[utoipa::path(
    put, path = "/v1/attributes/{name}", tag = "attributes",
    security(("jwt" = ["settings:write"])),
    params(
        ("name" = String, Path, description = "The attribute, percent-encoded (a slash twice: %252F)", max_length = 255, example = "energy"),
    ),
    request_body(content = DeclareBody, content_type = "application/json"),
    responses(
        (status = 200, description = "It was there, of that type: the attribute as it is now", body = AttributeAnswer),
        (status = 201, description = "It was made", body = AttributeAnswer),
        (status = 400, description = "The name or the body is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has another type", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put_attribute(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(name): Names<String>,
    params: Params,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.need(SETTINGS_WRITE)?;
    params.only(&[])?;
    let body: DeclareBody = body::object(&body, "{\"type\": \"decimal\"}")?;
    let name = checked("name", &name)?;
    let value_type: ValueType =
        body.value_type.parse().map_err(|e: UnknownType| Problem::bad_body("type", e.to_string()))?;
    let unit = text("unit", body.unit.as_deref(), MOST_UNIT_CHARS)?;
    let description = text("description", body.description.as_deref(), MOST_DESCRIPTION_CHARS)?;
    let reader = &context.sources.primary()?.reader;
    let declared = reader.attribute_declare(caller.tenant.id, (name, value_type), unit, description).await?;
    if declared.value_type != value_type {
        let detail = format!(
            "{} is registered as {} and stays so, because values of it may be stored: take another name",
            excerpt(name),
            declared.value_type
        );
        return Err(Problem::conflict(detail));
    }
    let mut response = shown(&context, &caller, name).await?;
    if declared.made {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// Sets an attribute's unit and description. Answers show the new unit at once or, from other
/// instances, within ten seconds. Its type is that which it
/// was made with (`PUT`), or that of its first value.
#[utoipa::path(
    patch, path = "/v1/attributes/{name}", tag = "attributes",
    security(("jwt" = ["settings:write"])),
    params(
        ("name" = String, Path, description = "The attribute, percent-encoded (a slash twice: %252F)", max_length = 255, example = "temperature"),
    ),
    request_body(content = DescribeBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The attribute as it is now", body = AttributeAnswer),
        (status = 400, description = "The body is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such attribute", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn patch_attribute(
    State(context): State<Arc<Context>>,
    caller: Caller,
    Names(name): Names<String>,
    params: Params,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.need(SETTINGS_WRITE)?;
    params.only(&[])?;
    let body: DescribeBody = body::object(&body, "{\"unit\": \"°C\"}")?;
    let name = checked("name", &name)?;
    let unit = text("unit", body.unit.as_deref(), MOST_UNIT_CHARS)?;
    let description = text("description", body.description.as_deref(), MOST_DESCRIPTION_CHARS)?;
    if unit.is_none() && description.is_none() {
        return Err(Problem::bad_body("body", "changes nothing: give unit, description or both"));
    }
    let reader = &context.sources.primary()?.reader;
    if !reader.attribute_describe(caller.tenant.id, name, unit, description).await? {
        return Err(unknown(name));
    }
    shown(&context, &caller, name).await
}

fn unknown(name: &str) -> Problem {
    Problem::not_found("name", format!("no attribute {} is registered", excerpt(name)))
}

/// The attribute as it was just changed.
async fn shown(context: &Context, caller: &Caller, name: &str) -> Result<Response, Problem> {
    let demand = Demand::STRONG;
    let (found, route, lag) = read(context, caller, demand, ("", Some(name), 1)).await?;
    let Some(found) = found.into_iter().next() else { return Err(unknown(name)) };
    context.memory.remember_attribute(caller.tenant.id, Arc::new(found.attribute.clone()));
    let provenance = Provenance::new(demand, route, lag, context.sources.replication_lag());
    let metadata = provenance.metadata();
    Ok(provenance.respond(&AttributeAnswer { attribute: found.into(), metadata }))
}

/// A text of at most so many characters, none of which is a control character.
fn text<'a>(field: &str, text: Option<&'a str>, most: usize) -> Result<Option<&'a str>, Problem> {
    let Some(given) = text else { return Ok(None) };
    let length = given.chars().count();
    if length > most {
        return Err(Problem::bad_body(field, format!("has {length} characters, at most {most} are kept")));
    }
    if given.chars().any(|c| c.is_control() && c != '\n') {
        return Err(Problem::bad_body(field, "has control characters"));
    }
    Ok(Some(given))
}
