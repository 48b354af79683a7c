//! What `metadata.json` of a version says, and the rules it keeps.
//!
//! Checked when a version is published and again whenever it is read.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Assumption, Calibration, Novelty, Output};
use crate::{
    graph::Layout,
    message::excerpt,
    preprocess::{Fit, Preprocessing},
};

/// What `metadata.json` of a version says; written last, so a version with it is whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Model name, the folder's.
    pub name: String,
    /// Version, the folder's.
    pub version: u32,
    /// An architecture of graft's, such as `vgg16`, or `onnx` for a graph that a user brought.
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
    /// How its scores were calibrated; absent where they are as trained, or as brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// How it tells images that are unlike those it was trained on; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty: Option<Novelty>,
    /// What it was fine-tuned from; absent for a model that was brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// Whether it answers requests without a version once it is the newest such; false for what a job registered alone.
    #[serde(default = "yes")]
    pub published: bool,
    /// The job that imported it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// What the import could not know and took for granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumptions: Vec<Assumption>,
    /// What this graft reads otherwise than the one that published the version; never written.
    #[serde(skip)]
    pub correction: Option<String>,
    /// RFC 3339 time of publication.
    pub created: String,
}

fn yes() -> bool {
    true
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
    /// Output shape without the batch dimension, as it is shown: maps are height, width, channel.
    pub shape: Vec<usize>,
    /// The graph's tensor that holds the output.
    pub tensor: String,
    /// How the output lies in the tensor; without it as in graft's own architectures, a map channels first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
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

/// What a version was fine-tuned from, how, and how good it was then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The job that made it; a job publishes one version at most.
    pub job: String,
    /// The base, `NAME@VERSION`.
    pub base: String,
    /// SHA-256 of the base's weights.
    pub base_sha256: String,
    /// The data set's fingerprint.
    pub dataset: String,
    /// The recipe, resolved.
    pub recipe: serde_json::Value,
    /// What was measured on the validation images.
    pub metrics: serde_json::Value,
    /// What was measured on the test images, where there were some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<serde_json::Value>,
    /// Whether it answered requests without a version once it was registered, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication: Option<serde_json::Value>,
}

/// Which rule of [`Metadata::validate`] is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {rule}")]
pub struct MetadataError {
    /// Field as in the JSON.
    pub field: &'static str,
    /// What it must be and what it is.
    pub rule: String,
}

impl Metadata {
    /// The layer called `name`.
    pub fn layer(&self, name: &str) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.name == name)
    }

    /// Values in the output for one image, if it is a layer; the inner `None` when their number overflows.
    pub(super) fn output_values(&self) -> Option<Option<usize>> {
        let tensor = &self.output.as_ref()?.tensor;
        self.layers.iter().find(|layer| layer.tensor == *tensor).map(Layer::values)
    }

    /// The layer that each of `wanted` means: the one of that name, else the one at that index, as [`layer_at`] counts. However
    /// many they are, every layer is looked at once.
    pub fn find_layers(&self, wanted: &[String]) -> Vec<Option<&Layer>> {
        let names: HashSet<&str> = wanted.iter().map(String::as_str).collect();
        let named = self.layers.iter().map(|layer| (layer.name.as_str(), layer)).filter(|(name, _)| names.contains(name));
        let named: HashMap<&str, &Layer> = named.collect();
        let numbered = |wanted: &str| {
            let index = wanted.parse::<i64>().ok().filter(|index| index.to_string() == wanted);
            layer_at(&self.layers, index?)
        };
        wanted.iter().map(|wanted| named.get(wanted.as_str()).copied().or_else(|| numbered(wanted))).collect()
    }

    /// Checks what the fields promise each other.
    ///
    /// # Errors
    /// The first rule broken: a bad name, version 0, labels that do not match the output, layers out of order, named twice or at
    /// too great length, a `features_layer` that is none of them, calibration or novelty that cannot be, preprocessing that cannot
    /// be applied, a malformed hash.
    pub fn validate(&self) -> Result<(), MetadataError> {
        rule("name", valid_name(&self.name), || format!("is `{}`; {NAME_RULE}", self.name))?;
        rule("version", self.version > 0, || "is 0; versions start at 1".into())?;
        rule("architecture", !self.architecture.is_empty(), || "is empty".into())?;
        rule("input", !self.input.is_empty(), || "is empty; it names the graph's input tensor".into())?;
        let batch = 1..=MAX_FIXED_BATCH;
        rule("fixed_batch", self.fixed_batch.is_none_or(|images| batch.contains(&images)), || {
            format!(
                "is {}; leave it out or say how many images a run takes, up to {MAX_FIXED_BATCH}",
                self.fixed_batch.unwrap_or(0)
            )
        })?;
        validate_preprocessing(&self.preprocessing)?;
        self.validate_layers()?;
        self.validate_labels()?;
        self.validate_calibration()?;
        self.validate_novelty()?;
        let hash = &self.weights.sha256;
        let hexadecimal = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        rule("weights.sha256", hexadecimal, || format!("is `{hash}`, not 64 lowercase hexadecimal digits"))
    }

    fn validate_layers(&self) -> Result<(), MetadataError> {
        rule("layers", !self.layers.is_empty(), || "is empty; a model has at least one".into())?;
        if let Some(pair) = self.layers.windows(2).find(|pair| pair[0].index >= pair[1].index) {
            let (first, second) = (pair[0].index, pair[1].index);
            return rule("layers", false, || format!("are out of order: index {second} follows {first}"));
        }
        let mut names = HashSet::new();
        for layer in &self.layers {
            let complete = !layer.name.is_empty() && !layer.tensor.is_empty();
            rule("layers", complete, || format!("has no name or no tensor at index {}", layer.index))?;
            rule("layers", layer.name.len() <= MAX_LAYER_NAME, || {
                let (name, bytes, index) = (excerpt(&layer.name), layer.name.len(), layer.index);
                format!(
                    "has the name `{name}` of {bytes} bytes at index {index}, and {MAX_LAYER_NAME} are the most; give the \
                     graph's tensor a shorter one and import it again"
                )
            })?;
            rule("layers", layer.values().is_some(), || format!("has more values than there can be in `{}`", layer.name))?;
            rule("layers", names.insert(&layer.name), || format!("names `{}` twice", layer.name))?;
            let fits = layer.layout().fits(layer.shape.len());
            rule("layers", fits, || format!("has a layout of `{}` that its shape does not have", layer.name))?;
        }
        let known = names.contains(&self.features_layer);
        rule("features_layer", known, || format!("is `{}`, which is not among the layers", self.features_layer))
    }

    fn validate_labels(&self) -> Result<(), MetadataError> {
        let count = self.labels.len();
        let Some(output) = &self.output else {
            return rule("labels", count == 0, || format!("has {count} entries, but there is no `output`"));
        };
        rule("output.tensor", !output.tensor.is_empty(), || "is empty; it names the graph's output tensor".into())?;
        rule("labels", count > 0, || "is empty, but there is an `output`; give one label per class".into())?;
        let values = self.output_values();
        let agrees = values.is_none_or(|values| values.is_some_and(|values| output.kind.classes(values) == count));
        rule("labels", agrees, || {
            let values = values.flatten().unwrap_or(usize::MAX);
            format!("has {count} entries, but `{}` has {values} values ({})", output.tensor, output.kind)
        })
    }
}

