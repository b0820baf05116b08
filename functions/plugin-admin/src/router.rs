//! All routes, and what answers where there is none.

use crate::context::Context;
use crate::problem::Problem;
use crate::{backtests, force, invite, openapi, plugins, policy, rate, simulate, upload, watch};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware;
use axum::routing::get;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Most bytes of a body: what Lambda carries.
const MOST: usize = 6 << 20;

/// The routes that the description covers.
pub(crate) fn described() -> OpenApiRouter<Arc<Context>> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(plugins::list_plugins, upload::post_plugin))
        .routes(routes!(invite::post_upload))
        .routes(routes!(plugins::list_versions))
        .routes(routes!(force::activate))
        .routes(routes!(force::shadow))
        .routes(routes!(force::end_shadow))
        .routes(routes!(force::rollback))
        .routes(routes!(force::deactivate))
        .routes(routes!(backtests::list_backtests, backtests::post_backtest))
        .routes(routes!(backtests::get_backtest))
        .routes(routes!(backtests::cancel_backtest))
        .routes(routes!(simulate::simulate_hot))
        .routes(routes!(watch::metrics))
        .routes(routes!(watch::events))
        .routes(routes!(watch::audit))
        .routes(routes!(policy::get_policy, policy::put_policy))
}

/// The whole API.
pub fn router(context: Arc<Context>) -> Router {
    let (routes, description) = described().split_for_parts();
    let description: Arc<str> = openapi::complete(description).to_json().unwrap_or_default().into();
    routes
        .route_layer(middleware::from_fn_with_state(Arc::clone(&context), rate::limit))
        .route("/v1/plugins/openapi.json", get(move || openapi::serve(Arc::clone(&description))))
        .fallback(async |uri: Uri| Problem::no_route(uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| Problem::no_method(&method, uri.path()))
        .layer(DefaultBodyLimit::max(MOST))
        .with_state(context)
}
