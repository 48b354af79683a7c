//! What to train and how: the request as it comes, and the recipe that it resolves to, or everything wrong with it.
//!
//! Knows the base's layers and graph and the data set's counts; runs nothing.

mod draft;
mod head;
mod layers;
mod learning_rate;
mod memory;
mod optimizer;
mod phase;
mod preset;
mod problem;
mod request;
mod resolve;
mod resolved;

use resolve::preprocessing;

pub use learning_rate::{LearningRate, Schedule};
pub use optimizer::OptimizerRequest;
pub use preset::Preset;
pub use problem::{Choice, Problem};
pub use request::{EarlyStoppingRequest, HeadRequest, LayerRef, PhaseRequest, PreprocessingRequest, Request};
pub use resolved::{
    Base, BatchNorm, CalibrationMethod, ClassCount, ClassWeighting, EarlyStopping, Frontier, Head, Monitor, Parameter, Phase,
    Pool, Publish, Recipe, StartFrom, Trainable, Validation,
};

#[cfg(test)]
mod tests;