/// Keras's `layers[index]` among `layers` in the order of their indices: a negative one counts from the end, -1 being the last.
pub fn layer_at(layers: &[Layer], index: i64) -> Option<&Layer> {
    match usize::try_from(index) {
        Ok(index) => layers.binary_search_by_key(&index, |layer| layer.index).ok().map(|at| &layers[at]),
        Err(_) => layers.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?).and_then(|at| layers.get(at)),
    }
}

impl Layer {
    /// How the output lies in the tensor.
    pub fn layout(&self) -> Layout {
        self.layout.unwrap_or_else(|| Layout::of_rank(self.shape.len()))
    }

    /// Whether pooling makes a vector of it: a map or tokens.
    pub fn poolable(&self) -> bool {
        matches!(self.layout(), Layout::Map(_) | Layout::Tokens(_))
    }

    /// The tensor's own shape without the batch.
    pub fn stored_shape(&self) -> Vec<usize> {
        self.layout().stored(&self.shape)
    }

    /// Values in the output for one image; `None` when that overflows.
    pub fn values(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |product, &side| product.checked_mul(side))
    }
}

/// Whether `name` may be a model's: it becomes a folder and a part of URLs.
pub fn valid_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name.len() <= 64 && name.bytes().all(allowed) && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

/// What [`valid_name`] asks, for messages.
pub const NAME_RULE: &str = "a model name has 1 to 64 ASCII letters, digits, `.`, `_` or `-` and starts with a letter or digit";

pub(super) fn rule(field: &'static str, holds: bool, broken: impl FnOnce() -> String) -> Result<(), MetadataError> {
    if holds { Ok(()) } else { Err(MetadataError { field, rule: broken() }) }
}

fn validate_preprocessing(preprocessing: &Preprocessing) -> Result<(), MetadataError> {
    let Preprocessing { height, width, fit, mean, scale, .. } = preprocessing;
    let sides = 1..=MAX_SIDE;
    rule("preprocessing", sides.contains(height) && sides.contains(width), || {
        format!("has height {height} and width {width}; each is 1 to {MAX_SIDE} pixels")
    })?;
    if let Fit::CenterCrop { shorter_side } = fit {
        let least = *height.max(width);
        rule("preprocessing.fit", (least..=MAX_SIDE).contains(shorter_side), || {
            format!("has shorter_side {shorter_side}; it is {least} (the crop) to {MAX_SIDE} pixels")
        })?;
    }
    let finite = mean.iter().chain(scale).all(|value| value.is_finite());
    rule("preprocessing", finite, || "has a mean or scale that is not a finite number".into())?;
    preprocessing
        .validate()
        .map_err(|error| MetadataError { field: "preprocessing", rule: format!("cannot be applied: {error}") })
}

