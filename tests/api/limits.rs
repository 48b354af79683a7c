//! Bounds on a request and its answer: bytes, images, pixels, memory, the answer's size, the model's size.

use crate::support::{Setup, TestApp, Tiny, base64, plain, png_of_size};

async fn spawn() -> TestApp {
    Setup::new()
        .configured(|config| {
            config.server.max_body_bytes = 4000;
            config.server.max_images = 3;
            config.server.max_request_pixels = 1000;
            config.server.max_response_bytes = 10_000;
        })
        .spawn()
        .await
}

#[tokio::test]
async fn too_many_bytes_are_refused_whether_declared_or_not() {
    let app = spawn().await;
    let detail = "the body is larger than 4000 bytes (`server.max_body_bytes`)";
    app.send(app.post_image("/predict", vec![0; 4001])).await.problem(413, "body_too_large", detail);
    app.send(app.post_form("/predict", &[("a", vec![0; 2000]), ("b", vec![0; 2000])])).await.problem(
        413,
        "body_too_large",
        detail,
    );
    let json = format!("{{\"images\":[{{\"b64\":\"{}\"}}]}}", base64(&[0; 3000]));
    app.send(app.post_typed("/predict", "application/json", json)).await.problem(413, "body_too_large", detail);
    let chunks = format!("3e8\r\n{}\r\n", "x".repeat(1000)).repeat(5);
    let head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = app.raw(&format!("{head}{chunks}0\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("\"body_too_large\""), "{answer}");
    app.send(app.post_image("/predict", plain([0; 3]))).await.ok();
}

#[tokio::test]
async fn too_many_images_or_pixels_are_refused() {
    let app = spawn().await;
    let detail = "more than 3 images (`server.max_images`); split it";
    let images = |count| vec![("x", plain([0; 3])); count];
    app.send(app.post_form("/predict", &images(4))).await.problem(413, "too_many_images", detail);
    let entries = vec![format!("{{\"b64\":\"{}\"}}", base64(&plain([0; 3]))); 4].join(",");
    let request = app.post_typed("/features", "application/json", format!("{{\"images\":[{entries}]}}"));
    app.send(request).await.problem(413, "too_many_images", detail);
    app.send(app.post_form("/predict", &images(3))).await.ok();
    // No image is beyond its own bound; together they are, and the headers alone say so.
    let halves = vec![("x", png_of_size(30, 20)); 2];
    let detail = "the images have 1200 pixels together, more than 1000 (`server.max_request_pixels`)";
    app.send(app.post_form("/predict", &halves)).await.problem(413, "too_many_pixels", detail);
}

#[tokio::test]
async fn an_answer_that_would_be_too_large_says_how_to_ask_for_less() {
    let app = spawn().await;
    let two = [("a", plain([9; 3])), ("b", plain([7; 3]))];
    let detail = |body: serde_json::Value| body["detail"].as_str().unwrap_or_default().to_owned();
    let request = app.post_form("/features?layer=relu,conv", &two);
    let found = detail(app.send(request).await.problem(422, "response_too_large", "but the bound is 10000"));
    for way in
        ["send at most 1 image per request", "`pool=avg`", "`Accept: application/x-npz`", "ask for fewer layers", "layers`"]
    {
        assert!(found.contains(way), "`{way}` is not in {found}");
    }
    // Every way out that the answer names is one.
    app.send(app.post_image("/features?layer=relu,conv", plain([9; 3]))).await.ok();
    app.send(app.post_form("/features?layer=relu,conv&pool=avg", &two)).await.ok();
    app.send(app.post_form("/features?layer=relu,conv", &two).header("Accept", "application/x-npz")).await.ok();
    app.send(app.post_form("/features?layer=relu", &two)).await.ok();
    app.send(app.post_form("/features?layer=mean,embedding,logits,scores&top_k=4", &two)).await.ok();
}

#[tokio::test]
async fn memory_is_bounded_over_all_requests_and_answers() {
    let app = Setup::new().configured(|config| config.server.max_buffered_bytes = 3000).spawn().await;
    let detail = "`server.max_buffered_bytes`";
    app.send(app.post_image("/predict", vec![0; 3001])).await.problem(503, "busy", detail);
    let json = format!("{{\"images\":[{{\"b64\":\"{}\"}}]}}", base64(&[0; 1800]));
    app.send(app.post_typed("/predict", "application/json", json)).await.problem(413, "body_too_large", detail);
    // The body of two images fits, their answer does not.
    app.send(app.post_form("/predict", &[("a", plain([0; 3])), ("b", plain([0; 3]))])).await.problem(503, "busy", detail);
    for _ in 0..10 {
        app.send(app.post_image("/predict", plain([0; 3]))).await.ok();
    }
}

/// Empty parts cost as much as others, and a form compressed a thousand times over has millions of them.
#[tokio::test]
async fn the_parts_of_a_form_are_bounded() {
    let app = TestApp::spawn().await;
    let empty = "--b\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"\"\r\n\r\n\r\n";
    let form = |name: &str, count: usize| format!("{}--b--\r\n", empty.replace("{}", name).repeat(count));
    for (path, name) in [("/predict", "image"), ("/features", "image"), ("/datasets", "layout")] {
        let body = form(name, 20_000).replace("; filename=\"\"", if path == "/datasets" { "" } else { "; filename=\"\"" });
        let sent = app.post_typed(path, "multipart/form-data; boundary=b", body);
        app.send(sent).await.problem(400, "malformed_body", "parts, empty ones included");
    }
    let few = app.post_typed("/predict", "multipart/form-data; boundary=b", form("image", 64));
    app.send(few).await.problem(422, "no_images", "");
}

#[tokio::test]
async fn images_count_as_the_model_takes_them() {
    let setup = Setup::empty().with(Tiny::Convolutions, "seeded").configured(|config| config.server.max_buffered_bytes = 60_000);
    let app = setup.spawn().await;
    let path = "/features?model=seeded&pool=avg";
    let eight = vec![("x", plain([0; 3])); 8];
    let detail = "the images take 98304 bytes as seeded takes them, more than the 60000 that one client may have";
    app.send(app.post_form(path, &eight)).await.problem(413, "too_many_pixels", detail);
    for _ in 0..8 {
        app.send(app.post_image(path, plain([0; 3]))).await.ok();
    }
}

#[tokio::test]
async fn a_model_beyond_the_bound_on_loaded_weights_is_not_loaded() {
    let setup = Setup::new().with(Tiny::Thousand, "thousand").configured(|config| config.models.max_loaded_bytes = 10_000);
    let app = setup.spawn().await;
    let answer = app.send(app.post_image("/predict?model=thousand", plain([0; 3]))).await;
    answer.problem(503, "model_too_large", "but `models.max_loaded_bytes` leaves 10000");
    app.send(app.post_image("/predict", plain([0; 3]))).await.ok();
}

#[tokio::test]
async fn names_of_images_count_in_the_answer() {
    let app = spawn().await;
    let image = base64(&plain([0; 3]));
    let send = async |name: &str| {
        let body = format!(r#"{{"images":["{image}","{image}",{{"b64":"{image}","name":"{name}"}}]}}"#);
        app.send(app.post_typed("/features?layer=mean", "application/json", body)).await
    };
    send("x").await.ok();
    // Each of these takes six bytes in the answer.
    let detail = "but the bound is 10000";
    send(&"\\u0001".repeat(500)).await.problem(422, "response_too_large", detail);
}
