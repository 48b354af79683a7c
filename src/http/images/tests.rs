//! Bodies of every kind through a router, as far as the engine.

use std::time::Duration;

use axum::{Json, Router, extract::Request, routing::post};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::*;
use crate::http::{
    image_parameters::PredictQuery,
    pace::Pace,
    parameters::Parameters,
    testing::{answer, intake, server},
};

#[test]
fn content_types_choose_the_reader() {
    for (content_type, length, expected) in [
        (Some("image/jpeg"), "9", Ok(Kind::Raw)),
        (Some("IMAGE/PNG; q=1"), "9", Ok(Kind::Raw)),
        (Some("application/octet-stream"), "9", Ok(Kind::Raw)),
        (Some("application/json; charset=utf-8"), "9", Ok(Kind::Json)),
        (Some("multipart/form-data; boundary=x"), "9", Ok(Kind::Multipart)),
        (Some("text/plain"), "9", Err("`text/plain` carries no image; send `image/*`")),
        (Some("application/x-www-form-urlencoded"), "9", Ok(Kind::Urlencoded)),
        (None, "9", Err("no `Content-Type`; send `image/*`")),
        (None, "0", Err("holds no image")),
    ] {
        let mut headers = HeaderMap::new();
        let body = Body::from(if length == "0" { "" } else { "something" });
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, content_type.parse().expect("valid"));
        }
        match (Kind::of(&headers, &body), expected) {
            (Ok(kind), Ok(expected)) => assert_eq!(kind, expected, "{content_type:?}"),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{content_type:?}: {error}"),
            (got, expected) => panic!("{content_type:?}: got {got:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn images_are_counted() {
    let junk = || NamedImage::new(None, Bytes::from_static(b"junk"));
    let within = |max_images| Intake { max_images, ..intake() };
    assert!(check_number(&[junk(), junk()], &within(2)).is_ok());
    assert!(matches!(check_number(&[junk(), junk()], &within(1)), Err(ApiError::TooManyImages { limit: 1 })));
    assert!(matches!(check_number(&[], &within(1)), Err(ApiError::NoImages(_))));
}

fn bytes(image: &inference::Image) -> usize {
    match image {
        inference::Image::Encoded(bytes) => bytes.len(),
        inference::Image::Tensor(_) => unreachable!("bodies hold encoded images"),
    }
}

/// A router that answers with the names and sizes of the images it got.
fn router(intake: &Intake) -> Router {
    let (intake, around) = (intake.clone(), intake.clone());
    crate::http::router::around(
        Router::new().route(
            "/",
            post(async move |request: Request| {
                let (parts, body) = request.into_parts();
                let kind = Kind::of(&parts.headers, &body)?;
                let (images, parameters) = {
                    let admission = intake.admit(&parts.extensions);
                    Images::read(&intake, kind, &parts.headers, body, admission, PredictQuery::declared()).await?
                };
                let captions = images.captions();
                let (images, _reserved) = images.into_parts();
                let sizes = captions.iter().zip(&images).map(|(caption, image)| json!([caption.as_ref(), bytes(image)]));
                let parameters = parameters.iter().map(|(name, value)| json!(format!("{name}={value}")));
                Ok::<_, ApiError>(Json(sizes.chain(parameters).collect::<Value>()))
            }),
        ),
        &around,
        &server(),
    )
}

fn request(content_type: &str, body: impl Into<Body>) -> Request {
    Request::post("/").header(header::CONTENT_TYPE, content_type).body(body.into()).expect("valid")
}

/// Expects the answer 200 with exactly this body, or a problem whose code and detail hold the two texts.
async fn check(request: Request, expected: Result<Value, (u16, &str, &str)>) {
    let (status, _, body) = answer(&router(&intake()), request).await;
    match expected {
        Ok(expected) => assert_eq!((status.as_u16(), &body), (200, &expected)),
        Err((expected, code, detail)) => {
            assert_eq!((status.as_u16(), body["code"].as_str()), (expected, Some(code)), "{body}");
            assert!(body["detail"].as_str().is_some_and(|text| text.contains(detail)), "{body}");
        }
    }
}

fn form(parts: &[(&str, &str)]) -> String {
    let part = |(disposition, content): &(&str, &str)| {
        format!("--x\r\nContent-Disposition: form-data; {disposition}\r\nContent-Type: image/jpeg\r\n\r\n{content}\r\n")
    };
    parts.iter().map(part).collect::<String>() + "--x--\r\n"
}

#[tokio::test]
async fn one_image_as_the_body() {
    check(request("image/jpeg", "abc"), Ok(json!([["0", 3]]))).await;
    check(request("application/octet-stream", ""), Ok(json!([["0", 0]]))).await;
    check(request("text/plain", "abc"), Err((415, "unsupported_media_type", "`text/plain` carries no image"))).await;
    check(request("image/jpeg", vec![0; 1001]), Err((413, "body_too_large", "larger than 1000 bytes"))).await;
    let streamed =
        Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 100]))));
    check(request("image/jpeg", streamed), Err((413, "body_too_large", "larger than 1000 bytes"))).await;
    let broken =
        Body::from_stream(futures_util::stream::iter([Ok(Bytes::from_static(b"a")), Err(std::io::Error::other("reset"))]));
    check(request("image/jpeg", broken), Err((400, "malformed_body", "ended early"))).await;
}

