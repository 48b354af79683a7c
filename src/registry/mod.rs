//! The model repository: `models/NAME/VERSION/`, its metadata, and atomic publication.
//!
//! Knows files and folders; knows neither sessions nor HTTP.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::preprocess::Preprocessing;

/// What `metadata.json` of a version says; written last, so a version with it is whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Model name, the folder's.
    pub name: String,
    /// Version, the folder's.
    pub version: u32,
    /// `vgg16`, `inception_v3`, or `onnx` for a graph that a user brought.
    pub architecture: String,
    /// Name of the graph's input tensor.
    pub input: String,
    /// Images per run when the graph fixes its batch dimension.
    pub fixed_batch: Option<usize>,
    /// How images become input.
    pub preprocessing: Preprocessing,
    /// The classifier's output; absent without a top.
    pub output: Option<Output>,
    /// One per class, in index order; empty without a top.
    pub labels: Vec<Label>,
    /// Every layer, in index order.
    pub layers: Vec<Layer>,
    /// The layer that `/features` answers with unless told otherwise.
    pub features_layer: String,
    /// False for untrained (seeded) weights.
    pub pretrained: bool,
    /// Where the weights came from.
    pub weights: WeightsOrigin,
    /// RFC 3339 time of publication.
    pub created: String,
}

/// The classifier's output tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Name of the graph's tensor.
    pub tensor: String,
    /// Whether a softmax is still to be taken.
    pub kind: OutputKind,
}

/// What the output's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// Scores before softmax.
    Logits,
    /// Scores after softmax.
    Probabilities,
}

/// A class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Human-readable name.
    pub label: String,
    /// WordNet id, for ImageNet's classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wnid: Option<String>,
}

/// One layer whose output can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Keras's index; position in graph order for a user's graph.
    pub index: usize,
    /// Keras's name; the tensor's name for a user's graph.
    pub name: String,
    /// Keras's class name; the operator for a user's graph.
    #[serde(rename = "type")]
    pub kind: String,
    /// Output shape without the batch dimension; rank 3 is height, width, channel.
    pub shape: Vec<usize>,
    /// The graph's tensor that holds the output (channel, height, width when rank 3).
    pub tensor: String,
}

/// Where a version's weights came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsOrigin {
    /// `keras:FILENAME`, `url:ADDRESS`, `seed:N` or `onnx:FILENAME`.
    pub source: String,
    /// SHA-256 of `weights.bin`, hexadecimal.
    pub sha256: String,
    /// Size of `weights.bin` in bytes.
    pub bytes: u64,
}

/// A published version: its folder and what it says of itself.
#[derive(Debug, Clone)]
pub struct ModelVersion {
    /// Contents of `metadata.json`.
    pub metadata: Arc<Metadata>,
    dir: PathBuf,
}

impl ModelVersion {
    /// `graph.onnx`, whose large tensors lie in [`Self::weights_path`].
    pub fn graph_path(&self) -> PathBuf {
        self.dir.join("graph.onnx")
    }

    /// `weights.bin`: the graph's external data.
    pub fn weights_path(&self) -> PathBuf {
        self.dir.join("weights.bin")
    }

    /// The version's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// A model with at least one whole version.
#[derive(Debug, Clone)]
pub struct Model {
    /// The folder's name.
    pub name: String,
    /// Whole versions, ascending.
    pub versions: Vec<ModelVersion>,
    /// The version that requests without one get.
    pub stable: u32,
}

/// Something in the repository that is not served, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Path relative to the repository.
    pub path: String,
    /// What is wrong and what to do.
    pub reason: String,
}

/// One look at the repository.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Models by name, ascending.
    pub models: Vec<Model>,
    /// What was ignored.
    pub problems: Vec<Problem>,
}

/// A repository folder.
#[derive(Debug, Clone)]
pub struct Repository {
    root: PathBuf,
}

/// A version in the making: a folder that no reader looks into until it is published.
#[derive(Debug)]
pub struct Staging {
    repository: Repository,
    name: String,
    dir: tempfile::TempDir,
}

/// Why the repository cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {}
