//! Bodies of every kind through a router, as far as the engine.

use std::time::Duration;

use axum::{Json, Router, extract::Request, routing::post};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::*;
use crate::http::testing::{answer, intake};

#[test]
fn content_types_choose_the_reader() {
    for (content_type, length, expected) in [
        (Some("image/jpeg"), "9", Ok(Kind::Raw)),
        (Some("IMAGE/PNG; q=1"), "9", Ok(Kind::Raw)),
        (Some("application/octet-stream"), "9", Ok(Kind::Raw)),
        (Some("application/json; charset=utf-8"), "9", Ok(Kind::Json)),
        (Some("multipart/form-data; boundary=x"), "9", Ok(Kind::Multipart)),
        (Some("text/plain"), "9", Err("`text/plain` carries no image; send `image/*`")),
        (Some("application/x-www-form-urlencoded"), "9", Err("add `-H 'Content-Type: image/jpeg'`")),
        (None, "9", Err("no `Content-Type`; send `image/*`")),
        (None, "0", Err("holds no image")),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, length.parse().expect("valid"));
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, content_type.parse().expect("valid"));
        }
        match (Kind::of(&headers), expected) {
            (Ok(kind), Ok(expected)) => assert_eq!(kind, expected, "{content_type:?}"),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{content_type:?}: {error}"),
            (got, expected) => panic!("{content_type:?}: got {got:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn pixels_are_counted_over_all_images() {
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(20, 10).write_to(&mut png, image::ImageFormat::Png).expect("a small image encodes");
    let image = NamedImage { name: None, bytes: png.into_inner().into() };
    let junk = NamedImage { name: None, bytes: Bytes::from_static(b"junk") };
    let within = |max_images, max_pixels, one| {
        let mut intake = intake();
        (intake.max_images, intake.max_pixels, intake.limits.max_pixels) = (max_images, max_pixels, one);
        intake
    };
    assert!(check_images(&[image.clone(), junk.clone()], &within(2, 200, 200)).is_ok());
    let error = check_images(&[image.clone(), image.clone()], &within(2, 399, 200)).expect_err("400 pixels are too many");
    assert!(matches!(error, ApiError::TooManyPixels { pixels: 400, limit: 399 }), "{error}");
    // Too large alone: refused by name, as a bad image.
    assert!(check_images(&[image], &within(1, 199, 199)).is_ok());
    assert!(matches!(check_images(&[junk.clone(), junk], &within(1, 1, 1)), Err(ApiError::TooManyImages { limit: 1 })));
    assert!(matches!(check_images(&[], &within(1, 1, 1)), Err(ApiError::NoImages(_))));
}

/// A router that answers with the names and sizes of the images it got.
fn router(intake: &Intake) -> Router {
    let intake = intake.clone();
    crate::http::router::around(Router::new().route(
        "/",
        post(async move |request: Request| {
            let (parts, body) = request.into_parts();
            let images = Images::read(&intake, &parts.headers, body).await?;
            let names = images.names();
            let (images, _reserved) = images.into_parts();
            let sizes: Vec<Value> = names.iter().zip(&images).map(|(name, image)| json!([name, image.bytes.len()])).collect();
            Ok::<_, ApiError>(Json(Value::from(sizes)))
        }),
    ))
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
    let field = form(&[(r#"name="top_k""#, "3")]);
    check(request(KIND, field), Err((422, "invalid_parameter", "form field `top_k` has no file name"))).await;
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
    check(request(KIND, r#"{"images":[{"b64":"?"}]}"#), Err((422, "bad_images", "`errors` names each"))).await;
    check(request(KIND, format!(r#"{{"images":[{{"b64":"{}"}}]}}"#, "A".repeat(1000))), Err((413, "body_too_large", "1000")))
        .await;
}

#[tokio::test]
async fn a_full_budget_is_temporary() {
    let intake = intake();
    let others = intake.budget.reserve();
    others.raise_to(1999).expect("the budget is 2000");
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
    let slow = Intake { timeout: Duration::from_millis(50), ..intake() };
    let (status, _, body) = answer(&router(&slow), request("image/jpeg", Body::from_stream(forever))).await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (408, Some("body_timeout")), "{body}");
}
