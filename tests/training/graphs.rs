//! InceptionV3's two top blocks under a new head, from cut to served graph.

use std::{fs, path::Path};

use graft::{
    arch::{Activation, Architecture, Builder, Layer, LayerKind, inception_v3, vgg16},
    config::Provider,
    graph::{
        ExternalData, Graph, build,
        gradient::{
            LABELS, LEARNING_RATE, LOSS, Labels, SAMPLE_WEIGHTS, TrainableTensor, TrainingGraph, TrainingSpec, evaluation_graph,
            training_graph,
        },
    },
    runtime::{Feed, LoadedGraph, TrainingSession},
    tensor::Tensor,
    weights::seeded::Seeded,
};

use crate::case::{self, CPU};

const BATCH: usize = 2;
const CLASSES: usize = 3;
/// Served against trained.
const CLOSE: f64 = 1e-4;

/// The graph of `architecture` with seeded weights, in `folder`.
fn built(architecture: &Architecture, folder: &Path) -> Graph {
    let file = fs::File::create(folder.join("weights.bin")).expect("a file");
    let mut data = ExternalData::new(std::io::BufWriter::new(file), "weights.bin");
    let graph = build(architecture, &mut Seeded::perturbed(7), &mut data).expect("a graph");
    data.finish().expect("the file takes it");
    let path = folder.join("graph.onnx");
    fs::write(&path, graph.to_bytes()).expect("a file");
    Graph::read(&path).expect("what was written")
}

/// Kernels of the layers from `index` on.
fn kernels_from(architecture: &Architecture, index: usize) -> Vec<String> {
    let layers = architecture.layers[index..].iter();
    layers
        .filter(|layer| layer.weights.iter().any(|w| w.name == "kernel"))
        .map(|layer| format!("{}/kernel", layer.name))
        .collect()
}

fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Values in −1 … 1, the same in every run.
fn values(shape: &[usize], scale: f32) -> Tensor {
    let wave = |index: usize| ((index * 7919 % 10_007) as f32 / 5003.5 - 1.0) * scale;
    Tensor::new(shape.to_vec(), (0..shape.iter().product()).map(wave).collect()).expect("as many values")
}

/// What lies behind `mixed8`, with a head for three classes, and its trainable tensors.
fn tail(folder: &Path) -> (Graph, Vec<String>) {
    let architecture = inception_v3(false);
    let whole = built(&architecture, folder);
    let mut trainable = kernels_from(&architecture, 249);
    let frontier = whole.frontier(&strs(&trainable), "mixed10").expect("a frontier");
    assert_eq!(frontier, ["mixed8"]);
    let behind = whole.behind(&[("mixed8", &[1280, 8, 8])], &["mixed10"]).expect("a frontier");
    let mut head = Builder::on("mixed10", &[8, 8, 2048]);
    head.named("avg_pool", LayerKind::GlobalAveragePooling2D, &[0]);
    head.named("drop", LayerKind::Dropout { rate: 0.5 }, &[1]);
    head.named("predictions", LayerKind::dense(CLASSES, Activation::Softmax), &[2]);
    let mut weights = |_: usize, _: &Layer| Ok(vec![values(&[2048, CLASSES], 0.05), values(&[CLASSES], 0.0)]);
    trainable.extend(["predictions/kernel", "predictions/bias"].map(str::to_owned));
    (behind.with_head(head.layers(), &mut weights).expect("new names"), trainable)
}

fn feeds(training: &TrainingGraph) -> Vec<(String, Feed)> {
    let floats = |name: &str, tensor| (name.to_owned(), Feed::Floats(tensor));
    let relu = |tensor: Tensor| {
        let (shape, data) = tensor.into_parts();
        Tensor::new(shape, data.into_iter().map(|value| value.max(0.0)).collect()).expect("the same shape")
    };
    let mut feeds = vec![
        floats("mixed8", relu(values(&[BATCH, 1280, 8, 8], 1.0))),
        floats(SAMPLE_WEIGHTS, Tensor::new(vec![BATCH], vec![0.5; BATCH]).expect("weights")),
        (LABELS.to_owned(), Feed::Integers(vec![2, 0])),
    ];
    let mask = |shape: &[usize]| {
        let count = shape.iter().product();
        Tensor::new(shape.to_vec(), (0..count).map(|index| if index % 2 == 0 { 0.0 } else { 2.0 }).collect()).expect("a mask")
    };
    feeds.extend(training.masks.iter().map(|drop| floats(&drop.tensor.name, mask(&drop.tensor.shape))));
    feeds
}

