//! What tests of this module share: small bounds, and a router's answer as status, headers and JSON.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use serde_json::Value;
use tower::ServiceExt;

use super::{intake::Intake, pace::Pace};
use crate::{
    config::{Auth, ServerConfig},
    inference::Admissions,
    work::Lane,
};

/// Bounds small enough to run into.
pub fn intake() -> Intake {
    Intake {
        max_body_bytes: 1000,
        max_response_bytes: 1000,
        max_images: 3,
        pace: Pace { idle: Duration::from_secs(5), setting: "server.body_idle_timeout_ms", bytes_per_second: 1 },
        admissions: admissions(2000),
        encoding: Lane::new("test", 1, usize::MAX),
    }
}

/// What lets requests in, `bytes` of them.
pub fn admissions(bytes: usize) -> Admissions {
    Admissions::new(&ServerConfig { max_buffered_bytes: bytes, max_client_percent: 100, ..server() })
}

/// The answer to `request`, which names a host as all that come over a wire do; the body is null when it is not JSON.
pub async fn answer(router: &Router, mut request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
    let response = router.clone().oneshot(request).await.expect("a router is infallible");
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 24).await.expect("the body is small");
    (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// A server on a free port, with its usual bounds.
pub fn server() -> ServerConfig {
    ServerConfig {
        host: [127, 0, 0, 1].into(),
        port: 0,
        tls: None,
        hosts: Vec::new(),
        cors_origins: Vec::new(),
        allow_anonymous: false,
        max_body_bytes: 1 << 20,
        max_images: 8,
        max_request_pixels: 1_000_000,
        max_buffered_bytes: 1 << 22,
        max_connections: 256,
        max_client_percent: 50,
        max_response_bytes: 1 << 20,
        header_timeout: Duration::from_secs(10),
        keep_alive_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(10),
        body_idle_timeout: Duration::from_secs(10),
        min_body_bytes_per_second: 1,
        request_timeout: Duration::from_secs(10),
        shutdown_grace: Duration::from_secs(10),
        auth: Auth::Auto,
        metrics_need_key: true,
    }
}
