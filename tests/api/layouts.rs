//! Layers of graphs that turn their tensors about: names, shapes and pooled values against PyTorch's own.
//!
//! The networks, and what PyTorch says of their layers, are `tests/goldens/layouts.py`'s.

use std::{fs, path::PathBuf};

use graft::{
    preprocess::{Mode, Resize},
    registry::{OnnxSettings, import_onnx},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Close, Setup, TestApp, png, runtime};

#[derive(Deserialize)]
struct Expected {
    layers: Vec<Layer>,
    no_maps: Vec<String>,
}

#[derive(Deserialize)]
struct Layer {
    tensor: String,
    shape: Vec<usize>,
    pooled: Vec<f64>,
}

fn fixture(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/layouts").join(file)
}

fn expected(network: &str) -> Expected {
    let text = fs::read_to_string(fixture("expected.json")).expect("a fixture");
    let mut all: serde_json::Map<String, Value> = serde_json::from_str(&text).expect("an object");
    serde_json::from_value(all.remove(network).expect("a network of the fixtures")).expect("what a network has")
}

fn settings() -> OnnxSettings {
    OnnxSettings {
        mode: Some(Mode::None),
        scale: Some([1.0 / 255.0; 3]),
        resize: Some(Resize::Nearest),
        ..OnnxSettings::default()
    }
}

fn picture() -> Vec<u8> {
    png(32, 32, |x, y| [0, 90, 180].map(|channel| ((x * 7 + y * 5 + channel) % 256) as u8))
}

async fn spawn(network: &str) -> TestApp {
    let setup = Setup::empty().configured(|config| config.models.default = network.to_owned());
    let file = fixture(&format!("{network}.onnx"));
    let version = import_onnx(setup.repository(), &runtime(), network, &file, &settings()).expect("a classifier");
    // Windows and heads that do not begin with the batch change nothing of that; dynamo's exports are of one image.
    let one = network.ends_with("dynamo").then_some(1);
    assert_eq!(version.metadata.fixed_batch, one, "{network}");
    setup.spawn().await
}

async fn layers(app: &TestApp, network: &str) -> Vec<Value> {
    let answer = app.get(&format!("/models/{network}/layers")).await.ok().json();
    answer["layers"].as_array().expect("a list").clone()
}

/// Every layer that PyTorch knows has its shape and its pooled values; what is no map says so and is not pooled.
async fn check(network: &str) {
    let app = spawn(network).await;
    let Expected { layers: known, no_maps } = expected(network);
    let listed = layers(&app, network).await;
    let is_number = |layer: &&Value| layer["shape"].as_array().is_some_and(Vec::is_empty);
    assert_eq!(listed.iter().find(is_number), None, "{network}: numbers made of sizes are no layers");
    let of = |tensor: &str| listed.iter().find(|layer| layer["name"] == tensor);
    for layer in &known {
        let found = of(&layer.tensor).unwrap_or_else(|| panic!("{network} has no layer {}", layer.tensor));
        let layout = ["vector", "tokens", "map"][layer.shape.len() - 1];
        assert_eq!((&found["shape"], &found["layout"]), (&json!(layer.shape), &json!(layout)), "{network}: {}", layer.tensor);
    }
    for some in known.chunks(12) {
        let names: Vec<String> = some.iter().map(|layer| format!("layer={}", layer.tensor)).collect();
        let query = format!("/features?model={network}&pool=avg&{}", names.join("&"));
        let answer = app.send(app.post_image(&query, picture())).await.ok();
        for layer in some {
            Close::LAYER.check(&format!("{network}: {}", layer.tensor), &answer.layer(0, &layer.tensor), &layer.pooled);
        }
    }
    for name in no_maps.iter().filter(|name| of(name).is_some()) {
        assert_eq!(of(name).expect("it is listed")["layout"], "no_map", "{network}: {name}");
        let query = format!("/features?model={network}&layer={name}");
        app.send(app.post_image(&query, picture())).await.ok();
        app.send(app.post_image(&format!("{query}&pool=avg"), picture())).await.problem(422, "invalid_parameter", "is no map");
    }
}

#[tokio::test]
async fn a_convnext_by_torchscript() {
    check("convnext_torchscript").await;
}

#[tokio::test]
async fn a_convnext_by_dynamo() {
    check("convnext_dynamo").await;
}

#[tokio::test]
async fn a_swin_by_torchscript() {
    check("swin_torchscript").await;
}

#[tokio::test]
async fn a_swin_by_dynamo() {
    check("swin_dynamo").await;
}

#[tokio::test]
async fn a_vit_by_torchscript() {
    check("vit_torchscript").await;
}

#[tokio::test]
async fn a_vit_by_dynamo() {
    check("vit_dynamo").await;
}

/// What an earlier graft took from the rank is followed through the graph when the version is read again.
#[tokio::test]
async fn layers_of_an_earlier_import_are_followed_again() {
    let network = "convnext_torchscript";
    let setup = Setup::empty().configured(|config| config.models.default = network.to_owned());
    let file = fixture(&format!("{network}.onnx"));
    let version = import_onnx(setup.repository(), &runtime(), network, &file, &settings()).expect("a classifier");
    let path = version.dir().join("metadata.json");
    let mut metadata: Value = serde_json::from_slice(&fs::read(&path).expect("published")).expect("JSON");
    for layer in metadata["layers"].as_array_mut().expect("a list") {
        let of_map = layer["layout"]["axes"].as_array().filter(|axes| axes.len() == 3).cloned();
        let of_tensor = |axes: Vec<Value>| {
            let shown = layer["shape"].as_array().expect("a list");
            let side = |axis: u64| shown[axes.iter().position(|known| *known == json!(axis)).expect("a permutation")].clone();
            // An earlier graft took rank 3 for channel, height, width.
            [side(1), side(2), side(0)]
        };
        if let Some(axes) = of_map {
            layer["shape"] = json!(of_tensor(axes));
        }
        layer.as_object_mut().expect("an object").remove("layout");
    }
    fs::write(&path, metadata.to_string()).expect("writable");
    let app = setup.spawn().await;
    let listed = layers(&app, network).await;
    for layer in expected(network).layers {
        let found = listed.iter().find(|found| found["name"] == layer.tensor.as_str()).expect("a layer");
        assert_eq!(found["shape"], json!(layer.shape), "{}", layer.tensor);
    }
}
