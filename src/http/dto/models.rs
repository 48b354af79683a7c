//! Bodies of `/models` and `/models/{m}`.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::Each;
use crate::{
    config::Provider,
    finetuning::Publication,
    http::page::{Index, positions},
    inference::{ModelView, Served, VersionView},
    preprocess::Preprocessing,
    registry::{Assumption, Calibration, FoundBy, Metadata, Novelty, Output, OutputKind, Problem, WeightsOrigin},
    training::{recipe::Recipe, report::ClassificationReport},
};

/// The answer of `/models`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelsAnswer {
    /// By name, ascending; without labels, which `/models/{m}` has.
    #[schema(value_type = Vec<ModelDetail>)]
    pub models: Each<ModelDetail>,
    /// What to give as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<String>,
    /// What the repository holds but does not serve: 100 of `problem_count`.
    #[schema(value_type = Vec<ProblemDto>)]
    pub problems: Each<Problem>,
    /// How many of these there are; beyond 1000, the last one says how many more.
    #[schema(example = 0)]
    pub problem_count: usize,
    /// What to give as `problems_after` for those behind; absent where these are the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub problems_next: Option<usize>,
}

/// Something in the repository that is not served.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemDto {
    /// Path relative to the repository.
    #[schema(example = "vgg16/2")]
    pub path: String,
    /// What is wrong and what to do.
    pub reason: String,
}

/// A model and its versions.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelDetail {
    /// Its name.
    #[schema(example = "vgg16")]
    pub name: String,
    /// Whether requests without a model get it.
    pub default: bool,
    /// The version that requests without one get.
    #[schema(example = 1)]
    pub stable: u32,
    /// Whether somebody chose that version: newer ones do not take its place until the choice is taken back.
    pub pinned: bool,
    /// Whether the stable version's weights are trained.
    pub pretrained: bool,
    /// Ascending: a page of them, in `/models` the first 100.
    #[schema(value_type = Vec<VersionDto>)]
    pub versions: Each<VersionDto>,
    /// What to give `/models/{m}` as `after` for those behind; absent where these are the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<u32>,
}

/// Versions that a model shows unless told otherwise, and labels that a version does.
pub const VERSIONS: u32 = 100;
const LABELS: usize = 1000;

/// Problems in an answer.
const PROBLEMS: usize = 100;

/// A version of a model.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionDto {
    /// Its number.
    #[schema(example = 1)]
    pub version: u32,
    /// An architecture of graft's, such as `vgg16`, or `onnx` for a graph that a user brought.
    #[schema(example = "vgg16")]
    pub architecture: String,
    /// False when its weights are untrained.
    pub pretrained: bool,
    /// False for what a job registered without publishing it: it answers when it is asked for, or chosen, or where no published version
    /// is left.
    pub published: bool,
    /// How images become its input.
    pub input: Preprocessing,
    /// Number of classes; 0 without a top.
    #[schema(example = 1000)]
    pub classes: usize,
    /// What answers with classes, and what its numbers are; absent without a top.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub output: Option<OutputDto>,
    /// One per class, in index order, the first 1000; in `/models/{m}` alone. `/models/{m}/labels` lists all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<LabelDto>>, nullable = false)]
    pub labels: Option<LabelsOf>,
    /// The layer that `/features` answers with unless told otherwise.
    #[schema(example = "fc2")]
    pub features_layer: String,
    /// Number of layers; `/models/{m}/layers` lists them.
    #[schema(example = 23)]
    pub layers: usize,
    /// Where its weights came from.
    #[schema(value_type = WeightsDto)]
    pub weights: WeightsOrigin,
    /// Where it runs.
    pub provider: ProviderDto,
    /// Whether it is in memory.
    pub loaded: bool,
    /// How its scores are calibrated, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub calibration: Option<Calibration>,
    /// How it tells images that are unlike those it was trained on, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub novelty: Option<Novelty>,
    /// How it was trained, if graft fine-tuned it; in `/models/{m}` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<LineageDto>, nullable = false)]
    pub lineage: Option<LineageOf>,
    /// What its import could not know and took for granted.
    pub assumptions: Vec<Assumption>,
    /// What is read otherwise than an earlier graft published it, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub correction: Option<String>,
    /// RFC 3339 time of publication.
    #[schema(format = DateTime, example = "2026-01-31T12:00:00Z")]
    pub created: String,
}

/// The first labels of a version, written from where they are: they may be many.
#[derive(Debug)]
pub struct LabelsOf(Arc<Metadata>);

impl Serialize for LabelsOf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.labels.iter().take(LABELS))
    }
}

/// How a version was trained, written from where it is: reports may be long.
#[derive(Debug)]
pub struct LineageOf(Arc<Metadata>);

impl Serialize for LineageOf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.lineage.serialize(serializer)
    }
}

/// A classifier's output.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutputDto {
    /// What the graph's tensor is called.
    #[schema(example = "predictions")]
    pub tensor: String,
    /// What its numbers are, and so how they become scores: a softmax of `logits`, an exponential of `log_probabilities`, a
    /// sigmoid of `independent_logits`; `probabilities` and `independent` are served as they are; one `binary` number p scores two
    /// classes, 1 − p and p.
    pub kind: OutputKind,
    /// How that was found: by the operators of the `graph`, by the values of trial runs (`probe`), or as the user has `given` it;
    /// a `guess` of an earlier graft is looked into when the model loads.
    pub found_by: FoundBy,
}

