//! Fine-tuning: from a request to a recipe, cached tensors, batches, and the report on what came out.
//!
//! Knows models, graphs and sessions; knows neither jobs nor HTTP.

mod base;
pub mod batches;
pub mod cache;
mod calibration;
pub mod checkpoint;
mod error;
mod estimate;
pub mod event;
pub mod learner;
mod patience;
mod random;
pub mod recipe;
pub mod report;
mod samples;
mod train_val_split;
mod trainer;

pub use error::Error;
pub use estimate::{Estimate, PhaseEstimate, Speed};
pub use patience::Patience;
pub use random::{Purpose, Stream};
pub use samples::{Sample, Samples};
pub use train_val_split::TrainValSplit;
pub use trainer::{Context, Made, Outcome, Publisher, run, untrainable};

#[cfg(test)]
mod fixture;
