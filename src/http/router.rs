//! The router: every route, and around them request ids, problems, logs, metrics, panics and compression.

use std::any::Any;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{Method, header},
    middleware,
    response::{IntoResponse, Response},
};
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    access::{self, Guarded, Needs},
    compress, encoding,
    error::{ApiError, Panicked},
    hardening,
    host::{self, Hosts},
    intake::Intake,
    observe, openapi,
    origins::{self, Origins},
    problem, request_id, request_log,
    routes::{datasets, features, health, job_events, jobs, models, predict, versions},
    state::State,
    tunnel, unread,
};
use crate::{
    access::Scope::{Admin, Predict, Train},
    config::ServerConfig,
};

/// Every route over `state`.
pub fn router(state: State) -> Router {
    let (routes, _) = documented().split_for_parts();
    let (intake, server, door) = (state.intake().clone(), state.server().clone(), state.door().clone());
    let routes = routes.with_state(state).merge(openapi::routes());
    around(routes, &intake, &server).layer(middleware::from_fn_with_state(door, access::identify))
}

/// The routes that the OpenAPI document describes, each with what a key must have that asks for it: what cannot be undone, runs
/// foreign graphs or takes a model away needs more than training does.
pub(super) fn documented() -> OpenApiRouter<State> {
    let routes = Guarded::default()
        .route(Predict, routes!(predict::predict))
        .route(Predict, routes!(predict::predict_model))
        .route(Predict, routes!(predict::predict_version))
        .route(Predict, routes!(features::features))
        .route(Predict, routes!(features::features_model))
        .route(Predict, routes!(features::features_version))
        .route(Predict, routes!(models::list))
        .route(Predict, routes!(models::show))
        .route(Predict, routes!(models::labels))
        .route(Predict, routes!(models::layers))
        .route(Admin, routes!(versions::choose, versions::unchoose))
        .route(Admin, routes!(versions::remove))
        .route(Admin, routes!(versions::download))
        .route(Train, routes!(jobs::list))
        .route(Train, routes!(jobs::show))
        .route(Train, routes!(jobs::cancel))
        .route(Train, routes!(job_events::stream))
        .route(Train, routes!(datasets::create, datasets::list))
        .route(Train, routes!(datasets::show))
        .route(Train, routes!(datasets::classes))
        .route(Train, routes!(datasets::skipped))
        .route(Admin, routes!(datasets::remove))
        .route(Needs::Nothing, routes!(health::healthz))
        .route(Needs::Nothing, routes!(health::readyz))
        .route(Needs::Metrics, routes!(health::metrics));
    jobs::submissions(routes).into_routes()
}

/// What surrounds every route, the request id outermost.
pub(super) fn around(routes: Router, intake: &Intake, server: &ServerConfig) -> Router {
    let origins = Origins::new(&server.cors_origins);
    let cors = origins.cors();
    routes
        .route_layer(middleware::from_fn(encoding::decode))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(intake.encoding.clone(), compress::compress))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(origins, origins::ours))
        .layer(option_layer(cors))
        .layer(middleware::from_fn_with_state(Hosts::new(server), host::meant_for_us))
        .layer(middleware::from_fn(tunnel::refuse))
        .layer(middleware::from_fn(observe::record))
        .layer(middleware::from_fn_with_state(intake.clone(), unread::forget))
        .layer(middleware::from_fn(problem::written))
        .layer(middleware::from_fn(hardening::harden))
        .layer(middleware::from_fn(request_log::log))
        .layer(middleware::from_fn(request_id::assign))
}

async fn not_found(request: Request) -> ApiError {
    ApiError::NotFound { path: request.uri().path().to_owned() }
}

async fn method_not_allowed(request: Request) -> ApiError {
    if request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        return ApiError::ForeignOrigin { origin: origin.map(str::to_owned) };
    }
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

#[cfg(test)]
mod tests {
    use axum::{
        Json,
        body::Body,
        http::StatusCode,
        routing::{get, post},
    };
    use serde_json::Value;

    use super::*;
    use crate::http::testing::{self, answer};

