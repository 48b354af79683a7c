//! Headers that keep browsers from doing more with an answer than it is meant for; on every answer, unless a route knows better.
//!
//! Knows no route, but which pages there are.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};

use super::stream::{Connection, Transport};

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What is no page loads and runs nothing, a plot that is opened by itself included.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");

/// The API's browser: its own files, and requests to this server. It draws with data URLs, and the hash is that of its logo's style.
const BROWSER: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; \
     img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// A year of HTTPS alone, for this name.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Middleware: adds the headers that the answer does not have.
pub async fn harden(request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Connection>().copied();
    let is_secured = connection.is_some_and(|connection| connection.transport == Transport::Tls);
    let is_browser = request.uri().path().starts_with("/docs");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = if is_browser { BROWSER } else { NOTHING };
    // Files that never change are asked for anew, and answered with 304; all else says what is so now, or what only its client may see.
    let kept = if headers.contains_key(header::ETAG) { "no-cache" } else { "no-store" };
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, HeaderValue::from_static(kept)),
    ] {
        headers.entry(name).or_insert(value);
    }
    if is_secured {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(HTTPS_ONLY);
    }
    response
}
