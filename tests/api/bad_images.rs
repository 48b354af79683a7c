//! Images that cannot be used, one of each kind, in every form of body: each is named, with a code, and harms no other.

use serde_json::{Value, json};

use crate::support::{Setup, TestApp, base64, encoded_fixture, patched, plain, png_of_size};

/// Name, bytes, code, a part of the detail.
type Bad = (&'static str, Vec<u8>, &'static str, &'static str);

const HUGE: &[u8; 4] = b"\xff\xff\xff\xff";

/// At most 10 000 pixels and 20 000 bytes: every bomb below claims far more pixels.
async fn spawn() -> TestApp {
    Setup::new()
        .configured(|config| {
            config.images.max_pixels = 10_000;
            config.images.max_bytes = 20_000;
        })
        .spawn()
        .await
}

fn bad_images() -> Vec<Bad> {
    let cut = |file: &str, percent: usize| {
        let bytes = encoded_fixture(file);
        bytes[..bytes.len() * percent / 100].to_vec()
    };
    let large = "more than the 10000 allowed";
    vec![
        ("empty.jpg", Vec::new(), "empty", "the image is empty (zero bytes)"),
        ("text.jpg", b"hello".to_vec(), "not_an_image", "send JPEG, PNG, BMP, GIF, WebP or TIFF"),
        ("page.png", b"<html></html>".to_vec(), "not_an_image", "the bytes are no image"),
        (
            "heavy.bmp",
            [encoded_fixture("bits_24.bmp"), vec![0; 20_000]].concat(),
            "too_many_bytes",
            "more than the 20000 allowed",
        ),
        ("photo.heic", b"\0\0\0\x1cftypheic".to_vec(), "unsupported_format", "`heif-convert photo.heic photo.jpg`"),
        ("drawing.svg", b"<svg xmlns=\"x\"/>".to_vec(), "unsupported_format", "SVG is not supported"),
        ("float.tif", encoded_fixture("refused_float.tif"), "unsupported_pixels", "TIFF with"),
        ("packed.bmp", patched("bits_24.bmp", b"BM", 28, &[4]), "unsupported_pixels", "BMP with"),
        ("cut.jpg", cut("ycbcr_420.jpg", 80), "broken", "the JPEG is truncated or corrupt"),
        ("cut.png", cut("noise.png", 50), "broken", "the PNG is truncated or corrupt"),
        ("cut.bmp", cut("bits_24.bmp", 50), "broken", "the BMP is truncated or corrupt"),
        ("cut.gif", cut("palette.gif", 80), "broken", "the GIF is truncated or corrupt"),
        ("cut.webp", cut("lossless.webp", 50), "broken", "the WebP is truncated or corrupt"),
        ("cut.tif", cut("rgb_lzw.tif", 50), "broken", "the TIFF is truncated or corrupt"),
        ("header.png", encoded_fixture("noise.png")[..20].to_vec(), "broken", "the PNG is truncated or corrupt"),
        ("bomb.jpg", patched("ycbcr_420.jpg", b"\xff\xc0", 3, HUGE), "too_many_pixels", large),
        ("bomb.png", png_of_size(60_000, 60_000), "too_many_pixels", "60000 × 60000 pixels"),
        ("bomb.bmp", patched("bits_24.bmp", b"BM", 16, &[0, 0, 0, 1, 1, 0, 0, 0]), "too_many_pixels", large),
        ("bomb.gif", patched("palette.gif", b"GIF87a", 0, HUGE), "too_many_pixels", "65535 × 65535 pixels"),
        ("bomb.webp", patched("lossless.webp", b"WEBPVP8L", 5, &[0xfe, 0xbf, 0xff, 0x0f]), "too_many_pixels", large),
        ("bomb.tif", patched("rgb_raw.tif", b"\0\x01\x04\0", 4, &[255, 255, 255, 15]), "too_many_pixels", large),
    ]
}

#[track_caller]
fn check(error: &Value, image: &str, (name, _, code, detail): &Bad) {
    assert_eq!((&error["image"], &error["code"]), (&json!(image), &json!(code)), "{name}: {error}");
    assert!(error["detail"].as_str().is_some_and(|found| found.contains(detail)), "{name}: {error}");
}

#[tokio::test]
async fn each_kind_alone_is_refused_by_name() {
    let app = spawn().await;
    for path in ["/predict", "/features?layer=conv"] {
        for bad in bad_images() {
            let body = app.send(app.post_image(path, bad.1.clone())).await.problem(422, "bad_images", "an image cannot be used");
            assert_eq!(body["errors"].as_array().map(Vec::len), Some(1), "{body}");
            check(&body["errors"][0], "0", &bad);
        }
    }
}

#[tokio::test]
async fn a_form_names_every_bad_image_among_good_ones() {
    let app = spawn().await;
    let all = bad_images();
    let mut images = vec![("good.png", plain([1; 3]))];
    images.extend(all.iter().map(|(name, bytes, ..)| (*name, bytes.clone())));
    images.push(("good too.png", plain([2; 3])));
    let detail = format!("{} images cannot be used; `errors` names each", all.len());
    let body = app.send(app.post_form("/predict", &images)).await.problem(422, "bad_images", &detail);
    let errors = body["errors"].as_array().expect("a list");
    assert_eq!(errors.len(), all.len(), "{body}");
    for (error, bad) in errors.iter().zip(&all) {
        check(error, bad.0, bad);
    }
}

#[tokio::test]
async fn json_names_bad_images_and_bad_base64() {
    let app = spawn().await;
    let all = bad_images();
    let entry = |(name, bytes, ..): &Bad| json!({"b64": base64(bytes), "name": name});
    let body = json!({"images": all.iter().map(entry).collect::<Vec<_>>()}).to_string();
    let body = app.send(app.post_typed("/features", "application/json", body)).await.problem(422, "bad_images", "cannot be used");
    assert_eq!(body["errors"].as_array().map(Vec::len), Some(all.len()), "{body}");
    for (error, bad) in body["errors"].as_array().expect("a list").iter().zip(&all) {
        check(error, bad.0, bad);
    }
    let body = json!({"images": [{"b64": base64(&plain([0; 3]))}, {"b64": "*"}, {"b64": "data:image/png,x", "name": "uri"}]});
    let request = app.post_typed("/predict", "application/json", body.to_string());
    let body = app.send(request).await.problem(422, "bad_images", "2 images cannot be used");
    let errors = [&body["errors"][0], &body["errors"][1]].map(|error| (error["image"].clone(), error["code"].clone()));
    assert_eq!(errors, [(json!("1"), json!("invalid_base64")), (json!("uri"), json!("invalid_base64"))]);
}

#[tokio::test]
async fn skipping_answers_the_good_ones() {
    let app = spawn().await;
    let images =
        [("good.png", plain([255, 0, 0])), ("text.jpg", b"hello".to_vec()), ("empty", Vec::new()), ("last", plain([0, 0, 255]))];
    let answer = app.send(app.post_form("/predict?on_error=skip&top_k=1", &images)).await.ok();
    let found = answer.json()["predictions"].clone();
    let labels = [0, 3].map(|position: usize| (found[position]["image"].clone(), found[position]["top_k"][0]["label"].clone()));
    assert_eq!(labels, [(json!("good.png"), json!("red")), (json!("last"), json!("blue"))]);
    check(
        &json!({"image": "text.jpg", "code": found[1]["error"]["code"], "detail": found[1]["error"]["detail"]}),
        "text.jpg",
        &("text.jpg", Vec::new(), "not_an_image", "the bytes are no image"),
    );
    assert_eq!((&found[2]["image"], &found[2]["error"]["code"]), (&json!("empty"), &json!("empty")));
    assert!(found[1].get("top_k").is_none() && found[0].get("error").is_none(), "{found}");
    let answer = app.send(app.post_form("/features?on_error=skip&layer=conv&pool=max", &images)).await.ok();
    assert_eq!(answer.layer(3, "conv"), [0.0, 0.0, 255.0]);
    assert_eq!(answer.json()["features"][1]["error"]["code"], "not_an_image");
    let all_bad = app.send(app.post_image("/predict?on_error=skip", b"hello".to_vec())).await.ok();
    assert_eq!(all_bad.json()["predictions"][0]["error"]["code"], "not_an_image");
}

#[tokio::test]
async fn a_refusal_says_which_model_refused() {
    let app = spawn().await;
    for path in ["/predict", "/features"] {
        let answer = app.send(app.post_image(path, Vec::new())).await;
        answer.problem(422, "bad_images", "an image cannot be used");
        let told = ["graft-model", "graft-version", "graft-pretrained"].map(|name| answer.header(name));
        assert_eq!(told, ["colours", "1", "true"], "{path}");
    }
}
