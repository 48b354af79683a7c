//! JSON that the store of jobs holds, as the document shows it; what writes it is `app::finetune`.

#![expect(dead_code, reason = "the types are read by utoipa's derives alone")]

use utoipa::ToSchema;

use crate::{registry::Calibration, training::report::Report};

/// What was measured in an epoch.
#[derive(Debug, ToSchema)]
pub struct Epoch {
    /// Phase, from 1.
    phase: u32,
    /// Epoch of the phase, from 1.
    epoch: u32,
    /// Steps of the phase up to its end; in a job's `history` alone.
    #[schema(nullable = false)]
    step: Option<u64>,
    /// Mean loss of its steps, as Keras gives it.
    loss: f64,
    /// Share of the training images that was right, each before its update.
    accuracy: f64,
    /// Mean cross-entropy on the validation images; null without any.
    #[schema(required = true)]
    val_loss: Option<f64>,
    /// Share of the validation images that is right; null without any.
    #[schema(required = true)]
    val_accuracy: Option<f64>,
    /// Training images per second.
    images_per_second: f64,
}

/// What a job made.
#[derive(Debug, ToSchema)]
pub struct JobResult {
    /// Name of the model.
    #[schema(example = "hymenoptera")]
    model: String,
    /// Its version.
    #[schema(example = 1)]
    version: u32,
    /// The epoch whose weights it has.
    best: Epoch,
    /// Every epoch.
    history: Vec<Epoch>,
    /// How its scores are calibrated; left out without validation images, and where the recipe says `none`.
    #[schema(nullable = false)]
    calibration: Option<Calibration>,
    /// How good it is on the validation images.
    report: Report,
    /// How good it is on the test images, which nothing was chosen by; left out where the data set has none.
    #[schema(nullable = false)]
    test: Option<Report>,
}
