//! What answers say of keys: the challenge of a refusal, and what of a key's limits is left.
//!
//! `RateLimit-Policy` and `RateLimit` as in the Internet-Draft draft-ietf-httpapi-ratelimit-headers, from its version 08 on.

use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::access::{Admitted, Refused, Room};

/// The limits themselves.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What of them is left.
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// The `WWW-Authenticate` of a refusal, which more or another key might mend (RFC 6750); `None` of others.
pub fn challenge(refused: &Refused) -> Option<HeaderValue> {
    let text = match refused {
        Refused::Missing | Refused::Lost => r#"Bearer realm="graft""#.to_owned(),
        Refused::Malformed(_) => r#"Bearer realm="graft", error="invalid_request""#.to_owned(),
        Refused::Unknown | Refused::Expired { .. } => r#"Bearer realm="graft", error="invalid_token""#.to_owned(),
        Refused::Scope { needs, .. } => format!(r#"Bearer realm="graft", error="insufficient_scope", scope="{needs}""#),
        Refused::Images { .. }
        | Refused::TooManyImages { .. }
        | Refused::InFlight { .. }
        | Refused::Guesses { .. }
        | Refused::Unreadable => return None,
    };
    Some(HeaderValue::from_str(&text).expect("scopes are words"))
}

/// Adds the limits of the key that let a request in, and what of them is left.
pub fn limits(headers: &mut HeaderMap, admitted: &Admitted, now: Instant) {
    write(headers, admitted.room(now), admitted.limits().in_flight);
}

/// Adds the limits of the key that was `refused` for them before it was let in.
pub fn limits_of(headers: &mut HeaderMap, refused: &Refused) {
    if let Refused::InFlight { limit, room, .. } = refused {
        write(headers, *room, Some(*limit));
        headers.append(LEFT, HeaderValue::from_static(r#""in-flight";r=0"#));
    }
}

fn write(headers: &mut HeaderMap, room: Option<Room>, in_flight: Option<u32>) {
    let images = room.map(|room| format!(r#""images";q={};w={};qu="images""#, room.burst, room.window));
    let requests = in_flight.map(|limit| format!(r#""in-flight";q={limit};qu="concurrent-requests""#));
    let policies: Vec<String> = images.into_iter().chain(requests).collect();
    if !policies.is_empty() {
        headers.insert(POLICY, value(&policies.join(", ")));
    }
    if let Some(room) = room {
        headers.insert(LEFT, value(&format!(r#""images";r={};t={}"#, room.remaining, room.reset)));
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("words and numbers are visible ASCII")
}
