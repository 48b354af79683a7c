//! `Content-Encoding` of answers: JSON and text are sent as gzip to whoever takes it, compressed away from the async threads.
//!
//! Only whole bodies are compressed: arrays of floats do not shrink, and events must not wait for more of them.

use std::io::Write;

use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

use super::{access, body::outgoing, client::client};
use crate::{
    access::Admitted,
    inference::Admission,
    work::{Lane, Origin},
};

/// Smaller answers are not worth compressing.
const MIN_BYTES: u64 = 1024;

/// Middleware: compresses the answer where client and answer allow, on the threads of the lane.
pub async fn compress(State(lane): State<Lane>, request: Request, next: Next) -> Response {
    let accepts = accepts_gzip(request.headers());
    let client = client(request.extensions());
    let mut response = next.run(request).await;
    let size = response.body().size_hint().exact().unwrap_or_default();
    if size < MIN_BYTES || !is_text(response.headers()) || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !accepts {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // What the plain bytes hold until they are sent is that of the compressed ones.
    let held = (parts.extensions.remove::<Admission>(), parts.extensions.remove::<Admitted>());
    let Ok(plain) = to_bytes(body, usize::try_from(size).unwrap_or(usize::MAX)).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let origin = held.0.as_ref().map_or(Origin { client, request: 0 }, Admission::origin);
    let work = move || (gzip(&plain), held);
    let (compressed, (admission, admitted)) = lane.run(origin, work).await.expect("any number may wait");
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let length = compressed.len();
    let body = outgoing(compressed, admission.map(|admission| admission.into_memory(length)));
    Response::from_parts(parts, access::holding(body, admitted))
}

/// `bytes` as gzip, at the fastest level.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("memory can be written to")
}

/// Whether `headers` of a request say that its client takes gzip (RFC 9110, 12.5.3).
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values: Vec<&str> = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).collect();
    let weight_of = |wanted: &str| {
        let named = |entry: &str| {
            let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            let weight = parameters.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
            name.trim().eq_ignore_ascii_case(wanted).then(|| weight.unwrap_or(1.0))
        };
        values.iter().flat_map(|value| value.split(',')).find_map(named)
    };
    weight_of("gzip").or_else(|| weight_of("*")).is_some_and(|weight| weight > 0.0)
}

fn is_text(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_text = ["application/json", "application/problem+json", "application/yaml", "image/svg+xml", "text/"];
    is_text.iter().any(|kind| media_type.starts_with(kind)) && !media_type.starts_with("text/event-stream")
}

/// Bytes that are part of the binary, or made once, as they are and as gzip: sent without a copy.
#[derive(Debug, Clone)]
pub struct Fixed {
    media_type: HeaderValue,
    plain: Bytes,
    gzip: Bytes,
    /// Of either form: who has one has what the other is of.
    tag: HeaderValue,
}

impl Fixed {
    /// `bytes` of a type.
    pub fn new(media_type: HeaderValue, plain: Bytes) -> Self {
        let (gzip, sum) = (gzip(&plain).into(), Sha256::digest(&plain));
        let tag = HeaderValue::from_str(&format!("W/\"{}\"", hex::encode(&sum[..16]))).expect("hexadecimal is visible ASCII");
        Self { media_type, plain, gzip, tag }
    }

