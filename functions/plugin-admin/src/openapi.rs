//! The description of the API, made from the handlers.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
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

/// The document without its paths.
pub(crate) fn head() -> OpenApi {
    Head::openapi()
}

/// The whole document.
pub fn document() -> OpenApi {
    crate::router::described().into_openapi()
}

pub(crate) async fn serve(document: Arc<str>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}
