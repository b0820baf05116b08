//! The description of the API, made from the handlers.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Object, OpenApi, RefOr, Required, Type};
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
                "RS256, with the claims `tenant` and `scope` (`query:read`, `telemetry:write`; \
                 `settings:write` to describe attributes and change settings; `plugins:write` or `admin` \
                 to change what is hot). \
                 Locally: `eaves token TENANT`.",
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
const HEADERS: [(&str, &str); 9] = [
    ("X-Data-Source", "`cache`, `read-replica` or `primary`"),
    (
        "X-Data-Lag-Seconds",
        "The answer lacks at most what was committed in the last so many seconds; `unknown`",
    ),
    ("X-Consistency-Level", "The level asked for: `strong` or `eventual`"),
    ("X-Freshness-Tier", "`REALTIME`, `NEAR_REALTIME`, `DELAYED` or `STALE`"),
    ("X-Data-Freshness", "The tier in lower case: `realtime`, `near-realtime`, `delayed`, `stale`"),
    (
        "X-Replication-Lag",
        "Seconds that the replica was behind when last measured; `unknown`; absent without a replica",
    ),
    ("X-Cache-Hit", "`true` if the cache answered"),
    ("X-SLA-Met", "Whether the lag is under the target"),
    ("X-Query-Timestamp", "When the answer was made"),
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

/// Adds the headers that all data answers share.
pub(crate) fn with_headers(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        if !tells_freshness(path) {
            continue;
        }
        for operation in [&mut item.get, &mut item.post, &mut item.patch].into_iter().flatten() {
            let bounded = |p: &RefOr<Parameter>| matches!(p, RefOr::T(p) if p.name == "max_staleness");
            if operation.parameters.iter().flatten().any(bounded) {
                operation
                    .parameters
                    .get_or_insert_default()
                    .extend(TOKENS.map(|token| RefOr::T(token_parameter(token))));
            }
            let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") else { continue };
            for (name, description) in HEADERS {
                let header = HeaderBuilder::new()
                    .schema(Some(Object::with_type(Type::String)))
                    .description(Some(description))
                    .build();
                answer.headers.insert(name.to_owned(), header.into());
            }
        }
    }
    document
}

/// The whole document.
pub fn document() -> OpenApi {
    with_headers(crate::router::described().into_openapi())
}

pub(crate) async fn serve(document: Arc<str>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}