fn stepper(training: &TrainingGraph, whole: &Graph, folder: &Path) -> TrainingSession {
    let mut stepper = case::stepper_in(training, folder);
    for parameter in &training.parameters {
        stepper.set(&parameter.input, whole.stored(&parameter.input).expect("stored")).expect("a parameter");
    }
    stepper
}

#[test]
fn two_blocks_learn_and_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut tail, trainable) = tail(folder.path());
    let spec = TrainingSpec {
        logits: "predictions".to_owned(),
        batch: BATCH,
        labels: Labels::Classes,
        trainable: trainable.iter().map(|name| TrainableTensor { name: name.clone(), l2: 0.0 }).collect(),
        optimizer: serde_json::from_value(serde_json::json!({"type": "sgd", "momentum": 0.9})).expect("an optimizer"),
        provider: Provider::Cpu,
    };
    let training = training_graph(&tail, &spec).expect("a training graph");
    let train = || {
        let mut stepper = stepper(&training, &tail, folder.path());
        let mut feeds = feeds(&training);
        feeds.push((LEARNING_RATE.to_owned(), Feed::Floats(Tensor::new(Vec::new(), vec![1e-3]).expect("a scalar"))));
        let losses: Vec<f32> = (0..6).map(|_| case::step(&mut stepper, &feeds)[LOSS].data()[0]).collect();
        (losses, stepper)
    };
    let (losses, trained) = train();
    assert!(losses[5] < losses[0] * 0.9, "{losses:?}");
    let (again, twin) = train();
    assert_eq!(again, losses, "bit for bit");

    let evaluation = evaluation_graph(&tail, &spec).expect("an evaluation graph");
    let mut evaluator = stepper(&evaluation, &tail, folder.path());
    for parameter in &training.parameters {
        let value = trained.get(&parameter.input).expect("a parameter");
        assert_eq!(twin.get(&parameter.input).expect("a parameter"), value, "bit for bit");
        tail.store(&parameter.input, &value).expect("the same shape");
        evaluator.set(&parameter.input, value).expect("a parameter");
    }
    let logits = case::step(&mut evaluator, &feeds(&evaluation)).remove(&evaluation.logits).expect("logits");

    // A frozen graph fuses what a training graph cannot; the numbers agree.
    let loaded = LoadedGraph::whole(&tail).expect("its weights are there");
    let mut session = case::runtime().session(loaded.source(), CPU).expect("a session");
    let Feed::Floats(input) = &feeds(&evaluation)[0].1 else { panic!("the first feed is the image") };
    let served = session.run(input).expect("an answer").remove(0);
    let error = case::relative_error(&served, &softmax(&logits));
    assert!(error <= CLOSE, "served differs from trained by {error:.1e}");
}

fn softmax(logits: &Tensor) -> Tensor {
    let row = |row: &[f32]| {
        let exponentials: Vec<f32> = row.iter().map(|value| value.exp()).collect();
        let sum: f32 = exponentials.iter().sum();
        exponentials.into_iter().map(|value| value / sum).collect::<Vec<_>>()
    };
    let data = logits.data().chunks(CLASSES).flat_map(row).collect();
    Tensor::new(logits.shape().to_vec(), data).expect("the same shape")
}

#[test]
fn frontiers_are_where_keras_cuts() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |architecture: &Architecture, index: usize, output: &str, expected: &[&str]| {
        let whole = built(architecture, folder.path());
        let kernels = kernels_from(architecture, index);
        assert_eq!(whole.frontier(&strs(&kernels), output).expect("a frontier"), expected, "{index}");
    };
    let vgg16 = vgg16(false);
    let (block5, _) = vgg16.layer("block5_conv1").expect("a layer");
    check(&vgg16, block5, "block5_pool", &["block4_pool"]);
    check(&vgg16, 0, "block5_pool", &["input_layer"]);
}
