//! What a request must be for a route to see it: over TLS where that is configured.
//!
//! Knows nothing of what routes do, nor of who asks.

use axum::{
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{error::ApiError, stream::Transport};

/// Middleware: refuses a request that came without TLS where TLS is configured, and ends its connection.
pub async fn secured(request: Request, next: Next) -> Response {
    if request.extensions().get() != Some(&Transport::Unsecured) {
        return next.run(request).await;
    }
    let mut response = ApiError::TlsRequired.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
