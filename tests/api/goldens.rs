//! VGG16, InceptionV3 and EfficientNet-Lite0 against Keras, at every layer, over HTTP.
//!
//! Weights are seeded, so that no file is needed; what Keras computes from them is in `tests/fixtures/golden_*.json`,
//! written by `tests/goldens/layers_golden.py` (`make goldens`).

use std::fmt::Write;

use graft::{
    arch,
    registry::{Provenance, import_weights},
    tensor::Tensor,
    weights::seeded::Seeded,
};
use serde::Deserialize;
use serde_json::Value;

use crate::support::{Close, Npz, Setup, TestApp, fixture};

/// Float32 values of layers per request, so that no answer is larger than some 64 MB.
const VALUES_PER_REQUEST: usize = 16_000_000;

#[derive(Deserialize)]
struct Golden {
    seed: u64,
    image: String,
    top_5: Vec<Class>,
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Class {
    index: u64,
    score: f64,
}

/// What Keras's output of a layer is like: the largest value of each eighth stands for its neighbourhood.
#[derive(Deserialize)]
struct Layer {
    name: String,
    shape: Vec<usize>,
    norm: f64,
    mean: f64,
    peaks: Vec<(usize, f64)>,
}

impl Layer {
    fn values(&self) -> usize {
        self.shape.iter().product()
    }

    /// What is wrong with `found`, an array of one image.
    fn complaint(&self, found: &Tensor) -> Option<String> {
        let (batch, shape) = found.shape().split_first()?;
        if (*batch, shape) != (1, self.shape.as_slice()) {
            return Some(format!("{}: shape {:?}, not (1, {:?})", self.name, found.shape(), self.shape));
        }
        let exact = || found.data().iter().map(|value| f64::from(*value));
        let norm = exact().map(|value| value * value).sum::<f64>().sqrt();
        let mean = exact().sum::<f64>() / self.values() as f64;
        let size = self.norm / (self.values() as f64).sqrt();
        let peak = self.peaks.iter().fold(size, |largest, (_, value)| largest.max(value.abs()));
        let mut wrong = String::new();
        if !Close::LAYER.holds(norm, self.norm, self.norm) {
            write!(wrong, " norm {norm}, not {};", self.norm).ok()?;
        }
        if !Close::LAYER.holds(mean, self.mean, size) {
            write!(wrong, " mean {mean}, not {};", self.mean).ok()?;
        }
        for (position, value) in &self.peaks {
            let found = f64::from(found.data()[*position]);
            if !Close::LAYER.holds(found, *value, peak) {
                write!(wrong, " {found} at {position}, not {value};").ok()?;
            }
        }
        (!wrong.is_empty()).then(|| format!("{}:{wrong}", self.name))
    }
}

fn golden(architecture: &str) -> Golden {
    serde_json::from_slice(&fixture(&format!("golden_{architecture}.json"))).expect("a valid golden")
}

async fn spawn(architecture: &str, seed: u64) -> TestApp {
    let setup = Setup::empty().configured(|config| {
        config.models.default = architecture.to_owned();
        config.server.max_response_bytes = 1 << 30;
    });
    let network = arch::by_name(architecture, true).expect("it is one of graft's own");
    let provenance = Provenance { source: format!("seed:{seed}"), pretrained: false };
    import_weights(setup.repository(), architecture, &network, &mut Seeded::perturbed(seed), provenance).expect("weights fit");
    setup.spawn().await
}

/// Asks for all layers, several at a time, and compares each.
async fn compare_layers(app: &TestApp, golden: &Golden) {
    let image = fixture(&golden.image);
    let mut left = golden.layers.as_slice();
    let mut wrong = Vec::new();
    while !left.is_empty() {
        let mut values = 0;
        let fits = |layer: &&Layer| {
            values += layer.values();
            values <= VALUES_PER_REQUEST
        };
        let count = left.iter().take_while(fits).count().max(1);
        let (asked, rest) = left.split_at(count);
        left = rest;
        let names: Vec<&str> = asked.iter().map(|layer| layer.name.as_str()).collect();
        let request = app.post_image(&format!("/features?layer={}", names.join(",")), image.clone());
        let mut npz = Npz::new(app.send(request.header("Accept", "application/x-npz")).await.ok().body);
        wrong.extend(asked.iter().filter_map(|layer| layer.complaint(&npz.array(&layer.name))));
    }
    assert!(wrong.is_empty(), "{} layers differ from Keras's:\n{}", wrong.len(), wrong.join("\n"));
}

async fn compare_classes(app: &TestApp, golden: &Golden) {
    let answer = app.send(app.post_image("/predict", fixture(&golden.image))).await.ok().json();
    let found = answer["predictions"][0]["top_k"].as_array().expect("a list").clone();
    let indices: Vec<Option<u64>> = found.iter().map(|class: &Value| class["index"].as_u64()).collect();
    assert_eq!(indices, golden.top_5.iter().map(|class| Some(class.index)).collect::<Vec<_>>());
    for (class, expected) in found.iter().zip(&golden.top_5) {
        let score = class["score"].as_f64().expect("a number");
        assert!(Close::SCORE.holds(score, expected.score, expected.score), "{class}, not {}", expected.score);
    }
}

async fn check(architecture: &str, layers: usize) {
    let golden = golden(architecture);
    assert_eq!(golden.layers.len(), layers, "the golden has every layer");
    let app = spawn(architecture, golden.seed).await;
    let listed = app.get(&format!("/models/{architecture}/layers")).await.ok().json();
    let names = |layers: &[Layer]| layers.iter().map(|layer| layer.name.clone()).collect::<Vec<_>>();
    let listed: Vec<&str> =
        listed["layers"].as_array().expect("a list").iter().filter_map(|layer| layer["name"].as_str()).collect();
    assert_eq!(listed, names(&golden.layers));
    compare_classes(&app, &golden).await;
    compare_layers(&app, &golden).await;
}

#[tokio::test]
async fn vgg16_computes_what_keras_computes() {
    check("vgg16", 23).await;
}

#[tokio::test]
async fn inception_v3_computes_what_keras_computes() {
    check("inception_v3", 313).await;
}

#[tokio::test]
async fn efficientnet_lite0_computes_what_keras_computes() {
    check("efficientnet_lite0", 158).await;
}
