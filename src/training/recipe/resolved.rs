//! The resolved recipe: everything that training needs, complete, as jobs store it and answers echo it.
//!
//! Nothing in it is looked up again later; it survives the way through JSON unchanged.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::learning_rate::LearningRate;
use crate::{graph::gradient::Optimizer, preprocess::Preprocessing};

/// What a job does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Recipe {
    /// Id of the data set.
    pub dataset: String,
    /// Its fingerprint: a job refuses to go on with other images.
    pub fingerprint: String,
    /// Name of the model that comes out.
    pub name: String,
    /// Whether the model may take the name of one with other labels.
    #[serde(default)]
    pub replace: bool,
    /// Whether the result answers requests that name no version, where a model of that name exists.
    #[serde(default)]
    pub publish: Publish,
    /// Where it starts.
    pub base: Base,
    /// Names of the classes, by index.
    pub classes: Vec<String>,
    /// How images become input, at training and at serving.
    pub preprocessing: Preprocessing,
    /// The new layers.
    pub head: Head,
    /// What trains, in order.
    pub phases: Vec<Phase>,
    /// Images per step.
    pub batch_size: usize,
    /// Steps of one epoch, the last one short unless the batch size divides the training images.
    pub steps_per_epoch: u64,
    /// What initial weights, shuffles, masks and the split are derived from.
    pub seed: u64,
    /// Which images are for validation.
    pub validation: Validation,
    /// How classes are weighted.
    pub class_weighting: ClassWeighting,
    /// Weight of a training image in the loss, by class.
    pub class_weights: Vec<f64>,
    /// When phases end early; `None` for never.
    #[schema(required = true)]
    pub early_stopping: Option<EarlyStopping>,
    /// Whether images are mirrored at random while training.
    pub horizontal_flip: bool,
    /// What of batch normalisation trains.
    pub batch_norm: BatchNorm,
    /// How scores are calibrated at the end.
    #[serde(default)]
    pub calibration: CalibrationMethod,
    /// What the user should know before the job runs.
    pub warnings: Vec<String>,
}

/// Whether a result takes the place of the version that answers under its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Publish {
    /// Unless it is worse on the validation images that neither was trained on.
    #[default]
    IfBetter,
    /// Whatever it is like.
    Always,
    /// Never: it is registered alone.
    Never,
}

/// The version that a recipe starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Base {
    /// Model name.
    pub model: String,
    /// Version.
    pub version: u32,
    /// Its architecture.
    pub architecture: String,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// SHA-256 of its graph.
    pub graph_sha256: String,
    /// False for untrained weights.
    pub pretrained: bool,
}

/// The new layers: pooling, hidden layers with relu, dropout, softmax over the classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Head {
    /// The layer of the base that the head sits on.
    pub on: String,
    /// Its index.
    pub on_index: usize,
    /// The graph's tensor that holds its output.
    pub tensor: String,
    /// Its shape: height, width, channel, or units.
    pub shape: Vec<usize>,
    /// How it becomes a vector.
    pub pool: Pool,
    /// Length of that vector.
    pub inputs: usize,
    /// Units of the hidden layers.
    pub hidden: Vec<usize>,
    /// Share of values left out before the last layer.
    pub dropout: f64,
    /// Classes.
    pub outputs: usize,
    /// Kernels and biases of all its layers.
    pub params: u64,
}

/// How the output of the base becomes a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// Mean over height and width.
    Avg,
    /// Everything, in the order height, width, channel.
    Flatten,
    /// It is one already.
    None,
}

/// One phase of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Phase {
    /// What trains.
    pub trainable: Trainable,
    /// Which weights it starts from, the first phase aside.
    #[serde(default = "StartFrom::of_stored")]
    pub start_from: StartFrom,
    /// Passes over the training images.
    pub epochs: u64,
    /// By which rule.
    pub optimizer: Optimizer,
    /// And by how much.
    pub learning_rate: LearningRate,
    /// `l2 · Σ w²` of every kernel that trains is added to the loss.
    pub l2: f64,
    /// Parameters that train, those of the head included.
    pub trainable_params: u64,
    /// Stored tensors of the base that train, in graph order.
    pub parameters: Vec<Parameter>,
    /// Tensors between what is frozen and what trains: computed once per image, then read from disk.
    pub frontier: Vec<Frontier>,
    /// Bytes of these tensors for one image.
    pub frontier_bytes_per_image: u64,
    /// Bytes of what the layers that train give for one image.
    #[serde(default)]
    pub activation_bytes_per_image: u64,
    /// Floating-point operations of one image through the frozen part.
    pub frozen_flops: u64,
    /// Floating-point operations of one image forward through what trains, head included.
    pub trained_flops: u64,
}

