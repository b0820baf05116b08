//! The description of the API, made from the handlers.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use eaves_cache::RATE_HEADERS;
use eaves_freshness::{Consistency, Purpose};
use std::sync::Arc;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Object, ObjectBuilder, OpenApi, Ref, RefOr, Required, Type};
use utoipa::{Modify, OpenApi as _};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Eaves",
        description = "Telemetry in, answers with their freshness out. Every data answer says where it was read, \
                       how old it may be and why it was read there, in headers and in `metadata.freshness`. \
                       The tenant comes from the token.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "entities", description = "Latest values and history"),
        (name = "attributes", description = "What is registered, written and asked for"),
        (name = "tenant", description = "The tenant's own settings"),
        (name = "telemetry", description = "Readings of devices"),
        (name = "quarantine", description = "What could not be taken: look at it, send it again, give it up"),
        (name = "freshness", description = "How far every part is"),
        (name = "admin", description = "For operators: reads across tenants, each noted with who and why"),
    ),
    modifiers(&Security),
)]
struct Head;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "RS256, ES256 or EdDSA as the issuer's keys say, with the claims `tenant` and `scope` \
                 (`query:read`, `telemetry:write`; `settings:write` to describe attributes and change settings; \
                 `plugins:write` or `admin` to change what is hot). Operators have `operator` and the scope `admin`. \
                 Locally: `eaves token --tenant TENANT`.",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("jwt", SecurityScheme::Http(scheme));
    }
}

/// The document without its paths.
pub(crate) fn head() -> OpenApi {
    Head::openapi()
}

/// Headers of answers with data.
const HEADERS: [(&str, &str); 12] = [
    ("X-Data-Source", "`cache`, `read-replica` or `primary`"),
    (
        "X-Data-Lag-Seconds",
        "The answer lacks at most what was committed in the last so many seconds; `unknown`",
    ),
    ("X-Consistency-Level", "The level asked for: `strong`, `eventual` or `analytics`"),
    ("X-Freshness-Tier", "`REALTIME`, `NEAR_REALTIME`, `DELAYED` or `STALE`"),
    ("X-Data-Freshness", "The tier in lower case: `realtime`, `near-realtime`, `delayed`, `stale`"),
    (
        "X-Replication-Lag",
        "Seconds that the replica was behind when last measured; `unknown`; absent without a replica",
    ),
    ("X-Cache-Hit", "`true` if the cache answered"),
    ("X-SLA-Met", "Whether the lag is under the target"),
    ("X-Query-Timestamp", "When the answer was made"),
    ("Age", "Age of the cache's entry in seconds, rounded up; absent if another source answered"),
    (
        "Cache-Status",
        "Whether the cache answered (`eaves; hit; ttl=3`), and if not why (`eaves; fwd=miss`), by RFC 9211",
    ),
    ("Server-Timing", "Milliseconds: `route` choosing sources, `db` reading, `total`; and the `source`"),
];

/// Parameters of reads that may have to wait for an earlier write.
const TOKENS: [(&str, ParameterIn, &str); 3] = [
    (
        "token",
        ParameterIn::Query,
        "`token` of an answer to `POST /v1/telemetry`: the answer has what that wrote, or is a 503 `not-yet`",
    ),
    ("X-Consistency-Token", ParameterIn::Header, "The same as `token`"),
    (
        "wait",
        ParameterIn::Query,
        "How long what the token names is waited for, such as `500ms` (default `2s`, at most `10s`)",
    ),
];

fn token_parameter((name, place, description): (&str, ParameterIn, &str)) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(Object::with_type(Type::String)))
        .build()
}

/// Whether what is answered there was read, and not changed.
fn tells_freshness(path: &str) -> bool {
    ["/v1/entities", "/v1/attributes", "/v1/aggregates", "/v1/hot", "/v1/tenant"]
        .iter()
        .any(|start| path.starts_with(start))
        && !["/promote", "/demote", "/pin"].iter().any(|end| path.ends_with(end))
}

fn text_header(description: &str) -> Header {
    HeaderBuilder::new().schema(Some(Object::with_type(Type::String))).description(Some(description)).build()
}