/// A class's names.
#[derive(Debug, Serialize, ToSchema)]
pub struct LabelDto {
    /// Human-readable name.
    #[schema(example = "tench")]
    pub label: String,
    /// WordNet id, for ImageNet's classes.
    #[schema(nullable = false, example = "n01440764")]
    pub wnid: Option<String>,
}

/// How a version was trained.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineageDto {
    /// The job that made it.
    pub job: String,
    /// What it started from.
    #[schema(example = "inception_v3@1")]
    pub base: String,
    /// SHA-256 of the base's weights, hexadecimal.
    pub base_sha256: String,
    /// The data set's fingerprint: SHA-256 over paths, classes, splits and contents, hexadecimal.
    pub dataset: String,
    /// The recipe with every default filled in.
    #[schema(value_type = Recipe)]
    pub recipe: String,
    /// What was measured on the validation images, as in the job's report.
    #[schema(value_type = ClassificationReport)]
    pub metrics: String,
    /// What was measured on the test images, where the data set has some.
    #[schema(value_type = Option<ClassificationReport>, nullable = false)]
    pub test: Option<String>,
    /// Whether it was to answer requests that name no version, and why; left out by an earlier graft.
    #[schema(value_type = Option<Publication>, nullable = false)]
    pub publication: Option<String>,
}

/// Where a version's weights came from.
#[derive(Debug, Serialize, ToSchema)]
pub struct WeightsDto {
    /// `keras:FILENAME`, `pytorch:FILENAME`, `onnx:FILENAME`, `url:ADDRESS`, `seed:N`, or `finetuned:NAME@VERSION` with the base.
    #[schema(example = "keras:vgg16_weights_tf_dim_ordering_tf_kernels.h5")]
    pub source: String,
    /// SHA-256 of the stored weights, hexadecimal.
    pub sha256: String,
    /// Size of the stored weights in bytes.
    #[schema(example = 553_430_176)]
    pub bytes: u64,
}

/// Where a version runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderDto {
    /// `cpu` or `cuda`; null while the version is not loaded.
    #[schema(required = true)]
    pub in_effect: Option<Provider>,
    /// Why the preferred provider is not in effect, if so.
    #[schema(required = true)]
    pub note: Option<String>,
}

impl ModelsAnswer {
    /// `limit` of the models behind the name `after`, and the problems behind the index `problems_after`.
    pub fn new(served: Served, after: Option<&str>, limit: usize, problems_after: Option<Index>) -> Self {
        let first = after.map_or(0, |after| served.models().partition_point(|model| model.name.as_str() <= after));
        let (models, last) = positions(served.models().len(), first, limit);
        let problem_count = served.problems().len();
        let (problems, problems_next) = positions(problem_count, Index::skipped(problems_after), PROBLEMS);
        let next = last.map(|last| served.models()[last].name.clone());
        let listed = served.clone();
        Self {
            models: Each::new(models, move |position| ModelDetail::short(listed.view(position))),
            next,
            problems: Each::new(problems, move |position| served.problems()[position].clone()),
            problem_count,
            problems_next,
        }
    }
}

impl ModelDetail {
    /// `view` as lists show it, and answers to changes.
    pub fn short(view: ModelView) -> Self {
        Self::of(view, 0, VERSIONS as usize, false)
    }

    /// `view` with `limit` versions behind `after`; what is long of them only `/models/{m}` has.
    pub fn page(view: ModelView, after: u32, limit: usize) -> Self {
        Self::of(view, after, limit, true)
    }

    fn of(view: ModelView, after: u32, limit: usize, is_whole: bool) -> Self {
        let first = view.versions.partition_point(|version| version.metadata.version <= after);
        let (versions, last) = positions(view.versions.len(), first, limit);
        Self {
            name: view.name.clone(),
            default: view.is_default(),
            stable: view.stable.version,
            pinned: view.stable.pinned,
            pretrained: view.version(view.stable.version).is_some_and(|version| version.metadata.pretrained),
            next: last.map(|last| view.versions[last].metadata.version),
            versions: Each::new(versions, move |position| VersionDto::new(&view.shown(&view.versions[position]), is_whole)),
        }
    }
}

impl VersionDto {
    fn new(view: &VersionView, is_whole: bool) -> Self {
        let metadata: &Metadata = &view.version.metadata;
        Self {
            version: metadata.version,
            architecture: metadata.architecture.clone(),
            pretrained: metadata.pretrained,
            published: metadata.published,
            input: metadata.preprocessing.clone(),
            classes: metadata.labels.len(),
            output: metadata.output.as_ref().map(|Output { tensor, kind, found_by }| OutputDto {
                tensor: tensor.clone(),
                kind: *kind,
                found_by: *found_by,
            }),
            labels: is_whole.then(|| LabelsOf(Arc::clone(&view.version.metadata))),
            features_layer: metadata.features_layer.clone(),
            layers: metadata.layers.len(),
            weights: metadata.weights.clone(),
            provider: ProviderDto { in_effect: view.provider, note: view.provider_note.clone() },
            loaded: view.provider.is_some(),
            calibration: metadata.calibration.clone(),
            novelty: metadata.novelty.clone(),
            lineage: (is_whole && metadata.lineage.is_some()).then(|| LineageOf(Arc::clone(&view.version.metadata))),
            assumptions: metadata.assumptions.clone(),
            correction: metadata.correction.clone(),
            created: metadata.created.clone(),
        }
    }
}