    /// The answer to a request with `headers`.
    pub fn answer(&self, headers: &HeaderMap) -> Response {
        if headers.get_all(header::IF_NONE_MATCH).iter().any(|tags| self.is_among(tags)) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().insert(header::ETAG, self.tag.clone());
            return response;
        }
        let gzipped = accepts_gzip(headers) && self.gzip.len() < self.plain.len();
        let body = if gzipped { self.gzip.clone() } else { self.plain.clone() };
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert(header::CONTENT_TYPE, self.media_type.clone());
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        response.headers_mut().insert(header::ETAG, self.tag.clone());
        if gzipped {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    /// Whether `tags`, a value of `If-None-Match`, has this one (RFC 9110, 13.1.2).
    fn is_among(&self, tags: &HeaderValue) -> bool {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let own = self.tag.to_str().map(opaque).unwrap_or_default();
        tags.to_str().is_ok_and(|tags| tags.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == own))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use futures_util::FutureExt;
    use tower::ServiceExt;

    use super::*;
    use crate::work::Client;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (values, expected) in [
            (&["gzip"][..], true),
            (&["deflate, GZIP;q=0.5, br"], true),
            (&["br", "gzip"], true),
            (&["*"], true),
            (&["gzip;q=0, *"], false),
            (&["gzip; q=0"], false),
            (&["identity"], false),
            (&[""], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(accepts_gzip(&headers), expected, "{values:?}");
        }
    }

    #[tokio::test]
    async fn answers_are_compressed_in_their_lane() {
        let lane = Lane::new("test", 1, usize::MAX);
        let compress = axum::middleware::from_fn_with_state(lane.clone(), compress);
        let router = axum::Router::new().route("/", axum::routing::get(async || "text ".repeat(1000))).layer(compress);
        let ask = |encoding: &'static str| {
            let request = Request::builder().uri("/").header("accept-encoding", encoding).body(Body::empty());
            router.clone().oneshot(request.expect("a request"))
        };
        let turn = lane.turn(Origin { client: Client::local(), request: 0 }).await.expect("it is free");
        let mut compressed = Box::pin(ask("gzip"));
        assert!(compressed.as_mut().now_or_never().is_none(), "it waits for its turn");
        let plain = ask("identity").await.expect("a router is infallible");
        assert!(!plain.headers().contains_key(header::CONTENT_ENCODING), "others need none");
        drop(turn);
        let compressed = compressed.await.expect("a router is infallible");
        assert_eq!(compressed.headers()[header::CONTENT_ENCODING], "gzip");
    }

    #[tokio::test]
    async fn what_waits_or_is_compressed_holds_its_memory_until_that_is_over() {
        let admissions = crate::http::testing::admissions(100_000);
        let admission = admissions.clone();
        let answer = async move || {
            let admission = admission.admit(&Client::local(), None);
            admission.take(5000).expect("there is room");
            let mut response = Response::new(Body::from("text ".repeat(1000)));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            response.extensions_mut().insert(admission);
            response
        };
        let lane = Lane::new("test", 1, usize::MAX);
        let compress = axum::middleware::from_fn_with_state(lane.clone(), compress);
        let router = axum::Router::new().route("/", axum::routing::get(answer)).layer(compress);
        let ask = || {
            let request = Request::builder().uri("/").header("accept-encoding", "gzip").body(Body::empty());
            Box::pin(router.clone().oneshot(request.expect("a request")))
        };
        let turn = lane.turn(Origin { client: Client::local(), request: 0 }).await.expect("it is free");
        let mut waiting = ask();
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(admissions.memory().used(), 5000);
        drop(waiting);
        assert_eq!(admissions.memory().used(), 0, "what has not begun is forgotten with its client");
        drop(turn);
        let mut begun = ask();
        // It is compressed on another thread, whether that has ended by now or not.
        drop(begun.as_mut().now_or_never());
        drop(begun);
        while admissions.memory().used() > 0 || lane.running() > 0 {
            tokio::task::yield_now().await;
        }
        let answered = ask().await.expect("a router is infallible");
        let length = answered.body().size_hint().exact();
        assert_eq!(length, Some(admissions.memory().used()), "what is sent, until its last byte is");
        drop(answered);
        assert_eq!(admissions.memory().used(), 0);
    }

    #[test]
    fn fixed_bytes_are_shared_by_all_answers() {
        let fixed = Fixed::new(HeaderValue::from_static("text/plain"), Bytes::from_static(&[b'x'; 5000]));
        let mut read = String::new();
        flate2::read::GzDecoder::new(&fixed.gzip[..]).read_to_string(&mut read).expect("it is gzip");
        assert_eq!(read.as_bytes(), &fixed.plain[..]);
        let takes = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
        assert_eq!(fixed.answer(&takes).body().size_hint().exact(), Some(fixed.gzip.len() as u64));
        assert_eq!(fixed.answer(&HeaderMap::new()).body().size_hint().exact(), Some(5000));
        let tag = fixed.answer(&takes).headers()[header::ETAG].clone();
        let asked = |tags: &str| HeaderMap::from_iter([(header::IF_NONE_MATCH, tags.parse().expect("valid"))]);
        let known = format!("\"other\", {}", tag.to_str().expect("ASCII"));
        for (tags, status) in [(known.as_str(), 304), ("*", 304), ("\"other\"", 200)] {
            assert_eq!(fixed.answer(&asked(tags)).status(), status, "{tags}");
        }
    }
}
