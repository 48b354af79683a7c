//! How good a model is: accuracy with its interval, precision and recall per class, confusion, the worst images.
//!
//! Takes labels and probabilities one image at a time; knows neither models nor files.

mod reliability;
mod table;
mod tally;
mod wilson;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use reliability::Reliability;
pub use tally::{Tally, cross_entropy};
pub use wilson::wilson;

/// How many of the worst images a report names.
pub const WORST: usize = 20;

/// What a classifier did on labelled images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClassificationReport {
    /// Images.
    pub images: u64,
    /// Those whose most probable class is theirs.
    pub correct: u64,
    /// `correct / images`; `None` without images.
    #[schema(required = true)]
    pub accuracy: Option<f64>,
    /// Wilson's interval of the accuracy at 95 %.
    pub accuracy_interval: [f64; 2],
    /// Share of the images whose class is among the five most probable; only with more than five classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub top_5_accuracy: Option<f64>,
    /// Mean cross-entropy, natural logarithm, without class weights or regularisation; `None` without images.
    #[schema(required = true)]
    pub loss: Option<f64>,
    /// How far scores are from the share that is right, 0 to 1: the expected calibration error of the most probable classes over
    /// 15 bins of equal width; without images, and in reports of an earlier graft, absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub calibration_error: Option<f64>,
    /// Images that are novel to the version, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub novel: Option<u64>,
    /// By class, in index order.
    pub classes: Vec<ClassReport>,
    /// `confusion[t][p]`: images of class `t` for which `p` was most probable; empty of more than 1000 classes.
    pub confusion: Vec<Vec<u64>>,
    /// Images whose own class got the least probability, worst first.
    pub worst: Vec<Worst>,
}

/// One class of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClassReport {
    /// Its name.
    pub name: String,
    /// Its images.
    pub images: u64,
    /// Share of those taken for it that are; `None` when none was.
    #[schema(required = true)]
    pub precision: Option<f64>,
    /// Share of its images that were recognised; `None` when it has none.
    #[schema(required = true)]
    pub recall: Option<f64>,
}

/// An image that was hard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Worst {
    /// Its path in the data set.
    pub path: String,
    /// Its class.
    pub truth: String,
    /// Probability of its class.
    pub truth_probability: f32,
    /// The most probable class.
    pub predicted: String,
    /// Probability of that.
    pub probability: f32,
}
