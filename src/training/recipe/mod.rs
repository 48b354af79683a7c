//! What to train and how: the request as it comes, and the recipe that it resolves to, or everything wrong with it.
//!
//! Knows the base's layers and graph and the data set's counts; runs nothing.

mod draft;
mod head;
mod layers;
mod memory;
mod optimizer;
mod phase;
mod problem;
mod request;
mod resolve;
mod resolved;
mod rule;

use resolve::preprocessing;

pub use problem::{Choice, Problem, Words};
pub use request::{EarlyStoppingRequest, HeadRequest, LayerRef, OptimizerRequest, PhaseRequest, PreprocessingRequest, Request};
pub use resolved::{
    Base, BatchNorm, CalibrationMethod, ClassCount, ClassWeighting, EarlyStopping, Frontier, Head, Monitor, Parameter, Phase,
    Pool, Recipe, Trainable, Validation,
};
pub use rule::{LearningRate, Optimizer, OptimizerKind, Schedule};

#[cfg(test)]
mod tests;
