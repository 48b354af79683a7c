//! What is recorded of every request: a log span, a count, a duration, how many are open.
//!
//! Labels are route templates, methods and statuses, never what a client chose freely.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use metrics::{counter, gauge, histogram};
use tracing::Span;

use super::{code::Code, request_id::RequestId, request_log};
use crate::message::excerpt;

/// The header that says where the time of a request went.
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Middleware: counts the request under its route's template, and tells the client how long it took.
pub async fn record(request: Request, next: Next) -> Response {
    let route = route(&request);
    let method = method(request.method());
    let open = Open::new();
    let started = Instant::now();
    let mut response = next.run(request).await;
    drop(open);
    let elapsed = started.elapsed();
    let total = format!("total;dur={:.3}", elapsed.as_secs_f64() * 1e3);
    response.headers_mut().append(SERVER_TIMING, HeaderValue::from_str(&total).expect("numbers are visible ASCII"));
    let left = request_log::client_has_left();
    let status = if left { request_log::LEFT } else { response.status().as_u16() }.to_string();
    counter!("graft_requests_total", "route" => route.clone(), "method" => method, "status" => status).increment(1);
    histogram!("graft_request_duration_seconds", "route" => route).record(elapsed.as_secs_f64());
    response
}

/// Counts images by the model that was asked and by what became of them.
pub fn count_images(model: &str, answered: usize, refused: usize) {
    request_log::note(|facts| facts.images = Some((answered + refused) as u64));
    for (outcome, images) in [("answered", answered), ("refused", refused)] {
        if images > 0 {
            counter!("graft_images_total", "model" => model.to_owned(), "outcome" => outcome).increment(images as u64);
        }
    }
}

/// Counts an answer that is a problem.
pub fn count_refusal(code: Code) {
    counter!("graft_refusals_total", "code" => code.wire_name()).increment(1);
}

/// The span of a request.
pub fn span(request: &Request) -> Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.0.to_str().ok()).unwrap_or_default();
    let (method, path) = (excerpt(request.method().as_str()), excerpt(request.uri().path()));
    tracing::info_span!("request", id, %method, %path, route = route(request))
}

fn route(request: &Request) -> String {
    request.extensions().get::<MatchedPath>().map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned())
}

/// Extension methods are free text; they share one label.
fn method(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 7] = [
        (Method::GET, "GET"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::DELETE, "DELETE"),
        (Method::HEAD, "HEAD"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::PATCH, "PATCH"),
    ];
    KNOWN.iter().find(|(known, _)| known == method).map_or("other", |(_, name)| name)
}

/// Counts a connection as open until it is dropped.
pub struct OpenConnection(());

impl OpenConnection {
    /// One more.
    pub fn new() -> Self {
        gauge!("graft_connections_open").increment(1.0);
        Self(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!("graft_connections_open").decrement(1.0);
    }
}

/// An open request; a client that leaves drops it too.
struct Open;

impl Open {
    fn new() -> Self {
        gauge!("graft_requests_in_flight").increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!("graft_requests_in_flight").decrement(1.0);
    }
}
