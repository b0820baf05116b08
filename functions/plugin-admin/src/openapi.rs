//! The description of the API, made from the handlers.

use axum::http::header;
use axum::response::IntoResponse;
use eaves_cache::RATE_HEADERS;
use std::sync::Arc;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Object, ObjectBuilder, OpenApi, Ref, RefOr, Response, Type};
use utoipa::{Modify, OpenApi as _};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Eaves plugins",
        description = "A tenant's own rules: uploaded, checked, backtested, in shadow, active, rolled back. \
                       The tenant comes from the token.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags((name = "plugins", description = "The life of a version")),
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
                "RS256, with the claims `tenant` and `scope` (`plugins:read`, `plugins:write`, `admin`). \
                 Locally: `eaves token --tenant NAME --scope plugins:write`.",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("jwt", SecurityScheme::Http(scheme));
    }
}

/// Of the header `Retry-After`.
const RETRY: &str = "Seconds until it is worth asking again";

/// The document without its paths.
pub(crate) fn head() -> OpenApi {
    Head::openapi()
}

/// Adds what every request can meet: no token, a tenant that has had its requests, a source that is
/// away.
pub(crate) fn complete(mut document: OpenApi) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        let all = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in all.into_iter().flatten() {
            let answers = &mut operation.responses.responses;
            for (status, description) in [
                ("400", "A parameter or the body is wrong"),
                ("401", "No valid token"),
                ("403", "The token does not allow this"),
                ("429", "The tenant's rate limit is reached, or its quota of the day is used up"),
                ("503", "The database or the registry does not answer"),
            ] {
                answers.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem(status, description)));
            }
            for (status, answer) in answers.iter_mut() {
                let RefOr::T(answer) = answer else { continue };
                if status == "429" {
                    answer
                        .headers
                        .entry("Retry-After".to_owned())
                        .or_insert_with(|| text_header(RETRY).into());
                }
                if status != "401" {
                    for (name, description) in RATE_HEADERS {
                        answer.headers.insert(name.to_owned(), text_header(description).into());
                    }
                }
            }
        }
    }
    document
}

fn problem(status: &str, description: &str) -> Response {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let answer = ResponseBuilder::new().description(description).content("application/problem+json", problem);
    match status {
        "429" | "503" => answer.header("Retry-After", text_header(RETRY)),
        // Who has no token that holds meets the gateway, which answers in its own words.
        "401" => answer.content("application/json", ContentBuilder::new().schema(Some(message())).build()),
        _ => answer,
    }
    .build()
}

fn message() -> Object {
    let text = Object::with_type(Type::String);
    ObjectBuilder::new().schema_type(Type::Object).property("message", text).required("message").build()
}

fn text_header(description: &str) -> Header {
    HeaderBuilder::new().schema(Some(Object::with_type(Type::String))).description(Some(description)).build()
}

/// The whole document.
pub fn document() -> OpenApi {
    complete(crate::router::described().into_openapi())
}

pub(crate) async fn serve(document: Arc<str>) -> axum::response::Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_turned_away_for_now_is_told_for_how_long() {
        let document = serde_json::to_value(document()).unwrap();
        let mut seen = 0;
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let answer = &operation["responses"]["429"];
                assert!(answer["headers"]["Retry-After"].is_object(), "{method} {path}: {answer}");
                seen += 1;
            }
        }
        assert!(seen > 15, "{seen} operations");
        // Nobody has to say why.
        let cancel = &document["paths"]["/v1/plugins/{name}/backtest/{id}/cancel"]["post"]["requestBody"];
        assert!(cancel["content"].is_object() && cancel["required"] != true, "{cancel}");
    }
}
