//! Models that load in milliseconds, published through graft's own imports.
//!
//! The ONNX ones are `tests/goldens/classifiers.py`'s: pixels pass through unchanged up to `relu`, classes are mean colours.

use std::path::Path;

use graft::{
    arch::{Activation, Architecture, Builder, Description, LayerKind, Padding, Transfer},
    preprocess::Resize,
    registry::{ModelVersion, OnnxSettings, Provenance, Repository, import_onnx, import_weights},
    weights::seeded::Seeded,
};

use super::app::runtime;

/// A model to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiny {
    /// Scores the mean colour; classes `red`, `green`, `blue` and `lime`, which is `green` again.
    Colours,
    /// The same with the batch fixed at two images.
    Pair,
    /// Two convolutions with LeakyRelu between them, of which graft knows no gradient.
    Leaky,
    /// The brighter the image, the longer it computes: nothing for black, seconds for white.
    Slow,
    /// ImageNet's 1000 classes over three features, trained weights by its own account.
    Thousand,
    /// The same with weights that say they are untrained.
    Untrained,
    /// A model without classes: its one output is features.
    Topless,
    /// Three seeded convolutions without a top over 32 × 32 images.
    Convolutions,
    /// A block of two paths with batch normalisation between seeded convolutions, without a top, over 32 × 32 images.
    Block,
    /// Inverted residual blocks as EfficientNet-Lite has them, seeded, without a top, over 32 × 32 images.
    Inverted,
    /// VGG16's `fc1` and `fc2` at a hundredth of their size over two seeded convolutions, with a top, over 32 × 32 images.
    FullyConnected,
}

/// Publishes `model` as the next version of `name`.
pub fn publish(repository: &Repository, model: Tiny, name: &str) -> ModelVersion {
    match model {
        Tiny::Colours => onnx(repository, name, "colours.onnx"),
        Tiny::Pair => onnx(repository, name, "colours_pair.onnx"),
        Tiny::Leaky => onnx(repository, name, "leaky.onnx"),
        Tiny::Slow => onnx(repository, name, "slow.onnx"),
        Tiny::Thousand => keras(repository, name, true, true),
        Tiny::Untrained => keras(repository, name, true, false),
        Tiny::Topless => keras(repository, name, false, true),
        Tiny::Convolutions => seeded(repository, name, &convolutions()),
        Tiny::Block => seeded(repository, name, &block()),
        Tiny::Inverted => seeded(repository, name, &inverted()),
        Tiny::FullyConnected => seeded(repository, name, &fully_connected()),
    }
}

/// Replaces the one place of `graph.onnx` in a version's `folder` that is `from` with `to`, which is as long, past what guards it.
pub fn patch_graph(folder: &Path, from: &[u8], to: &[u8]) {
    let (graph, metadata) = (folder.join("graph.onnx"), folder.join("metadata.json"));
    let mut bytes = std::fs::read(&graph).expect("it was published");
    let places: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    let [at] = places[..] else { panic!("{from:?} is at {places:?}") };
    bytes[at..at + to.len()].copy_from_slice(to);
    std::fs::write(&graph, bytes).expect("writable");
    let text = std::fs::read(&metadata).expect("it was published");
    let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&text).expect("an object");
    // An earlier graft wrote no sums.
    fields.retain(|key, _| key != "files" && key != "sha256");
    std::fs::write(&metadata, serde_json::to_vec_pretty(&fields).expect("string keys")).expect("writable");
}