impl Recipe {
    /// The phases of which no earlier one has the same frontier: one pass of the base over an image gives all their tensors.
    pub fn frontiers(&self) -> impl Iterator<Item = &Phase> {
        let is_new = |(at, phase): &(usize, &Phase)| self.phases[..*at].iter().all(|earlier| earlier.frontier != phase.frontier);
        self.phases.iter().enumerate().filter(is_new).map(|(_, phase)| phase)
    }
}

/// What trains in a phase; the head always does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "part", rename_all = "lowercase")]
pub enum Trainable {
    /// The head alone.
    Head,
    /// The layers of the base from this one on.
    From {
        /// Its name.
        layer: String,
        /// Its index.
        index: usize,
    },
}

/// The weights that a phase starts from: those of an epoch of the phases before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StartFrom {
    /// The best epoch so far; without validation images that is the last one.
    Best,
    /// The last epoch of the phase before, as where Keras's `fit` is called again.
    Last,
}

/// A stored tensor of the base that trains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Parameter {
    /// Its name in the graph.
    pub name: String,
    /// Its shape, as the graph stores it.
    pub shape: Vec<usize>,
    /// Whether L2 applies: kernels, not biases, scales or shifts.
    pub regularized: bool,
}

/// A tensor at the frontier, for one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Frontier {
    /// The graph's tensor.
    pub tensor: String,
    /// Its shape as it is cached: channel, height, width, or a vector.
    pub shape: Vec<usize>,
    /// Whether it is averaged over height and width before it is cached.
    pub pooled: bool,
    /// Bytes per image.
    pub bytes: u64,
}

/// How many validation images make an accuracy worth reading: each moves it by a twentieth.
const ENOUGH: usize = 20;

/// Which images are for validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Validation {
    /// Share of every class that is drawn with the seed; `None` when the data set's `val/` folder decides.
    #[schema(required = true)]
    pub split: Option<f64>,
    /// Training images.
    pub train: usize,
    /// Validation images.
    pub val: usize,
    /// Images that are measured once, at the end: those of the data set's test folder.
    #[serde(default)]
    pub test: usize,
    /// The same per class.
    pub classes: Vec<ClassCount>,
}

/// Images of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClassCount {
    /// The class.
    pub name: String,
    /// Training images.
    pub train: usize,
    /// Validation images.
    pub val: usize,
    /// Test images.
    #[serde(default)]
    pub test: usize,
}

/// How classes are weighted in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeighting {
    /// All the same.
    None,
    /// `n / (k · n_c)`: scikit-learn's `compute_class_weight("balanced")`.
    Balanced,
}

/// What of batch normalisation trains; its statistics never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BatchNorm {
    /// Nothing.
    Frozen,
    /// Scale and shift.
    Affine,
}

/// How scores are made to say how often they are right; needs validation images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CalibrationMethod {
    /// One number that all logits are divided by (Guo et al. 2017).
    #[default]
    Temperature,
    /// They stay as they are trained.
    None,
}

/// When a phase ends early.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EarlyStopping {
    /// What is watched.
    pub monitor: Monitor,
    /// Epochs without improvement after which the phase ends.
    pub patience: u64,
    /// The least change that is an improvement.
    pub min_delta: f64,
}

/// What early stopping watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Loss on the validation images.
    ValLoss,
}

impl Validation {
    /// What is to be known of an accuracy on so few images.
    pub fn warning(&self) -> Option<String> {
        if self.val == 0 {
            let detail = "no image is kept for validation: the last epoch counts, and nothing says how good it is";
            return Some(format!("validation_split: {detail}"));
        }
        let way_out = if self.split.is_some() { "add photos, or raise `validation_split`," } else { "add photos to `val/`" };
        (self.val < ENOUGH).then(|| {
            format!(
                "validation: {} images say little: each one moves the accuracy by {:.3}; {way_out} until there are {ENOUGH}",
                self.val,
                1.0 / self.val as f64
            )
        })
    }
}

impl StartFrom {
    /// That of recipes stored before there was a choice: a job that is resumed computes the same weights.
    fn of_stored() -> Self {
        Self::Last
    }
}
