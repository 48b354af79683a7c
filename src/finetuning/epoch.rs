//! An epoch as clients read it: phases and epochs counted from 1.

use serde::Serialize;
use utoipa::ToSchema;

use crate::training::event::EpochMetrics;

/// What was measured in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Epoch {
    /// Phase, from 1.
    pub phase: u32,
    /// Epoch of the phase, from 1.
    pub epoch: u32,
    /// What was measured.
    #[serde(flatten)]
    pub measured: Measured,
}

/// What was measured in an epoch, without its place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = EpochMeasured)]
pub struct Measured {
    /// Mean loss of its steps, as Keras gives it.
    pub loss: f64,
    /// Share of the training images that was right, each before its update.
    pub accuracy: f64,
    /// Mean cross-entropy on the validation images; null without any.
    #[schema(required = true)]
    pub val_loss: Option<f64>,
    /// Share of the validation images that is right; null without any.
    #[schema(required = true)]
    pub val_accuracy: Option<f64>,
    /// Training images per second.
    pub images_per_second: f64,
}

impl From<EpochMetrics> for Epoch {
    fn from(metrics: EpochMetrics) -> Self {
        let EpochMetrics { phase, epoch, loss, accuracy, val_loss, val_accuracy, images_per_second } = metrics;
        let number = |value: u64| u32::try_from(value + 1).unwrap_or(u32::MAX);
        let measured = Measured { loss, accuracy, val_loss, val_accuracy, images_per_second };
        Self { phase: number(phase as u64), epoch: number(epoch), measured }
    }
}
