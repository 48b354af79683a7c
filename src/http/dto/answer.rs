//! Bodies of `/predict` and `/features`.

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeMap};
use utoipa::ToSchema;

use crate::{
    http::problem::ImageProblem,
    inference::{Class, Distance, ModelId, Note, Timings},
    preprocess::{Preprocessing, Warning},
};

/// Which model answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelDto {
    /// Its name.
    #[schema(example = "vgg16")]
    pub name: String,
    /// Its version.
    #[schema(example = 1)]
    pub version: u32,
    /// False when its weights are untrained: the answer then means nothing.
    pub pretrained: bool,
}

/// A class and its score.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ClassDto {
    /// Position in the model's output.
    #[schema(example = 820)]
    pub index: usize,
    /// Its name.
    #[schema(example = "steam_locomotive")]
    pub label: String,
    /// WordNet id, for ImageNet's classes.
    #[schema(nullable = false, example = "n04310018")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wnid: Option<String>,
    /// Probability, 0 to 1; where each class has a score of its own (`independent`), these do not sum up to 1.
    #[schema(example = 0.97)]
    pub score: f32,
}

/// Something about an image, or about the model that answered, that its sender should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WarningDto {
    /// As a program reads it.
    #[schema(example = "orientation_ignored")]
    pub code: &'static str,
    /// In words.
    #[schema(example = "the EXIF orientation 6 was not applied; ask for `orientation=exif`")]
    pub detail: String,
}

/// Where the time went, in milliseconds of wall time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct TimingsDto {
    /// Decoding and preprocessing all images.
    #[schema(example = 6.1)]
    pub decode_ms: f64,
    /// Waiting for the worker.
    #[schema(example = 0.1)]
    pub queue_ms: f64,
    /// In ONNX Runtime.
    #[schema(example = 164.2)]
    pub inference_ms: f64,
}

/// The answer of `/predict`.
#[derive(Debug, Serialize, ToSchema)]
pub struct PredictAnswer {
    /// Which model answered.
    pub model: ModelDto,
    /// What whoever asks should know of the model: that it is untrained, was chosen because none was named, or has fewer classes
    /// than asked for.
    pub warnings: Vec<WarningDto>,
    /// How images became input, where the request made it another than the model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Preprocessing>,
    /// One per image, in order.
    pub predictions: Vec<PredictionOutcome>,
    /// Where the time went.
    pub timings: TimingsDto,
}

/// The answer of `/features` as JSON.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeaturesAnswer {
    /// Which model answered.
    pub model: ModelDto,
    /// What whoever asks should know of the model: that it is untrained, was chosen because none was named, or has fewer classes
    /// than asked for.
    pub warnings: Vec<WarningDto>,
    /// How images became input, where the request made it another than the model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Preprocessing>,
    /// One per image, in order.
    pub features: Vec<FeaturesOutcome>,
    /// Where the time went.
    pub timings: TimingsDto,
}

/// What one image got; with `on_error=skip` a bad image carries `error` instead.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum PredictionOutcome {
    /// It was answered.
    Answered(Prediction),
    /// It cannot be used.
    Skipped(SkippedImage),
}

/// What one image got; with `on_error=skip` a bad image carries `error` instead.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum FeaturesOutcome {
    /// It was answered.
    Answered(FeatureItem),
    /// It cannot be used.
    Skipped(SkippedImage),
}

/// An image that cannot be used.
#[derive(Debug, Serialize, ToSchema)]
pub struct SkippedImage {
    /// The name given, else the position from 0.
    #[schema(example = "0")]
    pub image: String,
    /// Why it cannot be used.
    pub error: SkipError,
}

/// Why an image was skipped.
#[derive(Debug, Serialize, ToSchema)]
pub struct SkipError {
    /// As a program reads it.
    #[schema(example = "truncated")]
    pub code: &'static str,
    /// In words.
    #[schema(example = "the image is truncated")]
    pub detail: String,
}

/// An image's classes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Prediction {
    /// The name given, else the position from 0.
    #[schema(example = "0")]
    pub image: String,
    /// Classes, best first; ties go to the lower index.
    pub top_k: Vec<ClassDto>,
    /// Whether it is unlike the images that the model was trained on; of models that graft fine-tuned alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub novelty: Option<NoveltyDto>,
    /// What the sender should know.
    pub warnings: Vec<WarningDto>,
}

/// How far an image's features are from those of the images that the model was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = ImageNovelty)]
pub struct NoveltyDto {
    /// To the nearest of them, 0 to 2.
    #[schema(example = 1.13)]
    pub distance: f32,
    /// What 95 % of the validation images (without any, of the training images) do not exceed.
    #[schema(example = 0.97)]
    pub threshold: f32,
    /// Whether the distance exceeds it: the classes then say little.
    pub novel: bool,
}

/// An image's features.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeatureItem {
    /// The name given, else the position from 0.
    #[schema(example = "0")]
    pub image: String,
    /// By layer name, in the order asked for.
    #[serde(serialize_with = "as_map")]
    #[schema(value_type = std::collections::BTreeMap<String, LayerValues>)]
    pub layers: Vec<(String, LayerValues)>,
    /// Classes from the same pass, when `top_k` asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub top_k: Option<Vec<ClassDto>>,
    /// What the sender should know.
    pub warnings: Vec<WarningDto>,
}

/// A layer's output.
#[derive(Debug, Serialize, ToSchema)]
pub struct LayerValues {
    /// Without the batch dimension; maps are height, width, channel.
    #[schema(example = json!([4096]))]
    pub shape: Vec<usize>,
    /// In C order.
    pub data: Values,
}

/// Numbers, or base64 of them as little-endian bytes.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Values {
    /// With `encoding_format=float`.
    Numbers(Vec<f32>),
    /// With `encoding_format=base64`.
    Base64(String),
}

impl From<&ModelId> for ModelDto {
    fn from(model: &ModelId) -> Self {
        Self { name: model.name.clone(), version: model.version, pretrained: model.pretrained }
    }
}

impl From<Class> for ClassDto {
    fn from(class: Class) -> Self {
        Self { index: class.index, label: class.label, wnid: class.wnid, score: class.score }
    }
}

impl From<Distance> for NoveltyDto {
    fn from(distance: Distance) -> Self {
        Self { distance: distance.distance, threshold: distance.threshold, novel: distance.is_novel() }
    }
}

impl From<&Warning> for WarningDto {
    fn from(warning: &Warning) -> Self {
        let code = match warning {
            Warning::OrientationIgnored(_) => "orientation_ignored",
        };
        Self { code, detail: warning.to_string() }
    }
}

impl From<&Note> for WarningDto {
    fn from(note: &Note) -> Self {
        Self { code: note.code(), detail: note.to_string() }
    }
}

impl From<Timings> for TimingsDto {
    fn from(timings: Timings) -> Self {
        let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        Self { decode_ms: ms(timings.decode), queue_ms: ms(timings.queue), inference_ms: ms(timings.inference) }
    }
}

impl From<ImageProblem> for SkippedImage {
    fn from(problem: ImageProblem) -> Self {
        Self { image: problem.image, error: SkipError { code: problem.code, detail: problem.detail } }
    }
}

fn as_map<S: Serializer>(layers: &[(String, LayerValues)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(layers.len()))?;
    for (name, values) in layers {
        map.serialize_entry(name, values)?;
    }
    map.end()
}
