//! JSON within bounds: small bodies, for routes that take settings and not images, and answers of any kind.
//!
//! Knows nothing of what the JSON means.

use std::io::{self, Write};

use axum::{
    Extension,
    body::Body,
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    body::{self, BodyFault},
    error::ApiError,
    intake::Intake,
};
use crate::{
    inference::Admission,
    message::{excerpt, serde_message},
};

/// No recipe comes near.
const MAX_BYTES: usize = 1 << 20;

/// Memory that an answer takes at a time while it is written.
const CHUNK: usize = 64 << 10;

/// Lists and objects in a body, and values: a byte or two of text become a hundred times as much in memory.
const MAX_CONTAINERS: usize = 4096;
const MAX_VALUES: usize = 200_000;

/// The bytes of a JSON body.
///
/// # Errors
/// Another type, more than 1 MiB, a body that does not arrive.
pub async fn bytes(intake: &Intake, parts: &Parts, body: Body) -> Result<Bytes, ApiError> {
    let headers = &parts.headers;
    check_type(headers)?;
    let limit = MAX_BYTES.min(intake.max_body_bytes);
    let admission = intake.admit(&parts.extensions);
    let reading = async {
        body::admit(headers, limit, &admission)?;
        let chunks = body::metered(intake.chunks(body), limit, admission.clone());
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
        _ => {
            check_parts(bytes)?;
            Ok(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
        }
    }
}

/// The answer 200 with what `make` makes, made and written away from the async threads, within the memory of all answers.
///
/// # Errors
/// [`ApiError::ResponseTooLarge`], [`ApiError::Busy`].
pub async fn answer<T: Serialize>(
    intake: &Intake,
    admission: Admission,
    make: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, ApiError> {
    let limit = intake.max_response_bytes;
    let held = admission.clone();
    let work = move || written(&make(), limit, &held);
    let bytes = intake.encoding.run(admission.origin(), work).await.expect("any number may wait")?;
    let media_type = [(header::CONTENT_TYPE, "application/json")];
    Ok((media_type, Extension(admission.clone()), body::outgoing(bytes, admission)).into_response())
}

/// `value` as JSON of at most `limit` bytes, for which memory is taken as it grows.
///
/// # Errors
/// As [`answer`].
pub fn written(value: &impl Serialize, limit: usize, admission: &Admission) -> Result<Vec<u8>, ApiError> {
    let mut writer = Metered { bytes: Vec::new(), taken: 0, limit, admission };
    let Err(error) = serde_json::to_writer(&mut writer, value) else { return Ok(writer.bytes) };
    let error = io::Error::from(error);
    match error.get_ref().and_then(|fault| fault.downcast_ref::<BodyFault>()).copied() {
        Some(BodyFault::TooLarge { limit }) => Err(ApiError::ResponseTooLarge(format!(
            "the answer has more than {limit} bytes (`server.max_response_bytes`); ask for less of it"
        ))),
        Some(fault) => Err(fault.into()),
        None => Err(ApiError::internal(error)),
    }
}

/// JSON that is being written.
struct Metered<'a> {
    bytes: Vec<u8>,
    taken: usize,
    limit: usize,
    admission: &'a Admission,
}

impl Write for Metered<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.bytes.len() + bytes.len();
        if needed > self.limit {
            return Err(io::Error::other(BodyFault::TooLarge { limit: self.limit }));
        }
        if needed > self.taken {
            let more = (needed - self.taken).max(CHUNK.min(self.limit - self.taken));
            self.admission.take(more).map_err(|exceeded| io::Error::other(BodyFault::from(exceeded)))?;
            self.taken += more;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Refuses what would have too many parts, before any of them is made.
fn check_parts(text: &[u8]) -> Result<(), ApiError> {
    let (mut containers, mut values, mut quoted, mut escaped) = (0, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => containers += 1,
            b',' if !quoted => values += 1,
            _ => {}
        }
    }
    let too_many = |what: &str, limit| Err(ApiError::MalformedBody(format!("the JSON body has more than {limit} {what}")));
    if containers > MAX_CONTAINERS {
        return too_many("lists and objects", MAX_CONTAINERS);
    }
    if values > MAX_VALUES { too_many("values", MAX_VALUES) } else { Ok(()) }
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
    use crate::{http::testing::intake, work::Client};

    async fn check(content_type: Option<&str>, body: &'static str, expected: Result<&str, &str>) {
        let mut request = axum::http::Request::new(());
        if let Some(kind) = content_type {
            request.headers_mut().insert(header::CONTENT_TYPE, kind.parse().expect("valid"));
        }
        let got = bytes(&intake(), &request.into_parts().0, Body::from(body)).await;
        let got = got.and_then(|bytes| parse::<serde_json::Value>(&bytes));
        let got = got.map(|json| json.to_string()).map_err(|error| error.to_string());
        match expected {
            Ok(expected) => assert_eq!(got.as_deref(), Ok(expected)),
            Err(expected) => assert!(got.as_ref().is_err_and(|error| error.contains(expected)), "{got:?}"),
        }
    }

    #[test]
    fn an_answer_takes_memory_as_it_grows() {
        let admissions = crate::http::testing::admissions(300_000);
        let written = |count: usize, limit: usize| {
            let admission = admissions.admit(&Client::local(), None);
            let bytes = super::written(&"x".repeat(count), limit, &admission).map_err(|error| error.to_string());
            (bytes.map(|bytes| bytes.len()), admissions.memory().used())
        };
        assert_eq!(written(10, 1000), (Ok(12), 1000));
        assert_eq!(written(100_000, 1_000_000), (Ok(100_002), 2 * CHUNK as u64));
        let (refused, held) = written(100_000, 10_000);
        assert!(refused.is_err_and(|error| error.contains("more than 10000 bytes (`server.max_response_bytes`)")));
        assert!(held <= 10_000, "{held}");
        assert!(written(400_000, 1_000_000).0.is_err_and(|error| error.contains("try again shortly")));
        assert_eq!(admissions.memory().used(), 0);
    }

    #[test]
    fn parts_are_counted_before_they_are_made() {
        let list = |part: &str, count: usize| format!("[{}]", vec![part; count].join(","));
        for (body, expected) in [
            (list("{}", 4095), None),
            (list("{}", 4096), Some("the JSON body has more than 4096 lists and objects")),
            (list("1", 200_001), None),
            (list("1", 200_002), Some("the JSON body has more than 200000 values")),
        ] {
            let refused = parse::<serde::de::IgnoredAny>(body.as_bytes()).err().map(|error| error.to_string());
            assert_eq!(refused.as_deref().is_none(), expected.is_none(), "{refused:?}");
            assert!(refused.is_none_or(|refused| refused.contains(expected.unwrap_or_default())));
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
        check(Some("application/json"), r#"{"a":"[[[[,,,,\"[[["}"#, Ok(r#"{"a":"[[[[,,,,\"[[["}"#)).await;
        let large: &'static str = Box::leak("x".repeat(1001).into_boxed_str());
        check(Some("application/json"), large, Err("larger than 1000 bytes")).await;
    }
}
