//! Fine-tuning: from a request to a recipe, cached tensors, batches, and the report on what came out.
//!
//! Knows models, graphs and sessions; knows neither jobs nor HTTP.

mod base;
pub mod batches;
pub mod cache;
mod calibration;
pub mod checkpoint;
mod division;
mod error;
mod estimate;
pub mod event;
pub mod learner;
mod random;
pub mod recipe;
pub mod report;
mod samples;
mod stopping;
mod trainer;

pub use division::Division;
pub use error::Error;
pub use estimate::{Estimate, PhaseEstimate, Speed};
pub use random::{Purpose, Stream};
pub use samples::{Sample, Samples};
pub use stopping::{Verdict, Watch};
pub use trainer::{Context, Made, Outcome, Publisher, run, untrainable};

#[cfg(test)]
mod fixture;
