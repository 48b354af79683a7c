//! `X-Request-Id` on every answer: the client's when it is sane, else a new UUIDv7; problems carry it too.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use uuid::Uuid;

/// The header.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id taken from a client, in bytes.
const MAX_BYTES: usize = 128;

/// The id of the request at hand, among its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

/// Middleware: chooses the id, and puts it on the answer.
pub async fn assign(mut request: Request, next: Next) -> Response {
    let id = choose(request.headers().get(X_REQUEST_ID));
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

fn choose(given: Option<&HeaderValue>) -> HeaderValue {
    let sane = |id: &&HeaderValue| (1..=MAX_BYTES).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    given
        .filter(sane)
        .cloned()
        .unwrap_or_else(|| HeaderValue::from_str(&Uuid::now_v7().to_string()).expect("a UUID is visible ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_ids_are_taken_over() {
        let check = |given: &str, taken: bool| {
            let value = HeaderValue::from_bytes(given.as_bytes()).expect("valid");
            let id = choose(Some(&value));
            assert_eq!(id == value, taken, "{given:?}");
            assert!(taken || Uuid::try_parse_ascii(id.as_bytes()).is_ok_and(|id| id.get_version_num() == 7), "{id:?}");
        };
        check("abc-123", true);
        check(&"x".repeat(MAX_BYTES), true);
        check(&"x".repeat(MAX_BYTES + 1), false);
        check("", false);
        check("a b", false);
        check("é", false);
    }
}