    fn routes() -> Router {
        around(
            Router::new()
                .route("/fails", get(async || ApiError::internal("the disk is on fire").into_response()))
                .route("/panics", get(async || -> () { panic!("the disk is on fire") }))
                .route("/full", post(async || ApiError::Busy { of_client: false }))
                .route("/large", get(async || Json("x".repeat(10_000))))
                .route("/events", get(async || ([(header::CONTENT_TYPE, "text/event-stream")], "x".repeat(10_000))))
                .route("/array", get(async || ([(header::CONTENT_TYPE, "application/x-npy")], vec![0u8; 10_000])))
                .merge(openapi::routes()),
            &testing::intake(),
            &testing::server(),
        )
    }

    async fn check(method: &str, path: &str, status: u16, code: &str, detail: &str) -> Value {
        let request =
            Request::builder().method(method).uri(path).header("X-Request-Id", "abc").body(Body::empty()).expect("valid");
        let (got, headers, body) = answer(&routes(), request).await;
        assert_eq!((got.as_u16(), body["status"].as_u64()), (status, Some(u64::from(status))), "{method} {path}: {body}");
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(headers["X-Request-Id"], "abc");
        assert_eq!(body["code"], code);
        assert_eq!(body["request_id"], "abc");
        let instance = body["instance"].as_str().expect("a path");
        assert!(path.starts_with(instance) && instance.len() <= 120, "{instance}");
        assert!(path.len() > 120 || path.split('?').next() == Some(instance), "{instance}");
        assert!(body["detail"].as_str().is_some_and(|text| text.contains(detail)), "{body}");
        body
    }

    #[tokio::test]
    async fn every_error_is_a_problem_with_the_request_id() {
        check("GET", "/nothing?x=1", 404, "not_found", "nothing at `/nothing`; `/docs` lists").await;
        check("POST", "/fails", 405, "method_not_allowed", "`POST` is not allowed at `/fails`").await;
        check("POST", "/full", 503, "busy", "`server.max_buffered_bytes`").await;
        let long = format!("/{}", "x".repeat(5000));
        let body = check("GET", &long, 404, "not_found", "nothing at `/xxx").await;
        assert!(body["detail"].as_str().is_some_and(|text| text.len() < 120), "{body}");
        check("GET", "/docs/nothing.js", 404, "not_found", "/docs/nothing.js").await;
        for path in ["/fails", "/panics"] {
            let body = check("GET", path, 500, "internal", "its log says why").await;
            assert!(!body.to_string().contains("fire"), "{path}: a 500 is opaque, but says {body}");
        }
    }

    #[tokio::test]
    async fn wrong_methods_name_the_right_ones() {
        let request = Request::get("/full").body(Body::empty()).expect("valid");
        let (_, headers, _) = answer(&routes(), request).await;
        assert_eq!(headers[header::ALLOW], "POST");
        let request = Request::delete("/openapi.yaml").body(Body::empty()).expect("valid");
        let (_, headers, _) = answer(&routes(), request).await;
        assert_eq!(headers[header::ALLOW], "GET,HEAD");
    }

    #[tokio::test]
    async fn answers_have_an_id_and_only_text_is_compressed() {
        for (path, compressed) in [("/large", true), ("/array", false), ("/events", false), ("/openapi.yaml", true)] {
            let request = Request::get(path).header(header::ACCEPT_ENCODING, "gzip").body(Body::empty()).expect("valid");
            let (status, headers, _) = answer(&routes(), request).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            assert_eq!(headers.contains_key(header::CONTENT_ENCODING), compressed, "{path}");
            assert_eq!(headers["X-Request-Id"].len(), 36, "{path}: a UUID");
        }
    }

    #[tokio::test]
    async fn the_browser_is_part_of_the_binary() {
        let request = |path: &str| Request::get(path).body(Body::empty()).expect("valid");
        let (status, headers, _) = answer(&routes(), request("/docs")).await;
        assert_eq!((status.as_u16(), headers[header::LOCATION].as_bytes()), (308, b"docs/".as_slice()));
        for path in ["/docs/", "/docs/swagger-ui-bundle.js", "/docs/swagger-initializer.js"] {
            let (status, headers, body) = answer(&routes(), request(path)).await;
            assert_eq!(status, StatusCode::OK, "{path}: {body}");
            assert!(headers.contains_key(header::CONTENT_TYPE), "{path}");
        }
    }
}
