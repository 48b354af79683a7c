//! Encoded bodies through a router: what is decoded, what is refused, and that a bomb stops at the bound.

use std::io::Write;

use axum::{Router, routing::post};
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};

use super::*;
use crate::http::{
    body::{collect, metered},
    router::around,
    testing::{self, answer},
};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bare(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Answers with the body, of at most 1000 bytes, as text.
fn router() -> Router {
    let intake = testing::intake();
    let echo = async |request: Request| {
        let admission = testing::intake().admit(request.extensions());
        let chunks = metered(testing::intake().chunks(request.into_body()), 1000, admission);
        let bytes = collect(chunks, None).await.map_err(ApiError::from)?;
        Ok::<_, ApiError>(axum::Json(String::from_utf8_lossy(&bytes).into_owned()))
    };
    around(Router::new().route("/", post(echo)), &intake, &testing::server())
}

/// Sends `body` in chunks of `size` bytes.
async fn send(encodings: &[&str], body: Vec<u8>, size: usize) -> (u16, HeaderMap, serde_json::Value) {
    let mut request = Request::post("/");
    for encoding in encodings {
        request = request.header("Content-Encoding", *encoding);
    }
    let chunks: Vec<io::Result<Bytes>> = body.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let (status, headers, body) = answer(&router(), request.body(Body::from_stream(stream::iter(chunks))).unwrap()).await;
    (status.as_u16(), headers, body)
}

async fn check(encodings: &[&str], body: Vec<u8>, expected: Result<&str, (u16, &str, &str)>) {
    for size in [1, 7, 1 << 20] {
        let (status, headers, answer) = send(encodings, body.clone(), size).await;
        match expected {
            Ok(text) => assert_eq!((status, answer.as_str()), (200, Some(text)), "{encodings:?}"),
            Err((expected, code, detail)) => {
                assert_eq!((status, answer["code"].as_str()), (expected, Some(code)), "{encodings:?}: {answer}");
                assert!(answer["detail"].as_str().unwrap().contains(detail), "{encodings:?}: {answer}");
                let accepted = headers.get("Accept-Encoding").map(|value| value.to_str().unwrap());
                assert_eq!(accepted, (status == 415).then_some(ACCEPTED), "{encodings:?}");
            }
        }
    }
}

#[tokio::test]
async fn gzip_and_deflate_are_decoded() {
    let text = "the same in every coding ".repeat(30);
    let plain = || text.clone().into_bytes();
    let whole = text.as_bytes();
    check(&[], plain(), Ok(&text)).await;
    check(&["identity"], plain(), Ok(&text)).await;
    check(&["gzip"], gzip(whole), Ok(&text)).await;
    check(&["X-GZip"], gzip(whole), Ok(&text)).await;
    check(&["identity, GZIP"], gzip(whole), Ok(&text)).await;
    check(&["gzip", "identity"], gzip(whole), Ok(&text)).await;
    check(&["deflate"], zlib(whole), Ok(&text)).await;
    check(&["deflate"], bare(whole), Ok(&text)).await;
    check(&["gzip"], [gzip(b"two "), gzip(b"members")].concat(), Ok("two members")).await;
    check(&["gzip"], gzip(b""), Ok("")).await;
    // Without a body there is nothing to decode.
    check(&["br"], Vec::new(), Err((415, "unsupported_media_type", "`Content-Encoding: br`"))).await;
    let empty = Request::post("/").header("Content-Encoding", "br").body(Body::empty()).unwrap();
    assert_eq!(answer(&router(), empty).await.0, 200);
}

#[tokio::test]
async fn other_encodings_are_refused_by_name() {
    for encoding in ["br", "zstd", "compress", "aws-chunked", "gzip;q=1"] {
        let detail = format!("`Content-Encoding: {encoding}` is not decoded; send the body with `gzip` or `deflate`");
        check(&[encoding], b"x".to_vec(), Err((415, "unsupported_media_type", &detail))).await;
    }
    check(&["gzip, gzip"], b"x".to_vec(), Err((415, "unsupported_media_type", "is more than one encoding"))).await;
    check(&["deflate", "gzip"], b"x".to_vec(), Err((415, "unsupported_media_type", "`Content-Encoding: deflate, gzip`"))).await;
    let long = "a".repeat(4000);
    let (status, _, body) = send(&[&long], b"x".to_vec(), 1).await;
    assert_eq!(status, 415);
    assert!(body.to_string().len() < 600, "{body}");
}

#[tokio::test]
async fn broken_encodings_say_how() {
    let whole = gzip(&b"not all of this arrives".repeat(20));
    let bad = |detail: &'static str| Err((400, "malformed_body", detail));
    check(
        &["gzip"],
        b"plain text".to_vec(),
        bad("`Content-Encoding: gzip` cannot be decoded; send bytes that are not encoded so"),
    )
    .await;
    check(&["deflate"], gzip(b"x"), bad("`Content-Encoding: deflate` cannot be decoded")).await;
    for cut in [1, 9, 15, whole.len() - 9, whole.len() - 1] {
        check(&["gzip"], whole[..cut].to_vec(), bad("`Content-Encoding: gzip` ends early")).await;
    }
    let mut damaged = whole.clone();
    let crc = damaged.len() - 5;
    damaged[crc] ^= 1;
    check(&["gzip"], damaged, bad("`Content-Encoding: gzip` cannot be decoded")).await;
    check(&["gzip"], [whole, b"junk behind".to_vec()].concat(), bad("`Content-Encoding: gzip` cannot be decoded")).await;
    let short = zlib(&b"not all of this arrives".repeat(20));
    check(&["deflate"], short[..short.len() - 6].to_vec(), bad("`Content-Encoding: deflate` ends early")).await;
    check(&["deflate"], [short, b"junk".to_vec()].concat(), bad("`Content-Encoding: deflate` goes on behind its end")).await;
}

#[tokio::test]
async fn bombs_stop_at_the_bound() {
    let bomb = gzip(&vec![0; 50 << 20]);
    assert!(bomb.len() < 64 << 10);
    for body in [bomb, gzip(&vec![0; 1001])] {
        let (status, _, answer) = send(&["gzip"], body, 4096).await;
        assert_eq!((status, answer["code"].as_str()), (413, Some("body_too_large")), "{answer}");
    }
    // Empty stored blocks: bytes without end that decode to nothing.
    let nothing = [0, 0, 0, 0xff, 0xff].repeat(1 << 19);
    let (status, _, answer) = send(&["deflate"], nothing, 64 << 10).await;
    assert_eq!((status, answer["code"].as_str()), (400, Some("malformed_body")), "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("decodes to almost nothing"), "{answer}");
}