#[tokio::test]
async fn several_images_as_files_of_a_form() {
    const KIND: &str = "multipart/form-data; boundary=x";
    let two = form(&[(r#"name="a"; filename="a.jpg""#, "abc"), (r#"name="b"; filename="b.jpg""#, "")]);
    check(request(KIND, two.clone()), Ok(json!([["a.jpg", 3], ["b.jpg", 0]]))).await;
    for (boundary, written) in [("+++", "+++"), ("a'b/c", "a'b/c"), ("a b", "\"a b\"")] {
        let kind = format!("multipart/form-data; charset=utf-8; Boundary={written}");
        let form = two.replace("--x", &format!("--{boundary}"));
        check(request(&kind, form), Ok(json!([["a.jpg", 3], ["b.jpg", 0]]))).await;
    }
    check(request("multipart/form-data", two.clone()), Err((400, "malformed_body", "cannot read the form"))).await;
    let empty_input = form(&[(r#"name="a"; filename="""#, ""), (r#"name="b"; filename="""#, "abc")]);
    check(request(KIND, empty_input), Ok(json!([["0", 3]]))).await;
    let four = form(&[(r#"name="a"; filename="a""#, ""); 4]);
    check(request(KIND, four), Err((413, "too_many_images", "more than 3 images"))).await;
    let large = form(&[(r#"name="a"; filename="a""#, &"x".repeat(1000))]);
    check(request(KIND, large), Err((413, "body_too_large", "larger than 1000 bytes"))).await;
    check(request(KIND, two[..60].to_owned()), Err((400, "malformed_body", "cannot read the form"))).await;
    check(request(KIND, "junk"), Err((400, "malformed_body", "cannot read the form"))).await;
    check(request(KIND, "--x--\r\n"), Err((422, "no_images", "send at least one"))).await;
    check(request("multipart/form-data", two), Err((400, "malformed_body", "cannot read the form"))).await;
}

#[tokio::test]
async fn several_images_as_json() {
    const KIND: &str = "application/json";
    check(request(KIND, r#"{"images":[{"b64":"AAAA"},{"b64":"AA","name":"n"}]}"#), Ok(json!([["0", 3], ["n", 1]]))).await;
    check(request(KIND, r#"{"images":[]}"#), Err((422, "no_images", "send at least one"))).await;
    check(request(KIND, "{"), Err((400, "malformed_body", "cannot read the JSON body"))).await;
    check(request(KIND, r#"{"images":[{"b64":"?"}]}"#), Ok(json!([["0", 0]]))).await;
    check(request(KIND, format!(r#"{{"images":[{{"b64":"{}"}}]}}"#, "A".repeat(1000))), Err((413, "body_too_large", "1000")))
        .await;
}

#[tokio::test]
async fn a_full_budget_is_temporary() {
    let intake = intake();
    let others = intake.admit(&axum::http::Extensions::new());
    others.take(1999).expect("the budget is 2000");
    let (status, headers, body) = answer(&router(&intake), request("image/jpeg", "abc")).await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (503, Some("busy")));
    assert!(headers.contains_key(header::RETRY_AFTER));
    drop(others);
    assert_eq!(answer(&router(&intake), request("image/jpeg", "abc")).await.0.as_u16(), 200);
}

#[tokio::test]
async fn slow_senders_are_cut_off() {
    let forever =
        futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"a"))]).chain(futures_util::stream::pending());
    let pace = Pace { idle: Duration::from_millis(50), ..intake().pace };
    let slow = Intake { pace, ..intake() };
    let (status, _, body) = answer(&router(&slow), request("image/jpeg", Body::from_stream(forever))).await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (408, Some("body_timeout")), "{body}");
}

/// A form of parts, each with its headers and content.
fn parts(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let part = |(headers, content): &(&str, &[u8])| [b"--x\r\n", headers.as_bytes(), b"\r\n\r\n", content, b"\r\n"].concat();
    [parts.iter().flat_map(part).collect::<Vec<u8>>(), b"--x--\r\n".to_vec()].concat()
}

#[tokio::test]
async fn parts_are_images_or_parameters() {
    const KIND: &str = "multipart/form-data; boundary=x";
    const NAMED: &str = "Content-Disposition: form-data; name=image; filename*=utf-8''%E2%82%AC.jpg";
    const TOP_K: &str = "Content-Disposition: form-data; name=\"top_k\"";
    const OTHER: &str = "Content-Disposition: form-data; name=\"photo\"";
    const PNG: &[u8] = include_bytes!("../../../tests/fixtures/images/rgb_8.png");
    let typed = |headers: &str, kind: &str| format!("{headers}\r\nContent-Type: {kind}");
    check(request(KIND, parts(&[(NAMED, b"abc"), (TOP_K, b"3")])), Ok(json!([["€.jpg", 3], "top_k=3"]))).await;
    let text = typed(TOP_K, "text/plain; charset=utf-8");
    check(request(KIND, parts(&[(&text, b"3"), (NAMED, b"abc")])), Ok(json!([["€.jpg", 3], "top_k=3"]))).await;
    // A field that was left empty, as browsers send it.
    check(request(KIND, parts(&[(TOP_K, b""), (NAMED, b"abc")])), Ok(json!([["€.jpg", 3]]))).await;
    // Files without a name: by their type, or by what they hold.
    for kind in ["image/jpeg", "IMAGE/PNG", "application/octet-stream"] {
        check(request(KIND, parts(&[(&typed(OTHER, kind), b"abc")])), Ok(json!([["0", 3]]))).await;
    }
    check(request(KIND, parts(&[(OTHER, PNG)])), Ok(json!([["0", PNG.len()]]))).await;
    check(request(KIND, parts(&[("Content-Type: image/png", PNG)])), Ok(json!([["0", PNG.len()]]))).await;
    let refused = |detail: &'static str| Err((422, "invalid_parameter", detail));
    check(
        request(KIND, parts(&[(OTHER, b"abc")])),
        refused("form field `photo` has no file name and holds no image; send images as files"),
    )
    .await;
    let near = "Content-Disposition: form-data; name=\"topk\"";
    check(request(KIND, parts(&[(near, b"3")])), refused("unknown parameter `topk`; did you mean `top_k`?")).await;
    check(request(KIND, parts(&[(TOP_K, b"\xff")])), refused("`top_k` in the form is not UTF-8")).await;
    check(request(KIND, parts(&[("X-Nothing: 1", b"3")])), refused("form field `` has no file name")).await;
}

#[tokio::test]
async fn no_refusal_of_a_form_repeats_it() {
    const KIND: &str = "multipart/form-data; boundary=x";
    let long = "A".repeat(600);
    let field = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"");
    for body in [
        parts(&[(&field(&long), b"3")]),
        parts(&[(&field("top_k"), long.as_bytes())]),
        parts(&[(&format!("{}; filename=\"{}\"", field("a"), "A".repeat(700)), b"")]).into_iter().chain(*b"x").collect(),
        // Ends within a part of that name.
        parts(&[(&format!("{}; filename=\"a\"", field(&long)), b"abc")])[..640].to_vec(),
        long.clone().into_bytes(),
    ] {
        let (status, _, problem) = answer(&router(&intake()), request(KIND, body)).await;
        if status.as_u16() != 200 {
            assert!(!problem["detail"].as_str().expect("a problem").contains(&"A".repeat(50)), "{problem}");
        }
    }
}

#[tokio::test]
async fn a_photo_sent_as_curl_sends_forms_is_told_how_to_go() {
    let jpeg = request("application/x-www-form-urlencoded", vec![0xff, 0xd8, 0xff, 0xe0]);
    check(jpeg, Err((415, "unsupported_media_type", "begins as a JPEG; with curl use `--data-binary @photo.jpg`"))).await;
    let json = request("application/x-www-form-urlencoded", r#"{"images":[]}"#);
    check(json, Err((415, "unsupported_media_type", "begins as JSON: add `-H 'Content-Type: application/json'`"))).await;
    let other = request("application/x-www-form-urlencoded", "image=x");
    check(other, Err((415, "unsupported_media_type", "add `-H 'Content-Type: image/jpeg'`, or `-F image=@photo.jpg`"))).await;
}
