//! Small JSON bodies within bounds, for routes that take settings and not images.
//!
//! Knows nothing of what the JSON means.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{
    body::{self, BodyFault},
    error::ApiError,
    intake::Intake,
};
use crate::message::{excerpt, serde_message};

/// No recipe comes near.
const MAX_BYTES: usize = 1 << 20;

/// The bytes of a JSON body.
///
/// # Errors
/// Another type, more than 1 MiB, a body that does not arrive.
pub async fn bytes(intake: &Intake, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    check_type(headers)?;
    let limit = MAX_BYTES.min(intake.max_body_bytes);
    let reservation = Arc::new(intake.budget.reserve());
    let reading = async {
        body::admit(headers, limit, &reservation)?;
        let chunks = body::metered(intake.chunks(body), limit, Arc::clone(&reservation));
        body::collect(chunks, body::declared_length(headers)).await
    };
    reading.await.map_err(|fault| match fault {
        BodyFault::TooLarge { limit } => ApiError::JsonTooLarge { limit },
        other => other.into(),
    })
}

/// `bytes` as what the route takes.
///
/// # Errors
/// [`ApiError::MalformedBody`].
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(text(bytes)?)
        .map_err(|error| ApiError::MalformedBody(format!("cannot read the JSON body: {}", serde_message(&error))))
}

/// The same, of an object: a list would be taken for its fields in their order.
///
/// # Errors
/// As [`parse`].
pub fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    match text(bytes)?.trim_ascii_start() {
        [b'[', ..] => Err(ApiError::MalformedBody("the JSON body is a list; send an object with names".to_owned())),
        _ => parse(bytes),
    }
}

/// The text of a JSON body, without the mark that some systems begin UTF-8 with.
///
/// # Errors
/// UTF-16, which RFC 8259 rules out and some shells write.
pub fn text(bytes: &[u8]) -> Result<&[u8], ApiError> {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', ..] => {
            Err(ApiError::MalformedBody("the JSON body is UTF-16; send it as UTF-8".to_owned()))
        }
        _ => Ok(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)),
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let found = match media_type {
        "" => "the body has no `Content-Type`".to_owned(),
        other => format!("the body is `{}`", excerpt(other)),
    };
    Err(ApiError::UnsupportedMediaType(format!("{found}; send `application/json`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::intake;

    async fn check(content_type: Option<&str>, body: &'static str, expected: Result<&str, &str>) {
        let mut headers = HeaderMap::new();
        if let Some(kind) = content_type {
            headers.insert(header::CONTENT_TYPE, kind.parse().expect("valid"));
        }
        let got = bytes(&intake(), &headers, Body::from(body)).await;
        let got = got.and_then(|bytes| parse::<serde_json::Value>(&bytes));
        let got = got.map(|json| json.to_string()).map_err(|error| error.to_string());
        match expected {
            Ok(expected) => assert_eq!(got.as_deref(), Ok(expected)),
            Err(expected) => assert!(got.as_ref().is_err_and(|error| error.contains(expected)), "{got:?}"),
        }
    }

    #[tokio::test]
    async fn json_is_read_within_bounds() {
        check(Some("application/json; charset=utf-8"), "{\"a\":1}", Ok("{\"a\":1}")).await;
        check(Some("APPLICATION/JSON"), "1", Ok("1")).await;
        check(Some("application/json"), "\u{feff}{}", Ok("{}")).await;
        check(Some("application/json"), "{\0}\0", Err("is UTF-16; send it as UTF-8")).await;
        check(None, "{}", Err("no `Content-Type`; send `application/json`")).await;
        check(Some("text/plain"), "{}", Err("the body is `text/plain`")).await;
        check(Some("application/json"), "{", Err("cannot read the JSON body: EOF")).await;
        let large: &'static str = Box::leak("x".repeat(1001).into_boxed_str());
        check(Some("application/json"), large, Err("larger than 1000 bytes")).await;
    }
}
