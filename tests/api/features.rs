//! `/features` as JSON: which layers, in which form, and classes from the same pass.
//!
//! `colours` passes pixels through up to `relu`, so that expected values are the pixels themselves.

use half::f16;
use serde_json::json;

use crate::support::{Answer, Close, Setup, TestApp, Tiny, base64, plain, png};

/// Every pixel and channel differs from its neighbours, and no mean is exact in float16.
fn pixel(x: u32, y: u32) -> [u8; 3] {
    if (x, y) == (0, 0) {
        return [1; 3];
    }
    [(20 * x + 3 * y) as u8, (7 * x + 11 * y) as u8, (31 * y) as u8]
}

fn picture() -> Vec<u8> {
    png(8, 8, pixel)
}

/// The picture as height, width, channel.
fn pixels() -> Vec<f64> {
    (0..8).flat_map(|y| (0..8).flat_map(move |x| pixel(x, y))).map(f64::from).collect()
}

fn per_channel(reduce: impl Fn(Vec<f64>) -> f64) -> Vec<f64> {
    (0..3).map(|channel| reduce(pixels().into_iter().skip(channel).step_by(3).collect())).collect()
}

fn mean() -> Vec<f64> {
    per_channel(|values| values.iter().sum::<f64>() / values.len() as f64)
}

fn shape(answer: &Answer, layer: &str) -> serde_json::Value {
    answer.json()["features"][0]["layers"][layer]["shape"].clone()
}

async fn features(app: &TestApp, query: &str) -> Answer {
    app.send(app.post_image(&format!("/features?{query}"), picture())).await.ok()
}

#[tokio::test]
async fn the_default_layer_is_the_input_of_the_last_matrix() {
    let app = TestApp::spawn().await;
    let answer = features(&app, "").await;
    answer.is_from("colours", "1", "true");
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    let keys: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["model", "warnings", "features", "timings"]);
    assert_eq!(body["features"][0]["image"], "0");
    assert_eq!(body["features"][0]["warnings"], json!([]));
    assert!(body["features"][0].get("top_k").is_none(), "classes were not asked for");
    assert_eq!(shape(&answer, "embedding"), json!([3]));
    Close::ROUNDING.check("embedding", &answer.layer(0, "embedding"), &mean());
}

#[tokio::test]
async fn maps_are_height_width_channel() {
    let app = TestApp::spawn().await;
    let answer = features(&app, "layer=relu").await;
    assert_eq!(shape(&answer, "relu"), json!([8, 8, 3]));
    assert_eq!(answer.layer(0, "relu"), pixels());
    let flat = features(&app, "layer=relu&flatten=true").await;
    assert_eq!(shape(&flat, "relu"), json!([192]));
    assert_eq!(flat.layer(0, "relu"), pixels());
}

#[tokio::test]
async fn maps_are_pooled_and_vectors_normalized() {
    let app = TestApp::spawn().await;
    let length = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let unit = |values: Vec<f64>| values.iter().map(|value| value / length(&values)).collect::<Vec<_>>();
    for (query, expected) in [
        ("layer=relu&pool=avg", mean()),
        ("layer=relu&pool=max", per_channel(|values| values.into_iter().fold(0.0, f64::max))),
        ("layer=relu&pool=avg&normalize=l2", unit(mean())),
        ("layer=relu&pool=avg&flatten=true", mean()),
        ("layer=relu&flatten=true&normalize=l2", unit(pixels())),
        ("layer=relu&pool=none&normalize=none&flatten=true", pixels()),
    ] {
        let answer = features(&app, query).await;
        assert_eq!(shape(&answer, "relu"), json!([expected.len()]), "{query}");
        Close::ROUNDING.check(query, &answer.layer(0, "relu"), &expected);
    }
}

#[tokio::test]
async fn layers_go_by_name_index_and_list_in_the_order_asked_for() {
    let app = TestApp::spawn().await;
    for (query, expected) in [
        ("layer=embedding&layer=conv", vec!["embedding", "conv"]),
        ("layer=embedding,conv", vec!["embedding", "conv"]),
        ("layer=3", vec!["relu"]),
        ("layer=relu,3&layer=5", vec!["relu", "embedding"]),
        (
            "layer=conv,bright,dim,relu,mean,embedding,logits,scores",
            vec!["conv", "bright", "dim", "relu", "mean", "embedding", "logits", "scores"],
        ),
    ] {
        let answer = features(&app, query).await;
        let text = answer.json()["features"][0]["layers"].to_string();
        let mut places: Vec<(usize, &str)> =
            expected.iter().filter_map(|layer| Some((text.find(&format!("\"{layer}\":"))?, *layer))).collect();
        places.sort_unstable();
        assert_eq!(places.iter().map(|(_, layer)| *layer).collect::<Vec<_>>(), expected, "{query}: {text}");
        assert_eq!(text.matches("\"shape\"").count(), expected.len(), "{query}: {text}");
    }
}

