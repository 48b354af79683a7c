//! Where a run is and what it has learnt: what a checkpoint holds.
//!
//! Knows nothing of files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    tensor::Tensor,
    training::{
        Patience,
        checkpoint::Checkpoint,
        event::{EpochMetrics, Position},
    },
};

/// What a checkpoint says besides tensors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// What comes next.
    pub(super) at: Position,
    /// Of the epoch at hand.
    pub(super) running: Running,
    /// Early stopping in the phase at hand.
    #[serde(rename = "watch")]
    pub(super) patience: Patience,
    /// The epochs that have ended.
    pub(super) history: Vec<EpochMetrics>,
    /// Which of them was best.
    pub(super) best: Option<usize>,
}

/// Sums over the steps of an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) loss: f64,
    pub(super) correct: u64,
    pub(super) images: u64,
    pub(super) seconds: f64,
}

/// Tensors by name: those that train now or trained before, those of the best epoch, and the optimizer's.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tensors {
    pub(super) now: BTreeMap<String, Tensor>,
    pub(super) best: BTreeMap<String, Tensor>,
    pub(super) state: BTreeMap<String, Tensor>,
}

impl Progress {
    /// Whether `metrics` beat the best epoch.
    pub(super) fn is_best(&self, metrics: &EpochMetrics) -> bool {
        self.best.is_none_or(|best| beats(metrics, &self.history[best]))
    }
}

/// The position of the best of these epochs, in their order.
pub(super) fn best(history: &[EpochMetrics]) -> Option<usize> {
    (0..history.len()).reduce(|best, epoch| if beats(&history[epoch], &history[best]) { epoch } else { best })
}

/// Whether an epoch is better than the `best` one before it: more validation images right, or as many with less loss. Without
/// validation images the latest epoch is the best.
fn beats(epoch: &EpochMetrics, best: &EpochMetrics) -> bool {
    let rank = |metrics: &EpochMetrics| Some((metrics.val_accuracy?, metrics.val_loss?));
    match (rank(epoch), rank(best)) {
        (Some((accuracy, loss)), Some((most, least))) => accuracy > most || (accuracy == most && loss < least),
        _ => true,
    }
}

impl Running {
    /// Mean loss and share of right ones; 0 before the first step.
    pub(super) fn means(&self) -> (f64, f64) {
        let images = self.images.max(1) as f64;
        (self.loss / images, self.correct as f64 / images)
    }

    /// Training images per second of stepping; 0 before the first step.
    pub(super) fn images_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.images as f64 / self.seconds } else { 0.0 }
    }
}

impl Tensors {
    /// Every tensor under the name that a checkpoint gives it.
    pub(super) fn named(&self) -> Vec<(String, &Tensor)> {
        let parts = [("now", &self.now), ("best", &self.best), ("state", &self.state)];
        let names = |(prefix, tensors): (&'static str, _)| {
            let tensors: &BTreeMap<String, Tensor> = tensors;
            tensors.iter().map(move |(name, tensor)| (format!("{prefix}/{name}"), tensor))
        };
        parts.into_iter().flat_map(names).collect()
    }

    /// The reverse of [`Self::named`].
    pub(super) fn of(checkpoint: Checkpoint<Progress>) -> (Progress, Self) {
        let mut tensors = Self::default();
        for (name, tensor) in checkpoint.tensors {
            let (part, name) = name.split_once('/').unwrap_or(("", &name));
            let part = match part {
                "now" => &mut tensors.now,
                "best" => &mut tensors.best,
                _ => &mut tensors.state,
            };
            part.insert(name.to_owned(), tensor);
        }
        (checkpoint.state, tensors)
    }
}