/// Every request with a tenant's token can be one too many.
fn limited(operation: &mut Operation) {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let answer = ResponseBuilder::new()
        .description("The tenant's rate limit is reached (`rate-limited`), or its quota of the day is used up (`quota-exceeded`)")
        .content("application/problem+json", problem)
        .header("Retry-After", text_header("Seconds until it is worth asking again"))
        .build();
    operation.responses.responses.insert("429".to_owned(), RefOr::T(answer));
    for (status, answer) in &mut operation.responses.responses {
        let RefOr::T(answer) = answer else { continue };
        if status != "401" {
            for (name, description) in RATE_HEADERS {
                answer.headers.insert(name.to_owned(), text_header(description).into());
            }
        }
    }
}

/// Who has no token that holds meets the gateway, which answers in its own words.
fn told_by_the_gateway(operation: &mut Operation) {
    let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("401") else { return };
    let message = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("message", Object::with_type(Type::String))
        .required("message")
        .description(Some("What API Gateway says"))
        .build();
    let content = ContentBuilder::new().schema(Some(message)).build();
    answer.content.insert("application/json".to_owned(), RefOr::T(content));
}

/// Adds the headers that all data answers share, and what every request can meet.
pub(crate) fn with_headers(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        let all = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in all.into_iter().flatten() {
            told_by_the_gateway(operation);
            if path.starts_with("/v1/") && !path.starts_with("/v1/admin/") {
                limited(operation);
            }
        }
        if !tells_freshness(path) {
            continue;
        }
        for operation in [&mut item.get, &mut item.post, &mut item.put, &mut item.patch].into_iter().flatten()
        {
            let bounded = |p: &RefOr<Parameter>| matches!(p, RefOr::T(p) if p.name == "max_staleness");
            if operation.parameters.iter().flatten().any(bounded) {
                operation
                    .parameters
                    .get_or_insert_default()
                    .extend(TOKENS.map(|token| RefOr::T(token_parameter(token))));
            }
            let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") else { continue };
            for (name, description) in HEADERS {
                answer.headers.insert(name.to_owned(), text_header(description).into());
            }
        }
    }
    document
}

/// Says of every parameter that bounds an answer's age the same: what has `max_staleness` has a
/// `purpose`, too, and levels and purposes are listed.
fn with_demands(mut document: OpenApi) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.put, &mut item.patch].into_iter().flatten()
        {
            let Some(parameters) = &mut operation.parameters else { continue };
            let known =
                |p: &RefOr<Parameter>| if let RefOr::T(p) = p { p.name.clone() } else { String::new() };
            if !parameters.iter().any(|p| known(p) == "max_staleness") {
                continue;
            }
            for parameter in parameters.iter_mut() {
                let RefOr::T(parameter) = parameter else { continue };
                if parameter.name != "consistency" {
                    continue;
                }
                let said = parameter.description.get_or_insert_default();
                let strong = !said.contains("`strong` is not possible");
                said.push_str(
                    ". `analytics`: from a replica, minutes old if need be, with longer statements",
                );
                let levels = Consistency::ALL.into_iter().filter(|c| strong || *c != Consistency::Strong);
                parameter.schema = Some(one_of(levels.map(Consistency::name)).into());
            }
            parameters.push(RefOr::T(
                ParameterBuilder::new()
                    .name("purpose")
                    .parameter_in(ParameterIn::Query)
                    .description(Some(
                        "What the answer is for: a budget of the freshness matrix, which chooses sources and the \
                         age that is good enough. It must not contradict `consistency` or `max_staleness`",
                    ))
                    .schema(Some(one_of(Purpose::ALL.into_iter().map(Purpose::name))))
                    .build(),
            ));
        }
    }
    document
}

fn one_of(names: impl Iterator<Item = &'static str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build()
}

/// Adds what many operations share.
pub(crate) fn complete(document: OpenApi) -> OpenApi {
    with_demands(with_headers(document))
}

/// The whole document.
pub fn document() -> OpenApi {
    complete(crate::router::described().into_openapi())
}

pub(crate) async fn serve(document: Arc<str>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}