#[tokio::test]
async fn classes_come_from_the_same_pass() {
    let app = Setup::new().with(Tiny::Colours, "passes").spawn().await;
    let answer = features(&app, "model=passes&layer=relu,embedding&top_k=2").await;
    assert_eq!(answer.layer(0, "relu"), pixels());
    let body = answer.json();
    let classes = body["features"][0]["top_k"].as_array().expect("classes were asked for").clone();
    let predicted = app.send(app.post_image("/predict?model=passes&top_k=2", picture())).await.ok().json();
    assert_eq!(json!(classes), predicted["predictions"][0]["top_k"]);
    // One run for both layers and the classes, one for the prediction.
    assert_eq!(app.metric("graft_batch_images_count{model=\"passes\"}").await, 2.0);
}

#[tokio::test]
async fn base64_holds_little_endian_values() {
    let app = TestApp::spawn().await;
    let data = |answer: Answer| answer.json()["features"][0]["layers"]["relu"]["data"].clone();
    let bytes: Vec<u8> = pixels().iter().flat_map(|value| (*value as f32).to_le_bytes()).collect();
    let found = data(features(&app, "layer=relu&encoding_format=base64").await);
    assert_eq!(found, json!(base64(&bytes)));
    let halves: Vec<u8> = pixels().iter().flat_map(|value| f16::from_f64(*value).to_le_bytes()).collect();
    let found = data(features(&app, "layer=relu&encoding_format=base64&dtype=float16").await);
    assert_eq!(found, json!(base64(&halves)));
    assert!(data(features(&app, "layer=relu&encoding_format=float").await).is_array());
}

#[tokio::test]
async fn float16_rounds_and_refuses_what_it_cannot_hold() {
    let app = TestApp::spawn().await;
    let answer = features(&app, "dtype=float16").await;
    let halves: Vec<f64> = mean().iter().map(|value| f16::from_f64(*value).to_f64()).collect();
    Close::ROUNDING.check("float16", &answer.layer(0, "embedding"), &halves);
    assert_ne!(answer.layer(0, "embedding"), features(&app, "dtype=float32").await.layer(0, "embedding"));
    // `bright` is 1024 times the pixel: white is 261120, float16 ends at 65504.
    for accept in ["application/json", "application/x-npy", "application/x-npz"] {
        let request = app.post_image("/features?layer=bright&dtype=float16", plain([255; 3])).header("Accept", accept);
        app.send(request).await.problem(422, "not_finite", "`bright` of image `0` holds NaN or infinity in float16");
    }
    let request = app.post_image("/features?layer=bright&dtype=float32&pool=max", plain([255; 3]));
    assert_eq!(app.send(request).await.ok().layer(0, "bright"), [261_120.0; 3]);
}

#[tokio::test]
async fn every_image_of_a_request_gets_its_own_values() {
    let app = TestApp::spawn().await;
    let colours = [[1, 2, 3], [40, 50, 60], [255, 0, 9]];
    let images = colours.map(|colour| ("x.png", plain(colour)));
    let answer = app.send(app.post_form("/models/colours/features?layer=relu&pool=max", &images)).await.ok();
    for (position, colour) in colours.into_iter().enumerate() {
        assert_eq!(answer.layer(position, "relu"), colour.map(f64::from));
    }
}

#[tokio::test]
async fn a_model_without_classes_gives_features() {
    let app = Setup::empty().with(Tiny::Topless, "topless").spawn().await;
    let request = app.post_image("/models/topless/versions/1/features", plain([255, 127, 0]));
    let answer = app.send(request).await.ok();
    answer.is_from("topless", "1", "true");
    let expected = [255.0, 127.0, 0.0].map(|level| level / 127.5 - 1.0);
    Close::ROUNDING.check("avg_pool", &answer.layer(0, "avg_pool"), &expected);
    let request = app.post_image("/predict?model=topless", plain([0; 3]));
    app.send(request).await.problem(422, "no_classes", "ask for features instead");
    let request = app.post_image("/features?model=topless&top_k=1", plain([0; 3]));
    app.send(request).await.problem(422, "no_classes", "has no classes");
}
