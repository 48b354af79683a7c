//! The router: every route, and around them request ids, problems, logs, metrics, panics and compression.

use std::any::Any;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::header,
    middleware,
    response::{IntoResponse, Response},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer, CompressionLevel,
        predicate::{Predicate, SizeAbove},
    },
    trace::TraceLayer,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    error::{ApiError, Panicked},
    observe, openapi, request_id,
    routes::{features, health, models, predict},
    state::State,
};

/// Smaller answers are not worth compressing.
const MIN_COMPRESSED_BYTES: u64 = 1024;

/// Every route over `state`.
pub fn router(state: State) -> Router {
    let (routes, _) = documented().split_for_parts();
    around(routes.with_state(state).merge(openapi::routes()))
}

/// The routes that the OpenAPI document describes.
pub(super) fn documented() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(predict::predict))
        .routes(routes!(predict::predict_model))
        .routes(routes!(predict::predict_version))
        .routes(routes!(features::features))
        .routes(routes!(features::features_model))
        .routes(routes!(features::features_version))
        .routes(routes!(models::list))
        .routes(routes!(models::show))
        .routes(routes!(models::layers))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
}

/// What surrounds every route, the request id outermost.
pub(super) fn around(routes: Router) -> Router {
    let trace = TraceLayer::new_for_http()
        .make_span_with(|request: &Request| observe::span(request))
        .on_request(())
        .on_response(|response: &Response, latency, span: &tracing::Span| observe::log_end(response, latency, span))
        .on_failure(());
    let compression = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(MIN_COMPRESSED_BYTES).and(OnlyText));
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(compression)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(observe::record))
        .layer(trace)
        .layer(middleware::from_fn(request_id::assign))
}

/// JSON and text shrink; arrays of floats do not, and cost time.
#[derive(Debug, Clone, Copy)]
struct OnlyText;

impl Predicate for OnlyText {
    fn should_compress<B: axum::body::HttpBody>(&self, response: &axum::http::Response<B>) -> bool {
        let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        ["application/json", "application/yaml", "text/"].iter().any(|kind| media_type.starts_with(kind))
    }
}

async fn not_found(request: Request) -> ApiError {
    ApiError::NotFound { path: request.uri().path().to_owned() }
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::MethodNotAllowed { method: request.method().to_string(), path: request.uri().path().to_owned() }
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "of an unknown kind".to_owned(),
    };
    ApiError::internal(Panicked(text)).into_response()
}
