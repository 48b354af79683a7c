//! Requests to become another connection's middle: graft is no proxy, and says so before it hangs up.
//!
//! Knows no route.

use axum::{
    extract::Request,
    http::{HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::error::ApiError;

/// Middleware: refuses `CONNECT`, after which neither side knows what the next bytes are, and ends the connection with the answer.
pub async fn refuse(request: Request, next: Next) -> Response {
    if request.method() != Method::CONNECT {
        return next.run(request).await;
    }
    let refused = ApiError::MethodNotAllowed { method: request.method().to_string(), path: request.uri().to_string() };
    let mut response = refused.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    // Of a target that is no resource, no method is allowed (RFC 9110 §10.2.1).
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(""));
    response
}
