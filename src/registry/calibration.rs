//! What a version says of the calibration of its scores: the temperature in its graph, and what that changed.
//!
//! Training finds temperatures; this checks that the metadata agree with the graph.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Metadata, Output,
    metadata::{MetadataError, rule},
};
use crate::graph::Graph;

/// Temperature scaling (Guo et al. 2017): the graph divides its logits by `temperature` before the softmax.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Calibration {
    /// The graph's tensor that holds the logits as they were trained.
    #[schema(example = "predictions/logits")]
    pub logits: String,
    /// What they are divided by: above 1 scores are less extreme than trained ones, below 1 more.
    #[schema(example = 2.41)]
    pub temperature: f32,
    /// Validation images that it was fitted to.
    #[schema(example = 153)]
    pub images: usize,
    /// Their expected calibration error with the scores as trained, 0 to 1.
    #[schema(example = 0.045)]
    pub error_before: f64,
    /// The same with a temperature, each fifth of the images with one that was fitted to the other four.
    #[schema(example = 0.021)]
    pub error_after: f64,
    /// Their mean cross-entropy with the scores as trained.
    #[schema(example = 0.41)]
    pub loss_before: f64,
    /// The same with the temperatures of `error_after`.
    #[schema(example = 0.19)]
    pub loss_after: f64,
}

impl Calibration {
    /// Whether `graph` has this temperature before its `output`.
    pub(super) fn is_of(&self, graph: &Graph, output: Option<&Output>) -> bool {
        output.and_then(|output| graph.temperature(&output.tensor)) == Some((self.logits.as_str(), self.temperature))
    }
}

impl Metadata {
    /// Checks what is said of calibration by itself.
    pub(super) fn validate_calibration(&self) -> Result<(), MetadataError> {
        let Some(Calibration { temperature, .. }) = self.calibration else { return Ok(()) };
        rule("calibration", self.output.is_some(), || "is there, but there is no `output`".into())?;
        let positive = temperature.is_finite() && temperature > 0.0;
        rule("calibration.temperature", positive, || format!("is {temperature}; it is a number above 0"))
    }

    /// Checks that `graph` has the temperature that is said.
    pub(super) fn check_calibration(&self, graph: &Graph) -> Result<(), MetadataError> {
        let Some(calibration) = &self.calibration else { return Ok(()) };
        rule("calibration", calibration.is_of(graph, self.output.as_ref()), || {
            let found = self.output.as_ref().and_then(|output| graph.temperature(&output.tensor));
            let found = found.map_or_else(|| "none".to_owned(), |(logits, found)| format!("{found} of `{logits}`"));
            format!("says temperature {} of `{}`, but the graph has {found}", calibration.temperature, calibration.logits)
        })
    }
}
