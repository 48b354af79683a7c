//! Published models without files, a small data set, and requests for tests of this module.

use std::io;

use serde_json::{Value, json};

use super::{
    Sample, Samples,
    recipe::{Recipe, Request},
};
use crate::{
    arch::{self, Architecture},
    datasets::Split,
    graph::{ExternalData, Graph, build},
    preprocess::{Mode, Preprocessing},
    registry::{Layer, Metadata, WeightsOrigin},
    tensor::Tensor,
    weights::{self, WeightSource},
};

struct Zeros;

impl WeightSource for Zeros {
    fn layer(&mut self, _index: usize, layer: &arch::Layer) -> Result<Vec<Tensor>, weights::Error> {
        let zeros = |shape: &[usize]| Tensor::new(shape.to_vec(), vec![0.0; shape.iter().product()]);
        Ok(layer.weights.iter().map(|spec| zeros(&spec.shape).expect("as many zeros as the shape says")).collect())
    }
}

/// A published model without its files.
pub(super) struct Model {
    pub(super) metadata: Metadata,
    pub(super) graph: Graph,
}

pub(super) fn model(architecture: &Architecture) -> Model {
    let graph = build(architecture, &mut Zeros, &mut ExternalData::new(io::sink(), "weights.bin"));
    let layer = |(index, layer): (usize, &arch::Layer)| Layer {
        index,
        name: layer.name.clone(),
        kind: layer.kind.keras_name().to_owned(),
        shape: layer.output_shape.clone(),
        tensor: layer.name.clone(),
        layout: None,
    };
    let side = u32::try_from(architecture.input_shape()[0]).expect("a side");
    let metadata = Metadata {
        name: architecture.name.clone(),
        version: 1,
        architecture: architecture.name.clone(),
        input: architecture.layers[0].name.clone(),
        fixed_batch: None,
        preprocessing: Preprocessing::keras(Mode::Tf, side, side),
        output: None,
        labels: Vec::new(),
        layers: architecture.layers.iter().enumerate().map(layer).collect(),
        features_layer: architecture.features_layer.clone(),
        pretrained: true,
        weights: WeightsOrigin { source: "seed:0".to_owned(), sha256: "0".repeat(64), bytes: 0 },
        calibration: None,
        novelty: None,
        lineage: None,
        published: true,
        job: None,
        assumptions: Vec::new(),
        correction: None,
        created: String::new(),
    };
    Model { metadata, graph: graph.expect("a sound architecture") }
}

/// Ten images of each of two classes.
pub(super) fn samples() -> Samples {
    let image = |class: usize, number: usize| {
        let path = format!("{class}/{number}.jpg");
        Sample { file: path.clone().into(), path, class, split: Split::Train }
    };
    Samples {
        fingerprint: "f".to_owned(),
        classes: vec!["ants".to_owned(), "bees".to_owned()],
        images: (0..20).map(|position| image(position / 10, position % 10)).collect(),
        warnings: Vec::new(),
    }
}

pub(super) fn request(body: Value) -> Request {
    let mut whole = json!({"dataset": "d", "name": "n"});
    let fields = body.as_object().expect("an object").clone();
    whole.as_object_mut().expect("an object").extend(fields);
    serde_json::from_value(whole).expect("a request")
}

pub(super) fn resolved(model: &Model, body: Value) -> Recipe {
    request(body).resolve_on(&model.metadata, &model.graph, &samples()).expect("a sound request")
}

/// The default recipe over InceptionV3, 16 images to train on and 4 to measure on.
pub(super) fn resolved_inception() -> Recipe {
    resolved_with(json!({}))
}

/// The same with these fields.
pub(super) fn resolved_with(body: Value) -> Recipe {
    resolved(&model(&arch::inception_v3(false)), body)
}
