//! All routes, and what answers where there is none.

use crate::context::Context;
use crate::problem::Problem;
use crate::{admin, attributes, compress, docs, entities, entity, figures, freshness, history, hot, openapi};
use crate::{quarantine, rate, request, search, series, telemetry, tenant, token};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware;
use axum::routing::get;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes that the description covers.
pub(crate) fn described() -> OpenApiRouter<Arc<Context>> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(entities::list_entities))
        .routes(routes!(entities::batch_entities))
        .routes(routes!(search::search_entities))
        .routes(routes!(entity::get_entity))
        .routes(routes!(series::get_latest))
        .routes(routes!(series::get_series))
        .routes(routes!(history::get_history))
        .routes(routes!(attributes::list_attributes))
        .routes(routes!(attributes::get_attribute, attributes::put_attribute, attributes::patch_attribute))
        .routes(routes!(figures::get_distribution))
        .routes(routes!(figures::post_aggregates))
        .routes(routes!(hot::promote_attribute))
        .routes(routes!(hot::demote_attribute))
        .routes(routes!(hot::pin_attribute, hot::unpin_attribute))
        .routes(routes!(hot::list_changes))
        .routes(routes!(hot::list_decisions))
        .routes(routes!(hot::simulate_hot))
        .routes(routes!(tenant::get_tenant, tenant::patch_tenant))
        .routes(routes!(telemetry::post_telemetry))
        .routes(routes!(quarantine::list_quarantine))
        .routes(routes!(quarantine::redrive_many))
        .routes(routes!(quarantine::get_quarantine))
        .routes(routes!(quarantine::redrive_one))
        .routes(routes!(quarantine::drop_one))
        .routes(routes!(admin::admin_entities))
        .routes(routes!(admin::admin_advice))
        .routes(routes!(freshness::get_freshness))
        .routes(routes!(freshness::healthz))
}

/// The whole API.
pub fn router(context: Arc<Context>) -> Router {
    let (routes, description) = described().split_for_parts();
    let description: Arc<str> = openapi::complete(description).to_json().unwrap_or_default().into();
    routes
        .route_layer(middleware::from_fn_with_state(Arc::clone(&context), rate::limit))
        .route("/openapi.json", get(move || openapi::serve(Arc::clone(&description))))
        .route("/docs", get(docs::page))
        .fallback(async |uri: Uri| Problem::no_route(uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| Problem::no_method(&method, uri.path()))
        // Bodies are read with limits of their own, which name what is too large.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(&context), token::scope))
        .layer(middleware::from_fn(compress::compress))
        .layer(middleware::from_fn_with_state(Arc::clone(&context), request::bounded))
        .with_state(context)
}
