//! What callers ask the engine and what it answers.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Note;
use crate::{
    config::Provider,
    preprocess::{ChannelOrder, ImageError, Mode, Orientation, Preprocessing, Resize, Warning},
    registry::{Layer, ModelVersion},
    tensor::Tensor,
};

/// One image as it came.
#[derive(Debug, Clone)]
pub enum Image {
    /// The bytes of an image file.
    Encoded(Bytes),
    /// What the model takes, preprocessed elsewhere: channels, height, width.
    Tensor(Tensor),
}

/// What to compute.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Model name; without one the engine chooses.
    pub model: Option<String>,
    /// Version; the stable one without.
    pub version: Option<u32>,
    /// How many classes, best first; none without.
    pub top_k: Option<usize>,
    /// Layer outputs; none without.
    pub features: Option<Features>,
    /// Filter instead of the model's own.
    pub resize: Option<Resize>,
    /// Channel order, mean and scale instead of the model's own.
    pub preprocess: Option<Mode>,
    /// Channel order instead of the model's, or of `preprocess`'s; mean and scale move with their colour.
    pub channel_order: Option<ChannelOrder>,
    /// EXIF orientation instead of the model's own rule.
    pub orientation: Option<Orientation>,
    /// Whether scores are as they were trained where the model calibrates them; of other models nothing changes.
    pub uncalibrated: bool,
    /// What a bad image does.
    pub on_error: OnError,
}

/// Which layers, and in which form.
#[derive(Debug, Clone, Default)]
pub struct Features {
    /// Names or Keras indices; empty for the model's `features_layer`.
    pub layers: Vec<String>,
    /// Pooling over height and width, or over tokens.
    pub pool: Pool,
    /// Whether each output becomes one vector.
    pub flatten: bool,
    /// Normalisation of the whole vector, after pooling.
    pub normalize: Normalize,
}

/// Pooling over height and width, or over tokens; vectors are left as they are, and what is no map is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = FeaturePool)]
pub enum Pool {
    /// The map as it is.
    #[default]
    None,
    /// Mean (Keras's `GlobalAveragePooling2D`).
    Avg,
    /// Maximum (Keras's `GlobalMaxPooling2D`).
    Max,
}

/// Normalisation of an output as one vector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// As it is.
    #[default]
    None,
    /// Divided by its Euclidean length; a zero vector stays zero.
    L2,
}

/// What a bad image does to its request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Fails it, naming every bad image.
    #[default]
    Fail,
    /// Is left out; the others are answered.
    Skip,
}

/// A request that has been resolved and checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The version that answers.
    pub version: ModelVersion,
    /// What whoever asks should know of it.
    pub notes: Vec<Note>,
    /// How many classes.
    pub top_k: Option<usize>,
    /// Whether scores are as they were trained where the model calibrates them.
    pub uncalibrated: bool,
    /// Layers, in the order asked for, without repetitions.
    pub layers: Vec<LayerSpec>,
    /// Pooling of maps.
    pub pool: Pool,
    /// Normalisation of vectors.
    pub normalize: Normalize,
    /// The model's, with the request's overrides.
    pub preprocessing: Preprocessing,
    /// What a bad image does.
    pub on_error: OnError,
}

/// A layer of a plan.
#[derive(Debug, Clone)]
pub struct LayerSpec {
    /// The layer.
    pub layer: Layer,
    /// Shape of one image's answer after pooling and flattening.
    pub shape: Vec<usize>,
}

impl Plan {
    /// The model that answers.
    pub fn model(&self) -> ModelId {
        ModelId::of(&self.version)
    }

    /// The preprocessing, where the request made it another than the model's.
    pub fn other_preprocessing(&self) -> Option<&Preprocessing> {
        Some(&self.preprocessing).filter(|preprocessing| **preprocessing != self.version.metadata.preprocessing)
    }

    /// Feature values in the answer for one image.
    pub fn values_per_image(&self) -> usize {
        self.layers.iter().map(|spec| spec.shape.iter().product::<usize>()).sum()
    }
}

/// Which model answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelId {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// False when its weights are untrained.
    pub pretrained: bool,
}

impl ModelId {
    /// The identity of a version.
    pub fn of(version: &ModelVersion) -> Self {
        let metadata = &version.metadata;
        Self { name: metadata.name.clone(), version: metadata.version, pretrained: metadata.pretrained }
    }
}

/// The answer to a request: one outcome per image, in order.
#[derive(Debug)]
pub struct Answer {
    /// `Err` only with [`OnError::Skip`].
    pub images: Vec<Result<ImageAnswer, ImageError>>,
    /// Where the time went.
    pub timings: Timings,
}

/// What one image got.
#[derive(Debug)]
pub struct ImageAnswer {
    /// Classes, best first; empty unless asked for.
    pub top_k: Vec<Class>,
    /// One per layer of the plan; height, width, channel where spatial. Finite.
    pub features: Vec<Tensor>,
    /// How far it is from what the model was trained on, where that is known and classes alone are asked for.
    pub novelty: Option<Distance>,
    /// What the caller should know, such as an ignored EXIF rotation.
    pub warnings: Vec<Warning>,
}

/// How far an image is from those that a model was trained on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// From its features to the nearest of theirs, 0 to 2.
    pub distance: f32,
    /// The distance beyond which it is novel.
    pub threshold: f32,
}

impl Distance {
    /// Whether the image is unlike those that the model was trained on.
    pub fn is_novel(self) -> bool {
        self.distance > self.threshold
    }
}

/// A class and its probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// Position in the model's output.
    pub index: usize,
    /// Its name.
    pub label: String,
    /// WordNet id, for ImageNet's classes.
    pub wnid: Option<String>,
    /// Probability.
    pub score: f32,
}

/// Where the time of a request went (wall time).
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// Decoding and preprocessing all images.
    pub decode: Duration,
    /// Waiting for the worker, of the image that waited longest.
    pub queue: Duration,
    /// In ONNX Runtime, summed over the runs that served the request.
    pub inference: Duration,
}

/// A version as `/models` shows it.
#[derive(Debug, Clone)]
pub struct VersionView {
    /// The version.
    pub version: ModelVersion,
    /// Provider in effect; `None` while it is not loaded.
    pub provider: Option<Provider>,
    /// Why a preferred provider is not in effect, if so.
    pub provider_note: Option<String>,
}

/// Whether graft can answer.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    /// Models that must be loaded and warm and are not, each with the reason; ready when empty.
    pub missing: Vec<(String, String)>,
}
