//! Metadata and versions for tests, of this module and of those above it.

use std::{path::PathBuf, sync::Arc};

pub(crate) use super::scan::FileStamp;
use super::*;
use crate::preprocess::{ChannelOrder, Fit, Orientation, Preprocessing, Resize};

pub(super) const WEIGHTS: &[u8] = b"weights";

/// An untrained model of three classes over eight features.
pub(crate) fn metadata(name: &str) -> Metadata {
    let layer = |index, name: &str, values| Layer {
        index,
        name: name.into(),
        kind: "Dense".into(),
        shape: vec![values],
        tensor: format!("{name}:0"),
        layout: None,
    };
    Metadata {
        name: name.into(),
        version: 0,
        architecture: "vgg16".into(),
        input: "input".into(),
        fixed_batch: None,
        preprocessing: Preprocessing {
            height: 224,
            width: 224,
            resize: Resize::Nearest,
            fit: Fit::Stretch,
            channel_order: ChannelOrder::Bgr,
            mean: [103.939, 116.779, 123.68],
            scale: [1.0; 3],
            orientation: Orientation::Ignore,
            integer: None,
        },
        output: Some(Output { tensor: "predictions:0".into(), kind: OutputKind::Probabilities, found_by: FoundBy::Graph }),
        labels: numbered_labels(3),
        layers: vec![layer(0, "fc2", 8), layer(1, "predictions", 3)],
        features_layer: "fc2".into(),
        pretrained: false,
        weights: WeightsOrigin { source: "seed:1".into(), sha256: "0".repeat(64), bytes: WEIGHTS.len() as u64 },
        calibration: None,
        novelty: None,
        lineage: None,
        published: true,
        job: None,
        assumptions: Vec::new(),
        correction: None,
        created: String::new(),
    }
}

/// A version without files.
pub(crate) fn version(metadata: Metadata) -> ModelVersion {
    let metadata = Metadata { version: 1, ..metadata };
    ModelVersion {
        dir: PathBuf::from(format!("nowhere/{}/1", metadata.name)),
        metadata: Arc::new(metadata),
        sums: None,
        label_sizes: Arc::default(),
    }
}

/// That of a fine-tuned model.
pub(crate) fn lineage() -> Lineage {
    Lineage {
        job: "job".into(),
        base: "vgg16@1".into(),
        base_sha256: "0".repeat(64),
        dataset: "dataset".into(),
        recipe: serde_json::Value::Null,
        metrics: serde_json::Value::Null,
        test: None,
        publication: None,
    }
}