/// Longest name of a layer, in bytes: answers repeat it for every image.
const MAX_LAYER_NAME: usize = 1024;

/// Most images that a graph may fix for a run: as many as `runtime.max_batch` may be.
const MAX_FIXED_BATCH: usize = 1024;

/// Largest input side in pixels; keeps one image's input under 200 MiB.
const MAX_SIDE: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::metadata;

    #[test]
    fn names_the_field_and_the_rule() {
        let check = |change: fn(&mut Metadata), expected: &str| {
            let mut metadata = metadata("vgg16");
            metadata.version = 1;
            assert_eq!(metadata.validate(), Ok(()));
            change(&mut metadata);
            assert_eq!(metadata.validate().map_err(|error| error.to_string()), Err(expected.to_owned()));
        };
        check(|m| m.version = 0, "`version` is 0; versions start at 1");
        check(|m| m.input.clear(), "`input` is empty; it names the graph's input tensor");
        check(|m| m.fixed_batch = Some(0), "`fixed_batch` is 0; leave it out or say how many images a run takes, up to 1024");
        check(
            |m| m.fixed_batch = Some(1_000_000_000),
            "`fixed_batch` is 1000000000; leave it out or say how many images a run takes, up to 1024",
        );
        check(|m| m.layers[0].shape = vec![1 << 40, 1 << 40], "`layers` has more values than there can be in `fc2`");
        check(|m| m.features_layer = "fc9".into(), "`features_layer` is `fc9`, which is not among the layers");
        check(|m| m.layers.clear(), "`layers` is empty; a model has at least one");
        check(|m| m.layers[1].index = 0, "`layers` are out of order: index 0 follows 0");
        check(|m| m.layers[1].name = "fc2".into(), "`layers` names `fc2` twice");
        check(
            |m| m.layers[1].name = "x".repeat(1025),
            &format!(
                "`layers` has the name `{}` of 1025 bytes at index 1, and 1024 are the most; give the graph's tensor a shorter \
                 one and import it again",
                excerpt(&"x".repeat(1025))
            ),
        );
        check(|m| m.layers[1].tensor.clear(), "`layers` has no name or no tensor at index 1");
        check(
            |m| m.layers[1].layout = Some(Layout::Map([1, 2, 0])),
            "`layers` has a layout of `predictions` that its shape does not have",
        );
        check(|m| m.labels.truncate(2), "`labels` has 2 entries, but `predictions:0` has 3 values (probabilities)");
        check(|m| m.labels.clear(), "`labels` is empty, but there is an `output`; give one label per class");
        check(|m| m.output = None, "`labels` has 3 entries, but there is no `output`");
        check(|m| m.preprocessing.height = 0, "`preprocessing` has height 0 and width 224; each is 1 to 4096 pixels");
        check(|m| m.preprocessing.scale[1] = f32::NAN, "`preprocessing` has a mean or scale that is not a finite number");
        check(
            |m| m.preprocessing.fit = Fit::CenterCrop { shorter_side: 200 },
            "`preprocessing.fit` has shorter_side 200; it is 224 (the crop) to 4096 pixels",
        );
        check(|m| m.weights.sha256 = "AB".into(), "`weights.sha256` is `AB`, not 64 lowercase hexadecimal digits");
    }

    #[test]
    fn layers_are_found_by_name_and_by_index_from_both_ends() {
        let mut metadata = metadata("m");
        let layer = |index: usize, name: &str| Layer { index, name: name.to_owned(), ..metadata.layers[0].clone() };
        metadata.layers = [(0, "input"), (1, "conv"), (2, "-1"), (3, "3x3"), (4, "top")].map(|(at, name)| layer(at, name)).into();
        let check = |wanted: &str, expected: Option<usize>| {
            let names = ["top".to_owned(), wanted.to_owned()];
            let found: Vec<_> = metadata.find_layers(&names).into_iter().map(|layer| layer.map(|layer| layer.index)).collect();
            assert_eq!(found, [Some(4), expected], "{wanted}");
        };
        check("conv", Some(1));
        check("0", Some(0));
        check("4", Some(4));
        check("5", None);
        check("-1", Some(2));
        check("-2", Some(3));
        check("-5", Some(0));
        check("-6", None);
        for wanted in ["", "+1", "01", "-0", "-01", "1.0", "-9223372036854775808", "99999999999999999999"] {
            check(wanted, None);
        }
    }

    #[test]
    fn survives_the_way_through_json() {
        let mut metadata = metadata("vgg16");
        metadata.version = 3;
        metadata.labels[0].wnid = Some("n01440764".into());
        let document = crate::registry::files::Document { format: 2, graph_bytes: 5, files: None, metadata };
        let text = serde_json::to_string(&document).unwrap();
        let read: crate::registry::files::Document = serde_json::from_str(&text).unwrap();
        assert_eq!((read.metadata, read.graph_bytes), (document.metadata, 5));
        assert!(text.contains("\"mean\":[103.939,116.779,123.68]"), "{text}");
    }
}