fn onnx(repository: &Repository, name: &str, file: &str) -> ModelVersion {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let labels = folder.path().join("labels.txt");
    std::fs::write(&labels, "red\ngreen\nblue\nlime\n").expect("it can be written to");
    let settings = OnnxSettings {
        resize: Some(Resize::Nearest),
        mean: Some([0.0; 3]),
        scale: Some([1.0; 3]),
        labels: Some(labels),
        ..OnnxSettings::default()
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(file);
    import_onnx(repository, &runtime(), name, &file, &settings).expect("the fixture is a classifier")
}

fn keras(repository: &Repository, name: &str, include_top: bool, pretrained: bool) -> ModelVersion {
    let provenance = Provenance { source: if pretrained { "keras:tiny.h5" } else { "seed:1" }.to_owned(), pretrained };
    let architecture = architecture(include_top);
    import_weights(repository, name, &architecture, &mut Seeded::new(1), provenance).expect("seeded weights fit")
}

/// GlobalAveragePooling2D over an 8 × 8 image, and a Dense layer of 1000 classes.
fn architecture(include_top: bool) -> Architecture {
    let mut builder = Builder::new([8, 8, 3]);
    let mut last = builder.named("avg_pool", LayerKind::GlobalAveragePooling2D, &[0]);
    if include_top {
        let dense = LayerKind::Dense { units: 1000, use_bias: true, activation: Activation::Softmax };
        last = builder.named("predictions", dense, &[last]);
    }
    let description = Description { name: "tiny", include_top, features_layer: "avg_pool", transfer: Transfer::default() };
    builder.finish(last, description)
}

fn seeded(repository: &Repository, name: &str, architecture: &Architecture) -> ModelVersion {
    let provenance = Provenance { source: "seed:1".to_owned(), pretrained: false };
    import_weights(repository, name, architecture, &mut Seeded::new(1), provenance).expect("seeded weights fit")
}

fn convolutions() -> Architecture {
    let mut builder = Builder::new([32, 32, 3]);
    let mut last = 0;
    for filters in [16, 32, 64] {
        last = builder.add(convolution(filters, 3, Activation::Relu), &[last]);
        last = builder.add(LayerKind::max_pooling(2, 2), &[last]);
    }
    let name = "tiny";
    builder
        .finish(last, Description { name, include_top: false, features_layer: "max_pooling2d_2", transfer: Transfer::default() })
}

/// Layers in Keras's order: `conv2d`, its pool, then the paths' convolutions, normalisations, activations side by side.
fn block() -> Architecture {
    let mut builder = Builder::new([32, 32, 3]);
    let stem = builder.add(convolution(16, 3, Activation::Relu), &[0]);
    let stem = builder.add(LayerKind::max_pooling(2, 2), &[stem]);
    let mut path = |kernel| {
        let sum = builder.add(convolution(16, kernel, Activation::Linear), &[stem]);
        let normalized = builder.add(LayerKind::BatchNormalization { epsilon: 1e-3, scale: true, center: true }, &[sum]);
        builder.add(LayerKind::Activation(Activation::Relu), &[normalized])
    };
    let paths = [path(1), path(3)];
    let mixed = builder.named("mixed", LayerKind::Concatenate, &paths);
    let pool = builder.add(LayerKind::max_pooling(2, 2), &[mixed]);
    let top = builder.add(convolution(48, 3, Activation::Relu), &[pool]);
    let last = builder.add(LayerKind::max_pooling(2, 2), &[top]);
    let description =
        Description { name: "tiny", include_top: false, features_layer: "max_pooling2d_2", transfer: Transfer::default() };
    builder.finish(last, description)
}

/// A padded stem, a block that ends in a sum and one of stride 2, with normalisations, ReLU6 and Dropout.
fn inverted() -> Architecture {
    let (strides, padding, use_bias, activation) = ([2, 2], Padding::Valid, false, Activation::Linear);
    let mut builder = Builder::new([32, 32, 3]);
    let normalized = |builder: &mut Builder, x: usize| {
        let norm = builder.add(LayerKind::BatchNormalization { epsilon: 1e-3, scale: true, center: true }, &[x]);
        builder.add(LayerKind::Activation(Activation::Relu6), &[norm])
    };
    let pad = builder.add(LayerKind::ZeroPadding2D { padding: [[0, 1]; 2] }, &[0]);
    let stem = LayerKind::Conv2D { filters: 16, kernel: [3, 3], strides, padding, use_bias, activation };
    let stem = builder.add(stem, &[pad]);
    let stem = normalized(&mut builder, stem);
    let (kernel, strides, padding) = ([3, 3], [1, 1], Padding::Same);
    let x = builder.add(LayerKind::DepthwiseConv2D { kernel, strides, padding, use_bias, activation }, &[stem]);
    let x = normalized(&mut builder, x);
    let x = builder.add(convolution(16, 1, Activation::Linear), &[x]);
    let x = builder.add(LayerKind::Dropout { rate: 0.0 }, &[x]);
    let sum = builder.add(LayerKind::Add, &[x, stem]);
    let x = builder.add(convolution(48, 1, Activation::Relu6), &[sum]);
    let x = builder.add(LayerKind::ZeroPadding2D { padding: [[1, 2]; 2] }, &[x]);
    let (kernel, strides, padding) = ([5, 5], [2, 2], Padding::Valid);
    let x = builder.add(LayerKind::DepthwiseConv2D { kernel, strides, padding, use_bias, activation }, &[x]);
    let last = normalized(&mut builder, x);
    let (features_layer, transfer) = ("activation_2", Transfer::default());
    let description = Description { name: "tiny", include_top: false, features_layer, transfer };
    builder.finish(last, description)
}

fn fully_connected() -> Architecture {
    let mut builder = Builder::new([32, 32, 3]);
    let mut last = 0;
    for filters in [16, 32] {
        last = builder.add(convolution(filters, 3, Activation::Relu), &[last]);
        last = builder.add(LayerKind::max_pooling(2, 2), &[last]);
    }
    last = builder.named("flatten", LayerKind::Flatten, &[last]);
    for name in ["fc1", "fc2"] {
        last = builder.named(name, LayerKind::dense(40, Activation::Relu), &[last]);
    }
    last = builder.named("predictions", LayerKind::dense(1000, Activation::Softmax), &[last]);
    let description = Description { name: "vgg16", include_top: true, features_layer: "fc2", transfer: Transfer::default() };
    builder.finish(last, description)
}

fn convolution(filters: usize, kernel: usize, activation: Activation) -> LayerKind {
    let (kernel, strides, padding) = ([kernel; 2], [1, 1], Padding::Same);
    LayerKind::Conv2D { filters, kernel, strides, padding, use_bias: true, activation }
}
