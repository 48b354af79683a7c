//! What a run tells while it goes on, and how it is asked to stop.
//!
//! Knows neither jobs nor terminals: both follow a run through [`Observer`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a run is: phase and epoch from 0, steps done within the epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Position {
    /// Phase, from 0.
    pub phase: usize,
    /// Epoch within the phase, from 0.
    pub epoch: u64,
    /// Steps done within the epoch.
    pub step: u64,
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The run goes on from a checkpoint.
    Resumed {
        /// Where.
        #[serde(flatten)]
        at: Position,
    },
    /// Not all cached tensors of a phase fit, which an estimate may have said before.
    CacheTooSmall {
        /// The phase.
        phase: usize,
        /// In words.
        detail: String,
    },
    /// Something that the user should know of how the run goes.
    Warning {
        /// Where; no two warnings of a run have the same place.
        #[serde(flatten)]
        at: Position,
        /// In words.
        detail: String,
    },
    /// Tensors at the frontier are being computed.
    Caching {
        /// The phase that they are for.
        phase: usize,
        /// Records that are there.
        done: usize,
        /// Records that there will be.
        total: usize,
    },
    /// A step was taken.
    Step {
        /// Where; `step` counts this one.
        #[serde(flatten)]
        at: Position,
        /// Loss of the batch, before the update.
        loss: f64,
        /// Share of the batch that was right, before the update.
        accuracy: f64,
        /// Of this step.
        learning_rate: f64,
        /// Training images per second of stepping, in this epoch so far.
        images_per_second: f64,
    },
    /// The steps of an epoch are done, and the validation images are measured.
    Evaluating {
        /// Where; `step` counts all of the epoch's.
        #[serde(flatten)]
        at: Position,
    },
    /// An epoch has ended.
    Epoch(EpochMetrics),
    /// The best epoch is exported and compared with what was trained.
    Exporting,
}

/// What was measured in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EpochMetrics {
    /// Phase, from 0.
    pub phase: usize,
    /// Epoch within the phase, from 0.
    pub epoch: u64,
    /// Mean loss of its steps, as Keras gives it.
    pub loss: f64,
    /// Share of the training images that was right, each before its update.
    pub accuracy: f64,
    /// Mean cross-entropy on the validation images; `None` without any.
    pub val_loss: Option<f64>,
    /// Share of the validation images that is right.
    pub val_accuracy: Option<f64>,
    /// Training images per second of stepping.
    pub images_per_second: f64,
}

/// Who follows a run.
pub trait Observer: Sync {
    /// Takes an event; called from the thread that runs.
    fn event(&self, event: Event);

    /// A checkpoint is about to be written: what was told so far will not be told again, so it must be safe by now.
    fn flush(&self);

    /// A checkpoint is on disk: nothing before `at` will be done again.
    fn checkpointed(&self, at: Position);

    /// Whether the run should stop; asked several times a second, from another thread too.
    fn cancelled(&self) -> bool;
}
